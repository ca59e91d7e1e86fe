"""Resizing: how the passes over columns and rows are shared out among items and groups."""

import math
from dataclasses import replace
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import numpy as np

from bridges.errors import KernelError
from bridges.frame import FrameInfo
from bridges.kernels.families.axis import Axis, Weights
from bridges.kernels.families.defaults import check_form, in_place, written
from bridges.kernels.families.polyphase import sums_note
from bridges.kernels.families.samples import samples_source, shared_macros, spare_columns
from bridges.kernels.families.scaling import Scaling, scaling
from bridges.kernels.launch import Launch, Plane, Table
from bridges.kernels.recipe import Planes
from bridges.kernels.views import View, views

if TYPE_CHECKING:
    from bridges.kernels.kernel import Kernel

__all__ = ["aspect", "columns", "compute", "in_place", "launches", "note", "output", "written"]


def columns(view: View, info: FrameInfo) -> int:
    """Return how many elements of a view lie in a row: of packed 4:2:2 always an even number."""
    return view.size(info.width, info.height)[0] + spare_columns(info.format, view, info.width)


def output(kernel: "Kernel", info: FrameInfo, /, **values: Any) -> FrameInfo:
    """Return the picture of the new size; everything else stays.

    Raises
    ------
    KernelError
        Neither width nor height is given, the samples of an output are too many, or a file of
        coefficients is none.
    """
    width, height = values["width"], values["height"]
    if not width and not height:
        raise KernelError(f"{kernel.name} needs a width, a height or both: width=1280")
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
    """Return where chroma is taken to lie, if not on luma, and what coefficients add up to."""
    said = []
    if any(view.log2_width for view in views(info.format)):
        said.append(f"chroma sited {values['siting']} (assumed)")
    if "coefficients" in values:
        said.append(sums_note(values["coefficients"]))
    return "; ".join(filter(None, said))


def launches(
    kernel: "Kernel", source: FrameInfo, target: FrameInfo, aligned: bool, /, **values: Any
) -> tuple[Launch, ...]:
    """Return how the portable source is compiled and called: once for each view.

    Raises
    ------
    FormatError
        The target's format or range is not the source's.
    """
    check_form(kernel, source, target)
    made = []
    for view in views(source.format):
        numbers = scaling(view, source, target, **values)
        if aligned and _is_halved(view, source, target, numbers):
            made.append(_halve(kernel, view, target))
        else:
            made.append(_weigh(kernel, view, source, target, aligned, numbers))
    return tuple(made)


_ITEMS = 128
"""Of a group: enough for a GPU to hide its memory behind."""

_RUNS = 4
"""Runs of a group, at most. Items of a processor do one each, and hold it in the nearest cache."""

_LOCAL = 32768
"""Bytes of local memory that every device has: OpenCL 1.2, table 4.3, CL_DEVICE_LOCAL_MEM_SIZE."""

_OUTPUTS = 8192
"""Samples of the target that a group makes, at most."""

_PERIOD = 16
"""Outputs times channels that are written out, at most."""

_COLUMNS = 64
"""Of a row for which it is worth to compile its own ratio."""


def _is_halved(view: View, source: FrameInfo, target: FrameInfo, numbers: Scaling) -> bool:
    """Whether each output of a plane of bytes is the mean of two by two, in pairs of outputs."""
    count, rows = view.size(target.width, target.height)
    return (
        source.format.dtype.itemsize == view.step == 1
        and numbers.halves
        and count % 2 == 0
        and view.size(source.width, source.height) == (2 * count, 2 * rows)
    )


def _halve(kernel: "Kernel", view: View, target: FrameInfo) -> Launch:
    count, rows = view.size(target.width, target.height)
    return Launch(
        source=samples_source(kernel),
        entry="resize_halves",
        arguments=(
            Plane("target", view.plane),
            Plane("source", view.plane),
            *map(np.uint32, (count // 2, rows)),
        ),
        size=(count // 2, rows),
        macros=(("HALVES", 1),),
    )


def _weigh(
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
    runs, width = _runs(view, target, numbers)
    weights, fraction = _reduced(across.rounded(numbers.fraction), numbers.fraction)
    down, down_fraction = _reduced(numbers.down.rounded(numbers.fraction), numbers.fraction)
    kept, passes = min(numbers.kept, down_fraction), numbers.passes
    shifts = down_fraction - kept, fraction + kept
    # Where an element begins is an argument, so that the views of a plane share their code.
    macros = shared_macros(layout, view, aligned) | {
        "OFFSET": 0,
        "TAPS": across.taps,
        "DOWN_TAPS": -(-down.shape[1] // passes),
        "PARTS": int(passes > 1),
        "WIDE": int(numbers.wide),
        **_rooms(view, numbers, count, runs, width),
        "SHORT": 0,
    }
    if _is_short(view, across, count):
        is_signed = min(weights.min(), down.min()) < 0
        macros |= _period(across, shifts, is_signed)
    weight_type = np.int32 if numbers.wide else np.int16
    each = np.arange(count) % across.period
    down_rows, down_weights = _passes(numbers.down, down, rows, rows_in, passes)
    return Launch(
        source=samples_source(kernel),
        entry="resize",
        arguments=(
            Plane("target", view.plane),
            Plane("source", view.plane),
            Table(np.ascontiguousarray(weights[each].T, weight_type)),
            Table(across.starts(count).astype(np.int32)),
            Table(down_weights.astype(weight_type)),
            Table(down_rows.astype(np.uint32)),
            *map(np.uint32, (passes, columns_in, count, width, view.offset)),
            *map(np.uint32, (layout.bits, layout.shift, *shifts)),
        ),
        size=(-(-count // (runs * width)) * _ITEMS, rows),
        macros=tuple(macros.items()),
        group=(_ITEMS, 1),
    )


def _rooms(view: View, numbers: Scaling, count: int, runs: int, width: int) -> dict[str, int]:
    """Return the macros of what a group holds."""
    nbytes, span = _nbytes(view, numbers, count), numbers.across.span
    return {
        "RUNS": runs,
        "ITEMS": _ITEMS,
        "RUN_ROOM": _room(span(width) * view.channels, nbytes),
        "GROUP_ROOM": _room(span(runs * width) * view.channels, nbytes),
        "OUTPUTS": _room(width * view.channels, 4),
    }


def _period(across: Axis, shifts: tuple[int, int], is_signed: bool) -> dict[str, int]:
    """Return the macros of weights whose period is written out."""
    return {
        "SHORT": 1,
        "PERIOD": across.period,
        "ADVANCE": across.advance,
        "PHASE": across.phase,
        "DIVISOR": across.divisor,
        "DOWN_SHIFT": shifts[0],
        "ACROSS_SHIFT": shifts[1],
        "SIGNED": int(is_signed),
    }


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
    kernel: "Kernel",
    planes: Planes,
    source: FrameInfo,
    target: FrameInfo,
    out: Planes,
    /,
    **values: Any,
) -> None:
    """Fill all planes by the reference of the kernel's name.

    Raises
    ------
    FormatError
        The target's format or range is not the source's.
    """
    from bridges.kernels import reference

    check_form(kernel, source, target)
    made = getattr(reference, kernel.name)(planes, source, target, **values)
    for plane, samples in zip(out, made, strict=True):
        plane[...] = samples
