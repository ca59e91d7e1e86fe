"""crop, pad, flip, rotate and transpose: where each pixel goes, told pixel by pixel."""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bridges import Matrix
from bridges.errors import FormatError, KernelError
from bridges.formats import PIXEL_FORMATS, pixel_format
from bridges.kernels import get
from bridges.kernels.families.solid import COLOURS, solid
from tests.bridges.kernel_bench import check_kernel, expected_planes, target_for
from tests.bridges.picture import RANGES, Picture, frame_info

LIMITED, FULL = RANGES
PACKED = ("yuyv422", "uyvy422", "yvyu422")


def moved(name: str, source: Picture, **values):
    """Return what the reference of a kernel makes of a picture."""
    kernel = get(name)
    target = target_for(kernel, source.frame.info, values)
    for array, made in zip(
        target.arrays, expected_planes(kernel, source, target, values), strict=True
    ):
        array[...] = made
    return target


def samples(picture: Picture, channel: str) -> np.ndarray:
    """Return one sample for each pixel, found by the table of formats alone."""
    info = picture.frame.info
    index, offset, step = info.format.find(channel)
    plane, array = info.format.planes[index], picture.arrays[index]
    # Packed 4:2:2 has two Y in an element that is two pixels wide.
    across = plane.log2_width - (plane.channels.count(channel) - 1)
    rows, columns = np.indices((info.height, info.width))
    return array.reshape(array.shape[0], -1)[
        rows >> plane.log2_height, offset + step * (columns >> across)
    ]


# By hand: where the pixel at column x and row y of the result is, in a picture of w x h.
WHERE = [
    ("flip", {}, lambda x, y, w, h: (w - 1 - x, y)),
    ("flip", {"direction": "vertical"}, lambda x, y, w, h: (x, h - 1 - y)),
    ("flip", {"direction": "both"}, lambda x, y, w, h: (w - 1 - x, h - 1 - y)),
    ("rotate", {}, lambda x, y, w, h: (y, h - 1 - x)),
    ("rotate", {"angle": 180}, lambda x, y, w, h: (w - 1 - x, h - 1 - y)),
    ("rotate", {"angle": 270}, lambda x, y, w, h: (w - 1 - y, x)),
    ("transpose", {}, lambda x, y, w, h: (y, x)),
    ("crop", {"x": 4, "y": 8, "width": 4}, lambda x, y, w, h: (x + 4, y + 8)),
]


@pytest.mark.parametrize("format_name", PIXEL_FORMATS)
@pytest.mark.parametrize(("name", "values", "where"), WHERE)
def test_every_pixel_comes_from_its_place(name, values, where, format_name: str):
    width, height = 8, 12
    source = Picture.create(frame_info(format_name, (width, height)), seed=1)
    try:
        target = moved(name, source, **values)
    except FormatError:
        assert name in ("rotate", "transpose")
        assert values != {"angle": 180}
        return
    info = target.frame.info
    rows, columns = np.indices((info.height, info.width))
    x, y = where(columns, rows, width, height)
    for channel in {channel for plane in info.format.planes for channel in plane.channels}:
        assert np.array_equal(samples(target, channel), samples(source, channel)[y, x])


def test_a_clockwise_turn_of_a_small_picture():
    source = Picture.create(frame_info("gray", (3, 2)))
    source.arrays[0][...] = [[1, 2, 3], [4, 5, 6]]
    made = {
        "right": moved("rotate", source).arrays[0].tolist(),
        "left": moved("rotate", source, angle=270).arrays[0].tolist(),
        "transposed": moved("transpose", source).arrays[0].tolist(),
        "flipped": moved("flip", source).arrays[0].tolist(),
        "cropped": moved("crop", source, x=1, height=1).arrays[0].tolist(),
    }
    assert made == {
        "right": [[4, 1], [5, 2], [6, 3]],
        "left": [[3, 6], [2, 5], [1, 4]],
        "transposed": [[1, 4], [2, 5], [3, 6]],
        "flipped": [[3, 2, 1], [6, 5, 4]],
        "cropped": [[2, 3]],
    }


