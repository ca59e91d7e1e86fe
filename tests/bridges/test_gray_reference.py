"""The reference of rgb_to_grayscale against the standards' own formula and colours."""

from fractions import Fraction

import numpy as np
import pytest

from bridges import ColourRange, Matrix
from bridges.errors import FormatError
from bridges.formats import ColourModel, pixel_format
from bridges.kernels import get
from bridges.kernels.families.gray import coefficients
from bridges.kernels.reference import rgb_to_grayscale
from bridges.kernels.weights import weights_for
from tests.bridges.picture import RANGES, Picture, frame_info

KERNEL = get("rgb_to_grayscale")
LIMITED, FULL = RANGES
TARGETS = ("gray", "gray9le", "gray10le", "gray12le", "gray14le", "gray16le", "p010le")
SIZE = (127, 95)


def signal(codes, bits: int, colour_range: ColourRange):
    """H.273, 8.3: the signal 0 to 1 that a code stands for."""
    if colour_range is FULL:
        return np.asarray(codes) / (2**bits - 1)
    return (np.asarray(codes) / 2 ** (bits - 8) - 16) / 219


def code(value, bits: int, colour_range: ColourRange):
    """H.273, 8.3: the code, not yet rounded, that stands for a signal."""
    if colour_range is FULL:
        return value * (2**bits - 1)
    return 2 ** (bits - 8) * (219 * value + 16)


@pytest.mark.parametrize("target_name", TARGETS)
@pytest.mark.parametrize("colour_range", RANGES)
@pytest.mark.parametrize("name", KERNEL.formats_read)
def test_within_one_code_of_the_formula(name: str, colour_range: ColourRange, target_name: str):
    picture = Picture.create(frame_info(name, SIZE, colour_range, Matrix.BT709), seed=1)
    layout, bits = picture.frame.info.format, pixel_format(target_name).bits
    if layout.model is ColourModel.RGB:
        red, green, blue = (
            signal(picture.codes(channel), layout.bits, colour_range) for channel in "RGB"
        )
        luma = 0.2126 * red + 0.7152 * green + 0.0722 * blue
    else:
        luma = signal(picture.codes("Y"), layout.bits, colour_range)
    for target_range in RANGES:
        target = frame_info(target_name, SIZE, target_range)
        gray = rgb_to_grayscale(picture.arrays, picture.frame.info, target)
        exact = np.clip(code(luma, bits, target_range), 0, 2**bits - 1)
        got = gray.astype(np.float64) / 2**target.format.shift
        assert np.abs(got - exact).max() < 0.5 + 1 / 40 + 1e-9
        assert gray.dtype == target.format.dtype
        assert gray.shape == (SIZE[1], SIZE[0])


# Codes of pure red, green and blue: round(219 K + 16) and round(255 K), and by 4 or 1023/255 for
# ten bits, worked out by hand from the K of each standard.
PURE = [
    (Matrix.BT709, "gray", LIMITED, (63, 173, 32)),
    (Matrix.BT709, "gray", FULL, (54, 182, 18)),
    (Matrix.BT709, "yuv420p10le", LIMITED, (250, 691, 127)),
    (Matrix.BT470BG, "gray", LIMITED, (81, 145, 41)),
    (Matrix.SMPTE170M, "gray", LIMITED, (81, 145, 41)),
    (Matrix.SMPTE170M, "gray", FULL, (76, 150, 29)),
    (Matrix.FCC, "gray", LIMITED, (82, 145, 40)),
    (Matrix.SMPTE240M, "gray", FULL, (54, 179, 22)),
    (Matrix.BT2020_NCL, "yuv420p10le", LIMITED, (294, 658, 116)),
    (Matrix.BT2020_NCL, "gray10le", FULL, (269, 694, 61)),
]
RGB_FORMATS = [name for name in KERNEL.formats_read if pixel_format(name).model is ColourModel.RGB]


def solid(name: str, colour: tuple[int, int, int], matrix: Matrix) -> Picture:
    """Return a 5x3 picture of one colour, full range, zero wherever there is no R, G or B."""
    picture = Picture.create(frame_info(name, (5, 3), FULL, matrix))
    layout = picture.frame.info.format
    for array in picture.arrays:
        array[...] = 0
    for channel, share in zip("RGB", colour, strict=True):
        plane, offset, step = layout.find(channel)
        array = picture.arrays[plane]
        view = array if array.ndim == 2 else array[..., offset]
        assert step == (1 if array.ndim == 2 else array.shape[2])
        view[...] = share * ((1 << layout.bits) - 1)
    return picture


@pytest.mark.parametrize("name", RGB_FORMATS)
@pytest.mark.parametrize(("matrix", "target_name", "target_range", "pure"), PURE)
def test_pure_colours_are_those_of_the_standard(name, matrix, target_name, target_range, pure):
    target = frame_info(target_name, (5, 3), target_range)
    colours = [(1, 0, 0), (0, 1, 0), (0, 0, 1)]
    for colour, expected in zip(colours, pure, strict=True):
        picture = solid(name, colour, matrix)
        gray = rgb_to_grayscale(picture.arrays, picture.frame.info, target)
        assert np.unique(gray).tolist() == [expected]


