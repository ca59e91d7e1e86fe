"""The libavutil that PyAV itself has loaded: the heads of AVFrame and of the hardware contexts.

Beside them stand the few calls that PyAV does not offer.

PyAV keeps its ``AVFrame *`` in a C field of ``VideoFrame``. Its place is checked at the first
use: the word before it must be the extension type's own vtable, and width, height and
format read through it must be those that PyAV reports. The hardware contexts are checked there too:
a fresh one must refer to its device, and have no format yet.
"""

import ctypes as c
import functools
import struct

import av
from av.video.frame import VideoFrame

from bridges.errors import DeviceError
from bridges.native.loading import Prototype, linked_library
from bridges.native.pyav_object import POINTER_OFFSET, pointer_field

__all__ = [
    "BUFFER_READ_ONLY",
    "AVBufferRef",
    "AVFrame",
    "AVFrameSideData",
    "AVHWDeviceContext",
    "AVHWFramesContext",
    "BufferFree",
    "av_error",
    "frame_head",
    "frame_pointer",
    "library",
]

BUFFER_READ_ONLY = 1
"""``AV_BUFFER_FLAG_READONLY`` of libavutil/buffer.h."""

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
        ("hw_frames_ctx", c.c_void_p),
    )


_HEAD = (
    "width",
    "height",
    "color_range",
    "color_primaries",
    "color_trc",
    "colorspace",
    "hw_frames_ctx",
)


def _head_layout() -> struct.Struct:
    """Return the layout of what `frame_head` reads: three planes, and the fields of `_HEAD`."""
    codes: dict[object, str] = {c.c_int: "i", c.c_void_p: "Q"}
    types = dict(AVFrame._fields_)
    layout = f"=3Q{AVFrame.linesize.offset - 24}x3i"
    for name in _HEAD:
        gap = getattr(AVFrame, name).offset - struct.calcsize(layout)
        layout += f"{gap}x{codes[types[name]]}"
    return struct.Struct(layout)


_head = _head_layout()


class AVBufferRef(c.Structure):
    """``AVBufferRef`` (libavutil/buffer.h)."""

    _fields_ = (("buffer", c.c_void_p), ("data", c.c_void_p), ("size", c.c_size_t))


class AVHWDeviceContext(c.Structure):
    """``AVHWDeviceContext`` (libavutil/hwcontext.h): one device, behind an ``AVBufferRef``."""

    _fields_ = (
        ("av_class", c.c_void_p),
        ("type", c.c_int),
        ("hwctx", c.c_void_p),
        ("free", c.c_void_p),
        ("user_opaque", c.c_void_p),
    )


class AVHWFramesContext(c.Structure):
    """``AVHWFramesContext`` (libavutil/hwcontext.h): frames of one device, format and size."""

    _fields_ = (
        ("av_class", c.c_void_p),
        ("device_ref", c.c_void_p),
        ("device_ctx", c.c_void_p),
        ("hwctx", c.c_void_p),
        ("free", c.c_void_p),
        ("user_opaque", c.c_void_p),
        ("pool", c.c_void_p),
        ("initial_pool_size", c.c_int),
        ("format", c.c_int),
        ("sw_format", c.c_int),
        ("width", c.c_int),
        ("height", c.c_int),
    )


class AVFrameSideData(c.Structure):
    """The head of ``AVFrameSideData``."""

    _fields_ = (("type", c.c_int), ("data", c.c_void_p), ("size", c.c_size_t))


BufferFree = c.CFUNCTYPE(None, c.c_void_p, c.c_void_p)
"""``void free(void *opaque, uint8_t *data)`` of ``av_buffer_create``."""


