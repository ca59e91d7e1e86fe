"""How one kernel is compiled and called for one pair of pictures, whatever the runtime."""

from dataclasses import dataclass
from typing import Any

import numpy as np

__all__ = ["Launch"]


@dataclass(frozen=True, slots=True)
class Launch:
    """A kernel made ready for a source and a target.

    A portable source has two entry points of the same arguments, ``<name>_words`` and
    ``<name>_samples``: the target's first plane and its stride, each source plane and its stride,
    then ``first``, ``columns``, ``rows`` and the scalars.

    Attributes
    ----------
    macros : tuple of (str, int)
        What the source is compiled with.
    planes : tuple of int
        The source's planes that are read, in the order of the arguments.
    scalars : tuple of numpy scalars
        The arguments after ``rows``, of the types that the source declares.
    pixels_per_item : int
        Neighbouring pixels of a row that an item of ``_words`` writes.
    """

    macros: tuple[tuple[str, int], ...]
    planes: tuple[int, ...]
    scalars: tuple[np.integer[Any], ...]
    pixels_per_item: int
