"""Video processing of the software driver: each sample is what ``process.c`` and ``colour.c`` say.

The formula is computed here once more, by NumPy, and held against the standards in float64.
"""

from __future__ import annotations

import math
import mmap
import os

import numpy as np
import pytest

from tests.helpers.process import open_files
from tests.lab.software_va import NODE, software_va
from tests.lab.va_client import LAYOUTS, Processor, Properties, Rectangle, Surface, VAError

COEFFICIENTS = {"bt601": (0.299, 0.114), "bt709": (0.2126, 0.0722)}
STANDARDS = {"bt601": 1, "bt709": 2}
"""``VAProcColorStandardType``."""
RANGES = {"reduced": 1, "full": 2}
"""``VA_SOURCE_RANGE_*``."""
RGB = {"BGRA": (2, 1, 0), "BGRX": (2, 1, 0), "RGBA": (0, 1, 2)}
"""Where red, green and blue are among the bytes of a pixel."""


@pytest.fixture
def driver():
    found = software_va()
    before = found.counts().alive, open_files()
    yield found
    assert (found.counts().alive, open_files()) == before


@pytest.fixture
def display(driver):
    with driver.open() as context:
        yield context.handle("va_display")


@pytest.fixture
def processor(display):
    found = Processor(display)
    yield found
    found.close()


@pytest.fixture
def surface(display):
    """Return a function that makes surfaces, filled with noise."""
    made = []

    def make(fourcc, width=35, height=17):
        found = Surface(display, fourcc, width, height)
        made.append(found)
        random = np.random.default_rng(len(made))
        shift, peak = (6, 1024) if fourcc == "P010" else (0, 256)
        shapes = found.layout.shapes(width, height)
        found.write([random.integers(0, peak, shape) << shift for shape in shapes])
        return found

    yield make
    for one in made:
        one.close()


# What the samples should be


def bits(fourcc):
    return 10 if fourcc == "P010" else 8


def constants(depth, standard, levels):
    red, blue = COEFFICIENTS[standard]
    scale, peak = 1 << (depth - 8), (1 << depth) - 1
    spans = (0, peak, peak) if levels == "full" else (16 * scale, 219 * scale, 224 * scale)
    return red, 1 - red - blue, blue, *spans, 128 * scale


def fixed(value):
    return math.floor(65536 * value + 0.5)


def yuv_to_rgb(yuv, depth, standard, levels):
    red, green, blue, black, luma, chroma, grey = constants(depth, standard, levels)
    y, u, v = (yuv[..., 0] - black) * fixed(255 / luma), yuv[..., 1] - grey, yuv[..., 2] - grey
    red_v, blue_u = 2 * (1 - red) * 255 / chroma, 2 * (1 - blue) * 255 / chroma
    green_u, green_v = fixed(blue_u * blue / green) * u, fixed(red_v * red / green) * v
    rgb = np.stack([y + fixed(red_v) * v, y - green_u - green_v, y + fixed(blue_u) * u], axis=-1)
    return ((rgb + 32768) >> 16).clip(0, 255)


def rgb_to_yuv(rgb, depth, standard, levels):
    red, _, blue, black, luma, chroma, grey = constants(depth, standard, levels)
    yr, yb, half = fixed(red * luma / 255), fixed(blue * luma / 255), fixed(chroma / 510)
    ur = fixed(red / (1 - blue) * chroma / 510)
    vb = fixed(blue / (1 - red) * chroma / 510)
    matrix = np.array(
        [[yr, fixed(luma / 255) - yr - yb, yb], [-ur, ur - half, half], [half, vb - half, -vb]]
    )
    yuv = ((rgb @ matrix.T + 32768) >> 16) + (black, grey, grey)
    return yuv.clip(0, (1 << depth) - 1)


def exact(yuv, depth, standard, levels):
    """The standards' own formula, from codes to R, G, B of 0 to 255, in float64."""
    red, green, blue, black, luma, chroma, grey = constants(depth, standard, levels)
    y, u, v = (yuv[..., 0] - black) / luma, *np.moveaxis((yuv[..., 1:] - grey) / chroma, -1, 0)
    r, b = y + 2 * (1 - red) * v, y + 2 * (1 - blue) * u
    return 255 * np.stack([r, (y - red * r - blue * b) / green, b], axis=-1)


