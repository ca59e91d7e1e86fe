"""denoise against its formula, on pictures that stand still, and on some that move."""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bridges.errors import FormatError, KernelError
from bridges.formats import pixel_format
from bridges.kernels import Runtime, get, reference
from tests.bridges.kernel_bench import run_kernel
from tests.bridges.picture import RANGES, Picture, frame_info

KERNEL = get("denoise")
GRAY = pixel_format("gray")


def formula(now, before, strength: float, threshold: float):
    """The definition, in real numbers."""
    difference = now.astype(np.float64) - before
    k = 1 - strength * np.maximum(0, 1 - np.abs(difference) / threshold)
    return before + difference * k


def follow(clip, strength: float = 0.6, threshold: float = 12.0, layout=GRAY) -> list[np.ndarray]:
    """Return the results of a clip of planes, each from the one before it."""
    results = [clip[0]]
    for plane in clip[1:]:
        results.append(reference.denoise(plane, results[-1], layout, 0, strength, threshold))
    return results


def error(plane, clean) -> float:
    return float(np.mean((plane.astype(np.float64) - clean) ** 2))


@settings(deadline=None)
@given(
    name=st.sampled_from(["gray", "gray10le", "p010le", "gray12le", "gray16le"]),
    strength=st.floats(0, 0.99),
    threshold=st.floats(1, 64),
    seed=st.integers(0, 1000),
)
def test_within_one_code_of_the_formula(name: str, strength: float, threshold: float, seed: int):
    layout = pixel_format(name)
    top, scale = (1 << layout.bits) - 1, 1 << (layout.bits - 8)
    random = np.random.default_rng(seed)
    before = random.integers(0, top + 1, (64, 64))
    near = random.integers(-70 * scale, 70 * scale + 1, before.shape)
    now = np.clip(before + near, 0, top)
    stored = [(codes << layout.shift).astype(layout.dtype) for codes in (now, before)]
    found = reference.denoise(*stored, layout, 0, strength, threshold) >> layout.shift
    exact = formula(now, before, strength, threshold * scale)
    assert np.abs(found - exact).max() < 1
    # Where more than a code is left of the difference, it is the nearest code.
    far = np.abs(exact - before) > 1.5
    assert np.abs(found - exact)[far].max(initial=0) < 0.5 + (1 / 5 if layout.bits > 12 else 1 / 64)


def test_results_worked_out_by_hand():
    before = np.full((1, 8), 100, np.uint8)
    now = np.array([[100, 101, 99, 102, 106, 94, 111, 112]], np.uint8)
    # k = 1 - 0.6 (1 - a / 12): 0.45 for 1, 0.5 for 2, 0.7 for 6, 0.95 for 11.
    expected = [100, 101, 99, 101, 104, 96, 110, 112]
    assert reference.denoise(now, before, GRAY, 0)[0].tolist() == expected


@pytest.mark.parametrize("strength", [0.0, 0.6, 0.99])
@pytest.mark.parametrize("threshold", [1.0, 12.0, 64.0])
def test_a_picture_that_stands_still_becomes_its_own_result(strength: float, threshold: float):
    now, before = np.meshgrid(np.arange(256, dtype=np.uint8), np.arange(256, dtype=np.uint8))
    result, left = before, np.abs(now.astype(int) - before)
    for _ in range(64):
        result = reference.denoise(now, result, GRAY, 0, strength, threshold)
        assert (np.abs(now.astype(int) - result) <= np.maximum(left - 1, 0)).all()
        left = np.abs(now.astype(int) - result)
    assert np.array_equal(result, now)


@pytest.mark.parametrize(("deviation", "gain"), [(1.0, 2.0), (2.0, 2.8), (4.0, 1.5)])
def test_noise_of_a_picture_that_stands_still_becomes_less(deviation: float, gain: float):
    random = np.random.default_rng(1)
    clean = np.tile(np.linspace(30, 220, 160), (90, 1))
    clip = [
        np.clip(np.rint(clean + random.normal(0, deviation, clean.shape)), 0, 255).astype(np.uint8)
        for _ in range(12)
    ]
    noisy, left = error(clip[-1], clean), error(follow(clip)[-1], clean)
    assert 10 * np.log10(noisy / left) > gain


def test_small_noise_is_left_with_the_share_that_theory_has():
    random = np.random.default_rng(2)
    # Fine codes and a threshold far above the noise: neither rounding nor the curve matters.
    layout = pixel_format("gray16le")
    clip = [np.rint(random.normal(30000, 80, (64, 64))).astype("<u2") for _ in range(20)]
    share = follow(clip, 0.6, 64.0, layout)[-1].var() / clip[-1].var()
    assert share == pytest.approx((1 - 0.6) / (1 + 0.6), rel=0.1)


