"""Codes of the views of a picture, and their neighbours, for references that work view by view."""

from typing import Any

import numpy as np
import numpy.typing as npt

from bridges.frame import FrameInfo
from bridges.kernels.families.samples import spare_columns
from bridges.kernels.recipe import Planes
from bridges.kernels.views import View

__all__ = ["Codes", "load_codes", "moved", "store_codes", "whole_rows"]

Codes = npt.NDArray[np.int64]
"""Of a view: ``(rows, columns, channels)``."""


def load_codes(planes: Planes, info: FrameInfo, view: View) -> Codes:
    """Return the codes of a view."""
    stored = view.of(planes[view.plane], info.width, info.height)
    codes = (stored >> info.format.shift) & ((1 << info.format.bits) - 1)
    return np.asarray(codes, np.int64)


def store_codes(planes: Planes, info: FrameInfo, view: View, codes: npt.NDArray[Any]) -> None:
    """Write the codes of a view, and repeat the last column where rows are longer than that."""
    stored = whole_rows(planes[view.plane], info, view)
    spare = stored.shape[1] - codes.shape[1]
    stored[...] = np.pad(codes, ((0, 0), (0, spare), (0, 0)), "edge") << info.format.shift


def whole_rows(plane: npt.NDArray[Any], info: FrameInfo, view: View) -> npt.NDArray[Any]:
    """Return the stored samples of a view, over the memory of ``plane``.

    Those beyond the picture too: packed 4:2:2 of an odd width has one Y more.
    """
    return view.of(plane, info.width + spare_columns(info.format, view, info.width), info.height)


def moved(samples: npt.NDArray[Any], down: int, right: int) -> npt.NDArray[Any]:
    """Return each sample's neighbour that many rows and columns on; edges are repeated."""
    rows, columns = samples.shape[:2]
    below = np.clip(np.arange(rows) + down, 0, rows - 1)
    beside = np.clip(np.arange(columns) + right, 0, columns - 1)
    part = samples if down == 0 else samples[below]
    return part if right == 0 else part[:, beside]
