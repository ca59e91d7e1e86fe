"""histogram and statistics: the codes of each channel, counted."""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from bridges.frame import FrameInfo
from bridges.kernels.families.statistics import counted_views
from bridges.kernels.recipe import Planes
from bridges.kernels.reference.codes import load_codes

__all__ = ["histogram", "statistics"]


def histogram(planes: Planes, source: FrameInfo, bins: int = 256) -> npt.NDArray[np.uint32]:
    """Return how many samples of each channel lie in each part of the code range.

    The code ``c`` of a sample of n bits lies in part ``floor(c * bins / 2**n)``.

    Parameters
    ----------
    planes : sequence of numpy.ndarray
        Of ``source.format``, each as ``(rows, columns)`` or ``(rows, columns, channels)``.
    source : FrameInfo
        Format and size.
    bins : int
        Equal parts of the code range.

    Returns
    -------
    numpy.ndarray
        ``(channels, bins)`` of uint32, in the order of
        `bridges.kernels.families.statistics.channels`.
    """
    rows = [
        np.bincount(codes * bins >> source.format.bits, minlength=bins)
        for codes in _codes(planes, source)
    ]
    return np.array(rows, np.uint32)


def statistics(
    planes: Planes, source: FrameInfo
) -> tuple[
    npt.NDArray[np.uint32], npt.NDArray[np.uint32], npt.NDArray[np.uint64], npt.NDArray[np.uint64]
]:
    """Return the lowest and the highest code of each channel, the sum of all, and how many.

    Parameters
    ----------
    planes : sequence of numpy.ndarray
        Of ``source.format``, each as ``(rows, columns)`` or ``(rows, columns, channels)``.
    source : FrameInfo
        Format and size.

    Returns
    -------
    minimum, maximum : numpy.ndarray
        ``(channels,)`` of uint32; see `bridges.kernels.families.statistics.channels` for the order.
    sum, count : numpy.ndarray
        ``(channels,)`` of uint64. The mean is their quotient.
    """
    every = list(_codes(planes, source))
    return (
        np.array([codes.min() for codes in every], np.uint32),
        np.array([codes.max() for codes in every], np.uint32),
        np.array([codes.sum() for codes in every], np.uint64),
        np.array([codes.size for codes in every], np.uint64),
    )


def _codes(planes: Planes, source: FrameInfo) -> Iterator[npt.NDArray[np.int64]]:
    """Return the codes of each channel, in one dimension."""
    for view in counted_views(source.format):
        yield from load_codes(planes, source, view).reshape(-1, view.channels).T
