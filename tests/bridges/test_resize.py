"""resize against the definition of its filters, in floating point, sample by sample."""

import math
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridges.errors import FormatError, KernelError
from bridges.formats import PIXEL_FORMATS
from bridges.frame import FrameInfo
from bridges.kernels import Runtime, get
from bridges.kernels.families.axis import FILTERS
from bridges.kernels.families.scaling import scaling
from bridges.kernels.reference import resize
from bridges.kernels.views import View, views
from tests.bridges.kernel_bench import check_kernel, target_for
from tests.bridges.picture import Picture, frame_info

KERNEL = get("resize")
FORMATS = ("gray", "rgb24", "yuv420p", "yuv411p", "nv12", "uyvy422", "p010le", "gray12le", "ya16le")
SIZES = (((40, 30), (27, 45)), ((41, 27), (20, 9)), ((12, 9), (36, 18)), ((1, 1), (3, 2)))


def weight(name: str, distance: float) -> float:
    """Keys 1981, equation 15, with a = -1/2; Duchon 1979, with three lobes; a triangle."""
    x = abs(distance)
    if name == "bilinear":
        return max(0.0, 1 - x)
    if name == "bicubic":
        if x <= 1:
            return 3 / 2 * x**3 - 5 / 2 * x**2 + 1
        return -1 / 2 * x**3 + 5 / 2 * x**2 - 4 * x + 2 if x <= 2 else 0.0
    if x == 0:
        return 1.0
    return 3 * math.sin(math.pi * x) * math.sin(math.pi * x / 3) / (math.pi * x) ** 2 * (x < 3)


def matrix(
    pixels: tuple[int, int], samples: tuple[int, int], name: str, antialias: bool, sites: int
) -> np.ndarray:
    """Return what each output sample of an axis takes of each source sample.

    A sample stands for ``sites`` pixels and lies on the first of them.
    """
    ratio = Fraction(*pixels)
    widened = max(1.0, float(ratio)) if antialias else 1.0
    reach = math.ceil(FILTERS[name][1] * widened) + 1
    found = np.zeros((samples[1], samples[0]))
    for x in range(samples[1]):
        at = ((sites * x + Fraction(1, 2)) * ratio - Fraction(1, 2)) / sites
        for k in range(math.floor(at) - reach, math.floor(at) + reach + 1):
            found[x, min(max(k, 0), samples[0] - 1)] += weight(name, float(k - at) / widened)
    return found / found.sum(1, keepdims=True)


def exact(view: View, picture: Picture, target: FrameInfo, values) -> np.ndarray:
    """Return the elements of a view of the resized picture, neither rounded nor clamped."""
    info = picture.frame.info
    codes = codes_of(view, picture.arrays, info)
    sizes = view.size(info.width, info.height), view.size(target.width, target.height)
    columns, rows = zip(*sizes, strict=True)
    name, antialias = values["filter"], values["antialias"]
    sites = 1 << view.log2_width if values["siting"] == "left" else 1
    across = matrix((info.width, target.width), columns, name, antialias, sites)
    down = matrix((info.height, target.height), rows, name, antialias, 1)
    return np.einsum("yj,xi,jic->yxc", down, across, codes, optimize=True)


def codes_of(view: View, planes, info: FrameInfo) -> np.ndarray:
    return (
        view.of(planes[view.plane], info.width, info.height).astype(np.int64) >> info.format.shift
    )


def resized(picture: Picture, **values) -> tuple[FrameInfo, list[np.ndarray]]:
    checked = KERNEL.check(values)
    info = picture.frame.info
    target = KERNEL.output(info, **values)
    return target, resize(picture.arrays, info, target, **checked)


@pytest.mark.parametrize("siting", ["left", "centre"])
@pytest.mark.parametrize("antialias", [True, False])
@pytest.mark.parametrize("name", FILTERS)
def test_samples_are_those_of_the_definition(name: str, antialias: bool, siting: str):
    for format_name in FORMATS:
        for size, (width, height) in SIZES:
            picture = Picture.create(frame_info(format_name, size), seed=1)
            values = {"filter": name, "antialias": antialias, "siting": siting}
            target, made = resized(picture, width=width, height=height, **values)
            for view in views(target.format):
                wanted = exact(view, picture, target, values)
                wanted = wanted.clip(0, (1 << target.format.bits) - 1)
                assert np.abs(codes_of(view, made, target) - wanted).max() < 0.75


