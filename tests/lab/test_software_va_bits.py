"""The bits of the software driver's H.264: escapes, and headers that end within a byte."""

from __future__ import annotations

import ctypes as c
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from tests.helpers.require import require

SOURCE = Path(__file__).parent / "software_va" / "bits.c"
START_CODE = b"\0\0\0\1"


class BitWriter(c.Structure):
    """``BitWriter`` of ``bits.h``."""

    _fields_ = (
        ("data", c.POINTER(c.c_uint8)),
        ("size", c.c_size_t),
        ("capacity", c.c_size_t),
        ("pending", c.c_uint),
        ("pending_bits", c.c_uint),
        ("zeros", c.c_uint),
        ("failed", c.c_bool),
    )

    @property
    def written(self):
        return bytes(self.data[: self.size])


@pytest.fixture(scope="module")
def bits(tmp_path_factory):
    require("vaapi", shutil.which("gcc") is not None, "there is no gcc; try: apt install gcc")
    path = tmp_path_factory.mktemp("bits") / "bits.so"
    subprocess.run(["gcc", "-shared", "-fPIC", "-o", path, SOURCE], check=True, timeout=60)
    library = c.CDLL(str(path))
    library.write_nal_units.argtypes = (c.c_void_p, c.c_char_p, c.c_size_t, c.c_bool)
    return library


def escaped(payload):
    """A NAL unit's payload with emulation prevention bytes; ITU-T H.264, 7.3.1 and 7.4.1.1."""
    found = bytearray()
    for byte in payload:
        if found.endswith(b"\0\0") and byte <= 3:
            found.append(3)
        found.append(byte)
    return bytes(found)


def packed(text):
    """Bytes from a text of zeros and ones, filled up with zeros."""
    text += "0" * (-len(text) % 8)
    return int("1" + text, 2).to_bytes(len(text) // 8 + 1, "big")[1:]


def sparse_text(seed, count):
    """Zeros and ones, mostly zeros."""
    return "".join(map(str, (np.random.default_rng(seed).random(count) > 0.93).astype(int)))


@pytest.mark.parametrize(
    ("value", "code"),
    [(0, "1"), (1, "010"), (2, "011"), (3, "00100"), (25, "000011010"), (30, "000011111")],
)
def test_exp_golomb_codes_are_the_standards(bits, value, code):
    """ITU-T H.264, table 9-2."""
    writer = BitWriter()
    bits.write_exp_golomb(c.byref(writer), value)
    bits.align_with_zeros(c.byref(writer))
    assert writer.written == packed(code)


@pytest.mark.parametrize("is_escaped", [False, True], ids=["plain", "escaped"])
@pytest.mark.parametrize("rest", range(8))
def test_a_slice_goes_on_at_the_bit_where_its_header_ends(bits, rest, is_escaped):
    for seed in range(40):
        header, tail = "01100101" + sparse_text(seed, 96 + rest), sparse_text(seed + 100, 200)
        data = START_CODE + (escaped(packed(header)) if is_escaped else packed(header))
        writer = BitWriter()
        length = 8 * len(data) - (-len(header) % 8)
        bits.write_nal_units(c.byref(writer), data, length, is_escaped)
        for bit in tail:
            bits.write_bits(c.byref(writer), int(bit), 1)
        bits.align_with_zeros(c.byref(writer))
        assert writer.written == START_CODE + escaped(packed(header + tail))


def test_units_that_come_together_stay_apart(bits):
    writer = BitWriter()
    units = [b"\x67" + escaped(bytes(9)) + b"\x80", b"\x68\0\0\3\1\x80", b"\x65\x12"]
    data = START_CODE + units[0] + START_CODE + units[1] + START_CODE[1:] + units[2]
    bits.write_nal_units(c.byref(writer), data, 8 * len(data), True)
    assert writer.written == data
