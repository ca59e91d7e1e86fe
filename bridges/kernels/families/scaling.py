"""How far a view of a picture is resized along both axes, and in which integers."""

import functools
import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from bridges.frame import FrameInfo
from bridges.kernels.families.axis import FILTERS, Axis
from bridges.kernels.families.polyphase import coefficients, polyphase_axis
from bridges.kernels.views import View

__all__ = ["Scaling", "scaling"]


@functools.lru_cache(maxsize=256)
def _axis(source: int, target: int, name: str, antialias: bool, sites: int) -> Axis:
    """Return the axis of two sizes in pixels; ``sites`` is ``s`` where chroma lies left, or 1."""
    common = math.gcd(source, target)
    period_in, period = source // common, target // common
    advance, divisor = 2 * sites * period_in, 2 * sites * period
    function, radius = FILTERS[name]
    widened = max(1.0, source / target) if antialias else 1.0
    reach = math.ceil(radius * widened)
    start, phase = divmod(period_in - period, divisor)
    position = (np.arange(period) * advance + phase) % divisor / divisor
    taps = np.arange(1 - reach, reach + 1)
    weights = function((taps - position[:, None]) / widened)
    weights /= weights.sum(1, keepdims=True)
    # Taps that no output needs, such as the second of a picture made three times smaller.
    used = np.flatnonzero(np.abs(weights).max(0) > 1e-9)
    low, high = used[0], used[-1] + 1
    return Axis(start + int(taps[low]), advance, phase, divisor, weights[:, low:high])


@dataclass(frozen=True, eq=False)
class Scaling:
    """How a view of a picture is resized.

    Rows of sums are ``(sum(down * code) + half) >> fraction - kept``, and codes
    ``clamp((sum(across * that) + half) >> fraction + kept, 0, highest)``.

    Attributes
    ----------
    across, down : Axis
        Of the columns and the rows.
    fraction, kept : int
        Fractional bits of the weights, and of the sums between.
    """

    across: Axis
    down: Axis
    fraction: int
    kept: int

    @property
    def wide(self) -> bool:
        """Whether sums need 64 bits, and what is kept of them 32; otherwise 32 and 16."""
        return self.fraction > 14

    @property
    def halves(self) -> bool:
        """Whether every output is the mean of two by two samples."""
        axes = self.across, self.down
        return all(axis.first == 0 and axis.weights.tolist() == [[0.5, 0.5]] for axis in axes)

    @property
    def passes(self) -> int:
        """How often a row of sums is gone through, with at most 8 source rows each time."""
        return -(-self.down.taps // 8)


_ERROR = 1 / 8
"""Of a code: what the rounded weights of an axis may change. What is kept of the sums between adds
less than 1/16, so that an output is within 0.9 of the exact sum."""


def scaling(view: View, source: FrameInfo, target: FrameInfo, /, **values: Any) -> Scaling:
    """Return how a view of one picture becomes that of another.

    Parameters
    ----------
    view : View
        Of the format that both have.
    source, target : FrameInfo
        The sizes, and the depth.
    **values
        ``siting``, and ``filter`` and ``antialias`` or ``coefficients``.

    Raises
    ------
    KernelError
        The file of the coefficients holds no tables of them.
    """
    sites = 1 << view.log2_width if values["siting"] == "left" else 1
    if "coefficients" in values:
        return _polyphase(source, target, values["coefficients"], sites)
    name, antialias = values["filter"], values["antialias"]
    across = _axis(source.width, target.width, name, antialias, sites)
    down = _axis(source.height, target.height, name, antialias, 1)
    bits = source.format.bits
    # Codes, the bits that are kept and a sign are 15 bits; weights of up to 1.3 and their negative
    # share leave sums below 2**30.
    if bits <= 10 and max(across.error(14), down.error(14)) * (1 << bits) <= _ERROR:
        return Scaling(across, down, 14, 14 - bits)
    return Scaling(across, down, 22, 8)


def _polyphase(source: FrameInfo, target: FrameInfo, name: str, sites: int) -> Scaling:
    """Return the same by tables of coefficients, whose 12 bits of fraction are kept as they are."""
    across, down = coefficients(name, source.width / target.width, source.height / target.height)
    axes = (
        polyphase_axis(source.width, target.width, across, sites),
        polyphase_axis(source.height, target.height, down, 1),
    )
    bits = source.format.bits
    # The bounds of tables keep what is kept below 2**15, and sums below 2**29.
    return Scaling(*axes, 14, 14 - bits) if bits <= 10 else Scaling(*axes, 22, 8)
