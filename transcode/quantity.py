"""Quantities in words: sizes, rates and times, as people read them."""

from fractions import Fraction

__all__ = [
    "bit_rate_text",
    "count_text",
    "duration_text",
    "number_text",
    "rate_text",
    "seconds_text",
    "size_text",
]


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


def seconds_text(seconds: float) -> str:
    """Return a time, exactly where it is short: ``"0.42 s"``, ``"12.3 s"``, ``"1:02:03"``."""
    if seconds < 60:
        return f"{seconds:.3g} s" if seconds < 59.95 else "1:00"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:,}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def count_text(count: float) -> str:
    """Return a whole number with its thousands apart: ``"12,345"``."""
    return f"{count:,.0f}"


def number_text(value: float) -> str:
    """Return a number with three digits that matter: ``"0.042"``, ``"3.14"``, ``"12,345"``."""
    if value == 0 or abs(value) >= 99.5:
        return f"{value:,.0f}"
    return f"{value:.3g}"
