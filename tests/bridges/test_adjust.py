"""invert, brightness, contrast and saturation against their formulas in float64."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bridges import ColourRange, Matrix
from bridges.errors import KernelError
from bridges.formats import ColourModel, pixel_format
from bridges.kernels import get
from tests.bridges.picture import RANGES, Picture, frame_info

LIMITED, FULL = RANGES
KR, KB = 0.2126, 0.0722
SIZE = (37, 22)


def formula(name: str, rgb: np.ndarray, amount: float) -> np.ndarray:
    """The signal of 0 to 1 that each kernel makes of one, as its head comment has it."""
    luma = KR * rgb[0] + (1 - KR - KB) * rgb[1] + KB * rgb[2]
    made = {
        "invert": (1 - amount) * rgb + amount * (1 - rgb),
        "brightness": rgb + amount,
        "contrast": (rgb - 0.5) * amount + 0.5,
        "saturation": luma + (rgb - luma) * amount,
    }[name]
    return np.clip(made, 0, 1)


def run(name: str, source: Picture, amount: float) -> Picture:
    kernel = get(name)
    info = source.frame.info
    target = Picture.create(kernel.output(info, amount=amount))
    values = kernel.check({"amount": amount})
    kernel.compute(source.arrays, info, target.frame.info, target.arrays, values)
    return target


CASES = [
    ("invert", 1.0),
    ("invert", 0.3),
    ("brightness", -0.25),
    ("brightness", 0.1),
    ("contrast", 0.0),
    ("contrast", 2.5),
    ("saturation", 0.0),
    ("saturation", 1.8),
]


@pytest.mark.parametrize(("kernel", "amount"), CASES)
@pytest.mark.parametrize("name", ["rgb24", "bgr0", "argb", "gbrp10le", "gbrap12le", "rgb48le"])
def test_rgb_is_within_one_code_of_the_formula(kernel: str, amount: float, name: str):
    source = Picture.create(frame_info(name, SIZE, matrix=Matrix.BT709), seed=1)
    peak = 2**source.frame.info.format.bits - 1
    rgb = np.stack([source.codes(channel) for channel in "RGB"]) / peak
    exact = formula(kernel, rgb, amount) * peak
    target = run(kernel, source, amount)
    # At 16 bits, a parameter that is rounded to 16.16 may add up to half a code.
    bound = 0.6 if peak < 65535 else 1.6
    for channel, signal in zip("RGB", exact, strict=True):
        assert np.abs(target.codes(channel) - signal).max() < bound
    if source.frame.info.format.has_alpha:
        assert np.array_equal(target.codes("A"), source.codes("A"))


@pytest.mark.parametrize(("kernel", "amount"), CASES)
@pytest.mark.parametrize("colour_range", RANGES)
@pytest.mark.parametrize("name", ["yuv420p", "yuv444p", "yuv422p10le", "nv12", "p010le", "uyvy422"])
def test_yuv_is_within_one_code_of_the_formula(
    kernel: str, amount: float, name: str, colour_range: ColourRange
):
    """Chroma stands for its block: it is repeated, and what becomes of it is averaged."""
    size = (36, 22)
    source = Picture.create(frame_info(name, size, colour_range, Matrix.BT709), seed=2)
    layout = source.frame.info.format
    bits = layout.bits
    unit = 2 ** (bits - 8)
    black, span, chroma_span = (
        (0, 2**bits - 1, 2**bits - 1)
        if colour_range is FULL
        else (16 * unit, 219 * unit, 224 * unit)
    )
    plane = layout.planes[layout.find("U")[0]]
    across, down = 1 << plane.log2_width, 1 << plane.log2_height

    def chroma(picture: Picture, channel: str) -> np.ndarray:
        index, offset, step = layout.find(channel)
        array = picture.arrays[index]
        return array.reshape(array.shape[0], -1)[:, offset::step].astype(float) / 2**layout.shift

    luma = (source.codes("Y") - black) / span
    cb, cr = (
        np.repeat(np.repeat((chroma(source, name) - 128 * unit) / chroma_span, down, 0), across, 1)
        for name in "UV"
    )
    red, blue = luma + (2 - 2 * KR) * cr, luma + (2 - 2 * KB) * cb
    green = (luma - KR * red - KB * blue) / (1 - KR - KB)
    rgb = formula(kernel, np.clip(np.stack([red, green, blue]), 0, 1), amount)
    luma = KR * rgb[0] + (1 - KR - KB) * rgb[1] + KB * rgb[2]
    target = run(kernel, source, amount)
    assert np.abs(target.codes("Y") - (black + span * luma)).max() < 0.6
    for channel, own, weight in (("U", rgb[2], KB), ("V", rgb[0], KR)):
        blocks = ((own - luma) / (2 - 2 * weight)).reshape(
            size[1] // down, down, size[0] // across, across
        )
        exact = np.clip(128 * unit + chroma_span * blocks.mean((1, 3)), 0, 2**bits - 1)
        assert np.abs(chroma(target, channel) - exact).max() < 0.6


@pytest.mark.parametrize("kernel", ["invert", "brightness", "contrast", "saturation"])
@pytest.mark.parametrize("name", ["rgb24", "gray", "gbrap16le", "rgb48le", "gray10le", "ya8"])
def test_the_neutral_amount_changes_nothing(kernel: str, name: str):
    neutral = {"invert": 0.0, "brightness": 0.0, "contrast": 1.0, "saturation": 1.0}[kernel]
    source = Picture.create(frame_info(name, SIZE, FULL), seed=3)
    target = run(kernel, source, neutral)
    assert all(map(np.array_equal, target.arrays, source.arrays))


@pytest.mark.parametrize("colour_range", RANGES)
@pytest.mark.parametrize("name", ["yuv420p", "nv12", "yuv422p10le", "p010le"])
def test_colours_that_rgb_has_come_back_as_they_were(name: str, colour_range: ColourRange):
    """Through pixels and back, a code that stands for a colour within RGB stays what it is."""
    source = Picture.create(frame_info(name, (32, 16), colour_range, Matrix.BT709))
    layout = source.frame.info.format
    unit = 2 ** (layout.bits - 8)
    random = np.random.default_rng(4)
    for array, plane in zip(source.arrays, layout.planes, strict=True):
        middle, reach = (128, 16) if "U" in plane.channels or "V" in plane.channels else (120, 60)
        codes = random.integers((middle - reach) * unit, (middle + reach) * unit, array.shape)
        array[...] = codes << layout.shift
    target = run("invert", source, 0.0)
    assert all(map(np.array_equal, target.arrays, source.arrays))


@settings(max_examples=60, deadline=None)
@given(
    kernel=st.sampled_from(["invert", "brightness", "contrast", "saturation"]),
    part=st.floats(0, 1),
    name=st.sampled_from(["rgb24", "gbrp10le"]),
)
def test_any_amount(kernel: str, part: float, name: str):
    parameter = get(kernel).parameters[0]
    assert parameter.low is not None
    assert parameter.high is not None
    amount = parameter.low + part * (parameter.high - parameter.low)
    source = Picture.create(frame_info(name, (16, 8), matrix=Matrix.BT709), seed=5)
    peak = 2**source.frame.info.format.bits - 1
    rgb = np.stack([source.codes(channel) for channel in "RGB"]) / peak
    target = run(kernel, source, amount)
    exact = formula(kernel, rgb, amount) * peak
    found = np.stack([target.codes(channel) for channel in "RGB"])
    assert np.abs(found - exact).max() < 0.65


def test_inverting_twice_is_nothing_in_rgb():
    source = Picture.create(frame_info("rgb24", SIZE), seed=6)
    twice = run("invert", run("invert", source, 1.0), 1.0)
    assert np.array_equal(twice.arrays[0], source.arrays[0])


def test_saturation_of_nothing_is_the_gray_of_the_frame():
    source = Picture.create(frame_info("rgb24", SIZE, matrix=Matrix.SMPTE170M), seed=7)
    red, green, blue = (run("saturation", source, 0.0).codes(channel) for channel in "RGB")
    luma = 0.299 * source.codes("R") + 0.587 * source.codes("G") + 0.114 * source.codes("B")
    assert np.array_equal(red, green)
    assert np.array_equal(green, blue)
    assert np.abs(red - luma).max() < 0.51


def test_amounts_out_of_range_are_refused():
    for kernel, amount in (
        ("invert", 1.1),
        ("brightness", -2),
        ("contrast", 9),
        ("saturation", -1),
    ):
        with pytest.raises(KernelError, match="parameter 'amount' lies between"):
            get(kernel).check({"amount": amount})


def test_models_are_those_of_the_table():
    assert {pixel_format(name).model for name in get("invert").formats_read} == set(ColourModel)
