"""Edges by Sobel's operator: the magnitude of the gradient of luma, or of each of R, G and B.

With ``x`` and ``y`` the sums of a 3x3 neighbourhood weighted by

    -1 0 1        -1 -2 -1
    -2 0 2   and   0  0  0
    -1 0 1         1  2  1

(I. Sobel and G. Feldman, 1968; R. C. Gonzalez and R. E. Woods, Digital Image Processing, fourth
edition, section 10.2) the result is ``black + sqrt(x**2 + y**2) / 4``, rounded half up, and at most
white: a step from black to white along a row or a column gives white, and a flat picture is black.
Samples beyond an edge are those of the edge. Black and white are those of the picture's range
(ITU-T H.273 clause 8.3). Chroma becomes neutral; alpha and padding are copied.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from bridges.frame import FrameInfo
from bridges.kernels.families.defaults import check_form, compute, in_place, note, output, written
from bridges.kernels.families.samples import (
    kept_channel,
    samples_macros,
    samples_source,
    shape_channels,
    spare_columns,
)
from bridges.kernels.launch import Launch, Plane
from bridges.kernels.views import View, views

if TYPE_CHECKING:
    from bridges.kernels.kernel import Kernel

__all__ = [
    "Edges",
    "compute",
    "edges_for",
    "in_place",
    "launches",
    "note",
    "output",
    "plain_code",
    "written",
]


@dataclass(frozen=True, slots=True)
class Edges:
    """What codes edges are drawn in: ``black``, and ``span`` codes more for white."""

    black: int
    span: int


def edges_for(info: FrameInfo) -> Edges:
    """Return black and white of a picture's range and depth."""
    bits = info.format.bits
    if info.is_full_range:
        return Edges(0, (1 << bits) - 1)
    return Edges(16 << bits - 8, 219 << bits - 8)


def plain_code(info: FrameInfo, view: View) -> int | None:
    """Return the code that a view without shape is filled with; None where it is copied."""
    return 1 << info.format.bits - 1 if set(view.names) & set("UV") else None


def launches(
    kernel: "Kernel", source: FrameInfo, target: FrameInfo, aligned: bool, /
) -> tuple[Launch, ...]:
    """Return how the portable source is compiled and called: once or twice for each view.

    Raises
    ------
    FormatError
        The target's format or range is not the source's.
    """
    check_form(kernel, source, target)
    return tuple(
        _launch(kernel, source, view, aligned, entry, items)
        for view in views(source.format)
        for entry, items in _entries(source, view)
        if items
    )


def _entries(info: FrameInfo, view: View) -> list[tuple[str, int]]:
    """Return the entry points that make a view, and how many samples of a row each makes."""
    columns, _ = view.size(info.width, info.height)
    spare = spare_columns(info.format, view, info.width)
    if not set(view.names) & set(shape_channels(info)):
        return [("plain", (columns + spare) * view.channels)]
    inner = max(columns - 2, 0) * view.channels
    return [("inner", inner), ("edges", (2 + spare) * view.channels)]


def _launch(
    kernel: "Kernel", info: FrameInfo, view: View, aligned: bool, entry: str, items: int
) -> Launch:
    columns, rows = view.size(info.width, info.height)
    edges, plain = edges_for(info), plain_code(info, view)
    macros = samples_macros(info.format, view, aligned) | {
        "WIDE": int(info.format.bits > 12),
        "BLACK": edges.black,
        "SPAN": edges.span,
        "KEPT": kept_channel(info, view),
        "PLAIN": -1 if plain is None else plain,
    }
    return Launch(
        source=samples_source(kernel),
        entry=f"{kernel.name}_{entry}",
        arguments=(
            Plane("target", view.plane),
            Plane("source", view.plane),
            *map(np.uint32, (items, columns, rows)),
        ),
        size=(items, rows),
        macros=tuple(macros.items()),
    )
