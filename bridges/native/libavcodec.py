"""What PyAV does not tell of its decoders: their device, and when they are freed."""

import ctypes as c
import functools
import os

import av
import av.codec.context
from av.codec.context import CodecContext

from bridges.native.loading import Prototype, declare
from bridges.native.pyav_object import pointer_field

__all__ = ["decoding_device", "free_decoder"]

_SUPPORTED_MAJOR = 62
"""The libavcodec major version (FFmpeg 8) of which fields are known."""


class _AVOption(c.Structure):
    """``AVOption`` (libavutil/opt.h), of which ``offset`` is where an object has the value."""

    _fields_ = (("name", c.c_char_p), ("help", c.c_char_p), ("offset", c.c_int))


@functools.cache
def _library() -> c.CDLL:
    # The very libavcodec that PyAV loaded; see `bridges.native.libavutil.library`.
    library = c.CDLL(av.codec.context.__file__, mode=os.RTLD_NOLOAD | os.RTLD_NOW)
    prototypes: dict[str, Prototype] = {
        "avcodec_free_context": (None, [c.c_void_p]),
        "avcodec_get_class": (c.c_void_p, []),
        "av_opt_find": (
            c.POINTER(_AVOption),
            [c.c_void_p, c.c_char_p, c.c_char_p, c.c_int, c.c_int],
        ),
    }
    declare(library, prototypes)
    return library


def _pointer(context: CodecContext) -> c.c_void_p | None:
    """Return where an object of PyAV has its ``AVCodecContext *``.

    None where that is none, and where PyAV lays its objects out in another way.
    """
    field = pointer_field(context)
    # The first thing in any AVCodecContext is the class of all of them.
    if field is None or not field.value:
        return None
    found = c.c_void_p.from_address(field.value).value
    return field if found == _library().avcodec_get_class() else None


def decoding_device(context: CodecContext) -> int:
    """Return the ``AVBufferRef *`` of the AVHWDeviceContext that a decoder is to work on.

    0 where it has none, where PyAV lays its objects out in another way, and with another libavcodec
    than that of FFmpeg 8. It lives as long as the decoder does.
    """
    field = _pointer(context)
    if field is None or av.library_versions["libavcodec"][0] != _SUPPORTED_MAJOR:
        return 0
    # AVCodecContext (libavcodec/avcodec.h) has hw_device_ctx right before hwaccel_flags.
    flags = _library().av_opt_find(field.value, b"hwaccel_flags", None, 0, 0)
    if not flags:
        return 0
    place = (field.value or 0) + flags.contents.offset - c.sizeof(c.c_void_p)
    return c.c_void_p.from_address(place).value or 0


def free_decoder(context: CodecContext) -> bool:
    """Free the decoder behind an object of PyAV, which must not be used any more.

    PyAV frees it once nobody refers to the object, with the interpreter's lock. On a GPU that takes
    a tenth of a second, in which no other thread goes on.

    Returns
    -------
    bool
        Whether it was freed; PyAV lays its objects out in another way where not, and frees it.
    """
    field = _pointer(context)
    if field is None:
        return False
    _library().avcodec_free_context(c.addressof(field))
    return True
