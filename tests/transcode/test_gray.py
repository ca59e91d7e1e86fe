"""The main job: a video in, a gray video out, the same bits on every runtime."""

import os
import subprocess
import sys
from fractions import Fraction

import av
import numpy as np
import pytest

import transcode
from bridges.edges.cpu_to_ffmpeg import held_planes
from tests.assets.clips import CLIPS
from tests.assets.picture import channel_of, luma_of
from tests.transcode.output import frames_of, indices_of, seconds_of
from transcode import VideoOptions

LOSSLESS = VideoOptions(codec="ffv1")

# Kr, Kg, Kb of ITU-R BT.709-6, BT.601-7 and BT.2020-2.
WEIGHTS = {
    1: (0.2126, 0.7152, 0.0722),
    5: (0.299, 0.587, 0.114),
    6: (0.299, 0.587, 0.114),
    9: (0.2627, 0.6780, 0.0593),
}

YUV = [
    "h264",
    "full_range",
    "bt601",
    "untagged",
    "yuv422p",
    "yuv444p",
    "odd_yuv420p",
    "odd_yuv444p",
    "raw_nv12",
    "raw_yuyv422",
    "h264_10bit",
    "hdr10",
    "prores",
    "ffv1_gray",
    "ffv1_gray10",
    "ffv1_yuva420p",
    "interlaced_tff",
    "rotated_90",
    "anamorphic",
]
RGB = ["raw_rgb24", "raw_bgr24", "raw_rgb0", "raw_bgr0", "raw_0rgb", "raw_gbrp", "raw_rgba"]
RGB += ["odd_bgr0", "h264_rgb", "ffv1_bgra"]

pytestmark = pytest.mark.usefixtures("needs_opencl")


@pytest.fixture
def gray(clips, tmp_path):
    def run(name, target="gray.mkv", **options):
        options.setdefault("video", LOSSLESS)
        path = tmp_path / target
        filters = ["rgb_to_grayscale"]
        return path, transcode.run(clips.path(name), path, filters=filters, **options)

    return run


def colourless(frame):
    """Whether every chroma sample is neutral."""
    half = 1 << (frame.format.components[0].bits - 1)
    return all((channel_of(frame, name) == half).all() for name in "uv")


@pytest.mark.parametrize("device", ["opencl", "cpu"])
@pytest.mark.parametrize("name", YUV)
def test_luma_of_yuv_stays_bit_by_bit(gray, clips, name, device):
    path, report = gray(name, device=device)
    sources, results = frames_of(clips.path(name)), frames_of(path)
    assert len(results) == len(sources) == report.frames
    for source, result in zip(sources, results, strict=True):
        np.testing.assert_array_equal(luma_of(result), luma_of(source))
        if not result.format.name.startswith("gray"):
            assert colourless(result)
    assert report.bytes_copied == 0
    assert report.route.endswith("zero-copy")


@pytest.mark.parametrize("device", ["opencl", "cpu"])
@pytest.mark.parametrize("name", RGB)
def test_rgb_is_weighted_by_the_standard(gray, clips, name, device):
    path, report = gray(name, device=device)
    track = CLIPS[name].main
    weights = WEIGHTS[track.colour.primaries if track.colour.primaries in WEIGHTS else 1]
    for source, result in zip(frames_of(clips.path(name)), frames_of(path), strict=True):
        rgb = (channel_of(source, channel).astype(np.float64) for channel in "rgb")
        luma = sum(weight * plane for weight, plane in zip(weights, rgb, strict=True))
        full = result.color_range == 2
        exact = luma if full else 16 + 219 * luma / 255
        assert np.abs(luma_of(result) - exact).max() <= 0.55
        assert result.format.name == "yuv420p"
        assert colourless(result)
    assert any(notice.startswith("gray weighted by BT.") for notice in report.notices)


