"""Kernels that move samples without changing them: crop, pad, flip, rotate and transpose."""

from fractions import Fraction
from typing import TYPE_CHECKING, Any

from bridges.errors import FormatError
from bridges.frame import FrameInfo
from bridges.kernels.families.defaults import fill, in_place, written
from bridges.kernels.families.elements import launches_of
from bridges.kernels.families.move import Move, move_of
from bridges.kernels.families.solid import assumed, solid
from bridges.kernels.launch import Launch
from bridges.kernels.recipe import Planes

if TYPE_CHECKING:
    from bridges.kernels.kernel import Kernel

__all__ = ["aspect", "compute", "in_place", "launches", "note", "output", "written"]


def output(kernel: "Kernel", info: FrameInfo, /, **values: Any) -> FrameInfo:
    """Return the size of the moved picture, and its format: another for 4:2:2 turned by 90."""
    return move_of(kernel.name, info, **values).target


def aspect(
    kernel: "Kernel", source: FrameInfo, _target: FrameInfo, ratio: Fraction, /, **values: Any
) -> Fraction:
    """Return the shape of pixels, which a quarter turn turns as well."""
    return 1 / ratio if move_of(kernel.name, source, **values).transposed else ratio


def note(kernel: "Kernel", info: FrameInfo, /, **values: Any) -> str:
    """Return by which matrix a border's colour becomes YUV or gray, where that is assumed."""
    return assumed(values["colour"], info) if kernel.name == "pad" else ""


def _checked(kernel: "Kernel", source: FrameInfo, target: FrameInfo, values: Any) -> Move:
    move = move_of(kernel.name, source, **values)
    made = move.target
    if (target.format, target.width, target.height, target.is_full_range) != (
        made.format,
        made.width,
        made.height,
        made.is_full_range,
    ):
        raise FormatError(
            f"{kernel.name} moves samples and changes none: it makes {_words(made)} of "
            f"{_words(source)}, not {_words(target)}; convert before or after it"
        )
    return move


def _words(info: FrameInfo) -> str:
    span = "full" if info.is_full_range else "limited"
    return f"{info.format.name} {info.width}x{info.height} in {span} range"


def launches(
    kernel: "Kernel", source: FrameInfo, target: FrameInfo, aligned: bool, /, **values: Any
) -> tuple[Launch, ...]:
    """Return how the portable source is compiled and called for two pictures."""
    move = _checked(kernel, source, target, values)
    fill = solid(values["colour"], source) if kernel.name == "pad" else None
    return launches_of(kernel.source, move, source, fill, aligned)


def compute(
    kernel: "Kernel",
    planes: Planes,
    source: FrameInfo,
    target: FrameInfo,
    out: Planes,
    /,
    **values: Any,
) -> None:
    """Fill all planes by the reference."""
    from bridges.kernels import reference

    _checked(kernel, source, target, values)
    fill(out, getattr(reference, kernel.name)(planes, source, target, **values))
