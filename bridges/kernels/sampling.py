"""Chroma that is subsampled: which samples make the chroma of a pixel, and which pixels a sample.

A chroma sample stands for ``s`` pixels of a row (and of a column alike). Its *site* is in their
middle (``centre``) or on the first of them (``left``); ITU-T H.273 clause 8.7 numbers these as
ChromaLocType 1 and 0, and 2 is ``topleft``, which is on the first one in both directions. Up,
chroma is interpolated linearly between the two nearest sites; down, it is the mean of ``s`` pixels
around the site, those at both ends with half their weight where the site is on a pixel.
"""

from fractions import Fraction

__all__ = ["SITINGS", "cosited", "downward", "upward"]

SITINGS = ("left", "centre", "topleft")
"""Names of sitings; MPEG-2, H.264 and HEVC have ``left`` where they say nothing."""


def cosited(siting: str) -> tuple[bool, bool]:
    """Return whether sites lie on pixels, horizontally and vertically."""
    return siting in ("left", "topleft"), siting == "topleft"


def upward(pixel: int, log2: int, is_cosited: bool) -> tuple[tuple[int, int], ...]:
    """Return what makes the chroma of a pixel: pairs of a sample and its weight.

    Parameters
    ----------
    pixel : int
        Counted from one whose number is a multiple of ``2**log2``; may be negative.
    log2 : int
        Pixels per chroma sample, as a power of two.
    is_cosited : bool
        Whether samples lie on pixels.

    Returns
    -------
    tuple of (int, int)
        Samples, counted from the first pixel's; the weights add up to ``2**log2`` where sites lie
        on pixels, else to ``2**(log2 + 1)``, or to 1 where chroma is not subsampled.
    """
    if log2 == 0:
        return ((pixel, 1),)
    step = 1 << log2
    place = Fraction(pixel, step) if is_cosited else Fraction(2 * pixel + 1 - step, 2 * step)
    whole = step if is_cosited else 2 * step
    first = place.numerator // place.denominator
    second = int((place - first) * whole)
    pairs = ((first, whole - second), (first + 1, second))
    return tuple((sample, weight) for sample, weight in pairs if weight)


def downward(sample: int, log2: int, is_cosited: bool) -> tuple[tuple[int, int], ...]:
    """Return what makes a chroma sample: pairs of a pixel and its weight.

    Returns
    -------
    tuple of (int, int)
        Pixels, counted from the first of sample 0; the weights add up to ``2**log2`` where sites
        lie between pixels, else to ``2**(log2 + 1)``, or to 1 where chroma is not subsampled.
    """
    if log2 == 0:
        return ((sample, 1),)
    step, first = 1 << log2, sample << log2
    if not is_cosited:
        return tuple((first + k, 1) for k in range(step))
    half = step // 2
    ends = {-half: 1, half: 1}
    return tuple((first + k, ends.get(k, 2)) for k in range(-half, half + 1))