def test_pure_colours_have_the_grays_of_the_standard(tmp_path):
    """Red, green and blue swapped, or a wrong range, would show here at once."""
    path = tmp_path / "pure.nut"
    colours = {"red": (255, 0, 0), "green": (0, 255, 0), "blue": (0, 0, 255)}
    colours |= {"white": (255, 255, 255), "black": (0, 0, 0)}
    with av.open(str(path), "w") as container:
        stream = container.add_stream("rawvideo", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "bgr24"
        for index, (red, green, blue) in enumerate(colours.values()):
            pixels = np.empty((48, 64, 3), np.uint8)
            pixels[:] = blue, green, red
            frame = av.VideoFrame.from_ndarray(pixels, "bgr24")
            frame.pts = index
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    transcode.run(path, tmp_path / "gray.mkv", filters=["rgb_to_grayscale"], video=LOSSLESS)
    found = [int(luma_of(frame)[20, 20]) for frame in frames_of(tmp_path / "gray.mkv")]
    # Full-range codes of BT.709: 54.2, 182.4, 18.4, 255, 0.
    frame = frames_of(tmp_path / "gray.mkv")[0]
    if frame.color_range == 2:
        assert found == [54, 182, 18, 255, 0]
    else:
        assert found == [63, 173, 32, 235, 16]


def test_times_tags_and_order_survive(gray, clips):
    path, _ = gray("vfr_mp4", "gray.mp4", video=VideoOptions(preset="ultrafast", crf=8))
    track = CLIPS["vfr_mp4"].main
    first = track.pts[0] * track.time_base
    assert seconds_of(path) == [pts * track.time_base - first for pts in track.pts]
    assert indices_of(path) == list(track.indices)


def test_both_runtimes_write_the_same_bytes(gray):
    for name in ("h264", "raw_bgr0", "hdr10", "full_range"):
        ours, _ = gray(name, "opencl.mkv", device="opencl")
        theirs, _ = gray(name, "cpu.mkv", device="cpu", overwrite=True)
        pairs = zip(frames_of(ours), frames_of(theirs), strict=True)
        for one, other in pairs:
            assert [bytes(plane) for plane in one.planes] == [bytes(p) for p in other.planes]
        ours.unlink()
        theirs.unlink()


def test_gray_on_demand_and_what_encoders_take(gray):
    path, report = gray("h264", video=VideoOptions(codec="ffv1", pix_fmt="gray"))
    assert report.output.pix_fmt == frames_of(path)[0].format.name == "gray"
    _, report = gray("h264", "x.mp4", video=VideoOptions(preset="ultrafast"))
    assert report.output.pix_fmt == "yuv420p"
    _, report = gray("hdr10", "y.mp4", video=VideoOptions(codec="libx265", preset="ultrafast"))
    assert report.output.pix_fmt == "yuv420p10le"


def test_a_format_that_no_kernel_reads_is_converted_and_said(gray, tmp_path):
    with av.open(str(tmp_path / "in.mkv"), "w") as container:
        stream = container.add_stream("ffv1", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        frame = av.VideoFrame(64, 48, "yuv420p")
        for plane in frame.planes:
            plane.update(bytes([77]) * plane.buffer_size)
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    report = transcode.run(
        tmp_path / "in.mkv",
        tmp_path / "out.mkv",
        vf="format=rgb565le",
        filters=["rgb_to_grayscale"],
        video=LOSSLESS,
    )
    assert "pixel format rgb565le > rgb24, which rgb_to_grayscale reads" in report.notices


def test_with_scaling_trim_and_rate(gray):
    video = VideoOptions(preset="ultrafast", size=(64, -2), fps=Fraction(50))
    path, report = gray(
        "long_gop", "small.mp4", video=video, start=Fraction(1), duration=Fraction(1)
    )
    assert (report.output.width, report.output.height, report.frames) == (64, 48, 50)
    assert indices_of(path)[0] == 25
    assert all(colourless(frame) for frame in frames_of(path))


def test_buffers_return_to_their_pool(gray):
    before = held_planes()
    gray("long_gop", "a.mp4", video=VideoOptions(preset="ultrafast"))
    assert held_planes() == before


def test_without_any_opencl_device_the_host_computes_and_says_so(clips, tmp_path):
    code = """
import sys, transcode
report = transcode.run(sys.argv[1], sys.argv[2], filters=["rgb_to_grayscale"])
print(report.device)
"""
    environment = {**os.environ, "OCL_ICD_VENDORS": str(tmp_path), "OCL_ICD_FILENAMES": ""}
    target = tmp_path / "gray.mkv"
    done = subprocess.run(
        [sys.executable, "-c", code, clips.path("h264"), target],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("cpu: NumPy (auto: no OpenCL device")
    assert all(colourless(frame) for frame in frames_of(target))
