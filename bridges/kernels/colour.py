"""The arithmetic between the codes of any format and 16-bit RGB, in integers.

Point kernels work on R'G'B' codes of 0 to 65535 in full range. All conversions are affine maps
``(sum(weight * code) + bias) >> fraction`` whose bias holds the half that makes the shift round
half up. Signals and codes are those of ITU-T H.273 clause 8.3: luma and R, G, B of n bits stand for
``(code - black) / span`` with black 0 and span ``2**n - 1`` in full range, ``16 * 2**(n-8)`` and
``219 * 2**(n-8)`` in limited range; chroma for ``(code - 2**(n-1)) / span`` with span ``2**n - 1``
and ``224 * 2**(n-8)``. Y', Cb and Cr are those of H.273 equations 38 to 40::

    Y' = Kr R' + Kg G' + Kb B'     Cb = (B' - Y') / (2 - 2 Kb)     Cr = (R' - Y') / (2 - 2 Kr)
"""

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from bridges.errors import FormatError
from bridges.formats import ColourModel
from bridges.frame import FrameInfo, Matrix, assumed_matrix
from bridges.kernels.weights import WEIGHTS, by_primaries, weights_for

__all__ = ["WHITE", "Affine", "alpha_from_rgb", "alpha_to_rgb", "from_rgb", "to_rgb", "yuv_matrix"]

WHITE = 65535
"""The code of a full signal in R, G, B and alpha of point kernels."""

_NARROW_BITS = 12
"""Up to this depth, sums fit 32 bits with an error below a hundredth of a code."""


_HDR_TRANSFERS = (16, 18)
"""PQ and HLG (ITU-T H.273 table 3), which ITU-R BT.2100 has with the matrix of BT.2020 alone."""


@dataclass(frozen=True, slots=True)
class Affine:
    """``(sum(weight * code) + bias) >> fraction``.

    Attributes
    ----------
    weights : tuple of int
        One for each code that goes in.
    bias : int
        With the half that makes it round, where there are fractional bits.
    fraction : int
        Fractional bits.
    wide : bool
        Whether the sum needs 64 bits; otherwise it fits 32, whatever its parts do on the way.
    """

    weights: tuple[int, ...]
    bias: int
    fraction: int
    wide: bool

    def reaches(self, highest: Sequence[int]) -> tuple[int, int]:
        """Return the least and the greatest result for codes of 0 to ``highest``."""
        parts = [weight * code for weight, code in zip(self.weights, highest, strict=True)]
        low, high = (sum(limit(0, part) for part in parts) for limit in (min, max))
        return (low + self.bias) >> self.fraction, (high + self.bias) >> self.fraction


def _from_codes(
    weights: Sequence[Fraction], zeros: Sequence[int], fraction: int, wide: bool
) -> Affine:
    """Return what weights the distances of codes from their zeros; at all zeros it is exactly 0."""
    if not any(zeros) and all(weight.denominator == 1 for weight in weights):
        return Affine(tuple(map(int, weights)), 0, 0, False)
    rounded = tuple(round(weight * (1 << fraction)) for weight in weights)
    zero = sum(weight * code for weight, code in zip(rounded, zeros, strict=True))
    return Affine(rounded, (1 << fraction - 1) - zero, fraction, wide)


def _to_code(weights: Sequence[Fraction], zero: int, fraction: int, wide: bool) -> Affine:
    """Return what adds weighted signals to the code of zero; green makes their sum exact."""
    if len(weights) == 1 and weights[0].denominator == 1:
        return Affine((int(weights[0]),), zero, 0, False)
    rounded = [round(weight * (1 << fraction)) for weight in weights]
    if len(rounded) == 3:
        rounded[1] = round(sum(weights) * (1 << fraction)) - rounded[0] - rounded[2]
    return Affine(tuple(rounded), (zero << fraction) + (1 << fraction - 1), fraction, wide)


def yuv_matrix(info: FrameInfo) -> tuple[Matrix, str]:
    """Return the matrix of a YUV picture, and in words what was assumed of it; often nothing.

    Raises
    ------
    FormatError
        The picture is tagged with a matrix that is none of Kr and Kb alone.
    """
    matrix = info.colour.matrix
    if matrix in WEIGHTS and matrix is not Matrix.BT2020_CL:
        return matrix, ""
    if matrix is not Matrix.UNSPECIFIED:
        raise FormatError(
            f"a {info.format.name} picture tagged with matrix {matrix.name} cannot become RGB by "
            "weights alone; convert it first, for example with --vf scale=out_color_matrix=bt709"
        )
    assumed = by_primaries(info.colour.primaries) or assumed_matrix(info)
    if info.colour.transfer in _HDR_TRANSFERS and info.colour.primaries == 2:
        assumed = Matrix.BT2020_NCL
    return assumed, f"untagged YUV taken as {WEIGHTS[assumed][1]}"