def test_half_the_size_is_the_mean_of_four():
    picture = Picture.create(frame_info("gray", (64, 32)), seed=2)
    _, (made,) = resized(picture, width=32, filter="bilinear", antialias=False)
    four = picture.arrays[0].astype(int).reshape(16, 2, 32, 2).sum((1, 3))
    assert np.array_equal(made, (four + 2) // 4)


def test_a_third_of_the_size_takes_every_third_sample():
    picture = Picture.create(frame_info("rgb48le", (63, 33)), seed=2)
    for name in FILTERS:
        _, (made,) = resized(picture, width=21, filter=name, antialias=False)
        assert np.array_equal(made, picture.arrays[0][1::3, 1::3])


@pytest.mark.parametrize("format_name", ["gray", "p010le", "rgb48le", "yuyv422"])
@pytest.mark.parametrize("name", FILTERS)
def test_one_colour_stays_what_it_is(name: str, format_name: str):
    picture = Picture.create(frame_info(format_name, (21, 13)))
    layout = picture.frame.info.format
    for code in (0, 77, (1 << layout.bits) - 1):
        for array in picture.arrays:
            array[...] = code << layout.shift
        for size in ((64, 7), (5, 40), (21, 13)):
            _, made = resized(picture, width=size[0], height=size[1], filter=name)
            assert all((array == code << layout.shift).all() for array in made)


def test_the_same_size_is_a_copy():
    for format_name in FORMATS:
        picture = Picture.create(frame_info(format_name, (22, 14)), seed=4)
        for name in FILTERS:
            _, made = resized(picture, width=22, filter=name)
            assert all(map(np.array_equal, made, picture.arrays))


def test_overshoot_ends_at_the_range_of_codes():
    picture = Picture.create(frame_info("gray10le", (16, 16)))
    picture.arrays[0][...] = np.where(np.arange(16) < 8, 0, 1023)
    _, (made,) = resized(picture, width=64, filter="lanczos")
    assert made.min() == 0
    assert made.max() == 1023
    assert np.all(np.diff(made[0].astype(int)[30:34]) >= 0)


@pytest.mark.parametrize(("siting", "at"), [("left", 0), ("centre", 0.5)])
def test_chroma_stays_beside_its_luma(siting: str, at: float):
    # All samples hold ten times the column that they lie at, in pixels.
    picture = Picture.create(frame_info("yuv420p10le", (64, 8)))
    luma, *chroma = picture.arrays
    luma[...] = 10 * np.arange(64)
    for plane in chroma:
        plane[...] = 10 * (2 * np.arange(32) + at)
    _, made = resized(picture, width=128, height=8, filter="bilinear", siting=siting)
    columns = (np.arange(128) + 0.5) / 2 - 0.5
    # Away from the ends, which repeat.
    assert np.abs(made[0][:, 4:-4] - 10 * columns[4:-4]).max() <= 0.5
    for plane in made[1:]:
        there = columns[::2] if siting == "left" else (columns[::2] + columns[1::2]) / 2
        assert np.abs(plane[:, 4:-4] - 10 * there[4:-4]).max() <= 0.5


@given(
    source=st.integers(1, 5000),
    target=st.integers(1, 5000),
    name=st.sampled_from(sorted(FILTERS)),
    antialias=st.booleans(),
    format_name=st.sampled_from(["gray", "p010le", "yuv420p16le"]),
)
def test_weights_add_up_to_one(source, target, name, antialias, format_name):
    if antialias and source > 40 * target:
        source = 40 * target
    info = frame_info(format_name, (source, 8))
    for view in views(info.format):
        values = {"filter": name, "antialias": antialias, "siting": "left"}
        numbers = scaling(view, info, replace(info, width=target), **values)
        assert (numbers.across.rounded(numbers.fraction).sum(1) == 1 << numbers.fraction).all()
        count = view.size(target, 8)[0]
        there = view.size(source, 8)[0]
        starts = numbers.across.starts(count)
        # Every output has a sample of the picture among its own.
        assert (starts < there).all()
        assert (starts + numbers.across.taps > 0).all()


@given(
    source=st.integers(1, 9000),
    target=st.integers(1, 20000),
    format_name=st.sampled_from(["gray", "rgb24", "yuyv422", "rgba64le"]),
    values=st.fixed_dictionaries(
        {"filter": st.sampled_from(sorted(FILTERS)), "antialias": st.booleans()}
    ),
)
def test_a_group_keeps_to_local_memory(source, target, format_name, values):
    info = frame_info(format_name, (source, 30))
    checked = KERNEL.check({"width": target, "height": 20, **values})
    try:
        made = KERNEL.output(info, **checked)
    except KernelError:
        return
    for launch in KERNEL.launches(info, made, checked):
        macros = dict(launch.macros)
        if "HALVES" in macros:
            continue
        _, _, _, starts, *_, width, _, _, _, _, _ = launch.arguments
        kept = 4 if macros["WIDE"] or not macros["SHORT"] else 2
        kept += macros["PARTS"] * (8 if macros["WIDE"] else 4)
        assert macros["GROUP_ROOM"] * kept <= 32768
        assert width * macros["CHANNELS"] <= macros["OUTPUTS"]
        for runs, room in ((1, "RUN_ROOM"), (macros["RUNS"], "GROUP_ROOM")):
            begins = starts.array[:: runs * width]
            ends = starts.array[runs * width - 1 :: runs * width]
            needed = (ends - begins[: len(ends)]).max(initial=0) + macros["TAPS"]
            assert needed * macros["CHANNELS"] <= macros[room]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"width": 960}, (960, 540)),
        ({"height": 480}, (853, 480)),
        ({"width": 1, "antialias": False}, (1, 1)),
        ({"width": 7, "height": 9}, (7, 9)),
    ],
)
def test_a_side_that_is_left_out_keeps_the_shape(values, expected):
    info = frame_info("yuv420p", (1920, 1080))
    made = KERNEL.output(info, **values)
    assert (made.width, made.height) == expected
    assert replace(made, width=info.width, height=info.height) == info


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({}, "width, a height or both"),
        ({"width": -1}, "'width' lies between 0 and 65535"),
        ({"width": 64, "filter": "nearest"}, "bilinear, bicubic, lanczos"),
        ({"width": 64, "siting": "top"}, "left, centre"),
        ({"width": 1, "height": 1, "filter": "lanczos"}, "resize in two steps"),
    ],
)
def test_wrong_parameters_are_refused(values, message: str):
    with pytest.raises(KernelError, match=message):
        KERNEL.output(frame_info("rgba", (16384, 16)), **values)


