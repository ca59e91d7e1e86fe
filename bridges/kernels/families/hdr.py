"""HDR and SDR television in float64: signals, light, and what makes the one of the other.

A signal is R', G' or B' from 0 to 1. Light is in cd/m2 on a display, or from 0 to 1 of a scene. The
constants are exact; arrays go in and come out as ``float64``.
"""

import math
from collections.abc import Sequence
from fractions import Fraction

import numpy as np
import numpy.typing as npt

__all__ = [
    "PQ_PEAK",
    "Array",
    "bt1886_signal",
    "eetf",
    "hlg_gamma",
    "hlg_scene",
    "pq_light",
    "pq_signal",
    "primaries_matrix",
]

Array = npt.NDArray[np.float64]

PQ_PEAK = 10000
"""The light of a full PQ signal, in cd/m2 (SMPTE ST 2084)."""

_M1 = Fraction(2610, 16384)
_M2 = Fraction(2523, 4096) * 128
_C1 = Fraction(3424, 4096)
_C2 = Fraction(2413, 4096) * 32
_C3 = Fraction(2392, 4096) * 32
"""SMPTE ST 2084:2014; ITU-R BT.2100-2 table 4."""

_HLG_A = Fraction("0.17883277")
_HLG_B = 1 - 4 * _HLG_A
_HLG_C = 0.5 - float(_HLG_A) * math.log(4 * _HLG_A)
"""ITU-R BT.2100-2 table 5."""

_WHITE = Fraction("0.3127"), Fraction("0.3290")
_BT2020 = (
    (Fraction("0.708"), Fraction("0.292")),
    (Fraction("0.170"), Fraction("0.797")),
    (Fraction("0.131"), Fraction("0.046")),
)
_BT709 = (
    (Fraction("0.640"), Fraction("0.330")),
    (Fraction("0.300"), Fraction("0.600")),
    (Fraction("0.150"), Fraction("0.060")),
)
"""Chromaticities x and y of red, green and blue, and of D65: ITU-R BT.2020-2 table 3 and ITU-R
BT.709-6 item 1.3; ITU-T H.273 table 2."""

Matrix = tuple[tuple[Fraction, ...], ...]


def pq_light(signal: npt.ArrayLike) -> Array:
    """Return the light of a PQ signal in cd/m2: the EOTF of SMPTE ST 2084 (BT.2100-2 table 4)."""
    root = np.power(np.asarray(signal, np.float64), float(1 / _M2))
    ratio = np.maximum(root - float(_C1), 0) / (float(_C2) - float(_C3) * root)
    return PQ_PEAK * np.power(ratio, float(1 / _M1))


def pq_signal(light: npt.ArrayLike) -> Array:
    """Return the PQ signal of light in cd/m2: the inverse EOTF of SMPTE ST 2084."""
    power = np.power(np.asarray(light, np.float64) / PQ_PEAK, float(_M1))
    ratio = (float(_C1) + float(_C2) * power) / (1 + float(_C3) * power)
    return np.power(ratio, float(_M2))


def hlg_scene(signal: npt.ArrayLike) -> Array:
    """Return the light of a scene, 0 to 1, of an HLG signal.

    The inverse OETF of BT.2100-2 table 5, of a display whose black is 0 (beta 0).
    """
    given = np.asarray(signal, np.float64)
    upper = (np.exp((given - _HLG_C) / float(_HLG_A)) + float(_HLG_B)) / 12
    return np.where(given <= 0.5, given**2 / 3, upper)


def hlg_gamma(peak: float) -> float:
    """Return the system gamma of an HLG display of this peak, in cd/m2.

    BT.2100-2 table 5, note 5f, has ``1.2 + 0.42 log10(peak / 1000)`` for 400 to 2000 cd/m2; Report
    ITU-R BT.2390-10 clause 6.2 extends it to other peaks as ``1.2 * 1.111**log2(peak / 1000)``.
    """
    if 400 <= peak <= 2000:
        return 1.2 + 0.42 * math.log10(peak / 1000)
    return float(1.2 * 1.111 ** math.log2(peak / 1000))


def eetf(signal: npt.ArrayLike, peak: float, target: float) -> Array:
    """Return what becomes of a PQ signal on a display that is less bright than the mastering one.

    Report ITU-R BT.2390-8 clause 5.4.1 (from 2021 on annex 5 of Report ITU-R BT.2408),
    where both displays have black at 0: all stays below the knee ``1.5 * highest - 0.5``, and from
    there a Hermite spline leads to the target's peak, which it reaches without slope. Whatever is
    brighter than ``peak`` becomes the target's peak.

    Parameters
    ----------
    signal : array_like
        PQ, 0 to 1.
    peak, target : float
        The peaks of both displays, in cd/m2.
    """
    white = float(pq_signal(peak))
    given = np.minimum(np.asarray(signal, np.float64) / white, 1)
    highest = float(pq_signal(target)) / white
    if highest >= 1:
        return given * white
    knee = 1.5 * highest - 0.5
    t = np.maximum(given - knee, 0) / (1 - knee)
    spline = (
        (2 * t**3 - 3 * t**2 + 1) * knee
        + (t**3 - 2 * t**2 + t) * (1 - knee)
        + (3 * t**2 - 2 * t**3) * highest
    )
    return np.where(given < knee, given, spline) * white


def bt1886_signal(light: npt.ArrayLike) -> Array:
    """Return the SDR signal of light from 0 to 1 of white.

    The inverse of the EOTF of ITU-R BT.1886 annex 1, of a display whose black is 0.
    """
    return np.power(np.asarray(light, np.float64), 1 / 2.4)


def primaries_matrix() -> Matrix:
    """Return what makes linear light of BT.709's primaries of that of BT.2020's; exact.

    ITU-R BT.2087-0 makes its opposite the same way; both have the same white.
    """
    return _product(_inverse(_to_xyz(_BT709)), _to_xyz(_BT2020))


def _to_xyz(primaries: Sequence[tuple[Fraction, Fraction]]) -> Matrix:
    """Return the columns XYZ of red, green and blue, which add up to white (SMPTE RP 177)."""
    columns = [(x / y, Fraction(1), (1 - x - y) / y) for x, y in primaries]
    rows = tuple(zip(*columns, strict=True))
    x, y = _WHITE
    white = ((x / y,), (Fraction(1),), ((1 - x - y) / y,))
    scales = _product(_inverse(rows), white)
    return tuple(
        tuple(each * scale[0] for each, scale in zip(row, scales, strict=True)) for row in rows
    )


def _product(left: Matrix, right: Matrix) -> Matrix:
    return tuple(
        tuple(
            sum((a * b for a, b in zip(row, column, strict=True)), Fraction(0))
            for column in zip(*right, strict=True)
        )
        for row in left
    )


def _inverse(matrix: Matrix) -> Matrix:
    """Return the inverse of three by three numbers: cofactors over the determinant."""

    def cofactor(i: int, j: int) -> Fraction:
        a, b, c, d = (
            matrix[(i + down) % 3][(j + across) % 3]
            for down, across in ((1, 1), (1, 2), (2, 1), (2, 2))
        )
        return a * d - b * c

    determinant = sum((matrix[0][j] * cofactor(0, j) for j in range(3)), Fraction(0))
    return tuple(tuple(cofactor(j, i) / determinant for j in range(3)) for i in range(3))
