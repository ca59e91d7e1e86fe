"""What NVIDIA's video decoder decodes: ``cuvidGetDecoderCaps`` of libnvcuvid (cuviddec.h)."""

import ctypes as c
import functools

__all__ = ["decodes", "keep_loaded"]

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
