"""yuv_to_rgb and rgb_to_yuv against the standards' formulas in float64, and their own colours."""

import numpy as np
import pytest

from bridges import ColourRange, Matrix
from bridges.errors import FormatError, KernelError
from bridges.formats import pixel_format
from bridges.kernels import get
from tests.bridges.picture import RANGES, Picture, frame_info

LIMITED, FULL = RANGES
WEIGHTS = {
    Matrix.BT709: (0.2126, 0.0722),
    Matrix.SMPTE170M: (0.299, 0.114),
    Matrix.BT2020_NCL: (0.2627, 0.0593),
}
SIZE = (37, 22)
TO_RGB, TO_YUV = get("yuv_to_rgb"), get("rgb_to_yuv")


def site(k, step: int, siting: str, axis: int):
    """Where chroma sample ``k`` lies, in pixels whose middles are at 0, 1, 2 and so on."""
    on_pixel = siting == "topleft" or (siting == "left" and axis == 1)
    return step * k + (0 if on_pixel else (step - 1) / 2)


def upsampled(chroma: np.ndarray, size: tuple[int, int], steps, siting: str) -> np.ndarray:
    """Linear between sites, constant beyond the outer ones; or each sample over its block."""
    for axis, length, step in ((0, size[1], steps[1]), (1, size[0], steps[0])):
        pixels = np.arange(length)
        if siting == "none":
            chroma = np.take(chroma, pixels // step, axis)
            continue
        sites = site(np.arange(chroma.shape[axis]), step, siting, axis)
        chroma = np.apply_along_axis(interpolated, axis, chroma, pixels, sites)
    return chroma


def interpolated(line: np.ndarray, pixels: np.ndarray, sites: np.ndarray) -> np.ndarray:
    return np.interp(pixels, sites, line)


def downsampled(picture: np.ndarray, steps, siting: str) -> np.ndarray:
    """The mean of what lies within half a step of each site, pixels being squares of size one."""
    for axis, step in ((0, steps[1]), (1, steps[0])):
        if step == 1:
            continue
        length = picture.shape[axis]
        count = -(-length // step)
        padded = np.take(picture, np.clip(np.arange(-step, length + step), 0, length - 1), axis)
        middles = np.arange(-step, length + step)
        rows = []
        for k in range(count):
            place = site(k, step, siting, axis)
            overlap = np.clip(step / 2 + 0.5 - np.abs(middles - place), 0, 1)
            rows.append(np.tensordot(overlap / step, padded, (0, axis)))
        picture = np.stack(rows, axis)
    return picture


def levels(bits: int, colour_range: ColourRange):
    """H.273, 8.3: black, and the spans of luma and chroma."""
    if colour_range is FULL:
        return 0, 2**bits - 1, 2**bits - 1
    unit = 2 ** (bits - 8)
    return 16 * unit, 219 * unit, 224 * unit


def chroma_codes(picture: Picture, name: str) -> np.ndarray:
    layout = picture.frame.info.format
    plane, offset, step = layout.find(name)
    array = picture.arrays[plane]
    return (array.reshape(array.shape[0], -1)[:, offset::step] >> layout.shift).astype(float)


def steps_of(name: str) -> tuple[int, int]:
    layout = pixel_format(name)
    plane = layout.planes[layout.find("U")[0]]
    return 1 << plane.log2_width, 1 << plane.log2_height


def rgb_signals(picture: Picture, matrix: Matrix, colour_range: ColourRange, siting: str):
    """H.273 equations 38 to 40, solved for R', G' and B'."""
    layout = picture.frame.info.format
    black, span, chroma_span = levels(layout.bits, colour_range)
    luma = (picture.codes("Y") - black) / span
    middle = 2 ** (layout.bits - 1)
    cb, cr = (
        upsampled(
            (chroma_codes(picture, name) - middle) / chroma_span,
            SIZE,
            steps_of(layout.name),
            siting,
        )
        for name in "UV"
    )
    red_weight, blue_weight = WEIGHTS[matrix]
    red = luma + (2 - 2 * red_weight) * cr
    blue = luma + (2 - 2 * blue_weight) * cb
    green = (luma - red_weight * red - blue_weight * blue) / (1 - red_weight - blue_weight)
    return np.clip(np.stack([red, green, blue]), 0, 1)


@pytest.mark.parametrize("siting", ["left", "centre", "topleft", "none"])
@pytest.mark.parametrize("matrix", WEIGHTS)
@pytest.mark.parametrize("colour_range", RANGES)
@pytest.mark.parametrize(
    ("name", "made"),
    [
        ("yuv420p", "rgb24"),
        ("nv12", "bgr0"),
        ("yuv422p10le", "gbrp10le"),
        ("yuv444p", "rgb24"),
        ("yuv411p", "rgb24"),
        ("yuv410p", "gbrp"),
        ("yuyv422", "bgra"),
        ("p010le", "rgb48le"),
        ("yuv420p12le", "gbrp12le"),
        ("yuv420p16le", "gbrp16le"),
    ],
)
def test_rgb_is_within_one_code_of_the_formula(name, made, colour_range, matrix, siting):
    source = Picture.create(frame_info(name, SIZE, colour_range, matrix), seed=1)
    values = TO_RGB.check({"format": made, "siting": siting})
    target = Picture.create(TO_RGB.output(source.frame.info, **values))
    TO_RGB.compute(source.arrays, source.frame.info, target.frame.info, target.arrays, values)
    exact = rgb_signals(source, matrix, colour_range, siting)
    peak = 2 ** pixel_format(made).bits - 1
    # Half a code, the half of a 16-bit code by which pixels were rounded before, and the weights.
    bound = 0.6 if peak < 65535 else 0.7
    for channel, signal in zip("RGB", exact, strict=True):
        assert np.abs(target.codes(channel) - signal * peak).max() < bound


@pytest.mark.parametrize("siting", ["left", "centre", "topleft"])
@pytest.mark.parametrize("matrix", ["bt601", "bt709", "bt2020"])
@pytest.mark.parametrize("colour_range", ["limited", "full"])
@pytest.mark.parametrize(
    ("name", "made"),
    [
        ("rgb24", "yuv420p"),
        ("bgr0", "nv12"),
        ("gbrp10le", "yuv422p10le"),
        ("rgb24", "yuv444p"),
        ("rgb24", "yuv411p"),
        ("gbrp", "yuv410p"),
        ("bgra", "yuyv422"),
        ("rgb48le", "p010le"),
        ("gbrp12le", "yuv420p12le"),
        ("gbrp16le", "yuv444p16le"),
    ],
)
def test_yuv_is_within_one_code_of_the_formula(name, made, colour_range, matrix, siting):
    source = Picture.create(frame_info(name, SIZE), seed=2)
    values = TO_YUV.check(
        {"format": made, "siting": siting, "matrix": matrix, "range": colour_range}
    )
    info = TO_YUV.output(source.frame.info, **values)
    target = Picture.create(info)
    TO_YUV.compute(source.arrays, source.frame.info, info, target.arrays, values)
    red, green, blue = (
        source.codes(channel) / (2**source.frame.info.format.bits - 1) for channel in "RGB"
    )
    red_weight, blue_weight = WEIGHTS[info.colour.matrix]
    luma = red_weight * red + (1 - red_weight - blue_weight) * green + blue_weight * blue
    black, span, chroma_span = levels(info.format.bits, info.colour.range)
    peak = 2**info.format.bits - 1
    assert np.abs(target.codes("Y") - (black + span * luma)).max() < 0.55
    for channel, own, weight in (("U", blue, blue_weight), ("V", red, red_weight)):
        chroma = downsampled((own - luma) / (2 - 2 * weight), steps_of(made), siting)
        exact = np.clip(2 ** (info.format.bits - 1) + chroma_span * chroma, 0, peak)
        found = chroma_codes(target, channel)
        assert np.abs(found - exact).max() < (0.55 if info.format.bits < 16 else 1)


# 8-bit and 10-bit codes of BT.709, BT.601 and BT.2020 colour bars in limited range, worked out by
# hand: Y = 16 + 219 Y', Cb = 128 + 224 Cb', Cr = 128 + 224 Cr'.
PURE = [
    ("bt709", "yuv444p", (255, 0, 0), (63, 102, 240)),
    ("bt709", "yuv444p", (0, 255, 0), (173, 42, 26)),
    ("bt709", "yuv444p", (0, 0, 255), (32, 240, 118)),
    ("bt709", "yuv444p", (255, 255, 255), (235, 128, 128)),
    ("bt709", "yuv444p", (0, 0, 0), (16, 128, 128)),
    ("bt601", "yuv444p", (255, 0, 0), (81, 90, 240)),
    ("bt601", "yuv444p", (0, 255, 0), (145, 54, 34)),
    ("bt601", "yuv444p", (0, 0, 255), (41, 240, 110)),
    ("bt2020", "yuv444p10le", (1023, 0, 0), (294, 387, 960)),
    ("bt2020", "yuv444p10le", (0, 1023, 0), (658, 189, 100)),
    ("bt2020", "yuv444p10le", (0, 0, 1023), (116, 960, 476)),
]


@pytest.mark.parametrize(("matrix", "made", "rgb", "yuv"), PURE)
def test_pure_colours_are_those_of_the_standard_and_come_back(matrix, made, rgb, yuv):
    name = "gbrp" if made == "yuv444p" else "gbrp10le"
    source = Picture.create(frame_info(name, (4, 4)))
    for array, code in zip(source.arrays, (rgb[1], rgb[2], rgb[0]), strict=True):
        array[...] = code
    values = TO_YUV.check({"format": made, "matrix": matrix})
    info = TO_YUV.output(source.frame.info, **values)
    target = Picture.create(info)
    TO_YUV.compute(source.arrays, source.frame.info, info, target.arrays, values)
    assert tuple(int(array[0, 0]) for array in target.arrays) == yuv
    values = TO_RGB.check({"format": name})
    back = Picture.create(TO_RGB.output(info, **values))
    TO_RGB.compute(target.arrays, info, back.frame.info, back.arrays, values)
    for channel, code in zip("RGB", rgb, strict=True):
        assert abs(int(back.codes(channel)[0, 0]) - code) <= 2


@pytest.mark.parametrize("name", ["yuv420p", "nv12", "yuv422p10le", "p016le", "yuyv422"])
@pytest.mark.parametrize("colour_range", RANGES)
def test_gray_stays_gray(name: str, colour_range: ColourRange):
    source = Picture.create(frame_info(name, SIZE, colour_range, Matrix.BT709), seed=3)
    layout = source.frame.info.format
    for array, plane in zip(source.arrays, layout.planes, strict=True):
        neutral = np.uint16(1 << (layout.bits - 1 + layout.shift)).astype(array.dtype)
        for k, channel in enumerate(plane.channels):
            if channel in "UV":
                (array[..., k] if array.ndim == 3 else array)[...] = neutral
    values = TO_RGB.check({})
    target = Picture.create(TO_RGB.output(source.frame.info, **values))
    TO_RGB.compute(source.arrays, source.frame.info, target.frame.info, target.arrays, values)
    red, green, blue = (target.codes(channel) for channel in "RGB")
    assert np.array_equal(red, green)
    assert np.array_equal(green, blue)


def test_what_they_make_by_themselves():
    info = frame_info("yuv420p10le", SIZE, LIMITED, Matrix.BT2020_NCL, primaries=9)
    made = TO_RGB.output(info)
    assert (made.format.name, made.colour.matrix, made.colour.range) == (
        "gbrp10le",
        Matrix.RGB,
        FULL,
    )
    assert TO_YUV.output(made).colour.matrix is Matrix.BT2020_NCL
    assert TO_YUV.output(made).format.name == "yuv420p10le"
    assert TO_RGB.output(frame_info("yuva420p", SIZE)).format.name == "rgba"
    assert TO_YUV.output(frame_info("rgba", SIZE)).format.name == "yuva420p"
    assert TO_YUV.output(frame_info("rgb24", SIZE), format="yuvj420p").colour.range is FULL


def test_what_they_refuse():
    with pytest.raises(KernelError, match="yuv_to_rgb does not write 'yuv420p'; it writes"):
        TO_RGB.output(frame_info("yuv420p", SIZE), format="yuv420p")
    with pytest.raises(KernelError, match="is one of left, centre, topleft, none, got 'right'"):
        TO_RGB.output(frame_info("yuv420p", SIZE), siting="right")
    with pytest.raises(FormatError, match="tagged with matrix YCGCO"):
        TO_RGB.output(frame_info("yuv420p", SIZE, matrix=Matrix.YCGCO))
    with pytest.raises(KernelError, match="does not read rgb24"):
        TO_RGB.output(frame_info("rgb24", SIZE))


def test_they_say_what_they_assume():
    assert TO_RGB.note(frame_info("yuv420p", (64, 719))) == "untagged YUV taken as BT.601"
    assert TO_RGB.note(frame_info("yuv420p", (64, 720))) == "untagged YUV taken as BT.709"
    assert TO_RGB.note(frame_info("yuv420p", SIZE, matrix=Matrix.BT709)) == ""
    assert "BT.709 (assumed" in TO_YUV.note(frame_info("rgb24", SIZE))
    assert TO_YUV.note(frame_info("rgb24", SIZE), matrix="bt2020") == ""
