"""The software driver as ffmpeg sees it: a program that is not ours takes it for hardware.

What ffmpeg does with it must be, byte for byte, what it does without.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from functools import cache

import numpy as np
import pytest

from tests.helpers.require import require
from tests.lab.software_va import NODE, software_va
from tests.lab.vp9_streams import FRAMES, STREAMS, make

FORMATS = ("nv12", "p010le", "yuv420p", "gray", "bgra", "bgr0", "rgba")
ALIVE = ("surfaces", "images", "buffers", "configs", "contexts", "descriptors")
DECODING = ("-hwaccel", "vaapi", "-hwaccel_device", "one", "-hwaccel_output_format", "vaapi")
KEEPING_SIZES = ("-noautoscale",)


@cache
def ffmpeg_is_missing():
    """Return why there is no ffmpeg for these tests, or nothing if there is."""
    if not shutil.which("ffmpeg"):
        return "there is no ffmpeg; try: apt install ffmpeg"
    encoders = subprocess.run(["ffmpeg", "-encoders"], capture_output=True, text=True).stdout
    if "h264_vaapi" not in encoders or "libvpx-vp9" not in encoders:
        return "ffmpeg was built without VA-API or libvpx; try: apt install ffmpeg"
    return ""


@pytest.fixture(scope="module", autouse=True)
def ffmpeg_and_driver():
    require("ffmpeg", not ffmpeg_is_missing(), ffmpeg_is_missing())
    software_va()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("streams")


def run(*arguments, environment=None, given=None, fails=False):
    """Run ffmpeg; return what it writes, or what it says where it is to fail."""
    command = ["ffmpeg", "-hide_banner", "-nostdin", "-v", "error", *map(str, arguments)]
    if given is not None:
        command.remove("-nostdin")
    variables = {**os.environ, **(environment or {})}
    found = subprocess.run(command, input=given, capture_output=True, env=variables, timeout=110)
    said = found.stderr.decode(errors="replace")
    assert fails or (found.returncode, said) == (0, ""), said
    return said if fails else found.stdout


def run_on_hardware(*arguments, given=None, fails=False, **options):
    """Run ffmpeg with two devices, `one` and `two`, of which filters use the latter."""
    devices = [("-init_hw_device", f"vaapi={name}:{NODE}") for name in ("one", "two")]
    return run(
        *(part for device in devices for part in device),
        "-filter_hw_device",
        "two",
        *arguments,
        environment=software_va().variables(**options),
        given=given,
        fails=fails,
    )


def left(path):
    """Return what the driver reported to be alive at the end, and is not to be."""
    report = dict(line.split() for line in path.read_text().splitlines())
    return {name: int(report[name]) for name in ALIVE if int(report[name])}


def frames_of(output):
    """Return each frame's size and hash, from the output of the framemd5 muxer."""
    lines = [line for line in output.decode().splitlines() if not line.startswith("#")]
    return [tuple(line.split(",")[4:]) for line in lines]


def noise(*shape, peak=255):
    return np.random.default_rng(1).integers(0, peak, shape, np.uint8, endpoint=True)


def raw(pixel_format, width, height):
    size = f"{width}x{height}"
    return "-f", "rawvideo", "-pixel_format", pixel_format, "-video_size", size, "-i", "-"


def to_raw(pixel_format):
    return "-pix_fmt", pixel_format, "-f", "rawvideo", "-"


# Surfaces


@pytest.mark.parametrize("size", [(322, 178), (35, 17)], ids=str)
@pytest.mark.parametrize("pixel_format", FORMATS)
def test_pictures_come_back_from_surfaces(pixel_format, size, tmp_path):
    given = run(*raw("bgra", *size), *to_raw(pixel_format), given=noise(3, *size, 4).tobytes())
    graph = (
        f"split[a][b]; [a]hwupload,hwdownload,format={pixel_format}[copied];"
        f"[b]hwupload,hwmap=mode=read,format={pixel_format}[mapped]"
    )
    outputs = {name: tmp_path / name for name in ("copied", "mapped")}
    writing = (("-map", f"[{name}]", "-f", "rawvideo", path) for name, path in outputs.items())
    report = tmp_path / "report"
    run_on_hardware(
        *raw(pixel_format, *size),
        "-filter_complex",
        graph,
        *(part for output in writing for part in output),
        given=given,
        REPORT=str(report),
    )
    assert [path.read_bytes() == given for path in outputs.values()] == [True, True]
    assert not left(report)