def pixels(fourcc, planes):
    """Return each pixel's Y, U, V or R, G, B, and its alpha."""
    first = planes[0].astype(np.int64)
    if fourcc in RGB:
        alpha = first[..., 3] if fourcc != "BGRX" else np.full(first.shape[:2], 255)
        return first[..., RGB[fourcc]], alpha
    rows, columns = first.shape[:2]
    chroma = np.concatenate(planes[1:], axis=-1) if planes[1:] else None
    if chroma is None:
        chroma = np.full((rows, columns, 2), 128)
    else:
        chroma = chroma.repeat(2, axis=0).repeat(2, axis=1)[:rows, :columns]
    yuv = np.concatenate([first, chroma], axis=-1)
    return yuv >> (6 if fourcc == "P010" else 0), np.full((rows, columns), 255)


def planes_of(fourcc, samples, alpha):
    """Return the planes that hold these pixels: the chroma of even rows and columns."""
    if fourcc in RGB:
        plane = np.empty((*alpha.shape, 4), np.int64)
        plane[..., RGB[fourcc]], plane[..., 3] = samples, alpha
        return [plane]
    samples = samples << (6 if fourcc == "P010" else 0)
    chroma = samples[::2, ::2, 1:]
    separate = [chroma[..., :1], chroma[..., 1:]] if fourcc == "I420" else [chroma]
    return [samples[..., :1], *separate][: len(LAYOUTS[fourcc].planes)]


def converted(samples, source, target, before, after):
    """Convert pixels; ``before`` and ``after`` are standard and range of what is YUV."""
    if source not in RGB and target not in RGB and before == after:
        return samples << bits(target) >> bits(source)
    if source not in RGB:
        samples = yuv_to_rgb(samples, bits(source), *before)
    return samples if target in RGB else rgb_to_yuv(samples, bits(target), *after)


def nearest(samples, width, height):
    rows = np.arange(height) * samples.shape[0] // height
    columns = np.arange(width) * samples.shape[1] // width
    return samples[rows][:, columns]


def matches(surface, expected):
    """Whether all samples are as expected; what lies in a BGRX's fourth byte is not asked."""
    channels = 3 if surface.fourcc == "BGRX" else 4
    return all(
        np.array_equal(found[..., :channels], wanted[..., :channels])
        for found, wanted in zip(surface.read(), expected, strict=True)
    )


def colours(before=("bt601", "reduced"), after=("bt601", "reduced")):
    return {
        "surface_color_standard": STANDARDS[before[0]],
        "input_color_properties": Properties(color_range=RANGES[before[1]]),
        "output_color_standard": STANDARDS[after[0]],
        "output_color_properties": Properties(color_range=RANGES[after[1]]),
    }


# Tests

MEANINGS = [(standard, levels) for standard in STANDARDS for levels in RANGES]


@pytest.mark.parametrize("meaning", MEANINGS, ids="-".join)
@pytest.mark.parametrize("depth", [8, 10])
def test_the_formula_is_the_standards(depth, meaning):
    yuv = np.random.default_rng(1).integers(0, 1 << depth, (64, 64, 3))
    wanted = exact(yuv, depth, *meaning).clip(0, 255)
    assert np.abs(yuv_to_rgb(yuv, depth, *meaning) - wanted).max() < 0.51
    rgb = np.random.default_rng(2).integers(0, 256, (64, 64, 3))
    back = exact(rgb_to_yuv(rgb, depth, *meaning), depth, *meaning)
    assert np.abs(back - rgb).max() < 2


@pytest.mark.parametrize("target", LAYOUTS)
@pytest.mark.parametrize("source", LAYOUTS)
def test_every_format_becomes_every_other(processor, surface, source, target):
    given, made = surface(source), surface(target)
    samples, alpha = pixels(source, given.read())
    for before in MEANINGS:
        for after in MEANINGS:
            processor.run(given, made, **colours(before, after))
            wanted = converted(samples, source, target, before, after)
            assert matches(made, planes_of(target, wanted, alpha)), (before, after)


