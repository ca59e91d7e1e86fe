"""Kr, Kg and Kb: by what red, green and blue are weighted in the luma of a picture."""

from fractions import Fraction

from bridges.formats import ColourModel
from bridges.frame import FrameInfo, Matrix

__all__ = ["WEIGHTS", "Weights", "by_primaries", "matrix_for", "weights_for"]

Weights = tuple[Fraction, Fraction, Fraction]
"""Kr, Kg and Kb; they add up to one."""


def _weights(red: str, blue: str) -> Weights:
    return Fraction(red), 1 - Fraction(red) - Fraction(blue), Fraction(blue)


_BT601 = _weights("0.299", "0.114")
_BT2020 = _weights("0.2627", "0.0593")

WEIGHTS: dict[Matrix, tuple[Weights, str]] = {
    Matrix.BT709: (_weights("0.2126", "0.0722"), "BT.709"),
    Matrix.FCC: (_weights("0.30", "0.11"), "FCC"),
    Matrix.BT470BG: (_BT601, "BT.601"),
    Matrix.SMPTE170M: (_BT601, "BT.601"),
    Matrix.SMPTE240M: (_weights("0.212", "0.087"), "SMPTE 240M"),
    Matrix.BT2020_NCL: (_BT2020, "BT.2020"),
    Matrix.BT2020_CL: (_BT2020, "BT.2020"),
}
"""Kr, Kg, Kb by matrix: ITU-T H.273 table 4. They are those of ITU-R BT.709-6 item 3.2, of
47 CFR 73.682 (a)(20), of ITU-R BT.601-7 item 2.5.1, of SMPTE ST 240, of ITU-R BT.2020-2
table 4."""

_BY_PRIMARIES = {
    1: Matrix.BT709,
    4: Matrix.FCC,
    5: Matrix.BT470BG,
    6: Matrix.SMPTE170M,
    7: Matrix.SMPTE240M,
    9: Matrix.BT2020_NCL,
}
"""The matrix of the system that each set of primaries belongs to: ITU-T H.273 tables 2 and 4."""


def by_primaries(primaries: int) -> Matrix | None:
    """Return the matrix of the system that a set of primaries belongs to, if there is one."""
    return _BY_PRIMARIES.get(primaries)


def matrix_for(info: FrameInfo) -> tuple[Matrix, str]:
    """Return the matrix whose weights are those of a picture's luma, and in words where it is from.

    It is what the frame names, else that of its primaries, else BT.709.
    """
    colour = info.colour
    if colour.matrix in WEIGHTS:
        return colour.matrix, WEIGHTS[colour.matrix][1]
    matrix = by_primaries(colour.primaries)
    if matrix is not None:
        return matrix, f"{WEIGHTS[matrix][1]} (by its primaries)"
    untagged = colour.matrix in (Matrix.UNSPECIFIED, Matrix.RGB) and colour.primaries == 2
    return Matrix.BT709, f"BT.709 (assumed: {'untagged' if untagged else 'no weights tagged'})"


def weights_for(info: FrameInfo) -> tuple[Weights, str]:
    """Return the weights of a picture's gray, and in words where they come from.

    For RGB they are those of the matrix that the frame names, else of its primaries, else BT.709.
    YUV and gray pictures carry their luma already: the weights then only tell what it was made
    with.

    Returns
    -------
    weights : tuple of Fraction
        Kr, Kg, Kb.
    text : str
        Such as ``"BT.601"``, ``"BT.709 (assumed: untagged)"`` or ``"the picture's own luma"``.
    """
    matrix, text = matrix_for(info)
    if info.format.model is not ColourModel.RGB:
        text = f"the picture's own luma, {text}"
    return WEIGHTS[matrix][0], text
