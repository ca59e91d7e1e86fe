"""overlay against the formula in binary64, with pictures that are written here."""

import os
from pathlib import Path

import av
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bridges import Matrix
from bridges.errors import KernelError
from bridges.kernels import Runtime, get
from bridges.kernels.families.overlay import read_picture
from tests.bridges.kernel_bench import run_kernel
from tests.bridges.kernel_files import write_picture
from tests.bridges.picture import RANGES, Picture, frame_info

OVERLAY = get("overlay")
RANDOM = np.random.default_rng(5)
IMAGE = RANDOM.integers(0, 256, (9, 14, 4), np.uint8)
IMAGE[2:4, :, 3], IMAGE[5:7, :, 3] = 0, 255
DEEP = RANDOM.integers(0, 65536, (9, 14, 4), np.uint16)


def made(runtime: Runtime, picture: Picture, path: Path, **values: float) -> Picture:
    target = Picture.create(picture.frame.info)
    run_kernel(runtime, OVERLAY, picture, target, {"file": str(path), **values})
    return target


def placed(image, size, x, y):
    """Return an image of signals and a mask of where it is, both of the size of a picture."""
    columns, rows = size
    out, inside = np.zeros((rows, columns, 4)), np.zeros((rows, columns), bool)
    for row in range(image.shape[0]):
        for column in range(image.shape[1]):
            if 0 <= row + y < rows and 0 <= column + x < columns:
                out[row + y, column + x] = image[row, column]
                inside[row + y, column + x] = True
    return out, inside


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    name=st.sampled_from(["rgb24", "rgba", "gbrap10le", "rgb48le", "rgba64le"]),
    deep=st.booleans(),
    size=st.tuples(st.integers(1, 40), st.integers(1, 20)),
    place=st.tuples(st.integers(-20, 45), st.integers(-12, 25)),
    opacity=st.floats(0, 1),
)
def test_rgb(opencl_runtime, tmp_path, name, deep, size, place, opacity):
    array, form = (DEEP, "rgba64be") if deep else (IMAGE, "rgba")
    path = tmp_path / f"{form}.png"
    if not path.exists():
        write_picture(path, array, form)
    picture = Picture.create(frame_info(name, size), seed=1)
    found = made(opencl_runtime, picture, path, x=place[0], y=place[1], opacity=opacity)
    image, inside = placed(array / np.iinfo(array.dtype).max, size, *place)
    alpha = image[..., 3] * opacity
    peak = 2**picture.frame.info.format.bits - 1
    # Codes of 16 bits, alpha by its opacity and their mix are rounded before the picture's own.
    bound = 0.5 + 1.5 * peak / 65535 if peak < 65535 else 1
    for index, channel in enumerate("RGB"):
        under = picture.codes(channel) / peak
        exact = (image[..., index] * alpha + under * (1 - alpha)) * peak
        assert np.abs(found.codes(channel) - exact)[inside].max(initial=0) <= bound
        assert np.array_equal(found.codes(channel)[~inside], picture.codes(channel)[~inside])
    if any("A" in plane.channels for plane in picture.frame.info.format.planes):
        exact = (alpha + picture.codes("A") / peak * (1 - alpha)) * peak
        assert np.abs(found.codes("A") - exact).max() <= bound


def test_alpha_alone_is_exact(opencl_runtime, tmp_path):
    path = write_picture(tmp_path / "x.png", DEEP, "rgba64be")
    picture = Picture.create(frame_info("rgb48le", (14, 9)), seed=1)
    found = made(opencl_runtime, picture, path).arrays[0]
    alpha = DEEP[..., 3:] / 65535
    exact = DEEP[..., :3] * alpha + picture.arrays[0] * (1 - alpha)
    assert np.abs(found - exact).max() <= 0.5 + 1e-6


