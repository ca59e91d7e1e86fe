"""resize and polyphase: codes weighted along columns, then along rows."""

from typing import Any

import numpy as np
import numpy.typing as npt

from bridges.frame import FrameInfo
from bridges.kernels.families.axis import Axis
from bridges.kernels.families.resize import columns
from bridges.kernels.families.scaling import scaling
from bridges.kernels.recipe import Planes
from bridges.kernels.reference.codes import load_codes, store_codes
from bridges.kernels.views import views

__all__ = ["polyphase", "resize"]


def resize(
    planes: Planes, source: FrameInfo, target: FrameInfo, /, **values: Any
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
    highest = (1 << source.format.bits) - 1
    made = [np.zeros(plane.shape, plane.dtype) for plane in target.planes]
    for view in views(source.format):
        numbers = scaling(view, source, target, **values)
        fraction, kept = numbers.fraction, numbers.kept
        codes = load_codes(planes, source, view)
        rows = view.size(target.width, target.height)[1]
        sums = _weighted(codes, numbers.down, rows, fraction, fraction - kept)
        turned = sums.transpose(1, 0, 2)
        found = _weighted(turned, numbers.across, columns(view, target), fraction, fraction + kept)
        store_codes(made, target, view, np.clip(found.transpose(1, 0, 2), 0, highest))
    return made


def polyphase(
    planes: Planes, source: FrameInfo, target: FrameInfo, /, **values: Any
) -> list[npt.NDArray[Any]]:
    """Return a picture in another size, weighted by tables of 64 phases of 12 taps.

    Parameters and what is returned are those of `resize`, but for ``**values``: ``coefficients``
    and ``siting``; see `bridges.kernels.families.polyphase`.
    """
    return resize(planes, source, target, **values)


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
