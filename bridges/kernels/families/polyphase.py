"""The coefficients of `polyphase`: tables of 64 phases of 12 taps, as XMA's scalers take them.

Integers of 16 bits with 12 bits of fraction: the taps of a phase add up to 4096. The position of an
output is rounded to the nearest 1/64 of a sample, half up; phase ``p`` weighs the samples around
``k + p / 64``, and its taps those from ``k - 5`` to ``k + 6``. The layout is that of ``h_coeff0``
and ``v_coeff0`` of ``xmascaler.h`` (XRT 2.13).

``bilinear``, ``bicubic`` and ``lanczos`` are the filters of that name of
`bridges.kernels.families.axis`. ``auto`` is one of four sets, for each axis by itself: ``bicubic``,
widened as far as the picture shrinks, to 1, 3/2, 2 or 3 times, which is as far as 12 taps reach;
what shrinks further is undersampled. Anything else is the path of a text file: 64 lines of 12
integers for both axes, or 64 for the columns and then 64 for the rows. Commas are spaces, and what
follows a ``#`` is left out.
"""

import functools
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from bridges.errors import KernelError
from bridges.kernels.families.axis import FILTERS, Axis, Weights
from bridges.kernels.families.file import read_once

__all__ = [
    "ONE",
    "PHASES",
    "TAPS",
    "Coefficients",
    "check_coefficients",
    "coefficients",
    "polyphase_axis",
    "sums_note",
]

PHASES, TAPS = 64, 12
ONE = 1 << 12
"""What the taps of a phase add up to."""

_BEFORE = 5
"""Taps before the sample that a position lies at or behind."""

_TOLERANCE = ONE // 64
"""By how much the sum of a phase may be off. That of XRT's own default tables is, by a few."""

_MOST = 2 * ONE - 1
"""What the magnitudes of a phase may add up to, so that 16 bits hold sums of codes."""

_WIDENINGS = (1.0, 1.5, 2.0, 3.0)
"""Of ``auto``."""

_LONGEST_LINE = 1024

Rows = list[list[int]]


@dataclass(frozen=True, eq=False)
class Coefficients:
    """A table; each is itself alone, so that what is made of it can be kept.

    Attributes
    ----------
    array : numpy.ndarray
        ``(64, 12)`` of int16.
    """

    array: npt.NDArray[np.int16]


class _Phases(Axis):
    """An axis whose weights have 12 bits of fraction, and are not made to add up to one."""

    def rounded(self, fraction: int) -> Weights:
        """Return the weights as integers of so many fractional bits, 12 or more."""
        return np.ldexp(self.weights, fraction).astype(np.int64)


@functools.lru_cache(maxsize=256)
def polyphase_axis(source: int, target: int, table: Coefficients, sites: int) -> Axis:
    """Return the axis of two sizes in pixels; ``sites`` is ``s`` where chroma lies left, or 1."""
    common = math.gcd(source, target)
    period_in, period = source // common, target // common
    # 1/128 of a sample is added to positions, so that the phase below is the nearest.
    advance, divisor = 128 * sites * period_in, 128 * sites * period
    start, phase = divmod(64 * (period_in - period) + sites * period, divisor)
    phases = (np.arange(period) * advance + phase) % divisor * PHASES // divisor
    weights = table.array[phases] / ONE
    used = np.flatnonzero(weights.any(0))
    low, high = used[0], used[-1] + 1
    return _Phases(start - _BEFORE + int(low), advance, phase, divisor, weights[:, low:high])


def coefficients(
    name: str, width_ratio: float, height_ratio: float
) -> tuple[Coefficients, Coefficients]:
    """Return the tables for columns and for rows.

    Parameters
    ----------
    name : str
        That of a set, or the path of a file.
    width_ratio, height_ratio : float
        Samples of the source for one of the target.

    Raises
    ------
    KernelError
        There is no such file, or it holds no such tables; the message tells the line.
    """
    if name == "auto":
        return _widened(width_ratio), _widened(height_ratio)
    if name in FILTERS:
        return _made(name, 1.0), _made(name, 1.0)
    return _read(name)


