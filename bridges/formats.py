"""The one table of pixel formats; every other mapping is derived from it.

A format is named as libav names it. Its planes list the samples in memory order: ``Plane("UV", 1,
1)`` is a plane of interleaved U and V samples at half the width and half the height. Samples are
little-endian; ``X`` marks padding and ``A`` alpha.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from functools import cached_property
from typing import TYPE_CHECKING, Any

from bridges.errors import FormatError

if TYPE_CHECKING:
    import numpy as np

__all__ = ["PIXEL_FORMATS", "ColourModel", "PixelFormat", "Plane", "pixel_format"]


class ColourModel(Enum):
    """What the samples of a format stand for."""

    GRAY = "gray"
    YUV = "yuv"
    RGB = "rgb"


@dataclass(frozen=True, slots=True)
class Plane:
    """One plane of a pixel format.

    Attributes
    ----------
    channels : str
        Samples of one element in memory order, such as ``"Y"``, ``"UV"``, ``"BGRX"``. A packed
        4:2:2 plane has one element for two pixels: ``"YUYV"``.
    log2_width, log2_height : int
        Elements per picture width and height, as a power-of-two divisor (rounded up).
    """

    channels: str
    log2_width: int = 0
    log2_height: int = 0


@dataclass(frozen=True, eq=False, repr=False)
class PixelFormat:
    """How one picture lies in memory; there is one object for each name.

    Attributes
    ----------
    name : str
        libav's name.
    model : ColourModel
        YUV, RGB or gray.
    planes : tuple of Plane
        In memory order.
    bits : int
        Significant bits of a sample.
    shift : int
        Unused low bits of a sample (6 for ``p010le``, whose samples sit in the high bits).
    full_range : bool or None
        True where the format itself implies full range (``yuvj420p`` and RGB), None where only
        the frame's own tag tells.
    drm, va : str
        The fourcc of DRM (``drm_fourcc.h``) and of VA-API (``va.h``), empty where there is none.
    """

    name: str
    model: ColourModel
    planes: tuple[Plane, ...]
    bits: int = 8
    shift: int = 0
    full_range: bool | None = None
    drm: str = ""
    va: str = ""

    def __reduce__(self) -> tuple[Any, ...]:
        return pixel_format, (self.name,)

    def __repr__(self) -> str:
        return f"<pixel format {self.name}>"

    @cached_property
    def dtype(self) -> "np.dtype[np.unsignedinteger]":
        """NumPy type of one stored sample: ``uint8`` or little-endian ``uint16``."""
        import numpy as np  # Most users of this table never ask for samples.

        return np.dtype("u1" if self.bits + self.shift <= 8 else "<u2")

    def plane_shape(self, index: int, width: int, height: int) -> tuple[int, ...]:
        """Return ``(rows, columns)`` or ``(rows, columns, channels)`` of a plane in samples.

        Subsampled sizes are rounded up, as libav does.
        """
        plane = self.planes[index]
        rows = -(-height >> plane.log2_height)
        columns = -(-width >> plane.log2_width)
        channels = len(plane.channels)
        return (rows, columns) if channels == 1 else (rows, columns, channels)

    def find(self, channel: str) -> tuple[int, int, int]:
        """Return ``(plane, offset, step)`` in samples of the first ``channel`` in each pixel.

        Raises
        ------
        FormatError
            The format has no such channel.
        """
        for index, plane in enumerate(self.planes):
            offset = plane.channels.find(channel)
            if offset >= 0:
                return index, offset, len(plane.channels) // plane.channels.count(channel)
        raise FormatError(f"pixel format {self.name} has no channel {channel!r}")

    @property
    def has_alpha(self) -> bool:
        """Whether any plane carries alpha samples."""
        return any("A" in plane.channels for plane in self.planes)


_CHROMA = {"420": (1, 1), "422": (1, 0), "444": (0, 0), "440": (0, 1), "411": (2, 0), "410": (2, 2)}
_DRM_PLANAR = {"yuv420p": "YU12", "yuv422p": "YU16", "yuv444p": "YU24", "yuv410p": "YUV9"}
_VA_PLANAR = {"yuv420p": "I420", "yuv422p": "422H", "yuv444p": "444P", "yuv411p": "411P"}


def _yuv() -> Iterator[PixelFormat]:
    for sampling, chroma in _CHROMA.items():
        planes = (Plane("Y"), Plane("U", *chroma), Plane("V", *chroma))
        name = f"yuv{sampling}p"
        drm, va = _DRM_PLANAR.get(name, ""), _VA_PLANAR.get(name, "")
        yield PixelFormat(name, ColourModel.YUV, planes, drm=drm, va=va)
        if sampling not in ("410",):
            yield PixelFormat(f"yuvj{sampling}p", ColourModel.YUV, planes, full_range=True)
        if sampling in ("420", "422", "444"):
            yield PixelFormat(f"yuva{sampling}p", ColourModel.YUV, (*planes, Plane("A")))
        for bits in (9, 10, 12, 14, 16):
            if sampling in ("420", "422", "444") or (sampling == "440" and bits in (10, 12)):
                yield PixelFormat(f"{name}{bits}le", ColourModel.YUV, planes, bits)
            if sampling in ("420", "422", "444") and (
                bits in (9, 10, 16) or (bits == 12 and sampling != "420")
            ):
                alpha = (*planes, Plane("A"))
                yield PixelFormat(f"yuva{sampling}p{bits}le", ColourModel.YUV, alpha, bits)


def _semi_planar() -> Iterator[PixelFormat]:
    for sampling, nv, p in (("420", "nv12", "0"), ("422", "nv16", "2"), ("444", "nv24", "4")):
        planes = (Plane("Y"), Plane("UV", *_CHROMA[sampling]))
        yield PixelFormat(
            nv, ColourModel.YUV, planes, drm=nv.upper(), va="NV12" if nv == "nv12" else ""
        )
        for bits in (10, 12, 16):
            code = f"P{p}{bits}"
            va = code if sampling == "420" else ""
            yield PixelFormat(
                f"p{p}{bits}le", ColourModel.YUV, planes, bits, 16 - bits, drm=code, va=va
            )
    for name, sampling in (("nv21", "420"), ("nv42", "444")):
        planes = (Plane("Y"), Plane("VU", *_CHROMA[sampling]))
        va = "NV21" if name == "nv21" else ""
        yield PixelFormat(name, ColourModel.YUV, planes, drm=name.upper(), va=va)


def _packed_yuv() -> Iterator[PixelFormat]:
    for name, channels, drm, va in (
        ("yuyv422", "YUYV", "YUYV", "YUY2"),
        ("uyvy422", "UYVY", "UYVY", "UYVY"),
        ("yvyu422", "YVYU", "YVYU", ""),
    ):
        yield PixelFormat(name, ColourModel.YUV, (Plane(channels, 1),), drm=drm, va=va)


def _rgb() -> Iterator[PixelFormat]:
    # DRM names a packed format from the high bits of a little-endian word, libav in byte order.
    for name, channels, drm, va in (
        ("rgb24", "RGB", "BG24", ""),
        ("bgr24", "BGR", "RG24", ""),
        ("rgb0", "RGBX", "XB24", "RGBX"),
        ("bgr0", "BGRX", "XR24", "BGRX"),
        ("0rgb", "XRGB", "BX24", "XRGB"),
        ("0bgr", "XBGR", "RX24", "XBGR"),
        ("rgba", "RGBA", "AB24", "RGBA"),
        ("bgra", "BGRA", "AR24", "BGRA"),
        ("argb", "ARGB", "BA24", "ARGB"),
        ("abgr", "ABGR", "RA24", "ABGR"),
    ):
        plane = (Plane(channels),)
        yield PixelFormat(name, ColourModel.RGB, plane, full_range=True, drm=drm, va=va)
    for name, channels in (
        ("rgb48le", "RGB"),
        ("bgr48le", "BGR"),
        ("rgba64le", "RGBA"),
        ("bgra64le", "BGRA"),
    ):
        yield PixelFormat(name, ColourModel.RGB, (Plane(channels),), 16, full_range=True)
    planar = (Plane("G"), Plane("B"), Plane("R"))
    for bits in (8, 9, 10, 12, 14, 16):
        depth = "" if bits == 8 else f"{bits}le"
        yield PixelFormat(f"gbrp{depth}", ColourModel.RGB, planar, bits, full_range=True)
        if bits != 9:
            alpha = (*planar, Plane("A"))
            yield PixelFormat(f"gbrap{depth}", ColourModel.RGB, alpha, bits, full_range=True)


def _gray() -> Iterator[PixelFormat]:
    yield PixelFormat("gray", ColourModel.GRAY, (Plane("Y"),), drm="R8  ", va="Y800")
    for bits in (9, 10, 12, 14, 16):
        yield PixelFormat(f"gray{bits}le", ColourModel.GRAY, (Plane("Y"),), bits)
    yield PixelFormat("ya8", ColourModel.GRAY, (Plane("YA"),))
    yield PixelFormat("ya16le", ColourModel.GRAY, (Plane("YA"),), 16)


PIXEL_FORMATS: dict[str, PixelFormat] = {
    entry.name: entry
    for family in (_gray(), _yuv(), _semi_planar(), _packed_yuv(), _rgb())
    for entry in family
}


def pixel_format(name: str) -> PixelFormat:
    """Look a format up by libav's name.

    Raises
    ------
    FormatError
        The table does not hold it.
    """
    try:
        return PIXEL_FORMATS[name]
    except KeyError:
        raise FormatError(
            f"pixel format {name!r} is not in the table of {len(PIXEL_FORMATS)} formats; "
            "convert first, for example with --vf format=yuv420p"
        ) from None
