"""What PyAV does not offer of its decoders: their calls, their device, and when they are freed."""

import ctypes as c
import functools

import av
import av.codec.context
from av.codec.context import CodecContext

from bridges.errors import DeviceError
from bridges.native.loading import Prototype, linked_library
from bridges.native.pyav_object import checked_pointer, known_pointer

__all__ = ["AVPacket", "decoder_pointer", "decoding_device", "free_decoder", "library"]

_SUPPORTED_MAJOR = 62
"""The libavcodec major version (FFmpeg 8) of which fields are known."""


class _AVOption(c.Structure):
    """``AVOption`` (libavutil/opt.h), of which ``offset`` is where an object has the value."""

    _fields_ = (("name", c.c_char_p), ("help", c.c_char_p), ("offset", c.c_int))


class AVPacket(c.Structure):
    """The head of ``AVPacket`` (libavcodec/packet.h of FFmpeg 8)."""

    _fields_ = (
        ("buf", c.c_void_p),
        ("pts", c.c_int64),
        ("dts", c.c_int64),
        ("data", c.c_void_p),
        ("size", c.c_int),
        ("stream_index", c.c_int),
    )


_QUICK: dict[str, Prototype] = {
    "av_opt_find": (
        c.POINTER(_AVOption),
        [c.c_void_p, c.c_char_p, c.c_char_p, c.c_int, c.c_int],
    ),
    "av_packet_alloc": (c.c_void_p, []),
    "av_packet_free": (None, [c.POINTER(c.c_void_p)]),
    "av_packet_unref": (None, [c.c_void_p]),
    "avcodec_get_class": (c.c_void_p, []),
}

_SLOW: dict[str, Prototype] = {
    "avcodec_free_context": (None, [c.c_void_p]),
    "avcodec_receive_frame": (c.c_int, [c.c_void_p, c.c_void_p]),
    "avcodec_send_packet": (c.c_int, [c.c_void_p, c.c_void_p]),
}


@functools.cache
def library() -> c.CDLL:
    """Return the very libavcodec that PyAV loaded, with prototypes set."""
    return linked_library(av.codec.context.__file__, quick=_QUICK, slow=_SLOW)


def _pointer(context: CodecContext) -> c.c_void_p | None:
    """Return where an object of PyAV has its ``AVCodecContext *``.

    None where that is none, and where PyAV lays its objects out in another way.
    """
    return checked_pointer(context, library().avcodec_get_class())


def decoder_pointer(context: CodecContext) -> c.c_void_p:
    """Return where a decoder has its ``AVCodecContext *``, to be read while ``context`` lives.

    Raises
    ------
    ClosedError
        It was freed.
    DeviceError
        PyAV lays its objects out in a way unknown to this version, or has another libavcodec than
        that of FFmpeg 8.
    """
    major = av.library_versions["libavcodec"][0]
    if major != _SUPPORTED_MAJOR:
        raise DeviceError(
            f"PyAV {av.__version__} carries libavcodec {major}, and packets can be sent only to "
            f"that of FFmpeg 8, {_SUPPORTED_MAJOR}; install av 18.1"
        )
    return known_pointer(context, library().avcodec_get_class(), "decoder")


def decoding_device(context: CodecContext) -> int:
    """Return the ``AVBufferRef *`` of the AVHWDeviceContext that a decoder is to work on.

    0 where it has none, where PyAV lays its objects out in another way, and with another libavcodec
    than that of FFmpeg 8. It lives as long as the decoder does.
    """
    field = _pointer(context)
    if field is None or av.library_versions["libavcodec"][0] != _SUPPORTED_MAJOR:
        return 0
    # AVCodecContext (libavcodec/avcodec.h) has hw_device_ctx right before hwaccel_flags.
    flags = library().av_opt_find(field.value, b"hwaccel_flags", None, 0, 0)
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
    library().avcodec_free_context(c.addressof(field))
    return True