def test_a_matrix_can_be_told_by_its_number(processor, surface):
    given, made, told = surface("NV12"), surface("BGRA"), surface("BGRA")
    processor.run(given, told, **colours(("bt709", "reduced")))
    explicit, bt709 = 13, Properties(matrix_coefficients=1)
    processor.run(given, made, surface_color_standard=explicit, input_color_properties=bt709)
    assert np.array_equal(made.read(), told.read())


def test_surfaces_are_dma_bufs_on_a_drm_node(surface):
    given = surface("P010")
    exported = given.export()
    fd = exported.objects[0].fd
    kind = "/memfd:" if NODE == "/dev/null" else "/dmabuf:"
    assert os.readlink(f"/proc/self/fd/{fd}").startswith(kind)
    with mmap.mmap(fd, exported.objects[0].size) as memory:
        start = exported.layers[1].offset[0]
        assert memory[start : start + 36 * 2] == given.read()[1][0].tobytes()
    os.close(fd)


def test_what_is_not_said_is_bt601_of_reduced_range(processor, surface):
    given, made, told = surface("NV12"), surface("BGRA"), surface("BGRA")
    processor.run(given, made)
    processor.run(given, told, **colours())
    assert np.array_equal(made.read(), told.read())


@pytest.mark.parametrize("size", [(70, 34), (17, 9), (35, 40), (1, 1)], ids=str)
@pytest.mark.parametrize("fourcc", ["NV12", "P010", "I420", "Y800", "RGBA"])
def test_scaling_takes_the_nearest_pixel(processor, surface, fourcc, size):
    given, made = surface(fourcc), surface(fourcc, *size)
    processor.run(given, made)
    samples, alpha = (nearest(part, *size) for part in pixels(fourcc, given.read()))
    assert matches(made, planes_of(fourcc, samples, alpha))


@pytest.mark.parametrize("argb", [0, 0xFF20C040])
@pytest.mark.parametrize("target", ["NV12", "BGRA"])
def test_regions_are_cut_out_and_put_in(processor, surface, target, argb):
    given, made = surface("NV12"), surface(target, 40, 30)
    samples, alpha = pixels(target, made.read())
    if argb:
        rgb = np.array([argb >> 16 & 255, argb >> 8 & 255, argb & 255])
        samples[...] = rgb if target in RGB else rgb_to_yuv(rgb, 8, "bt601", "reduced")
        alpha[...] = 255
    cut = pixels("NV12", given.read())[0][3:13, 5:26]
    put = (slice(6, 26), slice(8, 22))
    samples[put] = nearest(converted(cut, "NV12", target, *[("bt601", "reduced")] * 2), 14, 20)
    alpha[put] = 255
    processor.run(
        given,
        made,
        surface_region=Rectangle(5, 3, 21, 10),
        output_region=Rectangle(8, 6, 14, 20),
        output_background_color=argb,
    )
    assert matches(made, planes_of(target, samples, alpha))


@pytest.mark.parametrize(
    "wrong",
    [
        {"surface_region": Rectangle(30, 0, 6, 17)},
        {"output_region": Rectangle(-1, 0, 6, 17)},
        {"num_filters": 1},
        {"rotation_state": 1},
    ],
    ids=lambda wrong: next(iter(wrong)),
)
def test_what_cannot_be_done_is_refused(processor, surface, wrong):
    given, made = surface("NV12"), surface("NV12")
    before = made.read()
    with pytest.raises(VAError, match="vaRenderPicture"):
        processor.run(given, made, **wrong)
    assert matches(made, before)


def test_nothing_is_left_of_300_pictures(driver, processor, surface):
    given, made = surface("NV12", 64, 36), surface("BGRA", 32, 18)
    before = driver.counts().alive, open_files()
    for _ in range(300):
        processor.run(given, made)
    assert (driver.counts().alive, open_files()) == before
