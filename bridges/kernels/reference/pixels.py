"""Pixels as point kernels see them, of the planes of any format and back."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from bridges.formats import ColourModel
from bridges.frame import FrameInfo
from bridges.kernels.colour import WHITE, Affine, alpha_from_rgb, alpha_to_rgb, from_rgb, to_rgb
from bridges.kernels.recipe import Planes
from bridges.kernels.reference.codes import load_codes, whole_rows
from bridges.kernels.sampling import cosited, downward, upward
from bridges.kernels.views import View, views

__all__ = ["Channel", "Pixels", "load_pixels", "store_pixels"]

Channel = npt.NDArray[np.int64]
"""One channel of a picture: ``(rows, columns)``."""


@dataclass(frozen=True)
class Pixels:
    """R'G'B' codes of 0 to 65535 in full range, and alpha.

    Attributes
    ----------
    r, g, b, a : numpy.ndarray
        ``(rows, columns)`` of ``int64``.
    """

    r: Channel
    g: Channel
    b: Channel
    a: Channel

    def map(self, function: Callable[[Channel], Channel]) -> "Pixels":
        """Return what a function makes of red, of green and of blue, with the same alpha."""
        return Pixels(function(self.r), function(self.g), function(self.b), self.a)

    def clipped(self) -> "Pixels":
        """Return the same with what lies outside 0 to 65535 clipped."""
        red, green, blue, alpha = (
            np.clip(each, 0, WHITE) for each in (self.r, self.g, self.b, self.a)
        )
        return Pixels(red, green, blue, alpha)


def _apply(affine: Affine, *codes: npt.NDArray[Any]) -> Channel:
    total: Any = np.int64(affine.bias)
    for weight, code in zip(affine.weights, codes, strict=True):
        total = total + np.int64(weight) * code
    return np.asarray(total >> affine.fraction, np.int64)


def load_pixels(planes: Planes, info: FrameInfo, siting: str | None) -> Pixels:
    """Return the pixels of a picture.

    Parameters
    ----------
    planes : sequence of numpy.ndarray
        Of ``info.format``, each as ``(rows, columns)`` or ``(rows, columns, channels)``.
    info : FrameInfo
        Format, size, range and matrix.
    siting : str or None
        How subsampled chroma is interpolated; None where each sample stands for its block.
    """
    layout = info.format
    found = {name: view for view in views(layout) for name in view.names}
    loaded = {view: load_codes(planes, info, view) for view in views(layout)}

    def codes(name: str) -> Channel:
        view = found[name]
        return loaded[view][..., view.names.index(name)]

    alpha = np.full((info.height, info.width), WHITE, np.int64)
    if "A" in found:
        alpha = np.clip(_apply(alpha_to_rgb(layout.bits), codes("A")), 0, WHITE)
    if layout.model is ColourModel.YUV:
        u, v, bits = codes("U"), codes("V"), 0
        if siting is not None:
            u, bits = _interpolated(u, found["U"], info, siting)
            v, bits = _interpolated(v, found["V"], info, siting)
        else:
            u, v = (_repeated(each, found["U"], info) for each in (u, v))
        colour = [_apply(affine, codes("Y"), u, v) for affine in to_rgb(info, bits)]
    else:
        names = "RGB" if layout.model is ColourModel.RGB else "YYY"
        colour = [_apply(to_rgb(info)[0], codes(name)) for name in names]
    red, green, blue = (np.clip(each, 0, WHITE) for each in colour)
    return Pixels(red, green, blue, alpha)


def _repeated(codes: Channel, view: View, info: FrameInfo) -> Channel:
    across = np.arange(info.width) >> view.log2_width
    down = np.arange(info.height) >> view.log2_height
    return np.asarray(codes[np.ix_(down, across)], np.int64)


def _interpolated(codes: Channel, view: View, info: FrameInfo, siting: str) -> tuple[Channel, int]:
    """Return chroma of every pixel, and its fractional bits."""
    bits = 0
    for axis, log2, size in ((1, view.log2_width, info.width), (0, view.log2_height, info.height)):
        on_pixel = cosited(siting)[1 - axis]
        parts = [_taps(k, size, log2, codes.shape[axis], on_pixel) for k in (0, 1)]
        near, far = (
            np.take(codes, samples, axis) * np.expand_dims(weights, 1 - axis)
            for samples, weights in parts
        )
        codes = near + far
        if log2:
            bits += log2 + (not on_pixel)
    return codes, bits


def _taps(
    which: int, size: int, log2: int, samples: int, on_pixel: bool
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Return the first or second sample of each pixel of a line, and its weight."""
    taps = [upward(pixel, log2, on_pixel) for pixel in range(size)]
    chosen = [pair[which] if which < len(pair) else (0, 0) for pair in taps]
    places = np.array([sample for sample, _ in chosen])
    return np.clip(places, 0, samples - 1), np.array([weight for _, weight in chosen])


def store_pixels(
    pixels: Pixels,
    info: FrameInfo,
    out: Sequence[npt.NDArray[Any] | None],
    siting: str | None,
) -> None:
    """Write pixels as the planes of a picture; padding samples get the highest code.

    Parameters
    ----------
    pixels : Pixels
        As many as the picture has.
    info : FrameInfo
        Format, size, range and matrix.
    out : sequence of numpy.ndarray
        The planes; None for one that is left alone.
    siting : str or None
        How chroma is subsampled; None where each sample is the mean of its block.
    """
    layout = info.format
    peak = (1 << layout.bits) - 1
    for view in views(layout):
        plane = out[view.plane]
        if plane is None:
            continue
        # Of an odd width, packed 4:2:2 has one Y more: that of the last pixel.
        stored = whole_rows(plane, info, view)
        for index, name in enumerate(view.names):
            if name == "X":
                codes: Any = peak
            elif name == "A":
                codes = np.clip(_apply(alpha_from_rgb(layout.bits), pixels.a), 0, peak)
            elif layout.model is ColourModel.RGB:
                part = getattr(pixels, name.lower())
                codes = np.clip(_apply(from_rgb(info)[0], part), 0, peak)
            else:
                means = [_mean(part, view, siting) for part in (pixels.r, pixels.g, pixels.b)]
                affine = from_rgb(info)["YUV".index(name)]
                codes = np.clip(_apply(affine, *means), 0, peak)
            if isinstance(codes, np.ndarray) and codes.shape[1] < stored.shape[1]:
                codes = np.pad(codes, ((0, 0), (0, stored.shape[1] - codes.shape[1])), "edge")
            stored[..., index] = codes << layout.shift


def _mean(part: Channel, view: View, siting: str | None) -> Channel:
    """Return the mean of the pixels that each sample stands for, rounded half up."""
    sites = (False, False) if siting is None else cosited(siting)
    total: Any = part
    count = 1
    for axis, log2, on_pixel in ((1, view.log2_width, sites[0]), (0, view.log2_height, sites[1])):
        if log2 == 0:
            continue
        samples = -(-part.shape[axis] >> log2)
        taps = downward(0, log2, on_pixel)
        places = [
            np.clip((np.arange(samples) << log2) + pixel, 0, part.shape[axis] - 1)
            for pixel, _ in taps
        ]
        weights = [weight for _, weight in taps]
        pairs = zip(places, weights, strict=True)
        total = sum(np.take(total, place, axis) * weight for place, weight in pairs)
        count *= sum(weights)
    return np.asarray((total + count // 2) >> (count.bit_length() - 1), np.int64)