_QUICK: dict[str, Prototype] = {
    "av_buffer_create": (
        c.c_void_p,
        [c.c_void_p, c.c_size_t, BufferFree, c.c_void_p, c.c_int],
    ),
    "av_buffer_get_ref_count": (c.c_int, [c.c_void_p]),
    "av_buffer_ref": (c.c_void_p, [c.c_void_p]),
    "av_frame_copy_props": (c.c_int, [c.c_void_p, c.c_void_p]),
    "av_frame_is_writable": (c.c_int, [c.c_void_p]),
    "av_frame_move_ref": (None, [c.c_void_p, c.c_void_p]),
    "av_frame_new_side_data": (c.c_void_p, [c.c_void_p, c.c_int, c.c_size_t]),
    "av_frame_ref": (c.c_int, [c.c_void_p, c.c_void_p]),
    "av_frame_remove_side_data": (None, [c.c_void_p, c.c_int]),
    "av_frame_unref": (None, [c.c_void_p]),
    "av_get_pix_fmt": (c.c_int, [c.c_char_p]),
    "av_get_pix_fmt_name": (c.c_char_p, [c.c_int]),
    "av_hwdevice_ctx_alloc": (c.c_void_p, [c.c_int]),
    "av_hwdevice_find_type_by_name": (c.c_int, [c.c_char_p]),
    "av_hwframe_ctx_alloc": (c.c_void_p, [c.c_void_p]),
    "av_strerror": (c.c_int, [c.c_int, c.c_char_p, c.c_size_t]),
}
"""Functions that return at once; `av_frame_unref` is one for frames of the host."""

_SLOW: dict[str, Prototype] = {
    "av_buffer_unref": (None, [c.POINTER(c.c_void_p)]),
    "av_hwdevice_ctx_create": (
        c.c_int,
        [c.POINTER(c.c_void_p), c.c_int, c.c_char_p, c.c_void_p, c.c_int],
    ),
    "av_hwdevice_ctx_init": (c.c_int, [c.c_void_p]),
    "av_hwframe_ctx_init": (c.c_int, [c.c_void_p]),
    "av_hwframe_get_buffer": (c.c_int, [c.c_void_p, c.c_void_p, c.c_int]),
    "av_hwframe_map": (c.c_int, [c.c_void_p, c.c_void_p, c.c_int]),
    "av_hwframe_transfer_data": (c.c_int, [c.c_void_p, c.c_void_p, c.c_int]),
}
"""Functions that may wait for a device, or let go of one."""


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
    lib = linked_library(av.video.frame.__file__, quick=_QUICK, slow=_SLOW)
    _check_layout()
    _check_hardware_layout(lib)
    return lib


def _check_layout() -> None:
    frame = VideoFrame(34, 18, "yuv420p")
    field, found = pointer_field(frame), None
    if field is not None:
        native = AVFrame.from_address(field.value or 0)
        found = native.width, native.height, native.data[0]
    if found != (34, 18, frame.planes[0].buffer_ptr):
        raise DeviceError(
            f"PyAV {av.__version__} lays out VideoFrame in a way unknown to this version; "
            "install av 18.1"
        )


def _check_hardware_layout(lib: c.CDLL) -> None:
    """Compare what is read of a new device and of its frames with what libavutil sets there."""
    kind = lib.av_hwdevice_find_type_by_name(b"drm")
    device = c.c_void_p(lib.av_hwdevice_ctx_alloc(kind))
    if not device:
        return  # This libavutil was built without DRM.
    frames = c.c_void_p(lib.av_hwframe_ctx_alloc(device))
    address = AVBufferRef.from_address(device.value or 0).data
    native = AVHWFramesContext.from_address(AVBufferRef.from_address(frames.value or 0).data)
    found = native.device_ctx, native.format, native.sw_format, native.width, native.height
    type_found = AVHWDeviceContext.from_address(address).type
    lib.av_buffer_unref(c.byref(frames))
    lib.av_buffer_unref(c.byref(device))
    if (type_found, *found) != (kind, address, -1, -1, 0, 0):
        raise DeviceError(
            f"PyAV {av.__version__} lays out hardware contexts in a way unknown to this version; "
            "install av 18.1"
        )


def frame_pointer(frame: VideoFrame) -> int:
    """Return the ``AVFrame *`` of a frame. It lives as long as ``frame`` does."""
    library()
    pointer = c.c_void_p.from_address(id(frame) + POINTER_OFFSET).value
    assert pointer is not None
    return pointer


def frame_head(frame: VideoFrame) -> tuple[int, ...]:
    """Return what a frame says of itself, at once: field by field takes ten times as long.

    Returns
    -------
    tuple of int
        The addresses and the line sizes of three planes, width, height, colour range, primaries,
        transfer and matrix, and the ``AVBufferRef *`` of the frames context, or 0.
    """
    library()
    pointer = c.c_size_t.from_address(id(frame) + POINTER_OFFSET).value
    return _head.unpack(c.string_at(pointer, _head.size))


def av_error(code: int) -> str:
    """Return FFmpeg's text for an error code."""
    text = c.create_string_buffer(128)
    library().av_strerror(code, text, len(text))
    return text.value.decode()
