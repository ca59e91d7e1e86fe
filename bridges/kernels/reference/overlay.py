"""overlay: a picture over another, in R'G'B' codes with straight alpha."""

from typing import Any

import numpy as np
import numpy.typing as npt

from bridges.kernels.colour import WHITE
from bridges.kernels.reference.pixels import Pixels

__all__ = ["overlay"]


def overlay(
    p: Pixels,
    x: Any,
    y: Any,
    left: np.int32,
    top: np.int32,
    columns: np.int32,
    rows: np.int32,
    picture: npt.NDArray[np.uint32],
) -> Pixels:
    """Return ``(image * a + c * (WHITE - a)) / WHITE`` of each code, rounded to nearest."""
    column, row = x - int(left), y - int(top)
    inside = (column >= 0) & (column < columns) & (row >= 0) & (row < rows)
    pixels = picture.reshape(-1, 2).astype(np.int64)
    words = pixels[np.where(inside, row * int(columns) + column, 0)]
    first, second = words[..., 0], words[..., 1]
    alpha = np.where(inside, second >> 16, 0)

    def mix(under: npt.NDArray[np.int64], over: Any) -> npt.NDArray[np.int64]:
        return np.asarray((over * alpha + under * (WHITE - alpha) + WHITE // 2) // WHITE)

    return Pixels(
        mix(p.r, first & WHITE), mix(p.g, first >> 16), mix(p.b, second & WHITE), mix(p.a, WHITE)
    )
