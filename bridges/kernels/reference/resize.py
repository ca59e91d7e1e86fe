"""What resizing computes, in plain NumPy: every runtime has to give these very samples."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from bridges.frame import FrameInfo
from bridges.kernels.families.resize import Axis, columns, scaling
from bridges.kernels.views import views

__all__ = ["resize"]


def resize(
    planes: Sequence[npt.NDArray[Any]], source: FrameInfo, target: FrameInfo, /, **values: Any
) -> list[npt.NDArray[Any]]:
    """Return a picture in another size.

    Parameters
    ----------
    planes : sequence of numpy.ndarray
        Of ``source.format``, each as ``(rows, columns)`` or ``(rows, columns, channels)``.
    source, target : FrameInfo
        The sizes, of one format.
    **values
        ``filter``, ``antialias`` and ``siting``: see `bridges.kernels.families.resize`.

    Returns
    -------
    list of numpy.ndarray
        The planes of ``target``. A packed 4:2:2 row of odd width ends with the luma that the
        picture would have there.
    """
    layout = source.format
    made = [np.zeros(plane.shape, plane.dtype) for plane in target.planes]
    for view in views(layout):
        numbers = scaling(view, source, target, **values)
        fraction, kept = numbers.fraction, numbers.kept
        stored = view.of(planes[view.plane], source.width, source.height)
        codes = (stored >> layout.shift) & ((1 << layout.bits) - 1)
        rows = view.size(target.width, target.height)[1]
        sums = _weighted(codes, numbers.down, rows, fraction, fraction - kept)
        turned = sums.transpose(1, 0, 2)
        found = _weighted(turned, numbers.across, columns(view, target), fraction, fraction + kept)
        picked = np.clip(found.transpose(1, 0, 2), 0, (1 << layout.bits) - 1) << layout.shift
        lines = made[view.plane].reshape(rows, -1)
        for channel in range(view.channels):
            lines[:, view.offset + channel :: view.step] = picked[..., channel]
    return made


def _weighted(
    samples: npt.NDArray[Any], axis: Axis, count: int, fraction: int, shift: int
) -> npt.NDArray[np.int64]:
    """Return ``count`` weighted sums along the first dimension, rounded half up by ``shift``."""
    weights = axis.rounded(fraction)[np.arange(count) % axis.period]
    sources = axis.sources(count, samples.shape[0])
    total = np.full((count, *samples.shape[1:]), 1 << shift >> 1, np.int64)
    for tap in range(axis.taps):
        total += weights[:, tap, None, None] * samples[sources[:, tap]].astype(np.int64)
    return total >> shift
