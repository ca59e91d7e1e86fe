"""Which samples an output of a resized picture is made of, and by what they are weighted.

Samples of an axis lie at the centres of pixels: output ``x`` of ``n`` lies at
``(x + 0.5) * r - 0.5`` of a source of ``m = r * n``. A plane that has a sample for ``s`` pixels has
those in the middle of them, which leaves the formula as it is, or where the first of them lies:
then output ``x`` lies at ``((s * x + 0.5) * r - 0.5) / s``. Beyond its ends a picture repeats them.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["FILTERS", "Axis", "Weights"]

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
