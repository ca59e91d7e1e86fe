"""The timeline of a batch as a picture: who ran what when, or, of
many tries, how many ran at once and when some failed."""

from __future__ import annotations

import heapq
import math
import time
from array import array
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from transcode.batch.plot import Axis, Drawing
from transcode.quantity import count_text, seconds_text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from transcode.batch.journal import Attempt

__all__ = ["Tries", "is_bad", "timeline"]

_WIDTH = 1200
_LEFT, _RIGHT, _TOP = 52, 12, 20
_MOST_MARKS = 400
_MOST_LANES = 24
_LANE_LEFT, _MOST_LETTERS = 150, 22
_BINS = 240
_KINDS = {"good": "done", "bad": "failed", "open": "not ended"}
_STEPS = (1, 2, 5, 10, 30, 60, 120, 300, 600, 1800, 3600, 7200, 10800, 21600, 43200, 86400)


@dataclass
class Tries:
    """When tries began and ended, in seconds since 1970, some bytes each.

    Attributes
    ----------
    starts, ends : array of float
        By try, oldest first; one that goes on has no end: ``inf``.
    bad : bytearray
        By try: 1 where it failed.
    """

    starts: array[float] = field(default_factory=lambda: array("d"))
    ends: array[float] = field(default_factory=lambda: array("d"))
    bad: bytearray = field(default_factory=bytearray)

    def add(self, attempt: Attempt) -> None:
        """Take note of one."""
        self.starts.append(attempt.started)
        self.ends.append(math.inf if attempt.ended is None else attempt.ended)
        self.bad.append(is_bad(attempt))

    def __len__(self) -> int:
        return len(self.starts)

    @property
    def most_at_once(self) -> int:
        """How many went on at the same time, at most."""
        ends: list[float] = []
        most = 0
        for started, ended in zip(self.starts, self.ends, strict=True):
            while ends and ends[0] <= started:
                heapq.heappop(ends)
            heapq.heappush(ends, ended)
            most = max(most, len(ends))
        return most

    def busy(self, end: float) -> float:
        """Return the time that all took together, up to the end of the batch, in seconds."""
        pairs = zip(self.starts, self.ends, strict=True)
        return sum(max(min(ended, end) - started, 0.0) for started, ended in pairs)


def is_bad(attempt: Attempt) -> bool:
    """Whether a try ended, and not as asked; being stopped on request is no failure."""
    return attempt.kind not in ("", "done", "interrupted")


def timeline(
    tries: Tries,
    span: tuple[float, float],
    attempts: Iterable[Attempt],
    name_of: Callable[[str], str],
) -> str:
    """Return the picture; empty where there were no tries.

    Parameters
    ----------
    tries : Tries
        All that are to be drawn.
    span : pair of float
        From when to when, in seconds since 1970.
    attempts : iterable of Attempt
        The same; not asked for where they are too many to draw one by one.
    name_of : callable
        Takes the output of a job, and returns how to call it.
    """
    if not len(tries):
        return ""
    words = (
        f"{count_text(len(tries))} tries in {seconds_text(span[1] - span[0])}, "
        f"{count_text(sum(tries.bad))} of them failed; at most {tries.most_at_once} at once"
    )
    if len(tries) <= _MOST_MARKS:
        lanes: dict[str, list[Attempt]] = {}
        for attempt in attempts:
            # Who runs a try is written down at its end.
            lanes.setdefault(attempt.worker or f"? {attempt.output}", []).append(attempt)
        if len(lanes) <= _MOST_LANES:
            # By machine; tries of which nobody saw the end come last.
            names = sorted(lanes, key=lambda name: (name.startswith("? "), name))
            return _by_worker({name: lanes[name] for name in names}, span, name_of, words)
    return _all_together(tries, span, words)


def _by_worker(
    lanes: dict[str, list[Attempt]],
    span: tuple[float, float],
    name_of: Callable[[str], str],
    words: str,
) -> str:
    step = 24 if len(lanes) < 12 else 16
    bottom = _TOP + step * len(lanes) + 4
    size = {"width": _WIDTH, "height": bottom + 44, "left": _LANE_LEFT}
    drawing = Drawing("timeline", "Tries by worker", words, **size)
    x = Axis(*span, _LANE_LEFT, _WIDTH - _RIGHT)
    middles = [_TOP + step * (index + 0.5) + 2 for index in range(len(lanes))]
    drawing.y_axis(dict(zip(middles, map(_short, lanes), strict=True)), "worker (host:process)")
    for index, (kind, meaning) in enumerate(_KINDS.items()):
        at = _WIDTH - _RIGHT - 90 * (len(_KINDS) - index)
        drawing.rect(at, 2, 9, 9, f"{kind} key")
        drawing.text(at + 14, 11, meaning, anchor="start")
    for middle, attempts in zip(middles, lanes.values(), strict=True):
        for attempt in attempts:
            ended = span[1] if attempt.ended is None else attempt.ended
            left, right = x.at(attempt.started), x.at(ended)
            tip = (
                f"{name_of(attempt.output)}, try {attempt.number}: "
                f"{attempt.kind or 'no end seen'}, {seconds_text(ended - attempt.started)}"
            )
            width = max(right - left - 0.6, 0.8)
            drawing.rect(left, middle - step / 2 + 2, width, step - 4, _kind(attempt), tip)
    drawing.x_axis(_clock(x), bottom, f"time of day ({_zone(span[0])})")
    return str(drawing)