def test_a_picture_is_never_its_own_target(opencl_runtime: Runtime):
    picture = Picture.create(frame_info("gray", (16, 16)), seed=1)
    with pytest.raises(FormatError, match="cannot write into the picture that it reads"):
        check_kernel(opencl_runtime, KERNEL, picture, picture, {"width": 16})


def test_what_is_assumed_of_chroma_is_said():
    for name, layout in PIXEL_FORMATS.items():
        is_subsampled = any(plane.log2_width for plane in layout.planes)
        said = KERNEL.note(frame_info(name, (8, 8)), width=4, siting="centre")
        assert said == ("chroma sited centre (assumed)" if is_subsampled else "")


# Ratios that repeat soon, filters of many rows, rows of several groups, and all of the arithmetic.
WIDE = [
    ("gray", (384, 24), {"width": 256, "filter": "bilinear", "antialias": False}),
    ("gray", (390, 26), {"width": 195, "filter": "bilinear", "antialias": False}),
    ("gray", (400, 26), {"width": 200, "filter": "bilinear", "antialias": False}),
    ("rgb24", (256, 24), {"width": 384, "filter": "bilinear", "antialias": False}),
    ("rgb24", (384, 24), {"width": 256}),
    ("rgba", (402, 10), {"width": 134, "filter": "bilinear", "antialias": False}),
    ("yuv420p", (402, 20), {"width": 201}),
    ("p010le", (256, 24), {"width": 384, "filter": "lanczos"}),
    ("yuyv422", (257, 24), {"width": 129}),
    ("rgb48le", (384, 24), {"width": 128, "height": 5, "filter": "lanczos"}),
    ("nv12", (640, 480), {"width": 160, "filter": "lanczos"}),
    ("rgba64le", (6000, 4), {"width": 4000}),
    ("rgba", (9000, 4), {"width": 4321, "filter": "bilinear"}),
]


@pytest.mark.parametrize("together", [False, True], ids=["runs", "groups"])
@pytest.mark.parametrize(("name", "size", "values"), WIDE, ids=str)
def test_wide_pictures(opencl_runtime: Runtime, name, size, values, together: bool):
    # As a GPU compiles it: the items of a group share its runs.
    source = "#define TOGETHER 1\n" + KERNEL.source if together else KERNEL.source
    kernel = replace(KERNEL, source=source)
    picture = Picture.create(frame_info(name, size), seed=6, padding=4)
    check_kernel(
        opencl_runtime, kernel, picture, target_for(kernel, picture.frame.info, values), values
    )
