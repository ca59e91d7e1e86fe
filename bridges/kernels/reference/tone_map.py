"""tone_map on R'G'B' codes of 0 to 65535, by the tables of `bridges.kernels.families.tone_map`."""

from typing import Any

import numpy as np
import numpy.typing as npt

from bridges.kernels.reference.pixels import Channel, Pixels

__all__ = ["tone_map"]

_SDR_WHITE = 1 << 30
"""Light of SDR's white."""


def tone_map(
    p: Pixels,
    _x: Any,
    _y: Any,
    is_hlg: np.int32,
    lights: npt.NDArray[np.uint32],
    ootf: npt.NDArray[np.uint32],
    gains: npt.NDArray[np.uint32],
    weights: npt.NDArray[np.int32],
    signals: npt.NDArray[np.uint32],
) -> Pixels:
    """Return SDR of HDR; the tables are those of `bridges.kernels.families.tone_map.prepare`."""
    entries = [lights[each].astype(np.int64) for each in (p.r, p.g, p.b)]
    if is_hlg:
        scene = [((each >> 4) << 2) >> (each & 15) for each in entries]
        # BT.2100's 0.2627, 0.6780 and 0.0593.
        luminance = (scene[0] * 17216 + scene[1] * 44434 + scene[2] * 3886) >> 16
        system = _between(ootf, _log(luminance))
        light = (np.maximum.reduce(scene) * system) >> 26
        gain = (system * _between(gains, _log(light))) >> 26
    else:
        gain = gains[np.maximum.reduce([p.r, p.g, p.b])].astype(np.int64)
    scaled = [((((each >> 4) * gain) >> ((each & 15) + 21)) + 1) >> 1 for each in entries]
    red, green, blue = (_signal(scaled, row, signals) for row in weights.reshape(3, 3))
    return Pixels(red, green, blue, p.a)


def _signal(
    scaled: list[Channel], row: npt.NDArray[np.int32], signals: npt.NDArray[np.uint32]
) -> Channel:
    """Return what a row of weights makes of light, as a signal of 0 to 65535."""
    total = sum(int(weight) * each for weight, each in zip(row, scaled, strict=True))
    light = np.clip((total + (1 << 29)) >> 30, 0, _SDR_WHITE)
    place = _log(light)
    entry = signals[place >> 9].astype(np.int64)
    code = ((entry >> 13 << 11) + (entry & 8191) * (place & 511) + (1 << 13)) >> 14
    return np.asarray(code, np.int64)


def _log(light: Channel) -> Channel:
    """Return the logarithm of base 2 with 16 fractional bits, linear between powers of two."""
    # Of whole numbers below 2**53, frexp tells the exact count of bits.
    length = np.frexp((light | 64).astype(np.float64))[1].astype(np.int64)
    return np.asarray(((length - 7) << 16) + ((light << (32 - length)) >> 15), np.int64)


def _between(table: npt.NDArray[np.uint32], place: Channel) -> Channel:
    """Return entries of a table, linear between two; ``place`` has 9 fractional bits."""
    low, high = (table[(place >> 9) + k].astype(np.int64) for k in (0, 1))
    return np.asarray(low + (((high - low) * (place & 511) + 256) >> 9), np.int64)
