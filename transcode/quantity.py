"""Quantities in words: sizes, rates and times, as people read them."""

from fractions import Fraction

__all__ = ["bit_rate_text", "duration_text", "rate_text", "size_text"]


def size_text(nbytes: float) -> str:
    """Return a size in decimal units: ``"0 B"``, ``"412 kB"``, ``"1.1 MB"``."""
    if nbytes < 1000:
        return f"{nbytes:.0f} B"
    for unit in ("kB", "MB", "GB"):
        nbytes /= 1000
        if nbytes < 999.5:
            return f"{nbytes:.0f} {unit}" if nbytes >= 99.5 else f"{nbytes:.1f} {unit}"
    return f"{nbytes / 1000:.2f} TB"


def bit_rate_text(bits_per_second: float) -> str:
    """Return a bit rate: ``"128 kb/s"``, ``"2.5 Mb/s"``."""
    return f"{size_text(bits_per_second).removesuffix('B')}b/s"


def rate_text(rate: Fraction) -> str:
    """Return a frame rate with as many decimals as it needs, three at most: ``"29.97 fps"``."""
    return f"{float(rate):.3f}".rstrip("0").rstrip(".") + " fps"


def duration_text(seconds: float) -> str:
    """Return whole seconds as ``"0:07"`` or ``"1:02:03"``."""
    minutes, rest = divmod(max(round(seconds), 0), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