@pytest.mark.parametrize("size", [(161, 89), (20, 300)], ids=str)
def test_ffmpeg_scales(size):
    given, (width, height) = noise(50, 98, 4), size
    graph = f"format=bgra,hwupload,scale_vaapi=w={width}:h={height},hwdownload,format=bgra"
    found = run_on_hardware(
        *raw("bgra", 98, 50), "-vf", graph, "-f", "rawvideo", "-", given=given.tobytes()
    )
    rows, columns = np.arange(height) * 50 // height, np.arange(width) * 98 // width
    assert found == given[rows][:, columns].tobytes()


@pytest.mark.parametrize(
    ("matrix", "number", "levels", "white"),
    [("bt709", "bt709", "tv", 235), ("smpte170m", "bt601", "pc", 255)],
    ids=["709", "601-full"],
)
def test_ffmpeg_converts_colours(matrix, number, levels, white):
    """Gray of each level becomes what the range says, and red what the matrix says."""
    red = {"bt709": 0.2126, "bt601": 0.299}[number]
    black = 0 if levels == "pc" else 16
    given = np.zeros((2, 258, 4), np.uint8)
    given[:, :256, :3] = np.arange(256)[:, np.newaxis]
    given[:, 256:, 2] = 255
    graph = (
        "format=bgr0,hwupload,"
        f"scale_vaapi=format=nv12:out_color_matrix={matrix}:out_range={levels},"
        "hwdownload,format=nv12"
    )
    found = run_on_hardware(
        *raw("bgr0", 258, 2), "-vf", graph, "-f", "rawvideo", "-", given=given.tobytes()
    )
    luma = np.frombuffer(found, np.uint8)[:258]
    assert np.abs(luma[:256] - (black + np.arange(256) * (white - black) / 255)).max() <= 0.51
    assert abs(luma[256] - (black + red * (white - black))) <= 0.51
    assert set(found[2 * 258 : 2 * 258 + 256]) == {128}


# Decoding


@pytest.mark.parametrize("name", sorted(set(STREAMS) - {"10-bit-odd"}))
def test_vp9_decodes_as_it_does_in_software(name, folder, tmp_path):
    path, (pixel_format, count, _) = make(name, folder), STREAMS[name]
    report = tmp_path / "report"
    common = (*KEEPING_SIZES, "-f", "framemd5", "-")
    graph = f"hwdownload,format={pixel_format}"
    found = run_on_hardware(*DECODING, "-i", path, "-vf", graph, *common, REPORT=str(report))
    wanted = run("-i", path, "-vf", f"format={pixel_format}", *common)
    assert frames_of(found) == frames_of(wanted)
    assert len(frames_of(found)) == count
    assert not left(report)


def test_vp9_of_10_bits_and_an_odd_size(folder):
    """Apart, since ffmpeg 5.1 loses a column where software makes P010 of an odd width."""
    reading = ("-i", make("10-bit-odd", folder))
    graph = ("-vf", "hwdownload,format=p010le", "-f", "rawvideo", "-")
    found = np.frombuffer(run_on_hardware(*DECODING, *reading, *graph), np.uint16) >> 6
    wanted = np.frombuffer(run(*reading, *to_raw("yuv420p10le")), np.uint16)
    found, wanted = (samples.reshape(FRAMES, -1) for samples in (found, wanted))
    luma, chroma = 35 * 17, 18 * 9
    assert np.array_equal(found[:, :luma], wanted[:, :luma])
    assert np.array_equal(found[:, luma::2], wanted[:, luma : luma + chroma])
    assert np.array_equal(found[:, luma + 1 :: 2], wanted[:, luma + chroma :])