def _short(worker: str) -> str:
    """Return a worker's name that fits before its lane."""
    if worker.startswith("? "):
        return "no end seen"
    return worker if len(worker) <= _MOST_LETTERS else f"…{worker[1 - _MOST_LETTERS :]}"


def _kind(attempt: Attempt) -> str:
    if is_bad(attempt):
        return "bad"
    return "good" if attempt.kind == "done" else "open"


def _all_together(tries: Tries, span: tuple[float, float], words: str) -> str:
    """Draw how many ran at once, on average of each bit of time, and how many ended badly."""
    x = Axis(*span, _LEFT, _WIDTH - _RIGHT)
    busy, bad = _binned(tries, x)
    low, strip = 150, 40
    bottom = low + 14 + strip
    drawing = Drawing("timeline", "Tries at once", words, width=_WIDTH, height=bottom + 44)
    y = Axis(0, max(*busy, 1.0), low, _TOP + 4)
    drawing.y_axis({y.at(value): f"{value:g}" for value in y.ticks(4)}, "at once")
    edges = [x.at(x.value(index / _BINS)) for index in range(_BINS + 1)]
    corners = [(edges[0], y.at(0))]
    for index, value in enumerate(busy):
        corners += [(edges[index], y.at(value)), (edges[index + 1], y.at(value))]
    drawing.shape([*corners, (edges[-1], y.at(0))], "good area")
    most = max(bad)
    drawing.line(_LEFT, low, _WIDTH - _RIGHT, low, "axis")
    label = f"failed tries (tallest: {count_text(most)})" if most else "no try failed"
    drawing.text(_LEFT, low + 16, label, "label", "start")
    for index, count in enumerate(bad):
        if count:
            height = max((strip - 14) * count / most, 2)
            tip = f"{_at(x.value(index / _BINS), 1)}: {count_text(count)} failed"
            width = max(edges[index + 1] - edges[index] - 0.5, 1)
            drawing.rect(edges[index], bottom - height, width, height, "bad", tip)
    drawing.x_axis(_clock(x), bottom, f"time of day ({_zone(span[0])})")
    return str(drawing)


def _binned(tries: Tries, x: Axis) -> tuple[list[float], list[int]]:
    """Return how many tries ran at once in each bin, on average, and how many ended badly."""
    # A try covers the bins between its ends whole, as sums of +1 and -1 say, and those at its ends
    # in part.
    whole, parts = [0] * (_BINS + 1), [0.0] * (_BINS + 1)
    bad = [0] * _BINS
    for started, ended, is_wrong in zip(tries.starts, tries.ends, tries.bad, strict=True):
        first, last = x.share(started) * _BINS, x.share(ended) * _BINS
        a, b = int(first), int(last)
        if a == b:
            parts[a] += last - first
        else:
            parts[a] += a + 1 - first
            parts[b] += last - b
            whole[a + 1] += 1
            whole[b] -= 1
        bad[min(b, _BINS - 1)] += is_wrong
    busy, covering = [], 0
    for index in range(_BINS):
        covering += whole[index]
        busy.append(max(covering + parts[index], 0.0))
    return busy, bad


def _clock(x: Axis) -> dict[float, str]:
    """Return round times of the day, by where they stand."""
    span = x.high - x.low
    step = next(
        (step for step in _STEPS if span / step <= 12), 86400 * math.ceil(span / 86400 / 12)
    )
    offset = time.localtime(x.low).tm_gmtoff
    first = math.ceil((x.low + offset) / step) * step - offset
    return {x.at(at): _at(at, step) for at in range(int(first), int(x.high) + 1, step)}


def _at(seconds: float, step: int) -> str:
    at = time.localtime(seconds)
    if step >= 86400 or (step >= 3600 and at.tm_hour == 0):
        return time.strftime("%d %b", at)
    return time.strftime("%H:%M" if step >= 60 else "%H:%M:%S", at)


def _zone(seconds: float) -> str:
    return time.strftime("UTC%z", time.localtime(seconds))
