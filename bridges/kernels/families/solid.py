"""The codes of one colour in any format, for borders."""

import re
from collections.abc import Mapping
from fractions import Fraction
from math import floor
from types import MappingProxyType

from bridges.errors import KernelError
from bridges.formats import ColourModel
from bridges.frame import FrameInfo, Matrix
from bridges.kernels.colour import yuv_matrix
from bridges.kernels.weights import WEIGHTS, Weights, weights_for

__all__ = ["COLOURS", "assumed", "rgb", "solid"]

COLOURS: Mapping[str, str] = MappingProxyType(
    {
        "black": "#000000",
        "gray": "#808080",
        "white": "#ffffff",
        "red": "#ff0000",
        "lime": "#00ff00",
        "green": "#008000",
        "blue": "#0000ff",
        "yellow": "#ffff00",
        "cyan": "#00ffff",
        "magenta": "#ff00ff",
    }
)
"""Names as in CSS Color Module Level 4, section 6.1."""


def rgb(colour: str) -> tuple[Fraction, Fraction, Fraction]:
    """Return the signals R', G' and B' of a name or of ``#rrggbb``, from 0 to 1.

    Raises
    ------
    KernelError
        It is neither.
    """
    text = COLOURS.get(colour.lower(), colour)
    if not re.fullmatch("#[0-9a-fA-F]{6}", text):
        raise KernelError(f"{colour!r} is no colour; write #rrggbb or one of {', '.join(COLOURS)}")
    red, green, blue = (Fraction(int(text[k : k + 2], 16), 255) for k in (1, 3, 5))
    return red, green, blue


def _weights(colour: str, info: FrameInfo) -> tuple[Weights, str]:
    """Return Kr, Kg and Kb, and in words what was assumed of them; often nothing."""
    if len(set(rgb(colour))) == 1 or info.format.model is ColourModel.RGB or _holds_rgb(info):
        # Weights of any matrix add up to one: neutral colours are alike in all of them.
        return WEIGHTS[Matrix.BT709][0], ""
    if info.format.model is ColourModel.GRAY:
        weights, text = weights_for(info)
        text = text.removeprefix("the picture's own luma, ")
        return weights, "" if info.colour.matrix in WEIGHTS else f"gray weighted by {text}"
    matrix, text = yuv_matrix(info)
    return WEIGHTS[matrix][0], text


def _holds_rgb(info: FrameInfo) -> bool:
    """Whether a YUV format carries G, B and R, as matrix 0 of ITU-T H.273 table 4 has it."""
    return info.format.model is ColourModel.YUV and info.colour.matrix is Matrix.RGB


def assumed(colour: str, info: FrameInfo) -> str:
    """Return in words what `solid` assumes of a picture's matrix; nothing where it is told."""
    return _weights(colour, info)[1]


def solid(colour: str, info: FrameInfo) -> dict[str, int]:
    """Return the stored sample of each channel of a picture that shows one colour alone.

    Signals become codes by ITU-T H.273 clause 8.3, rounded half up: R, G, B and luma by
    ``219 * 2**(n-8) * E + 16 * 2**(n-8)`` in limited range and ``(2**n - 1) * E`` in full range,
    chroma by ``224 * 2**(n-8) * E + 2**(n-1)`` and ``(2**n - 1) * E + 2**(n-1)``. Y', Cb and Cr are
    those of its equations 38 to 40. Alpha is opaque, and so is padding.

    Parameters
    ----------
    colour : str
        A name of `COLOURS`, or ``#rrggbb`` in full-range R'G'B'.
    info : FrameInfo
        The picture's format, range and matrix.

    Returns
    -------
    dict
        By the letters of the format's channels.

    Raises
    ------
    KernelError
        It is no colour.
    FormatError
        The picture's matrix is none of Kr and Kb alone, and the colour is not neutral.
    """
    bits = info.format.bits
    unit, highest = Fraction(1 << bits, 256), (1 << bits) - 1
    full = info.is_full_range
    black, span, chroma_span = (
        (0, highest, highest) if full else (16 * unit, 219 * unit, 224 * unit)
    )
    red, green, blue = rgb(colour)
    kr, kg, kb = _weights(colour, info)[0]
    luma = kr * red + kg * green + kb * blue
    codes = {
        "R": black + span * red,
        "G": black + span * green,
        "B": black + span * blue,
        "Y": black + span * luma,
        "U": (1 << bits - 1) + chroma_span * (blue - luma) / (2 - 2 * kb),
        "V": (1 << bits - 1) + chroma_span * (red - luma) / (2 - 2 * kr),
        "A": Fraction(highest),
        "X": Fraction(highest),
    }
    if _holds_rgb(info):
        codes |= {"Y": codes["G"], "U": codes["B"], "V": codes["R"]}
    half = Fraction(1, 2)
    return {
        name: min(max(floor(code + half), 0), highest) << info.format.shift
        for name, code in codes.items()
    }