def test_damaged_data_is_an_error(folder, tmp_path):
    data = bytearray(make("8-bit", folder).read_bytes())
    data[len(data) // 2 : len(data) // 2 + 600] = bytes(600)
    path, report = tmp_path / "damaged.ivf", tmp_path / "report"
    path.write_bytes(data)
    said = run_on_hardware(*DECODING, "-i", path, "-f", "null", "-", fails=True, REPORT=str(report))
    assert "internal decoding error" in said
    assert not left(report)


# Exchange


@pytest.mark.parametrize("name", ["8-bit", "8-bit-odd"])
def test_surfaces_go_through_drm_to_another_device(name, folder, tmp_path):
    path, (pixel_format, _, _) = make(name, folder), STREAMS[name]
    graph = f"hwmap,format=drm_prime,hwmap,format=vaapi,hwdownload,format={pixel_format}"
    report = tmp_path / "report"
    common = ("-f", "framemd5", "-")
    found = run_on_hardware(*DECODING, "-i", path, "-vf", graph, *common, REPORT=str(report))
    assert frames_of(found) == frames_of(run("-i", path, "-pix_fmt", pixel_format, *common))
    assert not left(report)


# Encoding


def zeros_and_noise(width, height):
    """Frames of NV12 that are full of what looks like start codes."""
    noisy = noise(3, width * height + 2 * -(-width // 2) * -(-height // 2))
    return np.concatenate([noisy, np.zeros_like(noisy), noisy % 4, noisy & noisy[::-1] & 1])


@pytest.mark.parametrize(
    ("size", "options"),
    [
        ((322, 178), ("-g", "1")),
        ((98, 50), ("-g", "2")),
        ((64, 64), ("-g", "120")),
        ((36, 18), ("-g", "5", "-slices", "2")),
        ((36, 18), ("-g", "4", "-idr_interval", "2", "-bf", "2")),
        ((36, 18), ("-g", "3", "-aud", "1", "-sei", "identifier+timing")),
    ],
    ids=lambda value: " ".join(map(str, value)),
)
@pytest.mark.parametrize("pixel_format", ["nv12", "yuv420p"])
def test_h264_holds_the_very_samples(size, options, pixel_format, tmp_path):
    given, report = zeros_and_noise(*size).tobytes(), tmp_path / "report"
    coded = run_on_hardware(
        *raw(pixel_format, *size),
        "-vf",
        "hwupload",
        *("-c:v", "h264_vaapi", "-qp", "20", *options, "-f", "h264", "-"),
        given=given,
        REPORT=str(report),
    )
    reading = ("-f", "h264", "-framerate", "25", "-i", "-")
    assert run(*reading, *to_raw(pixel_format), given=coded) == given
    assert not left(report)


def test_odd_sizes_are_cropped_by_the_container(tmp_path):
    """H.264 of 4:2:0 itself only crops to even ones."""
    given = zeros_and_noise(35, 17).tobytes()
    path = tmp_path / "odd.mkv"
    encoding = ("-vf", "hwupload", "-c:v", "h264_vaapi", "-qp", "20", path)
    run_on_hardware(*raw("nv12", 35, 17), *encoding, given=given)
    assert run("-i", path, *to_raw("nv12")) == given


# Failures, and the end


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("FAIL_SURFACE", "resource allocation failed"),
        ("FAIL_DECODE", "internal decoding error"),
        ("FAIL_EXPORT", "operation failed"),
        ("NO_EXPORT", "not implemented"),
    ],
)
def test_it_fails_when_told_to(option, message, folder):
    reading = (*DECODING, "-i", make("8-bit", folder), "-vf", "hwmap,format=drm_prime")
    said = run_on_hardware(*reading, "-f", "null", "-", fails=True, **{option: "3"})
    assert message in said


def test_a_failed_picture_is_the_only_one_lost(folder):
    path = make("8-bit", folder)
    output = ("-vf", "hwdownload,format=nv12", "-fps_mode", "passthrough", "-f", "framemd5", "-")
    command = (*DECODING, "-i", path, *output)
    wanted = frames_of(run_on_hardware(*command))
    found = subprocess.run(
        ["ffmpeg", "-v", "quiet", "-init_hw_device", f"vaapi=one:{NODE}", *map(str, command)],
        capture_output=True,
        env={**os.environ, **software_va().variables(FAIL_DECODE="3")},
        timeout=100,
    )
    assert frames_of(found.stdout) == wanted[:2] + wanted[3:]


def test_nothing_is_left_of_300_frames(folder, tmp_path):
    """They are decoded, scaled, taken through DRM and encoded."""
    report = tmp_path / "report"
    graph = "scale_vaapi=w=64:h=36,hwmap,format=drm_prime,hwmap,format=vaapi"
    reading = ("-stream_loop", "24", *DECODING, "-i", make("8-bit", folder), "-vf", graph)
    writing = ("-c:v", "h264_vaapi", "-qp", "20", "-f", "h264", "-")
    coded = run_on_hardware(*reading, *writing, REPORT=str(report))
    counting = ("-f", "h264", "-framerate", "25", "-i", "-", "-f", "framemd5", "-")
    assert len(frames_of(run(*counting, given=coded))) == 300
    assert not left(report)
