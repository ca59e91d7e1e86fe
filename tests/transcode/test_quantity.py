"""Sizes, rates and times in words."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from transcode.quantity import bit_rate_text, duration_text, rate_text, size_text


@pytest.mark.parametrize(
    ("nbytes", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.0 kB"),
        (412_300, "412 kB"),
        (999_499, "999 kB"),
        (999_600, "1.0 MB"),
        (1_055_736, "1.1 MB"),
        (12_340_000_000, "12.3 GB"),
        (2_500_000_000_000, "2.50 TB"),
    ],
)
def test_sizes(nbytes, text):
    assert size_text(nbytes) == text


@given(st.floats(0, 1e18))
def test_a_size_is_short(nbytes):
    assert len(size_text(nbytes)) <= 13


def test_bit_rates():
    assert bit_rate_text(999) == "999 b/s"
    assert bit_rate_text(128_000) == "128 kb/s"
    assert bit_rate_text(2_500_000) == "2.5 Mb/s"


@pytest.mark.parametrize(
    ("rate", "text"),
    [
        (Fraction(25), "25 fps"),
        (Fraction(30000, 1001), "29.97 fps"),
        (Fraction(24000, 1001), "23.976 fps"),
        (Fraction(100), "100 fps"),
        (Fraction(25, 2), "12.5 fps"),
    ],
)
def test_rates(rate, text):
    assert rate_text(rate) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0:00"), (7.4, "0:07"), (59.6, "1:00"), (3723, "1:02:03"), (-1, "0:00")],
)
def test_durations(seconds, text):
    assert duration_text(seconds) == text
