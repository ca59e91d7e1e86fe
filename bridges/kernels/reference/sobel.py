"""sobel: the magnitude of the gradient of codes."""

from typing import Any

import numpy as np
import numpy.typing as npt

from bridges.frame import FrameInfo
from bridges.kernels.families.samples import kept_channel, shape_channels
from bridges.kernels.families.sobel import edges_for, plain_code
from bridges.kernels.recipe import Planes
from bridges.kernels.reference.codes import Codes, load_codes, moved, store_codes
from bridges.kernels.views import views

__all__ = ["sobel"]


def sobel(planes: Planes, info: FrameInfo) -> list[npt.NDArray[Any]]:
    """Return the edges of a picture; see `bridges.kernels.families.sobel` for the formula.

    Codes are the nearest to the formula.

    Parameters
    ----------
    planes : sequence of numpy.ndarray
        Of ``info.format``, each as ``(rows, columns)`` or ``(rows, columns, channels)``.
    info : FrameInfo
        Format, size and range.

    Returns
    -------
    list of numpy.ndarray
        As ``planes``.
    """
    made = [np.zeros_like(plane) for plane in planes]
    edges = edges_for(info)
    for view in views(info.format):
        codes = load_codes(planes, info, view)
        result = codes
        if set(view.names) & set(shape_channels(info)):
            result = edges.black + np.minimum(_magnitude(codes), edges.span)
            kept = kept_channel(info, view)
            if kept >= 0:
                result[..., kept] = codes[..., kept]
        elif (plain := plain_code(info, view)) is not None:
            result = np.full_like(codes, plain)
        store_codes(made, info, view, result)
    return made


def _magnitude(codes: Codes) -> Codes:
    def smooth_slope(down: int, right: int) -> Codes:
        """Return what differs towards one direction, weighted 1, 2, 1 across it."""
        slope = moved(codes, down, right) - moved(codes, -down, -right)
        # Neighbours at a corner of the picture are repeated along both axes, one after the other.
        return np.asarray(moved(slope, right, down) + 2 * slope + moved(slope, -right, -down))

    sums = smooth_slope(0, 1) ** 2 + smooth_slope(1, 0) ** 2
    # A root in double precision, rounded down, is exact for squares of less than 53 bits.
    return (np.floor(np.sqrt(sums.astype(np.float64))).astype(np.int64) + 2) >> 2
