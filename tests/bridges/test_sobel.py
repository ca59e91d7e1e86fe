"""sobel against the definition of the operator."""

import numpy as np
import pytest

from bridges import ColourRange, Matrix
from bridges.errors import FormatError
from bridges.kernels import get
from bridges.kernels.reference import sobel
from tests.bridges.picture import RANGES, Picture, frame_info

KERNEL = get("sobel")
LIMITED, FULL = RANGES
FORMATS = (
    "gray",
    "rgb24",
    "bgr0",
    "nv12",
    "yuva420p10le",
    "p010le",
    "uyvy422",
    "gray14le",
    "ya16le",
)
SIZE = (37, 23)


def black_and_white(bits: int, colour_range: ColourRange) -> tuple[int, int]:
    """H.273, 8.3: the codes of black and white."""
    if colour_range is FULL:
        return 0, 2**bits - 1
    return 16 << bits - 8, 235 << bits - 8


def slopes(codes: np.ndarray) -> np.ndarray:
    """Return the length of Sobel's gradient; edges are repeated."""
    padded = np.pad(codes.astype(np.float64), 1, "edge")
    across = np.array([[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]])
    rows, columns = codes.shape
    sums = [
        sum(
            weights[i, j] * padded[i : i + rows, j : j + columns]
            for i in range(3)
            for j in range(3)
        )
        for weights in (across, across.T)
    ]
    return np.hypot(*sums)


@pytest.mark.parametrize("colour_range", RANGES)
@pytest.mark.parametrize("name", FORMATS)
def test_it_is_the_length_of_the_gradient(name: str, colour_range: ColourRange):
    source = Picture.create(frame_info(name, SIZE, colour_range), seed=1)
    # Not so steep that all of it is white.
    for array in source.arrays:
        array[...] = array >> 2
    layout = source.frame.info.format
    for array in source.arrays:
        array[...] &= ~np.asarray((1 << layout.shift) - 1, array.dtype)
    target = Picture.create(source.frame.info)
    for array, made in zip(target.arrays, sobel(source.arrays, source.frame.info), strict=True):
        array[...] = made
    black, white = black_and_white(layout.bits, colour_range)
    names = {channel for plane in layout.planes for channel in plane.channels}
    for channel in names & set("YRGB"):
        exact = np.minimum(black + slopes(source.codes(channel)) / 4, white)
        assert np.abs(target.codes(channel) - exact).max() <= 0.5
        assert exact.min() < white
    for channel in names & set("AX"):
        assert np.array_equal(target.codes(channel), source.codes(channel))
    if "U" in names:
        for channel in "UV":
            plane, offset, step = layout.find(channel)
            flat = target.arrays[plane].reshape(len(target.arrays[plane]), -1)[:, offset::step]
            assert np.unique(flat >> layout.shift).tolist() == [1 << layout.bits - 1]


@pytest.mark.parametrize("colour_range", RANGES)
@pytest.mark.parametrize("name", ["gray", "gray10le", "gray12le", "gray16le"])
def test_a_step_is_white_and_what_is_flat_is_black(name: str, colour_range: ColourRange):
    picture = Picture.create(frame_info(name, (8, 6), colour_range))
    black, white = black_and_white(picture.frame.info.format.bits, colour_range)
    picture.arrays[0][:, :4], picture.arrays[0][:, 4:] = black, white
    (made,) = sobel(picture.arrays, picture.frame.info)
    assert (made[:, 3:5] == white).all()
    assert (made[:, :3] == black).all()
    assert (made[:, 5:] == black).all()
    picture.arrays[0][:3], picture.arrays[0][3:] = white, black
    (made,) = sobel(picture.arrays, picture.frame.info)
    assert (made[2:4] == white).all()
    assert (made[:2] == black).all()
    assert (made[4:] == black).all()


def test_a_slope_of_a_triangle_of_whole_numbers():
    # Gradients of (3, 4) codes a pixel: 8 * 3 and 8 * 4 as sums, whose length is 40.
    picture = Picture.create(frame_info("gray", (9, 9), FULL))
    rows, columns = np.mgrid[:9, :9]
    picture.arrays[0][...] = 3 * columns + 4 * rows
    (made,) = sobel(picture.arrays, picture.frame.info)
    assert (made[1:-1, 1:-1] == 10).all()


def test_planes_that_hold_green_blue_and_red_show_their_edges_all():
    picture = Picture.create(frame_info("yuv444p", SIZE, FULL, Matrix.RGB), seed=2)
    made = sobel(picture.arrays, picture.frame.info)
    for plane, array in zip(made, picture.arrays, strict=True):
        exact = np.minimum(slopes(array) / 4, 255)
        assert np.abs(plane - exact).max() <= 0.5


def test_the_sample_behind_an_odd_width_is_like_the_last():
    picture = Picture.create(frame_info("yuyv422", (11, 4)), seed=3)
    (made,) = sobel(picture.arrays, picture.frame.info)
    luma = made.reshape(4, -1)[:, ::2]
    assert np.array_equal(luma[:, 11], luma[:, 10])


def test_another_form_is_refused(numpy_runtime):
    source = Picture.create(frame_info("gray", (4, 4)), seed=4)
    target = Picture.create(frame_info("gray", (4, 4), FULL))
    with pytest.raises(FormatError, match="sobel makes gray of limited range of it, not gray of f"):
        numpy_runtime.run(KERNEL, source.frame, target.frame)
