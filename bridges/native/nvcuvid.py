"""NVIDIA's video decoder, beside FFmpeg's use of it: what it decodes, and that it stays ready.

The structures are those of libnvcuvid's ``cuviddec.h``.
"""

import ctypes as c
import functools
import threading

__all__ = ["decodes", "keep_loaded", "keep_ready"]

_LIBRARY = "libnvcuvid.so.1"
_CODECS = {
    "mpeg1video": 0,
    "mpeg2video": 1,
    "mpeg4": 2,
    "vc1": 3,
    "h264": 4,
    "mjpeg": 5,
    "hevc": 8,
    "vp8": 9,
    "vp9": 10,
    "av1": 11,
}
"""``cudaVideoCodec`` by FFmpeg's names."""

_CHROMA = {"420": 1, "422": 2, "444": 3}
"""``cudaVideoChromaFormat``."""


class _Capabilities(c.Structure):
    """``CUVIDDECODECAPS``: what is asked, and the answer."""

    _fields_ = (
        ("codec", c.c_int),
        ("chroma", c.c_int),
        ("bits_minus_8", c.c_uint),
        ("reserved", c.c_uint * 3),
        ("is_supported", c.c_ubyte),
        ("decoders", c.c_ubyte),
        ("output_formats", c.c_ushort),
        ("max_width", c.c_uint),
        ("max_height", c.c_uint),
        ("max_macroblocks", c.c_uint),
        ("min_width", c.c_ushort),
        ("min_height", c.c_ushort),
        ("others", c.c_uint * 12),
    )


class _Creation(c.Structure):
    """``CUVIDDECODECREATEINFO``."""

    _fields_ = (
        ("width", c.c_ulong),
        ("height", c.c_ulong),
        ("surfaces", c.c_ulong),
        ("codec", c.c_int),
        ("chroma", c.c_int),
        ("flags", c.c_ulong),
        ("bits_minus_8", c.c_ulong),
        ("intra_only", c.c_ulong),
        ("max_width", c.c_ulong),
        ("max_height", c.c_ulong),
        ("reserved", c.c_ulong),
        ("display_area", c.c_short * 4),
        ("output_format", c.c_int),
        ("deinterlacing", c.c_int),
        ("target_width", c.c_ulong),
        ("target_height", c.c_ulong),
        ("outputs", c.c_ulong),
        ("lock", c.c_void_p),
        ("target_area", c.c_short * 4),
        ("histogram", c.c_ulong),
        ("reserved_too", c.c_ulong * 4),
    )


@functools.cache
def keep_loaded() -> c.CDLL | None:
    """Return the library, which stays in the process; None where there is none."""
    try:
        return c.CDLL(_LIBRARY)
    except OSError:
        return None


def decodes(codec: str, bits: int, chroma: str = "420") -> bool:
    """Whether the GPU whose CUDA context is current decodes a codec.

    Parameters
    ----------
    codec : str
        FFmpeg's name of it.
    bits : int
        Of a sample.
    chroma : {"420", "422", "444"}
        How chroma is sampled.
    """
    library = keep_loaded()
    if library is None:
        return False
    asked = _Capabilities(_CODECS.get(codec, -1), _CHROMA[chroma], bits - 8)
    code = library.cuvidGetDecoderCaps(c.byref(asked))
    return code == 0 and bool(asked.is_supported)


_ready: dict[int, int] = {}
_lock = threading.Lock()


def keep_ready(context: int) -> int:
    """Keep a decoder of small pictures on a GPU, for as long as the process runs; return it.

    With the last decoder of a context the driver shuts the hardware down, and looks only four times
    a second whether that is to be done: to free one takes 0.13 s on an H200, and 0.02 s while there
    is another. This one takes 10 MiB of the device's memory, and 0.05 s the first time.

    Parameters
    ----------
    context : int
        The ``CUcontext``, which is current.

    Returns
    -------
    int
        The ``CUvideodecoder``; 0 where there is none, and nothing is kept.
    """
    library = keep_loaded()
    if library is None:
        return 0
    with _lock:
        if context not in _ready:
            decoder, side = c.c_void_p(), 64
            wanted = _Creation(
                width=side,
                height=side,
                surfaces=1,
                codec=_CODECS["h264"],
                chroma=_CHROMA["420"],
                max_width=side,
                max_height=side,
                target_width=side,
                target_height=side,
                outputs=1,
            )
            code = library.cuvidCreateDecoder(c.byref(decoder), c.byref(wanted))
            _ready[context] = 0 if code else decoder.value or 0
        return _ready[context]
