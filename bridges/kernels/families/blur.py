"""Blurring by a Gaussian, and sharpening by what it takes away, in integers.

The weight at distance k is ``exp(-k**2 / (2 sigma**2))`` for k up to ``ceil(3 sigma)``, divided by
the sum of them all: the Gaussian, cut off and normalised. It is separable, and samples beyond an
edge are those of the edge. The unsharp mask is ``c + amount * (c - blur(c))``. Both as in R. C.
Gonzalez and R. E. Woods, Digital Image Processing, fourth edition, sections 3.5 and 3.6.
"""

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from bridges.formats import PixelFormat
from bridges.frame import FrameInfo
from bridges.kernels.families.defaults import check_form, compute, in_place, note, output, written
from bridges.kernels.families.samples import (
    kept_channel,
    samples_source,
    shape_channels,
    shared_macros,
    spare_columns,
)
from bridges.kernels.launch import Launch, Plane, Table
from bridges.kernels.views import View, views

if TYPE_CHECKING:
    from bridges.kernels.kernel import Kernel

__all__ = [
    "Blur",
    "blur_for",
    "compute",
    "in_place",
    "launches",
    "note",
    "output",
    "sharpening_for",
    "written",
]

_ITEMS, _TILE, _ROWS = 64, 2048, 2
"""Items of a group, and the samples and rows that it makes: the sums between its passes fit 32 KiB
of local memory at the widest radius, and rows are long enough for CPUs to read them ahead."""


@dataclass(frozen=True, slots=True)
class Blur:
    """The integers of a blur, and of sharpening by it.

    Weights are half of the middle's, then one for both samples at each distance. They add up to one
    half, exactly: the middle's takes what rounding the others leaves. With ``w = word_bits``::

        down = (sum(vertical[k] * (above[k] + below[k])) + half) >> (w - 1 - fraction)
        blurred = sum((horizontal[k] * (left[k] + right[k])) >> w) + (radius + 1) // 2

    where ``down`` and ``blurred`` have ``fraction`` fractional bits, and the last term is what the
    shifts before it take away on average.

    Attributes
    ----------
    vertical, horizontal : tuple of int
        The weights, in ``w - 1`` and in ``w`` fractional bits.
    word_bits : int
        Bits of the sums, 16 or 32.
    amount, amount_bits : int
        How much is added of what the blur takes away, and the fractional bits of that; both are 0
        where samples are only blurred.
    """

    vertical: tuple[int, ...]
    horizontal: tuple[int, ...]
    word_bits: int
    amount: int = 0
    amount_bits: int = 0

    def fraction(self, bits: int) -> int:
        """Return the fractional bits of sums of samples that have this many bits."""
        return self.word_bits - 1 - bits


def blur_for(layout: PixelFormat, view: View, sigma: float, gain: float = 1.0) -> Blur:
    """Return the integers that blur a view.

    Sums of 16 bits are within ``radius / 64 + 1 / 128`` of a code of 8 bits. They are taken where
    that, times ``gain``, is at most a quarter; those of 32 bits err by less than 1/256 of any code.

    Parameters
    ----------
    layout : PixelFormat
        Of the picture.
    view : View
        Whose subsampling ``sigma`` is divided by.
    sigma : float
        Standard deviation in pixels of the picture; 0 for no blur.
    gain : float
        What errors of the blur are multiplied by.
    """
    across, down = sigma / (1 << view.log2_width), sigma / (1 << view.log2_height)
    error = (math.ceil(3 * sigma) / 64 + 1 / 128) * max(gain, 1.0)
    word_bits = 16 if layout.bits == 8 and error <= 1 / 4 else 32
    return Blur(_weights(down, word_bits - 1), _weights(across, word_bits), word_bits)


def _weights(sigma: float, fraction: int) -> tuple[int, ...]:
    radius = math.ceil(3 * sigma)
    gauss = [math.exp(-(k**2) / (2 * sigma**2)) for k in range(1, radius + 1)]
    total = 1 + 2 * sum(gauss)
    pairs = [round(weight / total * (1 << fraction)) for weight in gauss]
    return (1 << fraction - 1) - sum(pairs), *pairs


def sharpening_for(layout: PixelFormat, view: View, amount: float, sigma: float) -> Blur:
    """Return the integers that sharpen a view by a blur of ``sigma``; see `blur_for`."""
    blur = blur_for(layout, view, sigma, amount)
    # The highest that leave room for the sums: 5 * 2**12 * 2**15 and 5 * 2**24 * 2**31.
    amount_bits = 12 if blur.word_bits == 16 else 24
    return replace(blur, amount=round(amount * (1 << amount_bits)), amount_bits=amount_bits)


def _blurs(kernel: "Kernel", info: FrameInfo, values: dict[str, float]) -> list[tuple[View, Blur]]:
    layout = info.format
    if kernel.name == "gaussian_blur":
        return [(view, blur_for(layout, view, **values)) for view in views(layout)]
    shape = shape_channels(info)
    return [
        (view, sharpening_for(layout, view, **values))
        if set(view.names) & set(shape)
        else (view, blur_for(layout, view, 0))
        for view in views(layout)
    ]


def launches(
    kernel: "Kernel", source: FrameInfo, target: FrameInfo, aligned: bool, /, **values: float
) -> tuple[Launch, ...]:
    """Return how the portable source is compiled and called: once for each view.

    Raises
    ------
    FormatError
        The target's format or range is not the source's.
    """
    check_form(kernel, source, target)
    return tuple(
        _launch(kernel, source, view, blur, aligned)
        for view, blur in _blurs(kernel, source, values)
    )


def _launch(kernel: "Kernel", info: FrameInfo, view: View, blur: Blur, aligned: bool) -> Launch:
    columns, rows = view.size(info.width, info.height)
    spare = spare_columns(info.format, view, info.width)
    samples = columns * view.channels
    tiles = -(-(samples + spare) // _TILE)
    length = -(-(samples + spare) // tiles)
    dtype = np.uint16 if blur.word_bits == 16 else np.uint32
    macros = shared_macros(info.format, view, aligned) | {
        "RADIUS_X": len(blur.horizontal) - 1,
        "RADIUS_Y": len(blur.vertical) - 1,
        "WORD_BITS": blur.word_bits,
        "AMOUNT_BITS": blur.amount_bits,
        "KEPT": kept_channel(info, view) if blur.amount_bits else -1,
        "ITEMS": _ITEMS,
        "TILE": _TILE,
        "ROWS": _ROWS,
        "NARROW": int(samples < _ITEMS),
        "SPARE": spare,
    }
    return Launch(
        source=samples_source(kernel),
        entry="blur",
        arguments=(
            Plane("target", view.plane),
            Plane("source", view.plane),
            Table(np.array([*blur.vertical, *blur.horizontal], dtype)),
            *map(np.uint32, (samples, rows, length, blur.amount)),
            *map(np.uint32, (info.format.bits, info.format.shift)),
        ),
        size=(tiles * _ITEMS, -(-rows // _ROWS)),
        macros=tuple(macros.items()),
        group=(_ITEMS, 1),
    )
