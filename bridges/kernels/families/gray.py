"""The arithmetic of gray: integers that every runtime computes alike.

A code value ``c`` of n bits stands for the signal ``(c - black) / span``, where full range has
``black = 0, span = 2**n - 1`` and limited range ``black = 16 * 2**(n-8), span = 219 * 2**(n-8)``
(ITU-T H.273 clause 8.3; ITU-R BT.2100 table 9). Gray is
``Y' = Kr R' + Kg G' + Kb B'`` of the nonlinear signals.
"""

import functools
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np

from bridges.errors import FormatError
from bridges.formats import ColourModel, PixelFormat, pixel_format
from bridges.frame import ColourRange, FrameInfo, Matrix
from bridges.kernels.launch import Launch, Plane
from bridges.kernels.recipe import Planes
from bridges.kernels.weights import WEIGHTS, matrix_for, weights_for

if TYPE_CHECKING:
    from bridges.kernels.kernel import Kernel

__all__ = [
    "Coefficients",
    "channels",
    "coefficients",
    "compute",
    "in_place",
    "launches",
    "note",
    "output",
    "written",
]


@dataclass(frozen=True, slots=True)
class Coefficients:
    """``gray = clamp((sum(weight * code) + bias) >> fraction, 0, highest)``.

    Attributes
    ----------
    weights : tuple of int
        One for luma; three, in the order R, G, B, for RGB.
    bias : int
        The black levels of both ends, and the half that makes the shift round half up.
    fraction : int
        Fractional bits of ``weights`` and ``bias``.
    wide : bool
        Whether sums need 64 bits; otherwise all fit a signed 32-bit integer.
    highest : int
        The highest code of the target.
    identity : bool
        Whether every code stays what it is.
    """

    weights: tuple[int, ...]
    bias: int
    fraction: int
    wide: bool
    highest: int
    identity: bool


def coefficients(source: FrameInfo, target: FrameInfo) -> Coefficients:
    """Return the integers that turn a picture into gray.

    Weights are rounded to nearest, and that of green takes what is left, so that neutral codes
    are weighted exactly. Their error is below 1/40 of a target code, so that gray is the nearest
    code or, within that of a tie, its neighbour, and white is the peak.

    Parameters
    ----------
    source, target : FrameInfo
        Formats, ranges and, for RGB, the colour tags that choose the weights.

    Raises
    ------
    FormatError
        A YUV format is tagged with matrix 0: its planes hold G, B and R.
    """
    matrix = Matrix.UNSPECIFIED
    if source.format.model is ColourModel.RGB:
        matrix = matrix_for(source)[0]
    elif source.colour.matrix is Matrix.RGB and _is_444(source.format):
        raise FormatError(
            f"a {source.format.name} picture tagged with matrix 0 holds G, B and R, not luma; "
            "convert it to gbrp first or correct its tag"
        )
    return _coefficients(
        source.format.name, source.is_full_range, target.format.name, target.is_full_range, matrix
    )


def _is_444(layout: PixelFormat) -> bool:
    return len(layout.planes) > 1 and all(
        plane.log2_width == plane.log2_height == 0 for plane in layout.planes
    )


def _black_and_span(bits: int, full: bool) -> tuple[int, int]:
    return (0, (1 << bits) - 1) if full else (16 << bits - 8, 219 << bits - 8)


@functools.lru_cache(maxsize=256)
def _coefficients(
    source_name: str, source_full: bool, target_name: str, target_full: bool, matrix: Matrix
) -> Coefficients:
    source, target = pixel_format(source_name), pixel_format(target_name)
    black_in, span_in = _black_and_span(source.bits, source_full)
    black_out, span_out = _black_and_span(target.bits, target_full)
    # 32 bits hold the sums, whose highest is 255/219 of the target's peak, and leave weights with
    # an error below 3/2 * 2**(bits_in + bits_out - 30), which up to 24 bits is below 1/40.
    wide = source.bits + target.bits > 24
    fraction = 24 if wide else 30 - target.bits
    unit = Fraction(span_out << fraction, span_in)
    total = round(unit)
    weights: tuple[int, ...] = (total,)
    if source.model is ColourModel.RGB:
        red, _, blue = (round(unit * weight) for weight in WEIGHTS[matrix][0])
        weights = (red, total - red - blue, blue)
    return Coefficients(
        weights=weights,
        bias=(black_out << fraction) - total * black_in + (1 << fraction - 1),
        fraction=fraction,
        wide=wide,
        highest=(1 << target.bits) - 1,
        identity=source.model is not ColourModel.RGB
        and (source.bits, source_full) == (target.bits, target_full),
    )


