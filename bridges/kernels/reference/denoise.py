"""denoise: codes drawn to those of the previous result."""

from typing import Any

import numpy as np
import numpy.typing as npt

from bridges.formats import PixelFormat
from bridges.kernels.families.denoise import copied, curve

__all__ = ["denoise"]


def denoise(
    current: npt.NDArray[Any],
    previous: npt.NDArray[Any],
    layout: PixelFormat,
    plane: int,
    strength: float = 0.6,
    threshold: float = 12.0,
) -> npt.NDArray[Any]:
    """Return a plane of a picture with less noise, by `bridges.kernels.families.denoise`.

    Results are the nearest code, but for one thing: of a difference to the previous result at least
    one code is left. A picture that stands still becomes its own result, exactly, in no more
    pictures than the first difference has codes.

    Parameters
    ----------
    current, previous : numpy.ndarray
        The plane of the picture and of the result before it, as ``(rows, columns)`` or ``(rows,
        columns, channels)``.
    layout : PixelFormat
        Their format.
    plane : int
        Which of its planes.
    strength : float
        Share of the smallest differences that is taken away.
    threshold : float
        Differences from here on are left as they are, in 8-bit codes.

    Returns
    -------
    numpy.ndarray
        Of the shape and dtype of ``current``.
    """
    numbers = curve(layout, strength, threshold)
    highest = (1 << layout.bits) - 1
    now, before = (
        (samples >> layout.shift).astype(np.int64) & highest for samples in (current, previous)
    )
    difference = now - before
    magnitude = np.abs(difference)
    small = np.minimum(magnitude, numbers.most)
    share = np.maximum(numbers.all - small * numbers.each, 0) >> 11
    taken = (small * share + (1 << 18)) >> 19
    taken = np.maximum(np.minimum(taken, magnitude - 1), 0)
    result: npt.NDArray[Any] = now - np.sign(difference) * taken
    pixels = -1, len(layout.planes[plane].channels)
    keep = copied(layout, plane)
    result.reshape(pixels)[:, keep : keep + 1] = now.reshape(pixels)[:, keep : keep + 1]
    return (result << layout.shift).astype(current.dtype)