@pytest.mark.parametrize("contrast", [3, 6, 8, 13, 160])
@pytest.mark.parametrize(("strength", "threshold"), [(0.6, 12.0), (0.99, 16.0)])
def test_a_moving_edge_leaves_no_ghost(contrast: int, strength: float, threshold: float):
    columns = np.arange(200)
    clip = [
        np.where(columns < 20 + 3 * time, 40 + contrast, 40).astype(np.uint8)[None]
        for time in range(40)
    ]
    for plane, result in zip(clip, follow(clip, strength, threshold), strict=True):
        ghost = np.abs(plane.astype(int) - result)
        assert ghost.max() <= strength * threshold / 4 + 0.5
        assert contrast < threshold or not ghost.any()


@pytest.mark.parametrize("name", ["yuv420p", "p010le", "rgba", "uyvy422"])
def test_the_first_picture_stays_what_it_is(opencl_runtime, numpy_runtime, name: str):
    for runtime in (opencl_runtime, numpy_runtime):
        source = Picture.create(frame_info(name, (37, 9)), seed=1)
        target = Picture.create(source.frame.info)
        run_kernel(runtime, KERNEL, source, target, {})
        assert all(map(np.array_equal, source.arrays, target.arrays))


@pytest.mark.parametrize(
    ("name", "channel"),
    [
        ("rgba", "A"),
        ("argb", "A"),
        ("ya16le", "A"),
        ("yuva420p", "A"),
        ("rgba64le", "A"),
        ("0bgr", "X"),
    ],
)
def test_alpha_and_padding_are_copied(opencl_runtime: Runtime, name: str, channel: str):
    source = Picture.create(frame_info(name, (33, 6)), seed=1)
    previous = Picture.create(source.frame.info, seed=1)
    for now, before in zip(source.arrays, previous.arrays, strict=True):
        before[...] = now ^ 2 << source.frame.info.format.shift
    target = Picture.create(source.frame.info)
    run_kernel(opencl_runtime, KERNEL, source, target, {}, previous)
    assert np.array_equal(target.codes(channel), source.codes(channel))
    for other in set("".join(plane.channels for plane in source.frame.info.format.planes)):
        assert other == channel or (target.codes(other) != source.codes(other)).any()


def test_a_clip_in_the_memory_of_its_last_result(opencl_runtime: Runtime):
    info = frame_info("yuv420p", (67, 20))
    clip = [Picture.create(info, seed=seed) for seed in range(4)]
    for picture in clip:
        for array in picture.arrays:
            array[...] = 90 + array % 20
    last = Picture.create(info)
    for picture, before in zip(clip, [None, last, last, last], strict=True):
        run_kernel(opencl_runtime, KERNEL, picture, last, {}, before)
    for index, array in enumerate(last.arrays):
        expected = follow([picture.arrays[index] for picture in clip])[-1]
        assert np.array_equal(array, expected)


@settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(strength=st.floats(0, 0.99), threshold=st.floats(1, 64), seed=st.integers(0, 99))
def test_any_parameters_on_a_device(opencl_runtime, strength: float, threshold: float, seed: int):
    info = frame_info("yuv420p10le", (41, 7))
    source, previous = (Picture.create(info, seed=seed + k) for k in range(2))
    for now, before in zip(source.arrays, previous.arrays, strict=True):
        now[...] = np.clip(before.astype(int) + now % 512 - 256, 0, 1023)
    target = Picture.create(info)
    values = {"strength": strength, "threshold": threshold}
    run_kernel(opencl_runtime, KERNEL, source, target, values, previous)
    for index, found in enumerate(target.arrays):
        planes = source.arrays[index], previous.arrays[index]
        expected = reference.denoise(*planes, info.format, index, strength, threshold)
        assert np.array_equal(found, expected)


@pytest.mark.parametrize(
    "values", [{"strength": 1.0}, {"strength": -0.1}, {"threshold": 0.5}, {"threshold": 65}]
)
def test_parameters_out_of_range_are_refused(values):
    with pytest.raises(KernelError, match="lies between"):
        KERNEL.check(values)


def test_other_forms_are_refused(opencl_runtime: Runtime, numpy_runtime: Runtime):
    limited, full = (frame_info("yuv420p", (8, 8), each) for each in RANGES)
    source = Picture.create(limited, seed=1)
    for runtime in (opencl_runtime, numpy_runtime):
        for other in (full, frame_info("yuv444p", (8, 8), RANGES[0])):
            target = Picture.create(other)
            previous = Picture.create(other, seed=2)
            with pytest.raises(FormatError, match="denoise makes yuv420p of limited range"):
                run_kernel(runtime, KERNEL, source, target, {}, previous)
        with pytest.raises(FormatError, match="previous result of the target's own form"):
            run_kernel(runtime, KERNEL, source, Picture.create(limited), {}, Picture.create(full))
