"""What a look-ahead finds in pictures: how they differ, and how busy each block of them is.

All of it is of *small* pictures: the mean luma of every 4 by 4 pixels, as 8-bit codes and fractions
of them.
"""

import numpy as np
import numpy.typing as npt

from bridges.frame import FrameInfo
from bridges.kernels.families.samples import shape_channels
from bridges.kernels.recipe import Planes
from bridges.kernels.views import views
from xma_plugins.side_data import QP_BLOCK

__all__ = [
    "STEP",
    "Samples",
    "difference",
    "histogram_distance",
    "luma",
    "qp_map",
    "shrunk",
]

STEP = 4
"""Pixels of a picture along a side of one of a small picture."""

_BINS = 64
_LARGEST = 10
"""Steps of the quantiser that a block is moved by, at most."""

Samples = npt.NDArray[np.float32]
"""Of a small picture, from 0 to 255."""


def luma(planes: Planes, info: FrameInfo) -> Samples:
    """Return the luma of a picture, or the mean of R, G and B, as codes of 8 bits.

    Parameters
    ----------
    planes : sequence of numpy.ndarray
        Of ``info.format``.
    info : FrameInfo
        Format and size.

    Returns
    -------
    numpy.ndarray
        ``(height, width)`` of float32.
    """
    layout, wanted = info.format, shape_channels(info)
    channels = wanted if len(wanted) > 1 and "R" in wanted else wanted[:1]
    mask = (1 << layout.bits) - 1
    total: Samples = np.zeros((info.height, info.width), np.float32)
    for view in views(layout):
        names = [index for index, name in enumerate(view.names) if name in channels]
        if not names:
            continue
        elements = view.of(planes[view.plane], info.width, info.height)
        for index in names:
            total += (elements[..., index] >> layout.shift) & mask
    return total * np.float32(255 / mask / len(channels))


def shrunk(samples: Samples) -> Samples:
    """Return the mean of every 4 by 4 samples; edges are repeated."""
    height, width = samples.shape
    padded = np.pad(samples, ((0, -height % STEP), (0, -width % STEP)), "edge")
    rows, columns = padded.shape[0] // STEP, padded.shape[1] // STEP
    # Rows first: neighbours in memory are added as vectors.
    down = padded.reshape(rows, STEP, -1).sum(1)
    small: Samples = down.reshape(rows, columns, STEP).sum(2) / (STEP * STEP)
    return small


def difference(one: Samples, other: Samples) -> float:
    """Return the mean absolute difference of two small pictures, where 1 is white."""
    return float(np.abs(one - other).mean()) / 255


def histogram_distance(one: Samples, other: Samples) -> float:
    """Return which part of the pixels would have to change for equal histograms of 64 bins.

    Half the sum of absolute differences of the normalised bins: the distance of total variation.
    """
    counted = [np.bincount(_bins(each), minlength=_BINS) / each.size for each in (one, other)]
    return float(np.abs(counted[0] - counted[1]).sum() / 2)


def _bins(samples: Samples) -> npt.NDArray[np.intp]:
    bins: npt.NDArray[np.intp] = (samples.ravel() * (_BINS / 256)).astype(np.intp)
    return bins


def qp_map(small: Samples, width: int, height: int, gain: float) -> npt.NDArray[np.int8]:
    """Return by how many steps the quantiser of each block moves.

    ``gain * (log2(1 + V) - mean)`` within 10 steps of 0, where ``V`` is the variance of the 16
    small pixels of a block and the mean is that of all blocks: what is busy hides more. Twice the
    contrast adds two steps at a gain of 1. The logarithm of a block's variance is what the adaptive
    quantisation of x264 takes too (``x264_adaptive_quant_frame`` of its ``ratecontrol.c``). Steps
    are rounded so that they add up to 0.

    Parameters
    ----------
    small : numpy.ndarray
        The small picture.
    width, height : int
        Of the picture itself, in pixels.
    gain : float
        Steps for twice the variance.

    Returns
    -------
    numpy.ndarray
        ``(ceil(height / 16), ceil(width / 16))`` of int8.
    """
    side = QP_BLOCK // STEP
    rows, columns = -(-height // QP_BLOCK), -(-width // QP_BLOCK)
    padding = rows * side - small.shape[0], columns * side - small.shape[1]
    padded = np.pad(small, ((0, padding[0]), (0, padding[1])), "edge")
    blocks = padded.reshape(rows, side, columns, side)
    busy = np.log2(1 + blocks.var((1, 3), dtype=np.float64))
    steps = np.clip(gain * (busy - busy.mean()), -_LARGEST, _LARGEST)
    return _rounded(steps - steps.mean()).astype(np.int8)


def _rounded(steps: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return whole numbers that add up to 0: those nearest to the next one are rounded up."""
    floors = np.floor(steps)
    missing = int(-floors.sum())
    order = np.argsort((floors - steps).ravel(), kind="stable")
    floors.reshape(-1)[order[:missing]] += 1
    return floors
