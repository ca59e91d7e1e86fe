"""Times as integers with a rational time base; nothing here is a float."""

from fractions import Fraction

__all__ = ["FrameClock", "rescale", "to_ticks"]


def rescale(ticks: int, source: Fraction, target: Fraction) -> int:
    """Return ``ticks`` of one time base in another, rounded to nearest, halves away from zero.

    The rounding is that of libav's ``AV_ROUND_NEAR_INF``.
    """
    return to_ticks(ticks * source, target)


def to_ticks(seconds: Fraction, time_base: Fraction) -> int:
    """Return exact seconds in ticks of a time base, rounded as `rescale` does."""
    value = seconds / time_base
    whole = (2 * abs(value.numerator) + value.denominator) // (2 * value.denominator)
    return whole if value >= 0 else -whole


class FrameClock:
    """Gives every frame a time stamp that increases, and counts what it had to mend.

    Parameters
    ----------
    step : int
        Ticks from one frame to the next, for frames that have no time stamp.

    Attributes
    ----------
    missing, repaired : int
        Frames without a time stamp, and frames whose time stamp did not increase.
    """

    def __init__(self, step: int) -> None:
        self._step = max(step, 1)
        self._last: int | None = None
        self.missing = 0
        self.repaired = 0

    def next(self, pts: int | None) -> int:
        """Return the time stamp to use for the next frame, in the same ticks."""
        if pts is None:
            self.missing += 1
            pts = 0 if self._last is None else self._last + self._step
        elif self._last is not None and pts <= self._last:
            self.repaired += 1
            pts = self._last + 1
        self._last = pts
        return pts
