"""The barcode reads back what was drawn, or fails loudly."""

from __future__ import annotations

import numpy as np
import pytest

from tests.assets import barcode

SIZES = [(64, 64), (127, 95), (128, 96), (320, 180), (1920, 1080)]


def gray(index: int, width: int = 128, height: int = 96) -> np.ndarray:
    return barcode.draw(index, width, height)[..., 1]


def downscaled(plane: np.ndarray, factor: int) -> np.ndarray:
    height, width = plane.shape[0] // factor, plane.shape[1] // factor
    plane = plane[: height * factor, : width * factor]
    return plane.reshape(height, factor, width, factor).mean(axis=(1, 3))


@pytest.mark.parametrize(("width", "height"), SIZES)
@pytest.mark.parametrize("index", [0, 1, 255, 256, 4711, 0x5555, 0xAAAA, 0xFFFF])
def test_reads_what_was_drawn(index, width, height):
    picture = barcode.draw(index, width, height)
    assert picture.shape == (height, width, 3)
    assert [barcode.read(picture[..., n]) for n in range(3)] == [index] * 3


def test_every_number_has_black_and_white_cells():
    codes = [index << 8 | barcode._check(index) for index in range(barcode.MAX_INDEX + 1)]
    assert all(0 < code.bit_count() < barcode.ROWS * barcode.COLUMNS for code in codes)
    assert len(set(codes)) == len(codes)


def test_check_is_a_crc():
    # By hand: the remainder of 1 * x^8 is the polynomial's tail, 0x07; then the final xor.
    assert barcode._check(0) == 0x55
    assert barcode._check(1) == 0x07 ^ 0x55


@pytest.mark.parametrize(
    "levels",
    [
        pytest.param((16, 235, np.uint8), id="limited 8 bits"),
        pytest.param((0, 1023, np.uint16), id="full 10 bits"),
        pytest.param((64, 940, np.uint16), id="limited 10 bits"),
        pytest.param((64 << 6, 940 << 6, np.uint16), id="limited 10 bits, high"),
        pytest.param((0.0, 1.0, np.float32), id="float"),
    ],
)
def test_any_range_and_depth(levels):
    low, high, dtype = levels
    plane = (low + gray(4711) / 255.0 * (high - low)).astype(dtype)
    assert barcode.read(plane) == 4711


@pytest.mark.parametrize("factor", [2, 3])
def test_reads_after_downscaling(factor):
    for index in (0, 77, 4711, 65535):
        assert barcode.read(downscaled(gray(index, 256, 192), factor)) == index


def test_reads_after_upscaling_and_noise():
    noise = np.random.default_rng(1).normal(0, 30, (192, 256))
    plane = np.repeat(np.repeat(gray(4711), 2, axis=0), 2, axis=1) + noise
    assert barcode.read(plane.clip(0, 255).astype(np.uint8)) == 4711


@pytest.mark.parametrize(
    "spoil",
    [
        pytest.param(lambda p: np.zeros_like(p), id="black"),
        pytest.param(lambda p: np.full_like(p, 128), id="gray"),
        pytest.param(lambda p: 255 - p, id="inverted"),
        pytest.param(lambda p: p[:, ::-1], id="mirrored"),
        pytest.param(lambda p: p[::-1], id="upside down"),
        pytest.param(lambda p: np.roll(p, 16, axis=1), id="shifted by a cell"),
        pytest.param(lambda p: p // 2 + gray(4712) // 2, id="blend of two frames"),
    ],
)
def test_a_wrong_picture_does_not_read(spoil):
    with pytest.raises(ValueError, match="barcode"):
        barcode.read(spoil(gray(4711)))


def test_one_wrong_cell_never_passes():
    for cell in range(barcode.ROWS * barcode.COLUMNS):
        row, column = divmod(cell, barcode.COLUMNS)
        plane = gray(4711).copy()
        plane[12 * row : 12 * row + 12, 16 * column : 16 * column + 16] ^= 0xFF
        with pytest.raises(ValueError, match="wrong check"):
            barcode.read(plane)


def test_refuses_what_cannot_work():
    with pytest.raises(ValueError, match="16 bits"):
        barcode.draw(65536, 128, 96)
    with pytest.raises(ValueError, match="too small"):
        barcode.draw(1, 63, 64)
    with pytest.raises(ValueError, match="two dimensions"):
        barcode.read(barcode.draw(1, 128, 96))
    with pytest.raises(ValueError, match="too small"):
        barcode.read(np.zeros((4, 4), np.uint8))


def test_patches_hold_their_colours():
    picture = barcode.draw(1, 127, 95)
    measured = np.stack([barcode.patch_medians(picture[..., n]) for n in range(3)], axis=1)
    np.testing.assert_array_equal(measured, barcode.PATCHES)


def test_the_picture_moves_but_only_in_the_middle():
    first, second = barcode.draw(7, 128, 96), barcode.draw(7, 128, 96, moment=7.5)
    changed = np.any(first != second, axis=(1, 2))
    assert changed[36:72].all()
    assert not changed[:36].any()
    assert not changed[72:].any()
