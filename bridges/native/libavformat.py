"""What PyAV does not offer of containers: reading into one packet, and a stream's aspect ratio."""

import ctypes as c
import functools
from fractions import Fraction

import av
import av.container.core
from av.container import InputContainer
from av.stream import Stream

from bridges.errors import DeviceError
from bridges.native.loading import linked_library
from bridges.native.pyav_object import POINTER_OFFSET, known_pointer

__all__ = ["AVStream", "input_pointer", "library", "set_stream_aspect_ratio"]

SUPPORTED_MAJOR = 62
"""The libavformat major version (FFmpeg 8) whose AVStream layout is written down below."""


class AVStream(c.Structure):
    """The head of ``AVStream`` (libavformat/avformat.h of FFmpeg 8)."""

    _fields_ = (
        ("av_class", c.c_void_p),
        ("index", c.c_int),
        ("id", c.c_int),
        ("codecpar", c.c_void_p),
        ("priv_data", c.c_void_p),
        ("time_base", c.c_int * 2),
        ("start_time", c.c_int64),
        ("duration", c.c_int64),
        ("nb_frames", c.c_int64),
        ("disposition", c.c_int),
        ("discard", c.c_int),
        ("sample_aspect_ratio", c.c_int * 2),
        ("metadata", c.c_void_p),
        ("avg_frame_rate", c.c_int * 2),
    )


@functools.cache
def library() -> c.CDLL:
    """Return the very libavformat that PyAV loaded, with prototypes set."""
    return linked_library(
        av.container.core.__file__,
        quick={"avformat_get_class": (c.c_void_p, [])},
        slow={"av_read_frame": (c.c_int, [c.c_void_p, c.c_void_p])},
    )


def input_pointer(container: InputContainer) -> c.c_void_p:
    """Return where a file has its ``AVFormatContext *``, to be read while ``container`` lives.

    It is null once the file is closed.

    Raises
    ------
    ClosedError
        The file is closed.
    DeviceError
        PyAV lays its objects out in a way unknown to this version.
    """
    return known_pointer(container, library().avformat_get_class(), "file")


def set_stream_aspect_ratio(stream: Stream, ratio: Fraction) -> None:
    """Have a container store the width over height of a video's pixels.

    Muxers take it from the stream, and PyAV sets it on the codec only, so that codecs whose bit
    stream holds no aspect (VP9, AV1, FFV1) would lose it.

    Raises
    ------
    DeviceError
        PyAV was built with a libavformat whose AVStream this module does not know.
    """
    major = av.library_versions["libavformat"][0]
    pointer = c.c_void_p.from_address(id(stream) + POINTER_OFFSET).value
    native = AVStream.from_address(pointer) if major == SUPPORTED_MAJOR and pointer else None
    if native is None or not _is_head_of(native, stream):
        raise DeviceError(
            f"PyAV {av.__version__} carries libavformat {major}, whose streams are unknown to this "
            "version; install av 18.1"
        )
    native.sample_aspect_ratio[:] = ratio.numerator, ratio.denominator


def _is_head_of(native: AVStream, stream: Stream) -> bool:
    """Compare what is read through the pointer with what PyAV says of the stream."""
    numerator, denominator = native.time_base
    time_base = Fraction(numerator, denominator) if denominator else None
    found = native.index, native.id, native.disposition, native.nb_frames, time_base
    return found == (
        stream.index,
        stream.id,
        int(stream.disposition),
        stream.frames,
        stream.time_base,
    )
