"""gaussian_blur and sharpen: codes weighted over their neighbourhood."""

from typing import Any

import numpy as np
import numpy.typing as npt

from bridges.frame import FrameInfo
from bridges.kernels.families.blur import Blur, blur_for, sharpening_for
from bridges.kernels.families.samples import kept_channel, shape_channels
from bridges.kernels.recipe import Planes
from bridges.kernels.reference.codes import Codes, load_codes, moved, store_codes
from bridges.kernels.views import views

__all__ = ["gaussian_blur", "sharpen"]


def gaussian_blur(planes: Planes, info: FrameInfo, sigma: float = 1.5) -> list[npt.NDArray[Any]]:
    """Return a picture blurred by a Gaussian; see `bridges.kernels.families.blur` for the formula.

    Chroma that is subsampled is blurred by as many pixels as luma. Codes are within one of the
    formula, and a flat picture stays as it is.

    Parameters
    ----------
    planes : sequence of numpy.ndarray
        Of ``info.format``, each as ``(rows, columns)`` or ``(rows, columns, channels)``.
    info : FrameInfo
        Format and size.
    sigma : float
        Standard deviation in pixels.

    Returns
    -------
    list of numpy.ndarray
        As ``planes``.
    """
    layout, made = info.format, [np.zeros_like(plane) for plane in planes]
    for view in views(layout):
        codes = load_codes(planes, info, view)
        blur = blur_for(layout, view, sigma)
        fraction = blur.fraction(layout.bits)
        blurred = (_blurred(codes, blur, fraction) + (1 << fraction >> 1)) >> fraction
        store_codes(made, info, view, blurred)
    return made


def sharpen(
    planes: Planes, info: FrameInfo, amount: float = 1.0, sigma: float = 1.0
) -> list[npt.NDArray[Any]]:
    """Return a picture with luma, or R, G and B, sharpened by an unsharp mask.

    The formula is in `bridges.kernels.families.blur`. Codes are within one of it, and are clipped
    to the depth. Chroma, alpha and padding are copied.

    Parameters
    ----------
    planes, info
        As for `gaussian_blur`.
    amount : float
        How much is added of what the blur takes away.
    sigma : float
        Standard deviation of the blur in pixels.

    Returns
    -------
    list of numpy.ndarray
        As ``planes``.
    """
    layout, made = info.format, [np.zeros_like(plane) for plane in planes]
    for view in views(layout):
        codes = load_codes(planes, info, view)
        kept = kept_channel(info, view)
        result = codes
        if set(view.names) & set(shape_channels(info)):
            blur = sharpening_for(layout, view, amount, sigma)
            fraction = blur.fraction(layout.bits)
            lost = (codes << fraction) - _blurred(codes, blur, fraction)
            scale = fraction + blur.amount_bits
            result = ((codes << scale) + lost * blur.amount + (1 << scale - 1)) >> scale
            result = np.clip(result, 0, (1 << layout.bits) - 1)
            if kept >= 0:
                result[..., kept] = codes[..., kept]
        store_codes(made, info, view, result)
    return made


def _blurred(codes: Codes, blur: Blur, fraction: int) -> Codes:
    """Return the blurred samples with their fractional bits."""
    shift = blur.word_bits - 1 - fraction
    down = np.full_like(codes, 1 << shift - 1)
    for k, weight in enumerate(blur.vertical):
        down += (moved(codes, k, 0) + moved(codes, -k, 0)) * weight
    down >>= shift
    across = np.full_like(codes, len(blur.horizontal) // 2)
    for k, weight in enumerate(blur.horizontal):
        # Of 32-bit sums and weights: a product may need all 64 bits.
        pair = (moved(down, 0, k) + moved(down, 0, -k)).astype(np.uint64)
        across += ((pair * np.uint64(weight)) >> np.uint64(blur.word_bits)).astype(np.int64)
    return across