def to_rgb(info: FrameInfo, chroma_bits: int = 0) -> tuple[Affine, ...]:
    """Return what makes R, G and B of a picture's codes.

    Parameters
    ----------
    info : FrameInfo
        The picture's format, range and matrix.
    chroma_bits : int
        Fractional bits that chroma comes with, where it is interpolated.

    Returns
    -------
    tuple of Affine
        For RGB and gray one, which takes one code; for YUV three, for R, G and B, which take Y, U
        and V.

    Raises
    ------
    FormatError
        The picture's matrix is none of Kr and Kb alone.
    """
    matrix = yuv_matrix(info)[0] if info.format.model is ColourModel.YUV else None
    return _to_rgb(info.format.bits, info.is_full_range, matrix, chroma_bits)


@functools.lru_cache(256)
def _to_rgb(bits: int, full: bool, matrix: Matrix | None, chroma_bits: int) -> tuple[Affine, ...]:
    black, span, chroma_span = _spans(bits, full)
    luma = Fraction(WHITE, span)
    if matrix is None:
        wide = bits > _NARROW_BITS and (black != 0 or luma.denominator != 1)
        return (_from_codes([luma], [black], 24 if wide else 14, wide),)
    red, green, blue = WEIGHTS[matrix][0]
    unit = Fraction(WHITE, chroma_span << chroma_bits)
    middle = 1 << bits - 1 + chroma_bits
    wide = bits + chroma_bits > _NARROW_BITS
    parts = [
        (Fraction(0), 2 * (1 - red) * unit),
        (-2 * blue * (1 - blue) / green * unit, -2 * red * (1 - red) / green * unit),
        (2 * (1 - blue) * unit, Fraction(0)),
    ]
    fraction = 24 if wide else 13
    zeros = black, middle, middle
    return tuple(_from_codes([luma, u, v], zeros, fraction, wide) for u, v in parts)


def _spans(bits: int, full: bool) -> tuple[int, int, int]:
    """Return the black level, the span of luma and the span of chroma."""
    if full:
        return 0, (1 << bits) - 1, (1 << bits) - 1
    return 16 << bits - 8, 219 << bits - 8, 224 << bits - 8


def alpha_to_rgb(bits: int) -> Affine:
    """Return what makes 16-bit alpha of a code of ``bits``; alpha is always in full range."""
    return _to_rgb(bits, True, None, 0)[0]


def alpha_from_rgb(bits: int) -> Affine:
    """Return what makes a code of ``bits`` of 16-bit alpha."""
    return _from_rgb(bits, True, ColourModel.RGB, (Fraction(0), Fraction(1), Fraction(0)))[0]


def from_rgb(info: FrameInfo) -> tuple[Affine, ...]:
    """Return what makes a picture's codes of R, G and B.

    Returns
    -------
    tuple of Affine
        For RGB one, which takes one code; for gray one and for YUV three, for Y, U and V, which
        take R, G and B. Equal R, G and B become exactly neutral.

    Raises
    ------
    FormatError
        The picture's matrix is none of Kr and Kb alone.
    """
    model = info.format.model
    is_yuv = model is ColourModel.YUV
    weights = WEIGHTS[yuv_matrix(info)[0]][0] if is_yuv else weights_for(info)[0]
    return _from_rgb(info.format.bits, info.is_full_range, model, weights)


@functools.lru_cache(256)
def _from_rgb(
    bits: int, full: bool, model: ColourModel, weights: tuple[Fraction, Fraction, Fraction]
) -> tuple[Affine, ...]:
    black, span, chroma_span = _spans(bits, full)
    luma = Fraction(span, WHITE)
    if model is ColourModel.RGB:
        wide = bits > _NARROW_BITS and luma != 1
        return (_to_code([luma], black, 32 if wide else 30 - bits, wide),)
    wide = bits > 10
    fraction = 32 if wide else 30 - bits
    made = [_to_code([luma * weight for weight in weights], black, fraction, wide)]
    if model is ColourModel.YUV:
        red, _, blue = weights
        chroma = Fraction(chroma_span, WHITE)
        for own, scale in ((2, 2 - 2 * blue), (0, 2 - 2 * red)):
            parts = [
                ((1 if index == own else 0) - weight) / scale * chroma
                for index, weight in enumerate(weights)
            ]
            made.append(_to_code(parts, 1 << bits - 1, fraction, wide))
    return tuple(made)
