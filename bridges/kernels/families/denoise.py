"""Temporal denoising: each sample is drawn to that of the previous result, if it differs little.

With ``d`` what a sample differs from the same one of the previous result, and ``a = |d|``,

    out = previous + d * k(a),  k(a) = 1 - strength * max(0, 1 - a / threshold)

is a recursive average whose share of the new picture grows from ``1 - strength``, where there is
but noise, to 1, where there is motion: the motion-adaptive recursive filter of Dubois and Sabri
("Noise Reduction in Image Sequences Using Motion-Compensated Temporal Filtering", IEEE Trans.
Commun. 32(7), 1984) without motion compensation, and with a straight line as its
curve. Noise that is small beside the threshold is left with ``(1 - strength) / (1 + strength)`` of
its variance. No sample is changed by more than ``strength * threshold / 4``, the largest value of
``a * (1 - k(a))``: that is the most of a ghost that anything in motion can leave behind.

Alpha and padding are copied.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from math import ceil, prod
from typing import TYPE_CHECKING

import numpy as np

from bridges.formats import PixelFormat
from bridges.frame import FrameInfo
from bridges.kernels.families.defaults import check_form, fill, note, output, written
from bridges.kernels.families.samples import samples_source
from bridges.kernels.launch import Launch, Plane
from bridges.kernels.recipe import Planes
from bridges.tensor import TensorInfo

if TYPE_CHECKING:
    from bridges.kernels.kernel import Kernel

__all__ = [
    "Curve",
    "compute",
    "copied",
    "curve",
    "in_place",
    "launches",
    "note",
    "output",
    "written",
]


@dataclass(frozen=True, slots=True)
class Curve:
    """``strength * (1 - a / threshold) = max(all - min(a, most) * each, 0) / 2**30``.

    Attributes
    ----------
    most : int
        The first difference from which on nothing is taken away, in codes.
    all, each : int
        Both with 30 bits of fraction; every product fits a signed 32-bit integer.
    """

    most: int
    all: int
    each: int


def curve(layout: PixelFormat, strength: float, threshold: float) -> Curve:
    """Return the integers of the parameters, for the depth of a format."""
    codes = threshold * 2 ** (layout.bits - 8)
    return Curve(ceil(codes), round(strength * 2**30), round(strength / codes * 2**30))


def copied(layout: PixelFormat, plane: int) -> int:
    """Return which sample of a plane's pixels is alpha or padding; their number if none is."""
    names = layout.planes[plane].channels
    return next((k for k, name in enumerate(names) if name in "AX"), len(names))


def in_place(_kernel: "Kernel", source: FrameInfo, target: FrameInfo, /) -> bool:
    """Whether a picture may be its own target: no sample is read for another."""
    return source.format is target.format


def launches(
    kernel: "Kernel",
    source: FrameInfo,
    target: FrameInfo,
    aligned: bool,
    /,
    strength: float,
    threshold: float,
) -> tuple[Launch, ...]:
    """Return how the portable source is compiled and called: once or twice for each plane.

    Raises
    ------
    FormatError
        The target's format or range is not the source's.
    """
    check_form(kernel, source, target)
    numbers = curve(source.format, strength, threshold)
    return tuple(
        _launch(kernel, source, index, numbers, part)
        for index, plane in enumerate(source.planes)
        for part in _parts(plane, aligned)
    )


def _parts(plane: TensorInfo, aligned: bool) -> Iterator[tuple[int, int, int]]:
    """Yield samples of an item, the first item and how many of them, for the rows of a plane."""
    samples, width = prod(plane.shape[1:]), 8 // plane.dtype.itemsize
    items = samples // width if aligned else 0
    if items:
        yield width, 0, items
    if items * width < samples:
        yield 1, items * width, samples - items * width


def _launch(
    kernel: "Kernel", info: FrameInfo, index: int, numbers: Curve, part: tuple[int, int, int]
) -> Launch:
    layout, rows = info.format, info.planes[index].shape[0]
    width, first, items = part
    macros = {
        "BYTES": layout.dtype.itemsize,
        "SHIFT": layout.shift,
        "BITS": layout.bits,
        "SAMPLES": width,
        "STEP": len(layout.planes[index].channels),
        "COPIED": copied(layout, index),
    }
    return Launch(
        source=samples_source(kernel),
        entry=kernel.name,
        arguments=(
            Plane("target", index),
            Plane("source", index),
            Plane("previous", index),
            *map(np.uint32, (first, items, rows)),
            *map(np.int32, (numbers.most, numbers.all, numbers.each)),
        ),
        size=(items, rows),
        macros=tuple(macros.items()),
    )


def compute(
    kernel: "Kernel",
    planes: Planes,
    source: FrameInfo,
    target: FrameInfo,
    out: Planes,
    /,
    strength: float,
    threshold: float,
) -> None:
    """Fill all planes by the reference.

    Raises
    ------
    FormatError
        The target's format or range is not the source's.
    """
    from bridges.kernels import reference

    check_form(kernel, source, target)
    half = len(planes) // 2
    made = (
        reference.denoise(new, old, source.format, index, strength, threshold)
        for index, (new, old) in enumerate(zip(planes[:half], planes[half:], strict=True))
    )
    fill(out, made)
