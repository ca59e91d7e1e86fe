"""The libavutil that PyAV itself has loaded: AVFrame's head and the few calls PyAV does not offer.

PyAV keeps its ``AVFrame *`` in a C field of ``VideoFrame``. Its place is checked at the first
use: the word before it must be the extension type's own vtable, and width, height and
format read through it must be those that PyAV reports.
"""

import ctypes as c
import functools
import os
import re
from pathlib import Path

import av
from av.video.frame import VideoFrame

from bridges.errors import DeviceError

__all__ = ["AVFrame", "AVFrameSideData", "BufferFree", "av_error", "frame_pointer", "library"]

SUPPORTED_MAJOR = 60
"""The libavutil major version (FFmpeg 8) whose AVFrame layout is written down below."""


class AVFrame(c.Structure):
    """The head of ``AVFrame`` (libavutil/frame.h of FFmpeg 8), up to the last field used."""

    _fields_ = (
        ("data", c.c_void_p * 8),
        ("linesize", c.c_int * 8),
        ("extended_data", c.c_void_p),
        ("width", c.c_int),
        ("height", c.c_int),
        ("nb_samples", c.c_int),
        ("format", c.c_int),
        ("pict_type", c.c_int),
        ("sample_aspect_ratio", c.c_int * 2),
        ("pts", c.c_int64),
        ("pkt_dts", c.c_int64),
        ("time_base", c.c_int * 2),
        ("quality", c.c_int),
        ("opaque", c.c_void_p),
        ("repeat_pict", c.c_int),
        ("sample_rate", c.c_int),
        ("buf", c.c_void_p * 8),
        ("extended_buf", c.c_void_p),
        ("nb_extended_buf", c.c_int),
        ("side_data", c.c_void_p),
        ("nb_side_data", c.c_int),
        ("flags", c.c_int),
        ("color_range", c.c_int),
        ("color_primaries", c.c_int),
        ("color_trc", c.c_int),
        ("colorspace", c.c_int),
        ("chroma_location", c.c_int),
        ("best_effort_timestamp", c.c_int64),
        ("metadata", c.c_void_p),
        ("decode_error_flags", c.c_int),
    )


class AVFrameSideData(c.Structure):
    """The head of ``AVFrameSideData``."""

    _fields_ = (("type", c.c_int), ("data", c.c_void_p), ("size", c.c_size_t))


BufferFree = c.CFUNCTYPE(None, c.c_void_p, c.c_void_p)
"""``void free(void *opaque, uint8_t *data)`` of ``av_buffer_create``."""


@functools.cache
def library() -> c.CDLL:
    """Return the very libavutil that PyAV loaded, with prototypes set.

    Raises
    ------
    DeviceError
        PyAV was built with a libavutil whose AVFrame this module does not know.
    """
    major = av.library_versions["libavutil"][0]
    if major != SUPPORTED_MAJOR:
        raise DeviceError(
            f"PyAV {av.__version__} carries libavutil {major}, but frames can be shared only with "
            f"libavutil {SUPPORTED_MAJOR} (FFmpeg 8); install av 18.1"
        )
    lib = c.CDLL(_loaded_path(), mode=os.RTLD_NOLOAD | os.RTLD_NOW)
    prototypes: dict[str, tuple[object, list[object]]] = {
        "av_buffer_create": (
            c.c_void_p,
            [c.c_void_p, c.c_size_t, BufferFree, c.c_void_p, c.c_int],
        ),
        "av_frame_copy_props": (c.c_int, [c.c_void_p, c.c_void_p]),
        "av_frame_is_writable": (c.c_int, [c.c_void_p]),
        "av_frame_unref": (None, [c.c_void_p]),
        "av_get_pix_fmt": (c.c_int, [c.c_char_p]),
        "av_strerror": (c.c_int, [c.c_int, c.c_char_p, c.c_size_t]),
    }
    for name, (result, arguments) in prototypes.items():
        function = getattr(lib, name)
        function.restype, function.argtypes = result, arguments
    _check_layout()
    return lib


def _loaded_path() -> str:
    """Return the path of the loaded library, for the dynamic linker to hand out again."""
    for line in Path("/proc/self/maps").read_text().splitlines():
        path = line.split(maxsplit=5)[-1]
        if re.match(r"libavutil(-[0-9a-f]+)?\.so", Path(path).name):
            return path
    raise DeviceError("PyAV is imported, yet no libavutil is mapped into this process")


_POINTER_OFFSET = object.__basicsize__ + c.sizeof(c.c_void_p)


def _vtable() -> int:
    api = c.pythonapi
    api.PyCapsule_GetPointer.restype = c.c_void_p
    api.PyCapsule_GetPointer.argtypes = [c.py_object, c.c_char_p]
    capsule = VideoFrame.__pyx_vtable__  # type: ignore[attr-defined]
    return int(api.PyCapsule_GetPointer(capsule, None))


def _check_layout() -> None:
    frame = VideoFrame(34, 18, "yuv420p")
    head = c.c_void_p.from_address(id(frame) + object.__basicsize__).value
    found = None
    if head == _vtable():
        pointer = c.c_void_p.from_address(id(frame) + _POINTER_OFFSET).value
        native = AVFrame.from_address(pointer or 0)
        found = native.width, native.height, native.data[0]
    if found != (34, 18, frame.planes[0].buffer_ptr):
        raise DeviceError(
            f"PyAV {av.__version__} lays out VideoFrame in a way unknown to this version; "
            "install av 18.1"
        )


def frame_pointer(frame: VideoFrame) -> int:
    """Return the ``AVFrame *`` of a frame. It lives as long as ``frame`` does."""
    library()
    pointer = c.c_void_p.from_address(id(frame) + _POINTER_OFFSET).value
    assert pointer is not None
    return pointer


def av_error(code: int) -> str:
    """Return FFmpeg's text for an error code."""
    text = c.create_string_buffer(128)
    library().av_strerror(code, text, len(text))
    return text.value.decode()
