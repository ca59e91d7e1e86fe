"""Where samples lie in a picture of any format, for kernels that treat all channels alike."""

import functools
from dataclasses import dataclass
from typing import Any

import numpy.typing as npt
from numpy.lib.stride_tricks import as_strided

from bridges.formats import PixelFormat

__all__ = ["View", "views"]


@dataclass(frozen=True, slots=True)
class View:
    """Elements of one plane at a regular distance: one sample each, or some side by side.

    Attributes
    ----------
    plane : int
        Which plane of the format.
    offset : int
        Samples from the start of a row to its first element.
    step : int
        Samples from one element to the next.
    names : str
        The channels of an element, a letter each, such as ``"RGB"``, ``"UV"`` or ``"Y"``.
    log2_width, log2_height : int
        Elements per picture width and height, as a power-of-two divisor (rounded up).
    """

    plane: int
    offset: int
    step: int
    names: str
    log2_width: int
    log2_height: int

    @property
    def channels(self) -> int:
        """Samples of one element."""
        return len(self.names)

    def size(self, width: int, height: int) -> tuple[int, int]:
        """Return the columns and rows of elements that a picture of this size has."""
        return -(-width >> self.log2_width), -(-height >> self.log2_height)

    def of(self, plane: npt.NDArray[Any], width: int, height: int) -> npt.NDArray[Any]:
        """Return the elements as ``(rows, columns, channels)``, over the memory of ``plane``.

        Parameters
        ----------
        plane : numpy.ndarray
            The plane, as ``(rows, columns)`` or ``(rows, columns, channels)``; the samples of a
            row lie side by side.
        width, height : int
            Of the picture.
        """
        columns, rows = self.size(width, height)
        item = plane.dtype.itemsize
        # The samples of a row lie side by side, so that this is no copy.
        first = plane[0].reshape(-1)[self.offset :]
        strides = plane.strides[0], self.step * item, item
        return as_strided(first, (rows, columns, self.channels), strides)


@functools.cache
def views(layout: PixelFormat) -> tuple[View, ...]:
    """Return all samples of a format, as few views as can hold them.

    A plane is one view; that of packed 4:2:2, in which Y lies closer than U and V, is three.
    """
    found = []
    for index, plane in enumerate(layout.planes):
        names = plane.channels
        if len(set(names)) == len(names):
            found.append(View(index, 0, len(names), names, plane.log2_width, plane.log2_height))
            continue
        for name in dict.fromkeys(names):
            _, offset, step = layout.find(name)
            # Of YUYV's four samples for two pixels, Y has two.
            log2_width = plane.log2_width - (names.count(name) - 1)
            found.append(View(index, offset, step, name, log2_width, plane.log2_height))
    return tuple(found)
