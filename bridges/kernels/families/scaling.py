"""Which samples an output of a resized picture is made of, and by what they are weighted.

Samples of an axis lie at the centres of pixels: output ``x`` of ``n`` lies at
``(x + 0.5) * r - 0.5`` of a source of ``m = r * n``. A plane that has a sample for ``s`` pixels has
those in the middle of them, which leaves the formula as it is, or where the first of them lies:
then output ``x`` lies at ``((s * x + 0.5) * r - 0.5) / s``. Beyond its ends a picture repeats them.
"""

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from bridges.frame import FrameInfo
from bridges.kernels.views import View

__all__ = ["FILTERS", "Axis", "Scaling", "Weights", "scaling"]

Reals = npt.NDArray[np.float64]
Weights = npt.NDArray[np.int64]


def _bilinear(distance: Reals) -> Reals:
    triangle: Reals = np.maximum(0, 1 - np.abs(distance))
    return triangle


def _bicubic(distance: Reals) -> Reals:
    x = np.abs(distance)
    inner, outer = (1.5 * x - 2.5) * x * x + 1, ((-0.5 * x + 2.5) * x - 4) * x + 2
    return np.where(x < 1, inner, np.where(x < 2, outer, 0))


def _lanczos(distance: Reals) -> Reals:
    lobes: Reals = np.where(np.abs(distance) < 3, np.sinc(distance) * np.sinc(distance / 3), 0)
    return lobes


FILTERS: dict[str, tuple[Callable[[Any], Reals], int]] = {
    "bilinear": (_bilinear, 1),
    "bicubic": (_bicubic, 2),
    "lanczos": (_lanczos, 3),
}
"""The weight by distance in samples, and the distance where it ends. Bicubic is R. Keys, "Cubic
convolution interpolation for digital image processing" (1981), with a = -0.5, of third order;
Lanczos is C. Duchon, "Lanczos filtering in one and two dimensions" (1979), of three lobes."""


@dataclass(frozen=True, eq=False)
class Axis:
    """What each output of an axis is made of: ``sum(weight[x % period] * sample[first(x) + t])``.

    Attributes
    ----------
    first : int
        The source sample of the first tap of output 0; it may lie before the picture.
    advance, phase, divisor : int
        That of output ``x`` lies ``(x * advance + phase) // divisor`` later.
    weights : numpy.ndarray
        ``(period, taps)``, real numbers whose rows add up to one.
    """

    first: int
    advance: int
    phase: int
    divisor: int
    weights: Reals

    @property
    def period(self) -> int:
        """After how many outputs the weights repeat."""
        return len(self.weights)

    @property
    def taps(self) -> int:
        """How many samples make an output."""
        return len(self.weights[0])

    def starts(self, count: int) -> Weights:
        """Return the first source samples of ``count`` outputs; they may lie beyond the ends."""
        found: Weights = (np.arange(count) * self.advance + self.phase) // self.divisor
        return found + self.first

    def sources(self, count: int, end: int) -> Weights:
        """Return the source samples of ``count`` outputs, ``(count, taps)``, all below ``end``."""
        found: Weights = np.clip(self.starts(count)[:, None] + np.arange(self.taps), 0, end - 1)
        return found

    def span(self, count: int) -> int:
        """Return how many source samples so many neighbouring outputs need, at most."""
        return (count - 1) * self.advance // self.divisor + 1 + self.taps

    def rounded(self, fraction: int) -> Weights:
        """Return the weights as integers of so many fractional bits, whose sums are exactly one.

        Each is one of its two neighbours: those nearest to the next integer are rounded up.
        """
        exact = np.ldexp(self.weights, fraction)
        found: Weights = np.floor(exact).astype(np.int64)
        missing = (1 << fraction) - found.sum(1)
        order = np.argsort(found - exact, axis=1, kind="stable")
        found += np.argsort(order, axis=1, kind="stable") < missing[:, None]
        return found

    def error(self, fraction: int) -> float:
        """Return by how much of the highest code rounded weights change an output, at most."""
        off = self.rounded(fraction) - np.ldexp(self.weights, fraction)
        return float(np.ldexp(np.abs(off).sum(1).max() / 2, -fraction))


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
        ``filter``, ``antialias`` and ``siting``.
    """
    name, antialias = values["filter"], values["antialias"]
    sites = 1 << view.log2_width if values["siting"] == "left" else 1
    across = _axis(source.width, target.width, name, antialias, sites)
    down = _axis(source.height, target.height, name, antialias, 1)
    bits = source.format.bits
    # Codes, the bits that are kept and a sign are 15 bits; weights of up to 1.3 and their negative
    # share leave sums below 2**30.
    if bits <= 10 and max(across.error(14), down.error(14)) * (1 << bits) <= _ERROR:
        return Scaling(across, down, 14, 14 - bits)
    return Scaling(across, down, 22, 8)
