"""Codes of a picture and of their neighbours, for the references of kernels that look around."""

from typing import Any

import numpy as np
import numpy.typing as npt

from bridges.frame import FrameInfo
from bridges.kernels.recipe import Planes
from bridges.kernels.views import View

__all__ = ["load_view", "moved", "store_view"]


def load_view(planes: Planes, info: FrameInfo, view: View) -> npt.NDArray[np.int64]:
    """Return the codes of a view, as ``(rows, columns, channels)``."""
    stored = view.of(planes[view.plane], info.width, info.height)
    codes = (stored >> info.format.shift) & ((1 << info.format.bits) - 1)
    return np.asarray(codes, np.int64)


def store_view(planes: Planes, info: FrameInfo, view: View, codes: npt.NDArray[np.int64]) -> None:
    """Write the codes of a view, and repeat the last column where rows are longer than that."""
    ratio = 1 << info.format.planes[view.plane].log2_width - view.log2_width
    width = -(-info.width // ratio) * ratio
    stored = view.of(planes[view.plane], width, info.height)
    spare = stored.shape[1] - codes.shape[1]
    stored[...] = np.pad(codes, ((0, 0), (0, spare), (0, 0)), "edge") << info.format.shift


def moved(samples: npt.NDArray[Any], down: int, right: int) -> npt.NDArray[Any]:
    """Return each sample's neighbour that many rows and columns on; edges are repeated."""
    rows, columns = samples.shape[:2]
    below = np.clip(np.arange(rows) + down, 0, rows - 1)
    beside = np.clip(np.arange(columns) + right, 0, columns - 1)
    part = samples if down == 0 else samples[below]
    return part if right == 0 else part[:, beside]
