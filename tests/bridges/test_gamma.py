"""gamma against its formula in binary64."""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bridges.errors import KernelError
from bridges.kernels import Runtime, get
from tests.bridges.kernel_bench import expected_planes, run_kernel
from tests.bridges.picture import RANGES, Picture, frame_info

GAMMA = get("gamma")


def made(runtime: Runtime | None, picture: Picture, value: float) -> Picture:
    """Return what a runtime makes of a picture, or without one the reference."""
    target = Picture.create(picture.frame.info)
    if runtime is None:
        planes = expected_planes(GAMMA, picture, target, {"value": value})
        for array, plane in zip(target.arrays, planes, strict=True):
            array[...] = plane
    else:
        run_kernel(runtime, GAMMA, picture, target, {"value": value})
    return target


@pytest.mark.parametrize("value", [0.1, 0.45, 1, 2.2, 10])
def test_all_codes_of_16_bits(value: float):
    picture = Picture.create(frame_info("gbrp16le", (256, 256)))
    for array in picture.arrays:
        array[...] = np.arange(65536).reshape(256, 256)
    found = made(None, picture, value)
    exact = (np.arange(65536).reshape(256, 256) / 65535) ** (1 / value) * 65535
    for array in found.arrays:
        assert np.abs(array - exact).max() <= 0.5


@settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    name=st.sampled_from(["rgb24", "bgra", "gbrp10le", "rgb48le"]),
    size=st.tuples(st.integers(1, 40), st.integers(1, 9)),
    value=st.floats(0.1, 10),
)
def test_rgb_is_within_a_code_of_the_formula(opencl_runtime: Runtime, name, size, value):
    picture = Picture.create(frame_info(name, size), seed=1)
    found = made(opencl_runtime, picture, value)
    peak = 2**picture.frame.info.format.bits - 1
    for channel in "RGB":
        exact = (picture.codes(channel) / peak) ** (1 / value) * peak
        assert np.abs(found.codes(channel) - exact).max() < 0.6
    if "A" in picture.frame.info.format.planes[0].channels:
        assert np.array_equal(found.codes("A"), picture.codes("A"))


@pytest.mark.parametrize("colour_range", RANGES)
@pytest.mark.parametrize("name", ["yuv444p", "yuv420p10le", "gray16le"])
def test_gray_of_yuv(opencl_runtime: Runtime, name, colour_range):
    # Neutral chroma keeps pixels gray, so that luma alone follows the curve.
    picture = Picture.create(frame_info(name, (64, 16), colour_range), seed=2)
    bits = picture.frame.info.format.bits
    for chroma in picture.arrays[1:]:
        chroma[...] = 1 << bits - 1
    black, span = (16 << bits - 8, 219 << bits - 8)
    if colour_range is RANGES[1]:
        black, span = 0, 2**bits - 1
    found = made(opencl_runtime, picture, 2.2)
    signal = np.clip((picture.codes("Y") - black) / span, 0, 1)
    exact = black + span * signal ** (1 / 2.2)
    # Before and behind the curve there are codes of 16 bits, which tells where it is steep.
    shown = signal > 0.01
    slope = signal[shown] ** (1 / 2.2 - 1) / 2.2
    bound = 0.55 + 0.5 * (slope + 1) * span / 65535
    assert (np.abs(found.codes("Y") - exact)[shown] < bound).all()
    assert all((chroma == 1 << bits - 1).all() for chroma in found.arrays[1:])


def test_golden_values():
    # 255 * (c / 255) ** (1 / 2.2), rounded, worked out by hand: higher values brighten.
    picture = Picture.create(frame_info("rgb24", (2, 1)))
    picture.arrays[0][...] = [[[0, 1, 64], [128, 192, 255]]]
    assert made(None, picture, 2.2).arrays[0].tolist() == [[[0, 21, 136], [186, 224, 255]]]
    assert made(None, picture, 0.5).arrays[0].tolist() == [[[0, 0, 16], [64, 145, 255]]]


@pytest.mark.parametrize("name", ["rgb24", "gbrp10le", "rgb48le"])
def test_one_leaves_the_picture(opencl_runtime: Runtime, name):
    picture = Picture.create(frame_info(name, (33, 7)), seed=3)
    found = made(opencl_runtime, picture, 1)
    assert all(map(np.array_equal, found.arrays, picture.arrays))


@pytest.mark.parametrize("value", [0, 0.09, 11, -1, float("nan"), "2"])
def test_wrong_values(value):
    with pytest.raises(KernelError, match="parameter 'value'"):
        GAMMA.check({"value": value})