def _widened(ratio: float) -> Coefficients:
    widening = next((each for each in _WIDENINGS if ratio <= each), _WIDENINGS[-1])
    return _made("bicubic", widening)


@functools.cache
def _made(name: str, widening: float) -> Coefficients:
    """Return the table of a filter; coefficients are rounded so that phases add up exactly."""
    taps = np.arange(-_BEFORE, TAPS - _BEFORE)
    distances = taps - np.arange(PHASES)[:, None] / PHASES
    weights = FILTERS[name][0](distances / widening)
    weights /= weights.sum(1, keepdims=True)
    integers = Axis(0, 1, 0, 1, weights).rounded(12)
    return Coefficients(integers.astype(np.int16))


@read_once
def _read(path: str) -> tuple[Coefficients, Coefficients]:
    try:
        with open(path, encoding="utf-8-sig", errors="replace") as file:
            rows = [
                row
                for number, line in enumerate(iter(lambda: file.readline(_LONGEST_LINE), ""), 1)
                if (row := _row(line, f"{path}:{number}"))
            ]
    except OSError as error:
        reason = error.strerror or str(error)
        there = ", ".join(["auto", *FILTERS])
        raise KernelError(
            f"coefficients are {there} or a file, and {path} cannot be read: {reason}"
        ) from error
    if len(rows) not in (PHASES, 2 * PHASES):
        raise KernelError(
            f"{path}: expected {PHASES} or {2 * PHASES} lines of {TAPS} integers, found {len(rows)}"
        )
    tables = [check_coefficients(part, path) for part in (rows[:PHASES], rows[-PHASES:])]
    return Coefficients(tables[0]), Coefficients(tables[1])


def _row(line: str, place: str) -> list[int]:
    words = line.split("#")[0].replace(",", " ").split()
    try:
        row = list(map(int, words))
    except ValueError:
        row = []
    if words and len(row) != TAPS:
        raise KernelError(f"{place}: expected {TAPS} integers, found {line.strip()[:60]!r}")
    return row


def check_coefficients(table: Any, what: str) -> npt.NDArray[np.int16]:
    """Return a table as integers of 16 bits.

    Parameters
    ----------
    table : array_like
        ``(64, 12)`` of integers.
    what : str
        What it is, for messages.

    Raises
    ------
    KernelError
        It has another shape, numbers that are no integers, or phases whose sum or magnitudes are
        beyond what the arithmetic holds.
    """
    array = np.asarray(table)
    if array.shape != (PHASES, TAPS) or array.dtype.kind not in "iu":
        raise KernelError(
            f"{what}: coefficients are {PHASES} phases of {TAPS} integers, found an array of "
            f"{array.shape} of {array.dtype}"
        )
    exact = array.astype(object)
    sums, magnitudes = exact.sum(1), abs(exact).sum(1)
    for phase in range(PHASES):
        if abs(sums[phase] - ONE) > _TOLERANCE:
            raise KernelError(
                f"{what}: the taps of phase {phase} add up to {sums[phase]}; they have to make "
                f"{ONE}, give or take {_TOLERANCE}"
            )
        if magnitudes[phase] > _MOST:
            raise KernelError(
                f"{what}: the magnitudes of phase {phase} add up to {magnitudes[phase]}; they may "
                f"make {_MOST}"
            )
    return array.astype(np.int16)


def sums_note(name: str) -> str:
    """Return what the phases of a file add up to, where that is not one; otherwise nothing."""
    tables = coefficients(name, 1.0, 1.0)
    sums = np.concatenate([table.array.sum(1) for table in tables])
    if (sums == ONE).all():
        return ""
    return f"taps of a phase add up to {sums.min()} to {sums.max()}, where {ONE} keeps brightness"
