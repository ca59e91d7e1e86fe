"""lut: R'G'B' codes looked up in a table that `bridges.kernels.families.lut` prepares."""

from typing import Any

import numpy as np
import numpy.typing as npt

from bridges.kernels.families.lut import CURVES, LUT_ONE, TETRAHEDRAL
from bridges.kernels.reference.pixels import Channel, Pixels

__all__ = ["lut"]

Table = npt.NDArray[np.int32]


def lut(
    p: Pixels, _x: Any, _y: Any, kind: np.int32, size: np.int32, axes: Table, table: Table
) -> Pixels:
    """Return the colours that a table has for those of a picture, with the same alpha."""
    codes = p.r, p.g, p.b
    if kind == CURVES:
        red, green, blue = (
            table[code + k * int(size)].astype(np.int64) for k, code in enumerate(codes)
        )
        return Pixels(red, green, blue, p.a)
    entries = table.reshape(size, size, size, 3)
    places = [_place(code, int(size), axes[3 * k :]) for k, code in enumerate(codes)]
    below = [np.minimum(place >> 24, size - 2) for place in places]
    weights = [place - each * LUT_ONE for place, each in zip(places, below, strict=True)]
    between = _tetrahedral if kind == TETRAHEDRAL else _trilinear
    colours = between(entries, below, weights)
    return Pixels(colours[..., 0], colours[..., 1], colours[..., 2], p.a)


def _place(codes: Channel, size: int, axis: Table) -> Channel:
    """Return where codes lie between the entries of an axis, in units of ``1 / LUT_ONE``."""
    first, mantissa, shift = map(int, axis[:3])
    places = (codes * 4096 - first) * mantissa >> shift
    return np.asarray(np.clip(places, 0, (size - 1) * LUT_ONE), np.int64)


def _entries(entries: Table, below: list[Channel], steps: list[Any]) -> npt.NDArray[np.int64]:
    """Return the entries some steps along red, green and blue from those below."""
    red, green, blue = (near + step for near, step in zip(below, steps, strict=True))
    return np.asarray(entries[blue, green, red], np.int64)


def _tetrahedral(
    entries: Table, below: list[Channel], weights: list[Channel]
) -> npt.NDArray[np.int64]:
    """Interpolate along the axis of the largest weight first, and so on."""
    order = np.argsort(-np.stack(weights), axis=0, kind="stable")
    sorted_weights = -np.sort(-np.stack(weights), axis=0)
    shares = -np.diff(sorted_weights, axis=0, prepend=LUT_ONE, append=0)
    total: Any = 0
    for taken, share in enumerate(shares):
        steps = [(order[:taken] == axis).any(axis=0).astype(int) for axis in range(3)]
        total = total + _entries(entries, below, steps) * share[..., np.newaxis]
    return np.asarray((total + (1 << 31)) >> 32)


def _trilinear(
    entries: Table, below: list[Channel], weights: list[Channel]
) -> npt.NDArray[np.int64]:
    """Interpolate along red, then green, then blue, with 8 bits of fraction between."""
    red, green, blue = (weight[..., np.newaxis] for weight in weights)

    def between(a: Any, b: Any, weight: Any) -> Any:
        return (a * (LUT_ONE - weight) + b * weight + LUT_ONE // 2) >> 24

    def row(g: int, b: int) -> Any:
        first, second = (_entries(entries, below, [r, g, b]) for r in (0, 1))
        return between(first, second, red)

    planes = [between(row(0, b), row(1, b), green) for b in (0, 1)]
    made = between(planes[0], planes[1], blue)
    return np.asarray((made + 128) >> 8)