@pytest.mark.parametrize("format_name", PACKED)
def test_a_packed_row_of_odd_width_ends_with_its_last_luma_twice(format_name: str):
    layout = pixel_format(format_name)
    luma = [index for index, letter in enumerate(layout.planes[0].channels) if letter == "Y"]
    source = Picture.create(frame_info(format_name, (5, 1)), seed=1)
    values = source.arrays[0][..., luma].reshape(-1)[:5].tolist()
    for name, parameters, expected in (
        ("flip", {}, [*values[::-1], values[0]]),
        ("flip", {"direction": "vertical"}, [*values, values[4]]),
        ("crop", {"x": 2}, [*values[2:], values[4]]),
        ("pad", {"left": 2}, [16, 16, *values, values[4]]),
        ("pad", {"right": 2}, [*values, 16, 16, 16]),
    ):
        made = moved(name, source, **parameters)
        assert made.arrays[0][..., luma].reshape(-1).tolist() == expected


@pytest.mark.parametrize(
    ("name", "made"),
    [
        ("yuv422p", "yuv440p"),
        ("yuv440p", "yuv422p"),
        ("yuvj440p", "yuvj422p"),
        ("yuv422p10le", "yuv440p10le"),
        ("yuv440p12le", "yuv422p12le"),
        ("yuv420p", "yuv420p"),
        ("p010le", "p010le"),
        ("yuv410p", "yuv410p"),
        ("nv24", "nv24"),
        ("rgb24", "rgb24"),
    ],
)
def test_a_quarter_turn_swaps_the_sampling(name: str, made: str):
    info = frame_info(name, (6, 4))
    for output in (get("rotate").output(info), get("transpose").output(info)):
        assert (output.format.name, output.width, output.height) == (made, 4, 6)
    assert get("rotate").output(info, angle=180) == info


@pytest.mark.parametrize(
    ("name", "instead"),
    [
        ("nv16", "nv24"),
        ("p210le", "p410le"),
        ("yuyv422", "yuv444p"),
        ("yuv411p", "yuv444p"),
        ("yuva422p", "yuva444p"),
        ("yuv422p9le", "yuv444p9le"),
        ("yuvj411p", "yuvj444p"),
    ],
)
def test_a_turn_that_no_format_holds_says_what_does(name: str, instead: str):
    for kernel in ("rotate", "transpose"):
        with pytest.raises(FormatError, match=f"{name} after a quarter turn.*to {instead} first"):
            get(kernel).output(frame_info(name, (8, 8)))
        get(kernel).output(frame_info(instead, (8, 8)))


def formula(colour, bits: int, full: bool, kr: float, kb: float) -> dict[str, float]:
    """ITU-T H.273, 8.3 and equations 38 to 40, in floating point: codes that are not rounded."""
    red, green, blue = (int(colour[k : k + 2], 16) / 255 for k in (1, 3, 5))
    luma = kr * red + (1 - kr - kb) * green + kb * blue
    parts = {"R": red, "G": green, "B": blue, "Y": luma}
    chroma = {"U": (blue - luma) / (2 * (1 - kb)), "V": (red - luma) / (2 * (1 - kr))}
    if full:
        peak = 2**bits - 1
        codes = {name: peak * value for name, value in parts.items()}
        codes |= {name: peak * value + 2 ** (bits - 1) for name, value in chroma.items()}
        return {name: min(code, peak) for name, code in codes.items()}
    scale = 2 ** (bits - 8)
    codes = {name: (219 * value + 16) * scale for name, value in parts.items()}
    return codes | {name: (224 * value + 128) * scale for name, value in chroma.items()}


