"""yuv_to_rgb and rgb_to_yuv: pixels from one colour model to the other, with nothing between."""

from dataclasses import replace
from typing import Any

from bridges.errors import KernelError
from bridges.formats import PIXEL_FORMATS, ColourModel, PixelFormat
from bridges.frame import ColourRange, FrameInfo, Matrix
from bridges.kernels.colour import yuv_matrix
from bridges.kernels.families.defaults import in_place, written
from bridges.kernels.kernel import Kernel
from bridges.kernels.launch import Launch
from bridges.kernels.point import compute_chain, launch_chain
from bridges.kernels.recipe import Planes
from bridges.kernels.weights import matrix_for

__all__ = ["compute", "in_place", "launches", "note", "output", "written"]

_MATRICES = {
    "bt601": Matrix.SMPTE170M,
    "bt709": Matrix.BT709,
    "bt2020": Matrix.BT2020_NCL,
}


def output(kernel: Kernel, info: FrameInfo, /, *, format: str, **values: Any) -> FrameInfo:
    """Return the picture in the other colour model."""
    layout = _target(kernel, info.format, format)
    if layout.model is ColourModel.RGB:
        # The samples say no longer how they were coded; primaries and transfer stay.
        yuv_matrix(info)
        colour = replace(info.colour, matrix=Matrix.RGB, range=ColourRange.FULL)
        return replace(info, format=layout, colour=colour)
    matrix = matrix_for(info)[0] if values["matrix"] == "auto" else _MATRICES[values["matrix"]]
    full = values["range"] == "full" or layout.full_range
    colour_range = ColourRange.FULL if full else ColourRange.LIMITED
    return replace(
        info, format=layout, colour=replace(info.colour, matrix=matrix, range=colour_range)
    )


def _target(kernel: Kernel, source: PixelFormat, name: str) -> PixelFormat:
    if name != "auto":
        if name not in kernel.formats_written:
            raise KernelError(
                f"{kernel.name} does not write {name!r}; it writes "
                f"{' '.join(kernel.formats_written)}"
            )
        return PIXEL_FORMATS[name]
    depth = "" if source.bits == 8 else f"{source.bits}le"
    if kernel.name == "rgb_to_yuv":
        return PIXEL_FORMATS[
            f"yuv{'a' if source.has_alpha and source.bits in (8, 9, 10, 16) else ''}420p{depth}"
        ]
    if source.bits == 8:
        return PIXEL_FORMATS["rgba" if source.has_alpha else "rgb24"]
    alpha = "a" if source.has_alpha and source.bits != 9 else ""
    return PIXEL_FORMATS[f"gbr{alpha}p{depth}"]


def note(kernel: Kernel, info: FrameInfo, /, **values: Any) -> str:
    """Return what matrix was assumed."""
    if kernel.name == "yuv_to_rgb":
        return yuv_matrix(info)[1]
    return f"RGB written as {matrix_for(info)[1]}" if values["matrix"] == "auto" else ""


def launches(
    _kernel: Kernel,
    source: FrameInfo,
    target: FrameInfo,
    aligned: bool,
    /,
    *,
    siting: str,
    **_: Any,
) -> tuple[Launch, ...]:
    """Return how the entry points between formats are called."""
    return launch_chain([], source, target, aligned=aligned, siting=siting)


def compute(
    _kernel: Kernel,
    planes: Planes,
    source: FrameInfo,
    target: FrameInfo,
    out: Planes,
    /,
    *,
    siting: str,
    **_: Any,
) -> None:
    """Fill all planes by the reference."""
    compute_chain([], planes, source, target, out, siting=siting)
