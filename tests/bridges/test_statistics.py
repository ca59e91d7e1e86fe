"""histogram and statistics against what NumPy counts of each channel."""

import itertools

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bridges import TensorFrame
from bridges.backends.cpu import CPUContext
from bridges.errors import FormatError, KernelError
from bridges.formats import PIXEL_FORMATS, pixel_format
from bridges.kernels import Runtime, get
from bridges.kernels.families.statistics import channels, mean
from bridges.media import TensorsInfo
from tests.bridges.kernel_bench import run_kernel, target_for
from tests.bridges.picture import Picture, frame_info

HISTOGRAM, STATISTICS = get("histogram"), get("statistics")
FORMATS = ("gray", "rgb24", "0bgr", "rgba64le", "nv21", "p010le", "yuv420p10le", "uyvy422", "gbrap")


@pytest.fixture(params=["opencl_runtime", "numpy_runtime"])
def runtime(request: pytest.FixtureRequest) -> Runtime:
    return request.getfixturevalue(request.param)


def count(runtime: Runtime, picture: Picture, bins: int = 256) -> np.ndarray:
    target = target_for(HISTOGRAM, picture.frame.info, {"bins": bins})
    run_kernel(runtime, HISTOGRAM, picture, target, {"bins": bins})
    return target.tensors[0].handle("array")


def measure(runtime: Runtime, picture: Picture) -> TensorFrame:
    target = target_for(STATISTICS, picture.frame.info, {})
    run_kernel(runtime, STATISTICS, picture, target, {})
    return target


def numbers(frame: TensorFrame) -> dict[str, list[int]]:
    arrays = [tensor.handle("array").tolist() for tensor in frame.tensors]
    return dict(zip(frame.info.names, arrays, strict=True))


@pytest.mark.parametrize("bins", [2, 100, 256, 1024])
@pytest.mark.parametrize("name", FORMATS)
def test_histograms_are_those_of_numpy(runtime: Runtime, name: str, bins: int):
    picture = Picture.create(frame_info(name, (75, 53)), seed=1, padding=4)
    top = 1 << picture.frame.info.format.bits
    found = count(runtime, picture, bins)
    for row, channel in zip(found, channels(picture.frame.info.format), strict=True):
        expected, _ = np.histogram(picture.codes(channel), bins, (0, top))
        assert row.tolist() == expected.tolist()


@pytest.mark.parametrize("name", FORMATS)
def test_statistics_are_those_of_numpy(runtime: Runtime, name: str):
    picture = Picture.create(frame_info(name, (75, 53)), seed=2, padding=6)
    codes = [picture.codes(channel) for channel in channels(picture.frame.info.format)]
    frame = measure(runtime, picture)
    assert numbers(frame) == {
        "minimum": [each.min() for each in codes],
        "maximum": [each.max() for each in codes],
        "sum": [each.sum() for each in codes],
        "count": [each.size for each in codes],
    }
    assert mean(frame) == pytest.approx([each.mean() for each in codes], rel=1e-15)


@pytest.mark.parametrize("place", list(itertools.product((0, 20, 52), (0, 31, 101))))
def test_one_pixel_is_found_wherever_it_is(runtime: Runtime, place: tuple[int, int]):
    picture = Picture.create(frame_info("gray", (102, 53)))
    for code, others in ((3, 7), (250, 7)):
        picture.arrays[0][...] = others
        picture.arrays[0][place] = code
        found = numbers(measure(runtime, picture))
        assert (found["minimum"], found["maximum"]) == ([min(code, others)], [max(code, others)])
        histogram = count(runtime, picture)
        assert np.flatnonzero(histogram).tolist() == sorted((code, others))
        assert histogram[0, code] == 1


def test_sums_need_more_than_32_bits(runtime: Runtime):
    picture = Picture.create(frame_info("gray16le", (400, 300)))
    picture.arrays[0][...] = 65535
    frame = measure(runtime, picture)
    assert numbers(frame)["sum"] == [400 * 300 * 65535]
    assert mean(frame).tolist() == [65535.0]
    assert count(runtime, picture)[0, 255] == 400 * 300


def test_sums_of_a_row_need_more_than_32_bits(runtime: Runtime):
    # Of 16 items that share the row, each adds up one code more than 32 bits hold.
    width = 16 * 65538
    picture = Picture.create(frame_info("gray16le", (width, 1)))
    picture.arrays[0][...] = 65535
    assert numbers(measure(runtime, picture))["sum"] == [width * 65535]


