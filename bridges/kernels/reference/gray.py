"""rgb_to_grayscale: the weighted sum of a picture's codes."""

from typing import Any

import numpy as np
import numpy.typing as npt

from bridges.frame import FrameInfo
from bridges.kernels.families.gray import channels, coefficients
from bridges.kernels.recipe import Planes

__all__ = ["rgb_to_grayscale"]


def rgb_to_grayscale(planes: Planes, source: FrameInfo, target: FrameInfo) -> npt.NDArray[Any]:
    """Return the luma of a picture.

    Parameters
    ----------
    planes : sequence of numpy.ndarray
        Of ``source.format``, each as ``(rows, columns)`` or ``(rows, columns, channels)``.
    source, target : FrameInfo
        The formats, ranges and matrix; see `bridges.kernels.families.gray`.

    Returns
    -------
    numpy.ndarray
        The first plane of ``target.format``: ``(height, width)`` of its dtype.

    Raises
    ------
    FormatError
        ``source`` is tagged in a way that makes its first plane no luma.
    """
    numbers = coefficients(source, target)
    sums = np.int64 if numbers.wide else np.int32
    places = channels(source.format)
    stored = [
        planes[plane].reshape(planes[plane].shape[0], -1)[:, offset::step][:, : source.width]
        for plane, offset, step in places
    ]
    highest_in = (1 << source.format.bits) - 1
    codes = [(samples >> source.format.shift) & highest_in for samples in stored]
    if numbers.identity:
        return codes[0] << target.format.shift
    total = np.full(codes[0].shape, numbers.bias, sums)
    for weight, channel in zip(numbers.weights, codes, strict=True):
        total += np.multiply(channel, weight, dtype=sums)
    gray: npt.NDArray[Any] = np.clip(total >> numbers.fraction, 0, numbers.highest)
    return (gray << target.format.shift).astype(target.format.dtype)
