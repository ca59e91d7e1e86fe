"""The head of ``AVFilterContext``, and what PyAV does not tell a source of frames on a device."""

import ctypes as c
import functools

import av.filter.context
from av.filter.context import FilterContext

from bridges.errors import DeviceError
from bridges.native.libavutil import av_error
from bridges.native.loading import Prototype, linked_library

__all__ = ["AVBufferSrcParameters", "AVFilterContext", "set_source_frames"]

SUPPORTED_MAJOR = 11
"""The libavfilter major version (FFmpeg 8) whose structures are written down below."""


class AVFilterContext(c.Structure):
    """The head of ``AVFilterContext`` (libavfilter/avfilter.h of FFmpeg 8)."""

    _fields_ = (("av_class", c.c_void_p), ("filter", c.c_void_p), ("name", c.c_char_p))


class AVBufferSrcParameters(c.Structure):
    """The head of ``AVBufferSrcParameters`` (libavfilter/buffersrc.h of FFmpeg 8)."""

    _fields_ = (
        ("format", c.c_int),
        ("time_base", c.c_int * 2),
        ("width", c.c_int),
        ("height", c.c_int),
        ("sample_aspect_ratio", c.c_int * 2),
        ("frame_rate", c.c_int * 2),
        ("hw_frames_ctx", c.c_void_p),
    )


_PROTOTYPES: dict[str, Prototype] = {
    "av_buffersrc_parameters_alloc": (c.POINTER(AVBufferSrcParameters), []),
    "av_buffersrc_parameters_set": (c.c_int, [c.c_void_p, c.POINTER(AVBufferSrcParameters)]),
    "av_free": (None, [c.c_void_p]),
}


@functools.cache
def _library() -> c.CDLL:
    """Return the very libavfilter that PyAV loaded, with prototypes set."""
    major = av.library_versions["libavfilter"][0]
    if major != SUPPORTED_MAJOR:
        raise DeviceError(
            f"PyAV {av.__version__} carries libavfilter {major}, whose filters take frames on a "
            f"device only from libavfilter {SUPPORTED_MAJOR} (FFmpeg 8); install av 18.1"
        )
    return linked_library(av.filter.context.__file__, quick=_PROTOTYPES, slow={})


def set_source_frames(source: FilterContext, pixel_format: int, frames: int) -> None:
    """Tell a graph's ``buffer`` source that its frames are on a device.

    Parameters
    ----------
    source : av.filter.FilterContext
        Of a graph that was not configured yet.
    pixel_format : int
        ``AVPixelFormat`` of the device's frames.
    frames : int
        ``AVBufferRef *`` of their AVHWFramesContext, of which the source takes a reference.

    Raises
    ------
    DeviceError
        PyAV was built with a libavfilter that this module does not know, or it refuses.
    """
    library = _library()
    native = c.c_void_p.from_address(id(source) + object.__basicsize__).value
    head = AVFilterContext.from_address(native) if native else None
    if head is None or (head.name or b"").decode() != source.name:
        raise DeviceError(
            f"PyAV {av.__version__} lays out FilterContext in a way unknown to this version; "
            "install av 18.1"
        )
    parameters = library.av_buffersrc_parameters_alloc()
    if not parameters:
        raise DeviceError("FFmpeg has too little memory for a filter's parameters")
    parameters.contents.format = pixel_format
    parameters.contents.hw_frames_ctx = frames
    code = library.av_buffersrc_parameters_set(native, parameters)
    library.av_free(parameters)
    if code < 0:
        raise DeviceError(f"FFmpeg cannot filter frames on this device: {av_error(code)}")
