"""Plots as SVG, to stand in an HTML page: axes with units, histograms, clouds, bars.

Each is one string without references to anything outside. Colours are the page's: shapes have
classes. A picture says in words what it shows, for those who do not see it.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from html import escape
from itertools import pairwise
from statistics import median

from transcode.quantity import count_text
from transcode.text import printable

__all__ = ["Axis", "Drawing", "bars", "cloud", "histogram"]

Text = Callable[[float], str]
"""How a value of an axis is written."""

_WIDTH, _HEIGHT = 300, 210
_LEFT, _RIGHT, _TOP, _BOTTOM = 52, 12, 12, 44
_WIDE_RANGE = 20.0
"""Values that differ by more than this factor get a logarithmic axis."""
_BINS = 24
_MOST_DOTS = 400
_CELLS = (40, 26)


class Axis:
    """Where values lie between two ends of a picture.

    Parameters
    ----------
    low, high : float
        The least and the greatest value; widened where they are one.
    start, end : float
        Where those lie in the picture.
    is_log : bool
        Whether factors lie equally far apart, and not differences.
    """

    def __init__(
        self, low: float, high: float, start: float, end: float, *, is_log: bool = False
    ) -> None:
        if high <= low:
            low, high = (low * 0.8, low * 1.25) if low > 0 else (low, low + 1)
        self.low, self.high, self.is_log = low, high, is_log
        self._start, self._end = start, end

    @classmethod
    def around(cls, values: Sequence[float], start: float, end: float) -> Axis:
        """Return an axis for some values, logarithmic where they differ widely."""
        low, high = min(values), max(values)
        is_log = low > 0 and high / low > _WIDE_RANGE
        return cls(low, high, start, end, is_log=is_log)

    def share(self, value: float) -> float:
        """Return how far along a value is, 0 to 1; of one beyond an end, that end."""
        if self.is_log:
            share = math.log(max(value, self.low) / self.low) / math.log(self.high / self.low)
        else:
            share = (value - self.low) / (self.high - self.low)
        return min(max(share, 0.0), 1.0)

    def at(self, value: float) -> float:
        """Return where a value lies in the picture."""
        return self._start + self.share(value) * (self._end - self._start)

    def value(self, share: float) -> float:
        """Return the value that is so far along, 0 to 1."""
        if self.is_log:
            return self.low * math.exp(share * math.log(self.high / self.low))
        return self.low + share * (self.high - self.low)

    def ticks(self, count: int = 5) -> list[float]:
        """Return about so many round values."""
        if self.is_log:
            decades = range(math.floor(math.log10(self.low)), math.ceil(math.log10(self.high)) + 1)
            fine = [digit * 10.0**power for power in decades for digit in (1, 2, 5)]
            fine = [value for value in fine if self.low <= value <= self.high]
            if len(fine) <= count + 2:
                return fine
            powers = [10.0**power for power in decades if self.low <= 10.0**power <= self.high]
            return powers[:: math.ceil(len(powers) / (count + 2))]
        rough = (self.high - self.low) / count
        power = 10.0 ** math.floor(math.log10(rough))
        step = next(power * digit for digit in (1, 2, 5, 10) if power * digit >= rough * 0.999)
        first = math.ceil(self.low / step - 1e-9)
        last = math.floor(self.high / step + 1e-9)
        return [index * step for index in range(first, last + 1)]


class Drawing:
    """A picture under way.

    Parameters
    ----------
    name : str
        What tells it from the page's other pictures.
    title, description : str
        What it shows, and the numbers of it that matter.
    width, height : int
        Its size, in units of its own.
    left : int
        Room for what is written at the left axis.
    """

    def __init__(
        self,
        name: str,
        title: str,
        description: str,
        *,
        width: int = _WIDTH,
        height: int = _HEIGHT,
        left: int = _LEFT,
    ) -> None:
        self._width, self._left = width, left
        self._parts = [
            f'<svg role="img" class="{name}" aria-labelledby="{name}-title {name}-desc" '
            f'viewBox="0 0 {width} {height}">',
            f'<title id="{name}-title">{escape(title)}</title>',
            f'<desc id="{name}-desc">{escape(description)}</desc>',
        ]

    def rect(
        self, x: float, y: float, width: float, height: float, kind: str, tip: str = "", **more: str
    ) -> None:
        """Draw a rectangle; ``tip`` is shown to who points at it."""
        extra = "".join(f' {name.replace("_", "-")}="{value}"' for name, value in more.items())
        shape = (
            f'<rect class="{kind}" x="{x:.1f}" y="{y:.1f}" '
            f'width="{width:.1f}" height="{height:.1f}"{extra}'
        )
        inner = f"><title>{escape(printable(tip))}</title></rect>" if tip else "/>"
        self._parts.append(shape + inner)

    def line(self, x1: float, y1: float, x2: float, y2: float, kind: str) -> None:
        """Draw a line."""
        self._parts.append(
            f'<line class="{kind}" x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"/>'
        )

    def shape(self, points: Sequence[tuple[float, float]], kind: str) -> None:
        """Draw a shape by its corners."""
        corners = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        self._parts.append(f'<polygon class="{kind}" points="{corners}"/>')

    def text(self, x: float, y: float, words: str, kind: str = "", anchor: str = "middle") -> None:
        """Write something."""
        of = f' class="{kind}"' if kind else ""
        self._parts.append(
            f'<text{of} x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">'
            f"{escape(printable(words))}</text>"
        )

    def x_axis(self, ticks: Mapping[float, str], y: float, label: str) -> None:
        """Draw the lower axis: words by where they stand."""
        for x, words in ticks.items():
            self.line(x, y, x, y + 4, "axis")
            is_last = x > self._width - _RIGHT - 24
            self.text(min(x, self._width - 2), y + 16, words, anchor="end" if is_last else "middle")
        self.line(self._left, y, self._width - _RIGHT, y, "axis")
        self.text((self._left + self._width - _RIGHT) / 2, y + 34, label, "label")

    def y_axis(self, ticks: Mapping[float, str], label: str) -> None:
        """Draw the left axis, with lines across the picture."""
        for y, words in ticks.items():
            self.line(self._left, y, self._width - _RIGHT, y, "grid")
            self.text(self._left - 6, y + 4, words, anchor="end")
        self.text(2, _TOP - 2, label, "label", "start")

    def __str__(self) -> str:
        return "\n".join([*self._parts, "</svg>\n"])


def histogram(name: str, title: str, values: Sequence[float], label: str, text: Text) -> str:
    """Return a histogram, with the median marked; empty where there are no values.

    Parameters
    ----------
    name, title : str
        Of the picture.
    values : sequence of float
        One of each job.
    label : str
        What they are, with their unit.
    text : callable
        How one is written.
    """
    if not values:
        return ""
    x = Axis.around(values, _LEFT, _WIDTH - _RIGHT)
    counts = Counter(min(int(x.share(value) * _BINS), _BINS - 1) for value in values)
    bottom = _HEIGHT - _BOTTOM
    y = Axis(0, max(counts.values()), bottom, _TOP + 12)
    middle = median(values)
    words = (
        f"{count_text(len(values))} jobs: least {text(min(values))}, median {text(middle)}, "
        f"most {text(max(values))}"
    )
    drawing = Drawing(name, title, words)
    drawing.y_axis({y.at(n): count_text(n) for n in y.ticks(4) if n == int(n)}, "jobs")
    for index in sorted(counts):
        low, high = x.value(index / _BINS), x.value((index + 1) / _BINS)
        left, right, top = x.at(low), x.at(high), y.at(counts[index])
        tip = f"{text(low)} to {text(high)}: {count_text(counts[index])} jobs"
        drawing.rect(left + 0.5, top, max(right - left - 1, 1), bottom - top, "good", tip)
    drawing.line(x.at(middle), _TOP + 4, x.at(middle), bottom, "median")
    is_left = x.share(middle) > 0.6
    drawing.text(
        x.at(middle) + (-4 if is_left else 4),
        _TOP + 12,
        f"median {text(middle)}",
        "strong",
        "end" if is_left else "start",
    )
    drawing.x_axis({x.at(value): text(value) for value in x.ticks()}, bottom, label)
    return str(drawing)


def cloud(
    name: str,
    title: str,
    pairs: tuple[Sequence[float], Sequence[float]],
    labels: tuple[str, str],
    text: Text,
) -> str:
    """Return a point for each pair of values, on equal axes; empty where there are none.

    Many points become cells, the darker the more lie in one.

    Parameters
    ----------
    name, title : str
        Of the picture.
    pairs : pair of sequences of float
        Across and up; both above 0.
    labels : pair of str
        What they are, with their units.
    text : callable
        How one is written.
    """
    across, up = pairs
    if not across:
        return ""
    bottom = _HEIGHT - _BOTTOM
    x = Axis.around(across, _LEFT, _WIDTH - _RIGHT)
    y = Axis.around(up, bottom, _TOP + 6)
    less = sum(b < a for a, b in zip(across, up, strict=True))
    words = (
        f"{count_text(len(up))} jobs; of {count_text(less)} the output is smaller than the source"
    )
    drawing = Drawing(name, title, words)
    drawing.y_axis({y.at(value): text(value) for value in y.ticks(4)}, labels[1])
    for left, top, width, height, share, tip in _marks(across, up, x, y, text):
        drawing.rect(left, top, width, height, "good", tip, fill_opacity=f"{share:.2f}")
    low, high = max(x.low, y.low), min(x.high, y.high)
    if low < high:
        steps = [low * (high / low) ** (i / 16) for i in range(17)]
        for a, b in pairwise(steps):
            drawing.line(x.at(a), y.at(a), x.at(b), y.at(b), "median")
        middle = steps[11]
        drawing.text(x.at(middle) - 6, y.at(middle) - 6, "same size", "strong", "end")
    drawing.x_axis({x.at(value): text(value) for value in x.ticks(2)}, bottom, labels[0])
    return str(drawing)


def _marks(
    across: Sequence[float], up: Sequence[float], x: Axis, y: Axis, text: Text
) -> Iterator[tuple[float, float, float, float, float, str]]:
    """Yield place, size, opacity and words of each mark."""
    if len(up) <= _MOST_DOTS:
        for a, b in zip(across, up, strict=True):
            yield x.at(a) - 2.5, y.at(b) - 2.5, 5, 5, 0.55, f"{text(a)} > {text(b)}"
        return
    columns, rows = _CELLS
    counts = Counter(
        (min(int(x.share(a) * columns), columns - 1), min(int(y.share(b) * rows), rows - 1))
        for a, b in zip(across, up, strict=True)
    )
    most = max(counts.values())
    for (column, row), count in sorted(counts.items()):
        left, right = x.at(x.value(column / columns)), x.at(x.value((column + 1) / columns))
        top, bottom = y.at(y.value((row + 1) / rows)), y.at(y.value(row / rows))
        share = 0.2 + 0.8 * math.log1p(count) / math.log1p(most)
        yield left, top, right - left, bottom - top, share, f"{count_text(count)} jobs"


def bars(name: str, title: str, values: Mapping[str, float], text: Text) -> str:
    """Return one bar for each value, with its name and share of all; empty where there are none.

    Parameters
    ----------
    name, title : str
        Of the picture.
    values : mapping of str to float
        By name, from top to bottom.
    text : callable
        How one is written.
    """
    total = sum(values.values())
    if not total:
        return ""
    height = 28 * len(values) + 16
    words = ", ".join(f"{of} {text(value)}" for of, value in values.items())
    drawing = Drawing(name, title, printable(words), height=height)
    x = Axis(0, max(values.values()), 60, _WIDTH - 100)
    for index, (of, value) in enumerate(values.items()):
        y = 8 + 28 * index
        drawing.text(54, y + 15, of, anchor="end")
        drawing.rect(60, y + 2, max(x.at(value) - 60, 1), 18, "good")
        share = f"{text(value)}  ({100 * value / total:.0f} %)"
        drawing.text(x.at(value) + 6, y + 15, share, "strong", "start")
    return str(drawing)
