"""The kinds of sessions, coded data, scaling and pixel formats that the original numbers.

Names and numbers are those of the public headers ``xmaencoder.h``, ``xmadecoder.h``,
``xmascaler.h``, ``xmafilter.h``, ``xmabuffers.h`` and ``xmasess.h`` (XRT 2.13).
"""

from bridges.errors import FormatError
from bridges.formats import PixelFormat, pixel_format
from xma_plugins.code import Code

__all__ = [
    "SHARED_FORMATS",
    "DecoderType",
    "EncoderType",
    "FilterType",
    "FormatType",
    "ScalerType",
    "SessionType",
]


class SessionType(Code):
    """The kinds of sessions."""

    SCALER = 0
    ENCODER = 1
    DECODER = 2
    FILTER = 3
    KERNEL = 4
    ADMIN = 5


class FormatType(Code):
    """The pixel formats that the original knows; ours are all of `bridges.formats`."""

    NONE = 0
    YUV420 = 1
    YUV422 = 2
    YUV444 = 3
    RGB888 = 4
    RGBP = 5
    VCU_NV12 = 6
    VCU_NV16 = 7
    VCU_NV12_10LE32 = 8
    VCU_NV16_10LE32 = 9

    @property
    def pixel_format(self) -> PixelFormat:
        """The same layout in `bridges.formats`.

        Raises
        ------
        FormatError
            FFmpeg has none: RGBP, whose planes are in another order than those of gbrp, and the
            formats with three samples of 10 bits in a word of 32.
        """
        name = _PIXEL_FORMATS.get(self)
        if name is None:
            raise FormatError(
                f"no pixel format of FFmpeg holds samples as {self.name} does; convert to gbrp, "
                "p010le or another one of `bridges.formats`"
            )
        return pixel_format(name)

    @classmethod
    def of(cls, pixels: PixelFormat) -> "FormatType":
        """Return the type of a pixel format; NONE for those that the original does not know."""
        return _FORMAT_TYPES.get(pixels.name, cls.NONE)


_PIXEL_FORMATS = {
    FormatType.YUV420: "yuv420p",
    FormatType.YUV422: "yuv422p",
    FormatType.YUV444: "yuv444p",
    FormatType.RGB888: "rgb24",
    FormatType.VCU_NV12: "nv12",
    FormatType.VCU_NV16: "nv16",
}
SHARED_FORMATS = tuple(_PIXEL_FORMATS.values())
"""Pixel formats that the original knows too."""

_FORMAT_TYPES = {name: kind for kind, name in _PIXEL_FORMATS.items()}


class EncoderType(Code):
    """What an encoder makes."""

    H264 = 1
    HEVC = 2
    VP9 = 3
    AV1 = 4
    COPY = 5
    JPEG = 6
    MULTI = 7


class DecoderType(Code):
    """What a decoder takes."""

    H264 = 1
    HEVC = 2
    VP9 = 3
    AV1 = 4
    JPEG = 5
    MULTI = 6


class ScalerType(Code):
    """How a scaler filters."""

    BICUBIC = 1
    BILINEAR = 2
    POLYPHASE = 3


class FilterType(Code):
    """What a filter is."""

    FILTER_2D = 1
