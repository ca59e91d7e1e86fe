"""How a kernel is compiled and called for one pair of frames, whatever the runtime."""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

__all__ = ["WORD", "Argument", "Launch", "Plane", "Scratch", "Table"]

WORD = 4
"""Bytes. Rows that start at multiples of it are read and written a word at a time."""


@dataclass(frozen=True, slots=True)
class Plane:
    """A plane of a frame: two arguments, its first byte and its stride as ``u32``, in bytes.

    Attributes
    ----------
    frame : {"source", "previous", "target"}
        Which frame; ``previous`` is the result of the picture before.
    index : int
        Which of its tensors.
    """

    frame: Literal["source", "previous", "target"]
    index: int


@dataclass(frozen=True, eq=False)
class Table:
    """Constants that the device reads: one argument, a pointer to the first.

    Attributes
    ----------
    array : numpy.ndarray
        Dense. It is put in the device's memory once, and kept there as long as this object is.
    """

    array: npt.NDArray[Any]


@dataclass(frozen=True, eq=False)
class Scratch:
    """Memory of the device that the launches of one run share: one argument, a pointer.

    Launches that name the same object see the same memory. Nothing is said of what is in it before
    the first of them writes it.

    Attributes
    ----------
    nbytes : int
        Its size.
    """

    nbytes: int


Argument = Plane | Table | Scratch | np.integer[Any]
"""What a launch hands to its entry point; numbers are ``numpy.int32``, ``uint32`` or ``int64``."""


@dataclass(frozen=True, eq=False)
class Launch:
    """One call of one entry point. The launches of a run follow each other, each after the last.

    Attributes
    ----------
    source : str
        The portable text, without the prelude.
    entry : str
        The name of a ``KERNEL`` function in it.
    arguments : tuple of Argument
        In the order in which the function declares them.
    size : tuple of int
        Items along the first dimension, which is the fastest, and along the second.
    macros : tuple of (str, int)
        What the text is compiled with.
    group : tuple of int or None
        Items of a work-group in both dimensions, which divide ``size``; None where groups mean
        nothing to the function. Runtimes then choose, and those that have to make whole groups
        start more items than ``size``: the function skips what is ``OUTSIDE``.
    """

    source: str
    entry: str
    arguments: tuple[Argument, ...]
    size: tuple[int, int]
    macros: tuple[tuple[str, int], ...] = ()
    group: tuple[int, int] | None = None