@pytest.mark.parametrize(
    ("matrix", "kr", "kb"),
    [
        (Matrix.BT709, 0.2126, 0.0722),
        (Matrix.SMPTE170M, 0.299, 0.114),
        (Matrix.BT2020_NCL, 0.2627, 0.0593),
    ],
)
@pytest.mark.parametrize("format_name", ["yuv420p", "p010le", "yuv444p16le", "rgb24", "gray12le"])
@pytest.mark.parametrize("colour_range", RANGES)
def test_a_border_has_the_codes_of_the_standard(format_name, colour_range, matrix, kr, kb):
    info = frame_info(format_name, (2, 2), colour_range, matrix)
    layout = info.format
    source = Picture.create(info, seed=2)
    for colour in ("#ffffff", "#000000", "#ff0000", "#0000ff", "#12c8f7"):
        target = moved("pad", source, left=2, top=2, right=1, bottom=1, colour=colour)
        exact = formula(colour, layout.bits, colour_range is FULL, kr, kb)
        for channel in {each for plane in layout.planes for each in plane.channels}:
            made = samples(target, channel)
            inside = made[2:4, 2:4].copy()
            assert np.array_equal(inside, samples(source, channel))
            made[2:4, 2:4] = made[0, 0]
            assert np.abs((made >> layout.shift) - exact[channel]).max() <= 0.5 + 1e-6


def test_names_of_colours_and_opaque_borders():
    for name, text in COLOURS.items():
        made = solid(name, frame_info("rgba", (1, 1)))
        assert [made[each] for each in "RGB"] == [int(text[k : k + 2], 16) for k in (1, 3, 5)]
        assert made["A"] == 255
    black = solid("black", frame_info("yuva420p10le", (1, 1)))
    assert [black[each] for each in "YUVA"] == [64, 512, 512, 1023]
    limited = solid("white", frame_info("p010le", (1, 1)))
    assert [limited[each] for each in "YUV"] == [940 << 6, 512 << 6, 512 << 6]


def test_yuv_that_holds_rgb_gets_its_codes():
    made = solid("#102030", frame_info("yuv444p", (1, 1), FULL, Matrix.RGB))
    assert [made[each] for each in "YUV"] == [0x20, 0x30, 0x10]


def test_a_matrix_without_weights_takes_neutral_borders_only():
    info = frame_info("yuv444p", (4, 4), matrix=Matrix.YCGCO)
    assert get("pad").output(info, left=1, colour="gray").width == 5
    with pytest.raises(FormatError, match="YCGCO"):
        get("pad").output(info, left=1, colour="red")


def test_what_is_assumed_of_the_colour_is_told():
    untagged, tagged = frame_info("yuv420p", (4, 4)), frame_info("gray", (4, 4), FULL, Matrix.BT709)
    assert "BT.601" in get("pad").note(untagged, left=2, colour="red")
    assert get("pad").note(untagged, left=2) == ""
    assert get("pad").note(tagged, left=2, colour="red") == ""
    assert "assumed" in get("pad").note(frame_info("gray", (4, 4)), left=2, colour="red")
    assert get("flip").note(untagged) == ""


@pytest.mark.parametrize(
    ("name", "format_name", "values", "message"),
    [
        ("crop", "gray", {"x": 8}, "is not within 8x6"),
        ("crop", "gray", {"y": -1}, "is not within 8x6"),
        ("crop", "gray", {"width": -3}, "is not within 8x6"),
        ("crop", "gray", {"x": 4, "width": 5}, "ends at"),
        ("crop", "yuv420p", {"x": 3}, "multiples of 2"),
        ("crop", "yuv420p", {"height": 5}, "rows 0 to 5 .* multiples of 2"),
        ("crop", "yuv411p", {"x": 2}, "multiples of 4"),
        ("crop", "yuyv422", {"width": 3}, "multiples of 2"),
        ("pad", "yuv420p", {"left": 3}, "multiple of 2"),
        ("pad", "yuv410p", {"top": 6}, "multiple of 4"),
        ("pad", "uyvy422", {"left": 1}, "multiple of 2"),
    ],
)
def test_places_off_the_picture_or_the_chroma_grid_are_refused(name, format_name, values, message):
    with pytest.raises(FormatError, match=message):
        get(name).output(frame_info(format_name, (8, 6)), **values)