def test_codes_are_counted_without_the_unused_bits(runtime: Runtime):
    picture = Picture.create(frame_info("p010le", (4, 2)))
    picture.arrays[0][...] = np.arange(8).reshape(2, 4) << 6 | 63
    picture.arrays[1][...] = 1023 << 6
    found = numbers(measure(runtime, picture))
    assert found["minimum"] == [0, 1023, 1023]
    assert found["maximum"] == [7, 1023, 1023]
    assert count(runtime, picture, 1024)[0, :8].tolist() == [1] * 8


def test_more_bins_than_codes_leave_some_empty(runtime: Runtime):
    picture = Picture.create(frame_info("gray", (256, 1)))
    picture.arrays[0][0] = np.arange(256)
    assert np.flatnonzero(count(runtime, picture, 1024)).tolist() == list(range(0, 1024, 4))


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(size=st.tuples(st.integers(1, 300), st.integers(1, 60)), seed=st.integers(0, 99))
def test_no_pixel_is_left_out_or_counted_twice(opencl_runtime, size: tuple[int, int], seed: int):
    picture = Picture.create(frame_info("rgb24", size), seed=seed)
    assert count(opencl_runtime, picture).sum(1).tolist() == [size[0] * size[1]] * 3
    found = numbers(measure(opencl_runtime, picture))
    assert found["sum"] == [int(picture.codes(channel).sum()) for channel in "RGB"]


@pytest.mark.parametrize(
    ("name", "order"),
    [
        ("nv12", "YUV"),
        ("nv21", "YVU"),
        ("yuyv422", "YUV"),
        ("uyvy422", "UYV"),
        ("bgr24", "BGR"),
        ("0rgb", "RGB"),
        ("bgr0", "BGR"),
        ("gbrap", "GBRA"),
        ("ya8", "YA"),
    ],
)
def test_channels_come_in_the_order_of_memory(name: str, order: str):
    assert channels(pixel_format(name)) == order


@pytest.mark.parametrize("name", list(PIXEL_FORMATS))
def test_rows_are_channels(name: str):
    info = frame_info(name, (5, 3))
    rows = len(channels(info.format))
    assert [each.shape for each in HISTOGRAM.output(info, bins=10).tensors] == [(rows, 10)]
    assert [each.shape for each in STATISTICS.output(info).tensors] == [(rows,)] * 4
    letters = {letter for plane in info.format.planes for letter in plane.channels}
    assert set(channels(info.format)) == letters - {"X"}
    assert rows == len(letters - {"X"})


@pytest.mark.parametrize("start", [0, 1, 4])
def test_targets_of_any_address_and_stride(runtime: Runtime, start: int):
    picture = Picture.create(frame_info("rgb24", (33, 9)), seed=4)
    made = HISTOGRAM.output(picture.frame.info)
    memory = np.full(3 * 1056 + 64, 0xEE, np.uint8)
    array = np.ndarray((3, 256), np.uint32, memory, start, (1056, 4))
    target = TensorFrame(made, [CPUContext().wrap(array)])
    run_kernel(runtime, HISTOGRAM, picture, target, {})
    assert np.array_equal(array, count(runtime, picture))
    rows = memory[start : start + 3 * 1056].reshape(3, 1056)
    assert (rows[:, 1024:] == 0xEE).all()


@pytest.mark.parametrize("bins", [1, 1025, 2.5, "many"])
def test_bins_out_of_range_are_refused(bins):
    with pytest.raises(KernelError, match="parameter 'bins'"):
        HISTOGRAM.check({"bins": bins})


def test_targets_that_do_not_fit_are_refused(runtime: Runtime):
    picture = Picture.create(frame_info("gray", (8, 8)), seed=1)
    target = target_for(HISTOGRAM, picture.frame.info, {"bins": 64})
    with pytest.raises(FormatError, match="histogram makes"):
        run_kernel(runtime, HISTOGRAM, picture, target, {"bins": 65})
    with pytest.raises(FormatError, match="statistics makes"):
        run_kernel(runtime, STATISTICS, picture, Picture.create(picture.frame.info), {})


def test_numbers_keep_the_time_of_the_picture():
    info = frame_info("gray", (4, 4))
    made = STATISTICS.output(info)
    assert isinstance(made, TensorsInfo)
    assert (made.names, made.pts) == (("minimum", "maximum", "sum", "count"), info.pts)
