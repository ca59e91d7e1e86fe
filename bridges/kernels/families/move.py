"""Where crop, pad, flip, rotate and transpose move the pixels of a picture to."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from bridges.errors import FormatError, KernelError
from bridges.formats import PIXEL_FORMATS, PixelFormat, Plane
from bridges.frame import FrameInfo
from bridges.kernels.families.solid import solid

__all__ = ["Move", "is_packed", "move_of"]


@dataclass(frozen=True, slots=True)
class Move:
    """Where each pixel of a target is in the source.

    That of column ``x`` and row ``y`` is ``x + self.x`` and ``y + self.y``, counted from the
    source's last column or row where it is mirrored. Where it is transposed, ``x`` goes along the
    source's rows, ``y`` along its columns.

    Attributes
    ----------
    target : FrameInfo
        What the picture becomes.
    x, y : int
        In pixels; negative where the target has a border.
    transposed, mirror_x, mirror_y : bool
        Whether rows and columns change places; whether the source's columns, its rows, are read
        from the last on.
    """

    target: FrameInfo
    x: int = 0
    y: int = 0
    transposed: bool = False
    mirror_x: bool = False
    mirror_y: bool = False


def is_packed(layout: PixelFormat) -> bool:
    """Whether an element of the first plane is two pixels, as in packed 4:2:2."""
    return layout.planes[0].log2_width > 0


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


_MOVES: dict[str, Callable[..., Move]] = {
    "crop": _crop,
    "pad": _pad,
    "flip": _flip,
    "rotate": _rotate,
    "transpose": _transpose,
}


def move_of(name: str, info: FrameInfo, /, **values: Any) -> Move:
    """Return what a kernel of the family does with a picture.

    Raises
    ------
    FormatError
        The picture's size or format does not allow it.
    KernelError
        A parameter is wrong.
    """
    return _MOVES[name](info, **values)


def _turned(layout: PixelFormat) -> PixelFormat:
    """Return the format whose chroma samples are as high as those of ``layout`` are wide."""

    def find(planes: tuple[Plane, ...]) -> PixelFormat | None:
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
    whole = find(tuple(map(Plane, names)))
    raise FormatError(
        f"no pixel format holds {layout.name} after a quarter turn, whose chroma samples would be "
        f"higher than wide; convert to {whole.name if whole else 'yuv444p'} first"
    )