@pytest.mark.parametrize(
    ("name", "values", "message"),
    [
        ("rotate", {"angle": 45}, "90, 180 or 270"),
        ("rotate", {"angle": 0}, "90, 180 or 270"),
        ("flip", {"direction": "up"}, "one of horizontal, vertical, both"),
        ("pad", {"left": -1}, "between 0 and 65535"),
        ("pad", {"colour": "mauve-ish"}, "no colour; write #rrggbb"),
        ("pad", {"colour": "#12345"}, "no colour; write #rrggbb"),
    ],
)
def test_wrong_parameters_are_refused(name: str, values, message: str):
    with pytest.raises(KernelError, match=message):
        get(name).output(frame_info("gray", (8, 6)), **values)


def test_a_crop_may_end_with_a_picture_of_odd_size():
    info = frame_info("yuv420p", (7, 5))
    made = get("crop").output(info, x=2, y=4)
    assert (made.width, made.height) == (5, 1)


def test_another_format_or_range_is_refused():
    source, values = frame_info("yuv420p", (8, 6), LIMITED), {"direction": "both"}
    for target in (frame_info("nv12", (8, 6), LIMITED), frame_info("yuv420p", (8, 6), FULL)):
        with pytest.raises(FormatError, match="moves samples and changes none"):
            get("flip").launches(source, target, values)


CALLS = st.sampled_from(
    [
        ("flip", {}),
        ("flip", {"direction": "vertical"}),
        ("flip", {"direction": "both"}),
        ("rotate", {}),
        ("rotate", {"angle": 270}),
        ("transpose", {}),
    ]
)
FORMATS = st.sampled_from(
    ["gray", "rgb24", "gray10le", "rgb48le", "rgba64le", "yuyv422", "yuv422p"]
)


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    call=CALLS,
    format_name=FORMATS,
    size=st.tuples(st.integers(60, 150), st.integers(60, 150)),
    padding=st.sampled_from([0, 4, 5]),
)
def test_tiles_and_chunks_of_any_size(opencl_runtime, call, format_name, size, padding):
    name, values = call
    if format_name == "yuyv422" and name != "flip":
        return
    info = frame_info(format_name, size)
    # Rows of whole words unless `padding` is odd, so that chunks and tiles are taken.
    source = Picture.create(info, padding=padding + -info.planes[0].strides[0] % 4, seed=3)
    row = get(name).output(info, **values).planes[0].strides[0]
    target = target_for(get(name), info, values, padding=-row % 4)
    check_kernel(opencl_runtime, get(name), source, target, values)


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    format_name=st.sampled_from(["gray", "rgb24", "gray10le", "rgb48le", "ya8"]),
    size=st.tuples(st.integers(1, 40), st.integers(1, 20)),
    border=st.tuples(*[st.integers(0, 9)] * 4),
    colour=st.sampled_from(["#1030f0", "white"]),
)
def test_borders_and_their_crop_of_any_size(opencl_runtime, format_name, size, border, colour):
    left, top, right, bottom = border
    info = frame_info(format_name, size)
    row = info.planes[0].strides[0]
    source = Picture.create(info, padding=-row % 4, seed=4)
    values = {"left": left, "top": top, "right": right, "bottom": bottom, "colour": colour}
    row = get("pad").output(info, **values).planes[0].strides[0]
    padded = target_for(get("pad"), info, values, padding=-row % 4)
    check_kernel(opencl_runtime, get("pad"), source, padded, values)
    back = {"x": left, "y": top, "width": size[0], "height": size[1]}
    again = target_for(get("crop"), padded.frame.info, back, padding=-info.planes[0].strides[0] % 4)
    check_kernel(opencl_runtime, get("crop"), padded, again, back)
    assert all(map(np.array_equal, again.arrays, source.arrays))