@pytest.mark.parametrize("matrix", [Matrix.BT709, Matrix.BT470BG, Matrix.BT2020_NCL, Matrix.FCC])
@pytest.mark.parametrize("target_name", TARGETS)
@pytest.mark.parametrize("name", RGB_FORMATS)
def test_black_is_black_and_white_is_the_peak(name: str, target_name: str, matrix: Matrix):
    bits, shift = pixel_format(target_name).bits, pixel_format(target_name).shift
    ends = {FULL: (0, 2**bits - 1), LIMITED: (16 << bits - 8, 235 << bits - 8)}
    for target_range, (black, white) in ends.items():
        target = frame_info(target_name, (5, 3), target_range)
        for share, expected in ((0, black), (1, white)):
            picture = solid(name, (share, share, share), matrix)
            gray = rgb_to_grayscale(picture.arrays, picture.frame.info, target)
            assert np.unique(gray).tolist() == [expected << shift]


@pytest.mark.parametrize(
    ("name", "order"), [("rgb0", [54, 182, 18]), ("bgr0", [18, 182, 54]), ("0rgb", [0, 54, 182])]
)
def test_channel_order_is_that_of_the_bytes(name: str, order: list[int]):
    for index, expected in enumerate(order):
        picture = Picture.create(frame_info(name, (1, 1), FULL, Matrix.BT709))
        picture.arrays[0][...] = 0
        picture.arrays[0][..., index] = 255
        target = frame_info("gray", (1, 1), FULL)
        gray = rgb_to_grayscale(picture.arrays, picture.frame.info, target)
        assert gray.item() == expected


@pytest.mark.parametrize("colour_range", RANGES)
@pytest.mark.parametrize("name", ["yuv420p", "yuv444p12le", "gray16le", "nv12", "p010le", "ya8"])
def test_luma_of_equal_range_and_depth_is_kept_bit_by_bit(name: str, colour_range: ColourRange):
    picture = Picture.create(frame_info(name, SIZE, colour_range), seed=2)
    bits = picture.frame.info.format.bits
    target = frame_info("gray" if bits == 8 else f"gray{bits}le", SIZE, colour_range)
    gray = rgb_to_grayscale(picture.arrays, picture.frame.info, target)
    assert np.array_equal(gray, picture.codes("Y"))


def test_limited_luma_keeps_what_lies_outside_black_and_white():
    picture = Picture.create(frame_info("yuv420p", (256, 1), LIMITED))
    picture.arrays[0][0] = np.arange(256)
    same = rgb_to_grayscale(
        picture.arrays, picture.frame.info, frame_info("yuv420p10le", (256, 1), LIMITED)
    )
    assert same[0].tolist() == [4 * value for value in range(256)]
    full = rgb_to_grayscale(picture.arrays, picture.frame.info, frame_info("gray", (256, 1), FULL))
    assert set(full[0, :17].tolist()) == {0}
    assert set(full[0, 235:].tolist()) == {255}


def test_narrow_sums_fit_32_bits():
    for name in KERNEL.formats_read:
        for target_name in TARGETS:
            for ranges in ((a, b) for a in RANGES for b in RANGES):
                source = frame_info(name, (1, 1), ranges[0], Matrix.BT2020_NCL)
                numbers = coefficients(source, frame_info(target_name, (1, 1), ranges[1]))
                top = sum(numbers.weights) * ((1 << source.format.bits) - 1)
                assert all(0 <= weight < 1 << 32 for weight in numbers.weights)
                assert numbers.wide or max(top + numbers.bias, top, -numbers.bias) < 1 << 31


@pytest.mark.parametrize(
    ("matrix", "primaries", "text", "red"),
    [
        (Matrix.BT709, 2, "BT.709", "0.2126"),
        (Matrix.SMPTE170M, 1, "BT.601", "0.299"),
        (Matrix.BT2020_CL, 9, "BT.2020", "0.2627"),
        (Matrix.UNSPECIFIED, 9, "BT.2020 (by its primaries)", "0.2627"),
        (Matrix.RGB, 6, "BT.601 (by its primaries)", "0.299"),
        (Matrix.RGB, 2, "BT.709 (assumed: untagged)", "0.2126"),
        (Matrix.YCGCO, 2, "BT.709 (assumed: no weights tagged)", "0.2126"),
        (Matrix.UNSPECIFIED, 12, "BT.709 (assumed: no weights tagged)", "0.2126"),
    ],
)
def test_weights_say_where_they_come_from(matrix, primaries, text, red):
    info = frame_info("rgb24", (4, 4), matrix=matrix, primaries=primaries)
    weights, said = weights_for(info)
    assert said == text
    assert weights[0] == Fraction(red)
    assert sum(weights) == 1
    luma = frame_info("yuv420p", (4, 4), matrix=matrix, primaries=primaries)
    assert weights_for(luma)[1].startswith("the picture's own luma")


def test_yuv_that_holds_rgb_is_refused():
    picture = Picture.create(frame_info("yuv444p", (4, 4), matrix=Matrix.RGB))
    with pytest.raises(FormatError, match="convert it to gbrp"):
        rgb_to_grayscale(picture.arrays, picture.frame.info, frame_info("gray", (4, 4)))


@pytest.mark.parametrize(
    ("name", "expected"), [("rgb24", "gray"), ("p010le", "gray10le"), ("yuyv422", "gray")]
)
def test_output_keeps_depth_and_range(name: str, expected: str):
    for colour_range in RANGES:
        info = frame_info(name, (4, 4), colour_range, primaries=9)
        made = KERNEL.output(info)
        assert (made.format.name, made.colour.range) == (expected, colour_range)
        rgb = info.format.model is ColourModel.RGB
        assert made.colour.matrix is (Matrix.BT2020_NCL if rgb else Matrix.UNSPECIFIED)