@pytest.mark.parametrize("colour_range", RANGES)
@pytest.mark.parametrize("name", ["yuv444p", "yuv420p10le", "nv12", "yuv444p16le"])
def test_yuv(opencl_runtime, tmp_path, name, colour_range):
    # A flat picture under a flat image; Y, U and V of BT.709 where it lies, as H.273 has them.
    colour = np.array([200, 50, 120], np.uint8)
    path = write_picture(tmp_path / "x.png", np.tile(colour, (8, 12, 1)), "rgb24")
    picture = Picture.create(frame_info(name, (32, 16), colour_range, Matrix.BT709), seed=1)
    bits, shift = picture.frame.info.format.bits, picture.frame.info.format.shift
    for array in picture.arrays:
        array[...] = 1 << bits - 1 + shift
    black, luma_span, chroma_span = (16 << bits - 8, 219 << bits - 8, 224 << bits - 8)
    if colour_range is RANGES[1]:
        black, luma_span, chroma_span = 0, 2**bits - 1, 2**bits - 1
    found = made(opencl_runtime, picture, path, x=4, y=2, opacity=0.25)
    gray = (2 ** (bits - 1) - black) / luma_span
    r, g, b = colour / 255 * 0.25 + gray * 0.75
    y = 0.2126 * r + 0.7152 * g + 0.0722 * b
    bound = 0.51 + 2.0 ** (bits - 15)
    luma = found.codes("Y")
    assert np.abs(luma[2:10, 4:16] - (black + luma_span * y)).max() < bound
    for channel, value in (("U", (b - y) / 1.8556), ("V", (r - y) / 1.5748)):
        codes = found.codes(channel)
        rows, columns = (16 // codes.shape[0], 32 // codes.shape[1])
        there = codes[2 // rows : 10 // rows, 4 // columns : 16 // columns]
        assert np.abs(there - (value * chroma_span + 2 ** (bits - 1))).max() < bound, channel
    luma[2:10, 4:16] = 1 << bits - 1
    assert (luma == 1 << bits - 1).all()


@pytest.mark.parametrize("name", ["rgb24", "bgra", "gbrp10le", "rgb48le"])
@pytest.mark.parametrize(
    "values", [{"opacity": 0}, {"x": 40}, {"y": -9}, {"x": 10**12}, {"x": -(10**12), "y": 3}]
)
def test_nothing_to_see_changes_nothing(opencl_runtime, tmp_path, name, values):
    path = write_picture(tmp_path / "x.png", IMAGE, "rgba")
    picture = Picture.create(frame_info(name, (40, 20)), seed=1)
    found = made(opencl_runtime, picture, path, **values)
    assert all(map(np.array_equal, found.arrays, picture.arrays))


def test_golden_values(numpy_runtime, tmp_path):
    # By hand: 200 * 51/255 + 100 * 204/255 = 120; alpha 51 + 100 * 204/255 = 131.
    path = write_picture(tmp_path / "x.png", np.array([[[200, 0, 255, 51]]], np.uint8), "rgba")
    picture = Picture.create(frame_info("rgba", (2, 1)))
    picture.arrays[0][...] = 100
    found = made(numpy_runtime, picture, path, x=1)
    assert found.arrays[0].tolist() == [[[100] * 4, [120, 80, 131, 131]]]


@pytest.mark.parametrize("form", ["rgb24", "rgba", "gray", "ya8"])
def test_8_bits_are_read_exactly(tmp_path, form):
    channels = {"rgb24": [0, 1, 2], "rgba": [0, 1, 2, 3], "gray": 0, "ya8": [0, 3]}[form]
    array = np.ascontiguousarray(IMAGE[..., channels])
    expected = np.full((9, 14, 4), 255)
    expected[..., :3] = array[..., :1] if form == "ya8" else array.reshape(9, 14, -1)[..., :3]
    if form in ("rgba", "ya8"):
        expected[..., 3] = array[..., -1]
    path = tmp_path / "x.png"
    if form == "ya8":  # PyAV makes no frames of it.
        frame = av.VideoFrame(14, 9, "ya8")
        plane = np.frombuffer(frame.planes[0], np.uint8).reshape(9, -1)
        plane[:, :28] = array.reshape(9, 28)
        write_picture(path, frame, form)
    else:
        write_picture(path, array, form)
    assert np.array_equal(read_picture(str(path)), expected * 257)


@pytest.mark.parametrize("form", ["rgb48be", "rgba64be", "gray16be"])
def test_16_bits_are_read_exactly(tmp_path, form):
    channels = {"rgb48be": [0, 1, 2], "rgba64be": [0, 1, 2, 3], "gray16be": 0}[form]
    array = np.ascontiguousarray(DEEP[..., channels])
    found = read_picture(str(write_picture(tmp_path / "x.png", array, form)))
    for channel in range(3):
        each = array if form == "gray16be" else array[..., channel]
        assert np.array_equal(found[..., channel], each)
    alpha = DEEP[..., 3] if form == "rgba64be" else 65535
    assert (found[..., 3] == alpha).all()


def test_palettes_are_read_exactly(tmp_path):
    frame = av.VideoFrame(14, 9, "pal8")
    indices = RANDOM.integers(0, 4, (9, 14), np.uint8)
    palette = RANDOM.integers(0, 256, (256, 4), np.uint8)
    np.frombuffer(frame.planes[0], np.uint8).reshape(9, -1)[:, :14] = indices
    np.frombuffer(frame.planes[1], np.uint8)[:1024] = palette.reshape(-1)  # B, G, R, A.
    path = write_picture(tmp_path / "x.png", frame, "pal8")
    expected = palette[indices][..., [2, 1, 0, 3]].astype(int)
    assert np.array_equal(read_picture(str(path)), expected * 257)


def test_a_jpeg_is_read_by_its_own_matrix(tmp_path):
    # JFIF: BT.601 in full range. Blocks of one colour survive its transform nearly whole.
    colour = np.array([180, 90, 40])
    matrix = np.array(
        [[0.299, 0.587, 0.114], [-0.168736, -0.331264, 0.5], [0.5, -0.418688, -0.081312]]
    )
    y, u, v = np.rint(matrix @ colour + [0, 128, 128]).astype(np.uint8)
    planes = np.concatenate([np.full(256, y), np.full(64, u), np.full(64, v)]).reshape(24, 16)
    path = write_picture(tmp_path / "x.jpg", planes, "yuvj420p", "mjpeg")
    assert np.abs(read_picture(str(path))[..., :3] / 257 - colour).max() < 4


def test_files_that_hold_no_picture(tmp_path):
    info = frame_info("rgb24", (4, 4))
    missing, noise, sound = (tmp_path / name for name in ("none.png", "noise.png", "sound.wav"))
    noise.write_bytes(RANDOM.bytes(5000))
    with av.open(str(sound), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=8000, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 800), np.int16), layout="mono")
        frame.rate = 8000
        container.mux(stream.encode(frame))
    for path, message in (
        (missing, "cannot read the picture .*none.png: No such file"),
        (noise, "cannot read the picture .*noise.png: "),
        (sound, "there is no picture in .*sound.wav"),
        (tmp_path, "cannot read the picture .*: Is a directory"),
    ):
        with pytest.raises(KernelError, match=message) as raised:
            OVERLAY.output(info, file=str(path))
        assert "\n" not in str(raised.value)


def test_a_picture_is_read_once_until_it_changes(tmp_path):
    path = write_picture(tmp_path / "x.png", IMAGE, "rgba")
    first = read_picture(str(path))
    assert read_picture(str(path)) is first
    assert not first.flags.writeable
    write_picture(path, IMAGE[:1], "rgba")
    os.utime(path, ns=(1, 1))
    assert read_picture(str(path)).shape == (1, *first.shape[1:])


def test_a_damaged_picture(tmp_path):
    path = write_picture(tmp_path / "x.png", IMAGE, "rgba")
    path.write_bytes(path.read_bytes()[:30])
    with pytest.raises(KernelError, match=r"x\.png"):
        read_picture(str(path))


@pytest.mark.parametrize(
    "values", [{}, {"file": "x", "opacity": 1.1}, {"file": "x", "x": 0.5}, {"file": 3}]
)
def test_wrong_parameters(values):
    with pytest.raises(KernelError, match="parameter"):
        OVERLAY.check(values)