def channels(layout: PixelFormat) -> tuple[tuple[int, int, int], ...]:
    """Return ``(plane, offset, step)`` of the channels that gray is made of: Y, or R, G and B."""
    names = "RGB" if layout.model is ColourModel.RGB else "Y"
    return tuple(layout.find(name) for name in names)


def note(_kernel: "Kernel", info: FrameInfo, /) -> str:
    """Return by which weights RGB becomes gray; nothing for a picture that has its luma."""
    if info.format.model is not ColourModel.RGB:
        return ""
    return f"gray weighted by {weights_for(info)[1]}"


def output(_kernel: "Kernel", info: FrameInfo, /) -> FrameInfo:
    """Return what `rgb_to_grayscale` makes of a picture by itself: gray of its depth and range.

    RGB becomes gray of the matrix whose weights it takes.
    """
    name = "gray" if info.format.bits == 8 else f"gray{info.format.bits}le"
    colour = replace(
        info.colour, range=ColourRange.FULL if info.is_full_range else ColourRange.LIMITED
    )
    if info.format.model is ColourModel.RGB:
        colour = replace(colour, matrix=matrix_for(info)[0])
    return replace(info, format=pixel_format(name), colour=colour)


def written(_kernel: "Kernel", _target: FrameInfo, /) -> tuple[int, ...]:
    """Return the luma plane alone."""
    return (0,)


def in_place(_kernel: "Kernel", source: FrameInfo, target: FrameInfo, /) -> bool:
    """Whether a picture may be its own target: its samples stay where and what size they are."""
    return source.format is target.format and source.format.model is not ColourModel.RGB


def launches(
    kernel: "Kernel", source: FrameInfo, target: FrameInfo, aligned: bool, /
) -> tuple[Launch, ...]:
    """Return how the portable source is compiled and called for two pictures."""
    numbers = coefficients(source, target)
    places = channels(source.format)
    planes = tuple(dict.fromkeys(plane for plane, _, _ in places))
    # CPU runtimes load up to four neighbouring words of each item well, and more than that badly.
    packed_16_bit = source.format.dtype.itemsize == 2 and places[0][2] > 1
    pixels = 2 if packed_16_bit else (8 if len(places) == 1 and places[0][2] == 1 else 4)
    weights = [*numbers.weights, 0, 0]
    bias = np.int64(numbers.bias) if numbers.wide else np.int32(numbers.bias)

    def launch(entry: str, first: int, columns: int) -> Launch:
        return Launch(
            source=kernel.source,
            entry=f"{kernel.name}_{entry}",
            arguments=(
                Plane("target", 0),
                *(Plane("source", plane) for plane in planes),
                *map(np.uint32, (first, columns, target.height, *weights[:3])),
                bias,
            ),
            size=(columns, target.height),
            macros=_macros(source, target, numbers, pixels),
        )

    width = target.width
    items, tail = divmod(width, pixels) if aligned else (0, width)
    made = [launch("words", 0, items)] if items else []
    if tail:
        made.append(launch("samples", width - tail, tail))
    return tuple(made)


def _macros(
    source: FrameInfo, target: FrameInfo, numbers: Coefficients, pixels: int
) -> tuple[tuple[str, int], ...]:
    places = channels(source.format)
    offsets = [offset for _, offset, _ in places] + [0, 0]
    macros = {
        "CHANNELS": len(places),
        "PLANES": len({plane for plane, _, _ in places}),
        "AT_0": offsets[0],
        "AT_1": offsets[1],
        "AT_2": offsets[2],
        "STEP": places[0][2],
        "IN_BYTES": source.format.dtype.itemsize,
        "IN_SHIFT": source.format.shift,
        "IN_MAX": (1 << source.format.bits) - 1,
        "OUT_BYTES": target.format.dtype.itemsize,
        "OUT_SHIFT": target.format.shift,
        "OUT_MAX": numbers.highest,
        "PIXELS": pixels,
        "FRACTION": numbers.fraction,
        "WIDE": int(numbers.wide),
    }
    return tuple(macros.items())


_ROWS = 32
"""Rows that the reference works on at a time: their sums stay in the processor's cache."""


def compute(
    _kernel: "Kernel", planes: Planes, source: FrameInfo, target: FrameInfo, out: Planes, /
) -> None:
    """Fill the first plane by the reference."""
    from bridges.kernels import reference

    read = {plane for plane, _, _ in channels(source.format)}
    for first in range(0, source.height, _ROWS):
        rows = slice(first, first + _ROWS)
        band = [plane[rows] if k in read else plane for k, plane in enumerate(planes)]
        out[0][rows] = reference.rgb_to_grayscale(band, source, target)
