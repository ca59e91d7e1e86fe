"""What samples.h is compiled with, and which samples of a picture are shape, copied or spare."""

import functools
from importlib import resources
from typing import TYPE_CHECKING

from bridges.formats import ColourModel, PixelFormat
from bridges.frame import FrameInfo, Matrix
from bridges.kernels.views import View, views

if TYPE_CHECKING:
    from bridges.kernels.kernel import Kernel

__all__ = [
    "kept_channel",
    "samples_macros",
    "samples_source",
    "shape_channels",
    "shared_macros",
    "spare_columns",
]


def samples_source(kernel: "Kernel") -> str:
    """Return a kernel's text behind samples.h."""
    return f"{_header()}\n{kernel.source}"


@functools.cache
def _header() -> str:
    return resources.files("bridges.kernels.families").joinpath("samples.h").read_text("utf-8")


def samples_macros(layout: PixelFormat, view: View, aligned: bool) -> dict[str, int]:
    """Return what samples.h is compiled with."""
    return {
        "CHANNELS": view.channels,
        "STEP": view.step,
        "OFFSET": view.offset,
        "BYTES": layout.dtype.itemsize,
        "SHIFT": layout.shift,
        "BITS": layout.bits,
        "ALIGNED": int(aligned and layout.dtype.itemsize == 2),
    }


def shared_macros(layout: PixelFormat, view: View, aligned: bool) -> dict[str, int]:
    """Return the same for a text whose code all depths of two bytes share; see samples.h."""
    macros = samples_macros(layout, view, aligned)
    if layout.dtype.itemsize == 2:
        del macros["BITS"], macros["SHIFT"]
    return macros


def shape_channels(info: FrameInfo) -> str:
    """Return the channels that show what is in a picture: luma, or R, G and B.

    Planar YUV that is tagged with matrix 0 holds G, B and R instead.
    """
    if info.format.model is ColourModel.RGB:
        return "RGB"
    full_size = all(view.log2_width == view.log2_height == 0 for view in views(info.format))
    return "YUV" if info.colour.matrix is Matrix.RGB and full_size else "Y"


def kept_channel(info: FrameInfo, view: View) -> int:
    """Return which channel of a view stays as it is: alpha or padding; -1 if none does."""
    return next((k for k, name in enumerate(view.names) if name not in shape_channels(info)), -1)


def spare_columns(layout: PixelFormat, view: View, width: int) -> int:
    """Return how many elements a row has beyond the picture.

    Packed 4:2:2 of an odd width has one Y more.
    """
    return -width % (1 << layout.planes[view.plane].log2_width - view.log2_width)
