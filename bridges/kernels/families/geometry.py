"""Kernels that move samples without changing them: crop, pad, flip, rotate and transpose."""

from dataclasses import replace
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from bridges.errors import FormatError, KernelError
from bridges.formats import PIXEL_FORMATS, PixelFormat
from bridges.formats import Plane as FormatPlane
from bridges.frame import FrameInfo
from bridges.kernels.families.move import Move, is_packed, launches_of
from bridges.kernels.families.solid import assumed, solid
from bridges.kernels.launch import Launch
from bridges.kernels.recipe import Planes

if TYPE_CHECKING:
    from bridges.kernels.kernel import Kernel

__all__ = ["aspect", "compute", "in_place", "launches", "move_of", "note", "output", "written"]


def _grid(layout: PixelFormat) -> tuple[int, int]:
    """Return the columns and rows of pixels that the widest chroma sample covers."""
    return (
        1 << max(plane.log2_width for plane in layout.planes),
        1 << max(plane.log2_height for plane in layout.planes),
    )


def _crop(info: FrameInfo, *, x: int, y: int, width: int, height: int) -> Move:
    width, height = width or info.width - x, height or info.height - y
    if min(x, y) < 0 or min(width, height) < 1:
        raise FormatError(
            f"a crop of {width}x{height} at ({x}, {y}) is not within {info.width}x{info.height}; "
            "begin at (0, 0) or behind it and take one pixel or more"
        )
    if x + width > info.width or y + height > info.height:
        raise FormatError(
            f"a crop of {width}x{height} at ({x}, {y}) ends at ({x + width}, {y + height}), "
            f"beyond the picture's {info.width}x{info.height}; take less"
        )
    steps = _grid(info.format)
    for axis, start, length, whole, step in zip(
        ("columns", "rows"), (x, y), (width, height), (info.width, info.height), steps, strict=True
    ):
        end = start + length
        if start % step or (end % step and end != whole):
            raise FormatError(
                f"a crop to {axis} {start} to {end} cuts through a chroma sample of "
                f"{info.format.name}; begin and end at multiples of {step}"
            )
    return Move(replace(info, width=width, height=height), x, y)


def _pad(info: FrameInfo, *, left: int, top: int, right: int, bottom: int, colour: str) -> Move:
    solid(colour, info)  # Refuses what is no colour.
    for side, size, step in zip(("left", "top"), (left, top), _grid(info.format), strict=True):
        if size % step:
            raise FormatError(
                f"pad adds {size} at the {side}, which moves the chroma samples of "
                f"{info.format.name} off their grid; add a multiple of {step}"
            )
    width, height = left + info.width + right, top + info.height + bottom
    return Move(replace(info, width=width, height=height), -left, -top)


def _flip(info: FrameInfo, *, direction: str) -> Move:
    return Move(info, mirror_x=direction != "vertical", mirror_y=direction != "horizontal")


def _rotate(info: FrameInfo, *, angle: int) -> Move:
    if angle == 180:
        return Move(info, mirror_x=True, mirror_y=True)
    if angle not in (90, 270):
        raise KernelError(f"rotate turns by 90, 180 or 270 degrees, not {angle}")
    # A quarter turn clockwise shows the left column, from the bottom up, as the first row.
    return replace(_transpose(info), mirror_x=angle == 270, mirror_y=angle == 90)


def _transpose(info: FrameInfo) -> Move:
    made = _turned(info.format)
    return Move(replace(info, format=made, width=info.height, height=info.width), transposed=True)


_MOVES = {"crop": _crop, "pad": _pad, "flip": _flip, "rotate": _rotate, "transpose": _transpose}


def move_of(name: str, info: FrameInfo, /, **values: Any) -> Move:
    """Return what a kernel of the family does with a picture.

    Raises
    ------
    FormatError
        The picture's size or format does not allow it.
    KernelError
        A parameter is wrong.
    """
    made: Move = _MOVES[name](info, **values)  # type: ignore[operator]
    return made


def _turned(layout: PixelFormat) -> PixelFormat:
    """Return the format whose chroma samples are as high as those of ``layout`` are wide."""

    def find(planes: tuple[FormatPlane, ...]) -> PixelFormat | None:
        like = layout.model, layout.bits, layout.shift, layout.full_range, planes
        for each in PIXEL_FORMATS.values():
            if (each.model, each.bits, each.shift, each.full_range, each.planes) == like:
                return each
        return None

    turned = tuple(
        replace(plane, log2_width=plane.log2_height, log2_height=plane.log2_width)
        for plane in layout.planes
    )
    if turned == layout.planes:
        return layout
    made = None if is_packed(layout) else find(turned)
    if made is not None:
        return made
    names = ("Y", "U", "V") if is_packed(layout) else [plane.channels for plane in layout.planes]
    whole = find(tuple(map(FormatPlane, names)))
    raise FormatError(
        f"no pixel format holds {layout.name} after a quarter turn, whose chroma samples would be "
        f"higher than wide; convert to {whole.name if whole else 'yuv444p'} first"
    )


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


def written(_kernel: "Kernel", target: FrameInfo, /) -> tuple[int, ...]:
    """Return all planes."""
    return tuple(range(len(target.format.planes)))


def in_place(_kernel: "Kernel", _source: FrameInfo, _target: FrameInfo, /) -> bool:
    """Return False: samples would be overwritten before they are read."""
    return False


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
    made = getattr(reference, kernel.name)(planes, source, target, **values)
    for plane, samples in zip(out, made, strict=True):
        plane[...] = samples
