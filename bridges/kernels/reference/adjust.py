"""invert, brightness, contrast and saturation of R'G'B' codes of 0 to 65535.

Parameters are in 16.16 fixed point. Each is the affine map that libavfilter and CSS have under that
name, on the nonlinear signals.
"""

from typing import Any

import numpy as np

from bridges.kernels.colour import WHITE
from bridges.kernels.reference.pixels import Channel, Pixels

__all__ = ["brightness", "contrast", "invert", "saturation", "scale_add"]


def scale_add(value: Channel, factor: int, offset: int | Channel) -> Channel:
    """Return ``value * factor + offset``, both in 16.16 fixed point, rounded half up."""
    return np.asarray((value * factor + offset + 32768) >> 16, np.int64)


def invert(p: Pixels, _x: Any, _y: Any, amount: np.int32) -> Pixels:
    """Return ``(1 - amount) * c + amount * (1 - c)`` of each signal."""
    factor, offset = 65536 - 2 * int(amount), WHITE * int(amount)
    return p.map(lambda c: scale_add(c, factor, offset))


def brightness(p: Pixels, _x: Any, _y: Any, amount: np.int32) -> Pixels:
    """Return ``c + amount`` of each signal."""
    offset = (int(amount) * WHITE + 32768) >> 16
    return p.map(lambda c: c + offset)


def contrast(p: Pixels, _x: Any, _y: Any, amount: np.int32) -> Pixels:
    """Return ``(c - 1/2) * amount + 1/2`` of each signal."""
    offset = ((65536 - int(amount)) * WHITE) >> 1
    return p.map(lambda c: scale_add(c, int(amount), offset))


def saturation(
    p: Pixels, _x: Any, _y: Any, amount: np.int32, red: np.int32, green: np.int32, blue: np.int32
) -> Pixels:
    """Return ``Y' + (c - Y') * amount`` of each signal, Y' being the luma of the pixel."""
    luma = (int(red) * p.r + int(green) * p.g + int(blue) * p.b + 32768) >> 16
    rest = luma * (65536 - int(amount))
    return p.map(lambda c: scale_add(c, int(amount), rest))
