"""Resizing: which samples an output is made of, and by what they are weighted.

Samples of an axis lie at the centres of pixels: output ``x`` of ``n`` lies at
``(x + 0.5) * r - 0.5`` of a source of ``m = r * n``. A plane that has a sample for ``s`` pixels has
those in the middle of them, which leaves the formula as it is, or where the first of them lies:
then output ``x`` lies at ``((s * x + 0.5) * r - 0.5) / s``. Beyond its ends a picture repeats them.
"""

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from bridges.errors import KernelError
from bridges.frame import FrameInfo
from bridges.kernels.launch import Launch, Plane, Table
from bridges.kernels.recipe import Planes
from bridges.kernels.views import View, views

if TYPE_CHECKING:
    from bridges.kernels.kernel import Kernel

__all__ = [
    "Axis",
    "Scaling",
    "aspect",
    "columns",
    "compute",
    "in_place",
    "launches",
    "note",
    "output",
    "scaling",
    "written",
]

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


def columns(view: View, info: FrameInfo) -> int:
    """Return how many elements of a view lie in a row: of packed 4:2:2 always an even number."""
    plane = info.format.planes[view.plane]
    return -(-info.width >> plane.log2_width) * (len(plane.channels) // view.step)


def output(_kernel: "Kernel", info: FrameInfo, /, **values: Any) -> FrameInfo:
    """Return the picture of the new size; everything else stays.

    Raises
    ------
    KernelError
        Neither width nor height is given, or the samples of an output are too many.
    """
    width, height = values["width"], values["height"]
    if not width and not height:
        raise KernelError("resize needs a width, a height or both: width=1280")
    # The other side, rounded half up, and at least one.
    width = width or max(1, (2 * height * info.width + info.height) // (2 * info.height))
    height = height or max(1, (2 * width * info.height + info.width) // (2 * info.width))
    target = replace(info, width=width, height=height)
    for view in views(info.format):
        _runs(view, target, scaling(view, info, target, **values))
    return target


def aspect(
    _kernel: "Kernel", source: FrameInfo, target: FrameInfo, ratio: Fraction, /, **_values: Any
) -> Fraction:
    """Return the shape of pixels with which the picture keeps its own."""
    return ratio * Fraction(source.width * target.height, source.height * target.width)


def note(_kernel: "Kernel", info: FrameInfo, /, **values: Any) -> str:
    """Return where chroma is taken to lie; nothing where it lies on luma."""
    if not any(view.log2_width for view in views(info.format)):
        return ""
    return f"chroma sited {values['siting']} (assumed)"


def written(_kernel: "Kernel", target: FrameInfo, /) -> tuple[int, ...]:
    """Return all planes."""
    return tuple(range(len(target.format.planes)))


def in_place(_kernel: "Kernel", _source: FrameInfo, _target: FrameInfo, /) -> bool:
    """Return False: outputs read what others would have written."""
    return False


def launches(
    kernel: "Kernel", source: FrameInfo, target: FrameInfo, aligned: bool, /, **values: Any
) -> tuple[Launch, ...]:
    """Return how the portable source is compiled and called: once for each view."""
    return tuple(
        _launch(kernel, view, source, target, aligned, scaling(view, source, target, **values))
        for view in views(source.format)
    )


_ITEMS = 128
"""Of a group: enough for a GPU to hide its memory behind."""

_RUNS = 4
"""Runs of a group, at most. Items of a processor do one each, and hold it in the nearest cache."""

_LOCAL = 32768
"""Bytes of local memory that every GPU has."""

_OUTPUTS = 8192
"""Samples of the target that a group makes, at most."""

_PERIOD = 16
"""Outputs times channels that are written out, at most."""

_COLUMNS = 64
"""Of a row for which it is worth to compile its own ratio."""


def _launch(
    kernel: "Kernel",
    view: View,
    source: FrameInfo,
    target: FrameInfo,
    aligned: bool,
    numbers: Scaling,
) -> Launch:
    layout, across = source.format, numbers.across
    columns_in, rows_in = view.size(source.width, source.height)
    count, rows = columns(view, target), view.size(target.width, target.height)[1]
    planes = Plane("target", view.plane), Plane("source", view.plane)
    halves = (columns_in, rows_in, count % 2) == (2 * count, 2 * rows, 0)
    if aligned and halves and layout.dtype.itemsize == view.step == 1 and numbers.halves:
        return Launch(
            source=kernel.source,
            entry=f"{kernel.name}_halves",
            arguments=(*planes, np.uint32(count // 2), np.uint32(rows)),
            size=(count // 2, rows),
            macros=(("HALVES", 1),),
        )
    runs, width = _runs(view, target, numbers)
    weights, fraction = _reduced(across.rounded(numbers.fraction), numbers.fraction)
    down, down_fraction = _reduced(numbers.down.rounded(numbers.fraction), numbers.fraction)
    kept = min(numbers.kept, down_fraction)
    passes, nbytes = numbers.passes, _nbytes(view, numbers, count)
    macros = {
        "BYTES": layout.dtype.itemsize,
        "WORDS": int(aligned and layout.dtype.itemsize == 2),
        "CHANNELS": view.channels,
        "STEP": view.step,
        "TAPS": across.taps,
        "DOWN_TAPS": -(-down.shape[1] // passes),
        "PARTS": int(passes > 1),
        "WIDE": int(numbers.wide),
        "RUNS": runs,
        "ITEMS": _ITEMS,
        "RUN_ROOM": _room(across.span(width) * view.channels, nbytes),
        "GROUP_ROOM": _room(across.span(runs * width) * view.channels, nbytes),
        "OUTPUTS": _room(width * view.channels, 4),
        "SHORT": int(_is_short(view, across, count)),
    }
    if macros["SHORT"]:
        macros |= {
            "PERIOD": across.period,
            "ADVANCE": across.advance,
            "PHASE": across.phase,
            "DIVISOR": across.divisor,
            "DOWN_SHIFT": down_fraction - kept,
            "SHIFT": fraction + kept,
            "SIGNED": int(min(weights.min(), down.min()) < 0),
        }
    weight_type = np.int32 if numbers.wide else np.int16
    each = np.arange(count) % across.period
    down_rows, down_weights = _passes(numbers.down, down, rows, rows_in, passes)
    return Launch(
        source=kernel.source,
        entry=kernel.name,
        arguments=(
            *planes,
            Table(np.ascontiguousarray(weights[each].T, weight_type)),
            Table(across.starts(count).astype(np.int32)),
            Table(down_weights.astype(weight_type)),
            Table(down_rows.astype(np.uint32)),
            *map(np.uint32, (passes, columns_in, count, width, view.offset, layout.shift)),
            np.int32((1 << layout.bits) - 1),
            *map(np.uint32, (down_fraction - kept, fraction + kept)),
        ),
        size=(-(-count // (runs * width)) * _ITEMS, rows),
        macros=tuple(macros.items()),
        group=(_ITEMS, 1),
    )


def _passes(
    down: Axis, weights: Weights, rows: int, rows_in: int, passes: int
) -> tuple[Weights, Weights]:
    """Return the source rows of each row and their weights; what fills a pass weighs nothing."""
    found = np.zeros((2, rows, passes * -(-down.taps // passes)), np.int64)
    found[0, :, : down.taps] = down.sources(rows, rows_in)
    found[1, :, : down.taps] = weights[np.arange(rows) % down.period]
    return found[0], found[1]


def _reduced(weights: Weights, fraction: int) -> tuple[Weights, int]:
    """Return weights without the low bits that none has set: sums are as exact, and smaller."""
    found = int(np.bitwise_or.reduce(weights, axis=None))
    spare = (found & -found).bit_length() - 1
    return weights >> spare, fraction - spare


def _is_short(view: View, across: Axis, count: int) -> bool:
    return across.period * view.channels <= _PERIOD and count >= _COLUMNS


def _nbytes(view: View, numbers: Scaling, count: int) -> int:
    """Return how much memory a sum takes, and that of the passes so far."""
    kept = 2 if _is_short(view, numbers.across, count) and not numbers.wide else 4
    return kept + (numbers.passes > 1) * (8 if numbers.wide else 4)


def _room(samples: int, nbytes: int) -> int:
    """Return a room for so many samples; few different ones, since each is compiled anew."""
    return min(max(256, 1 << (samples - 1).bit_length()), _LOCAL // nbytes)


def _runs(view: View, target: FrameInfo, numbers: Scaling) -> tuple[int, int]:
    """Return how many runs a group has, and of how many outputs: an even number, whole periods.

    Raises
    ------
    KernelError
        The samples that two outputs are made of do not fit local memory.
    """
    across, count = numbers.across, columns(view, target)
    step = math.lcm(2, across.period) if _is_short(view, across, count) else 2
    nbytes = _nbytes(view, numbers, count)
    held = _LOCAL // (nbytes * view.channels) - 1 - across.taps
    most = min(held * across.divisor // across.advance, _OUTPUTS // view.channels) // step * step
    if most < step:
        raise KernelError(
            f"resize to {target.width} columns takes {across.taps} samples for each, which do not "
            "fit local memory; resize in two steps"
        )
    runs = min(_RUNS, most // step)
    most -= most % (runs * step)
    groups = -(-count // most)
    return runs, -(-count // (runs * groups * step)) * step


def compute(
    _kernel: "Kernel",
    planes: Planes,
    source: FrameInfo,
    target: FrameInfo,
    out: Planes,
    /,
    **values: Any,
) -> None:
    """Fill all planes by the reference."""
    from bridges.kernels import reference

    made = reference.resize(planes, source, target, **values)
    for plane, samples in zip(out, made, strict=True):
        plane[...] = samples
