"""Kernels of every family in a whole run: sizes, aspect, tags, chains, and results before."""

import contextlib
import sys
from fractions import Fraction

import av
import numpy as np
import pytest
from av.sidedata.sidedata import Type

import transcode
from bridges.backends.ffmpeg import frame_info
from bridges.errors import FormatError, KernelError
from bridges.kernels import get, parse_call
from tests.assets.picture import channel_of, luma_of
from tests.transcode.output import frames_of, indices_of, seconds_of
from transcode import VideoOptions
from transcode.kernel_step import KernelStep
from transcode.notices import Notices
from xma_plugins.device import open_device

LOSSLESS = VideoOptions(codec="ffv1")
LOSSLESS_RGB = VideoOptions(codec="ffv1", pix_fmt="bgr0")

pytestmark = pytest.mark.usefixtures("needs_opencl")


@pytest.fixture
def filtered(clips, tmp_path):
    def run(name, *filters, target="out.mkv", **options):
        options.setdefault("video", LOSSLESS)
        path = tmp_path / target
        return path, transcode.run(clips.path(name), path, filters=list(filters), **options)

    return run


def aspect_of(path):
    with av.open(str(path)) as container:
        return container.streams.video[0].sample_aspect_ratio


@pytest.mark.parametrize("device", ["opencl", "cpu"])
def test_a_point_kernel_on_every_frame(filtered, clips, device):
    path, report = filtered(
        "raw_rgb24", "invert", device=device, video=VideoOptions(codec="ffv1", pix_fmt="bgr0")
    )
    results = frames_of(path)
    for source, result in zip(frames_of(clips.path("raw_rgb24")), results, strict=True):
        for channel in "rgb":
            found = result.to_ndarray(format="rgb24")[..., "rgb".index(channel)]
            assert np.array_equal(found, 255 - channel_of(source, channel))
    assert report.frames == len(results)


def test_a_chain_of_point_kernels_keeps_times_and_is_zero_copy(filtered, clips):
    path, report = filtered("h264", "contrast(amount=0.9)", "brightness(amount=0.02)")
    assert indices_of(path) == indices_of(clips.path("h264"))
    assert seconds_of(path) == seconds_of(clips.path("h264"))
    assert report.bytes_copied == 0
    assert report.route == "FFmpeg > CPU > OpenCL > CPU > FFmpeg   zero-copy"


def test_every_plane_is_written(filtered, clips):
    path, _ = filtered("h264", "saturation(amount=0)")
    for result in frames_of(path):
        chroma = channel_of(result, "u"), channel_of(result, "v")
        assert all((plane == 128).all() for plane in chroma)


def test_resize_keeps_the_display_aspect(filtered, clips):
    (source, *_) = frames_of(clips.path("anamorphic"))
    width = source.width // 2
    path, _ = filtered("anamorphic", f"resize(width={width}, height={source.height})")
    (result, *_) = frames_of(path)
    assert (result.width, result.height) == (width, source.height)
    assert aspect_of(path) == Fraction(4, 3) * 2


def test_a_quarter_turn_turns_the_pixels_too(filtered, clips):
    (source, *_) = frames_of(clips.path("anamorphic"))
    path, _ = filtered("anamorphic", "rotate(angle=90)")
    (result, *_) = frames_of(path)
    assert (result.width, result.height) == (source.height, source.width)
    assert aspect_of(path) == Fraction(3, 4)
    assert np.array_equal(luma_of(result), np.rot90(luma_of(source), -1))


def test_kernels_of_several_families_follow_each_other(filtered, clips):
    path, report = filtered(
        "h264",
        "crop(width=96, height=64)",
        "invert",
        "flip",
        "resize(width=80, height=48)",
        "rgb_to_grayscale",
    )
    results = frames_of(path)
    assert {(frame.width, frame.height) for frame in results} == {(80, 48)}
    assert len(results) == len(frames_of(clips.path("h264"))) == report.frames


@pytest.mark.parametrize("device", ["opencl", "cpu"])
def test_denoise_takes_the_result_of_the_frame_before(filtered, clips, device):
    kernel = get("denoise")
    path, _ = filtered("h264", "denoise(strength=0.9)", device=device)
    values = kernel.check({"strength": 0.9})
    before = None
    for source, result in zip(frames_of(clips.path("h264")), frames_of(path), strict=True):
        info = frame_info(source)
        planes = [channel_of(source, channel) for channel in "yuv"]
        out = [np.zeros_like(plane) for plane in planes]
        kernel.compute([*planes, *(before or planes)], info, info, out, values)
        for channel, expected in zip("yuv", out, strict=True):
            assert np.array_equal(channel_of(result, channel), expected)
        before = out


def test_tone_mapping_tags_its_result(filtered, clips):
    path, _ = filtered(
        "hdr10", "tone_map", target="sdr.mp4", video=VideoOptions(preset="ultrafast")
    )
    (source, *_) = frames_of(clips.path("hdr10"))
    assert source.color_trc == 16
    for result in frames_of(path):
        assert (result.color_primaries, result.color_trc, result.colorspace) == (1, 1, 1)
        kinds = {entry.type for entry in result.side_data}
        assert not kinds & {Type.MASTERING_DISPLAY_METADATA, Type.CONTENT_LIGHT_LEVEL}


def test_tone_mapping_needs_hdr(filtered):
    with pytest.raises(KernelError, match="transfer"):
        filtered("h264", "tone_map")


def test_kernels_that_make_numbers_are_refused(filtered):
    with pytest.raises(FormatError, match="histogram makes numbers, not pictures"):
        filtered("h264", "histogram")


def test_a_kernel_of_a_file(filtered, clips, tmp_path):
    file = tmp_path / "my own.cl"
    file.write_text(
        "/* keep_red: only red is left.\n"
        " * param amount: float = 1 in [0, 1]\n"
        " */\n"
        "DEVICE pixel keep_red(pixel p, i32 x, i32 y, i32 amount) {\n"
        "    p.g = scale(p.g, 65536 - amount);\n"
        "    p.b = scale(p.b, 65536 - amount);\n"
        "    return p;\n"
        "}\n"
    )
    path, _ = filtered(
        "raw_rgb24", f"{file}:keep_red(amount=1)", video=VideoOptions(codec="ffv1", pix_fmt="bgr0")
    )
    for source, result in zip(frames_of(clips.path("raw_rgb24")), frames_of(path), strict=True):
        found = result.to_ndarray(format="rgb24")
        assert np.array_equal(found[..., 0], channel_of(source, "r"))
        assert not found[..., 1:].any()


def test_a_notice_tells_what_was_assumed(filtered):
    _, report = filtered("untagged", "invert")
    assert any(notice.startswith("untagged YUV taken as BT.") for notice in report.notices)


@pytest.mark.parametrize("device", ["opencl", "cpu"])
def test_gray_goes_through_every_family(filtered, clips, device):
    """An encoder may want another carrier; what moves samples makes what it reads."""
    calls = {"flip": np.fliplr, "rotate(angle=180)": lambda plane: np.rot90(plane, 2)}
    for call, expected in calls.items():
        path, _ = filtered("ffv1_gray", call, target=f"{call[:4]}.mkv", device=device)
        for source, result in zip(frames_of(clips.path("ffv1_gray")), frames_of(path), strict=True):
            assert np.array_equal(luma_of(result), expected(luma_of(source)))
    for call in ("gaussian_blur", "denoise", "resize(width=40)", "crop(x=2)", "pad(left=2)"):
        _, report = filtered("ffv1_gray", call, target=f"{call[:4]}.mkv", device=device)
        assert report.frames == len(frames_of(clips.path("ffv1_gray")))


def test_what_is_lost_is_told(filtered):
    _, report = filtered("ffv1_bgra", "rgb_to_grayscale")
    assert "alpha dropped by rgb_to_grayscale" in report.notices
    _, report = filtered("interlaced_tff", "rotate(angle=180)", target="turned.mkv")
    assert any(text.startswith("interlaced frames go through rotate") for text in report.notices)


def test_a_picture_that_is_too_large_is_refused(filtered):
    with pytest.raises(FormatError, match=r"resize makes 60000x\d+, which is more than FFmpeg"):
        filtered("h264", "resize(width=60000)")


@pytest.mark.parametrize("device", ["cpu", "opencl"])
def test_gray_stays_luma_through_later_kernels(filtered, device):
    """What is gray in between is written in the format that a gray picture alone is written in."""
    chain = ["rgb_to_grayscale", "resize(width=65, height=33)", "flip"]
    for codec, pix_fmt in (("ffv1", "yuv420p"), ("ffv1", "gray")):
        asked = None if pix_fmt == "yuv420p" else pix_fmt
        video = VideoOptions(codec=codec, pix_fmt=asked)
        path, report = filtered("odd_yuv420p", *chain, device=device, video=video, overwrite=True)
        assert (report.output.pix_fmt, report.bytes_copied) == (pix_fmt, 0)
        for frame in frames_of(path):
            if pix_fmt == "yuv420p":
                assert all((channel_of(frame, name) == 128).all() for name in "uv")


def test_a_run_that_is_stopped_while_it_scales(clips, tmp_path):
    """A step is closed by whoever stops the run, once its own thread is out of it."""

    def stop(event):
        if isinstance(event, transcode.Progress) and event.frames_encoded > 2:
            raise ZeroDivisionError

    video = VideoOptions(codec="ffv1", size=(640, 480))
    for _ in range(4):
        with pytest.raises(ZeroDivisionError):
            transcode.run(
                clips.path("h264"),
                tmp_path / "out.mkv",
                filters=["invert"],
                video=video,
                on_progress=stop,
            )
        assert not list(tmp_path.iterdir())


@pytest.fixture
def step_of():
    """Return what makes steps of kernels on the host."""
    with open_device("cpu") as device, contextlib.ExitStack() as stack:

        def step(*texts):
            calls = [parse_call(text) for text in texts]
            codec = av.Codec("ffv1", "w")
            made = KernelStep(calls, device, codec=codec, pix_fmt=None, notices=Notices())
            stack.callback(made.close)
            return made

        yield step


def test_the_result_before_is_kept_where_only_the_source_changes(step_of):
    random = np.random.default_rng(5)
    resize, sizes = "resize(width=40, height=40)", ((64, 48), (48, 64), (64, 48))
    both, first, second = step_of(resize, "denoise"), step_of(resize), step_of("denoise")
    for pts, (width, height) in enumerate(sizes):
        codes = random.integers(0, 256, (height * 3 // 2, width), np.uint8)
        frame = av.VideoFrame.from_ndarray(codes, "yuv420p")
        frame.pts = pts
        (ours,) = both.process(frame)
        (theirs,) = second.process(*first.process(frame))
        np.testing.assert_array_equal(luma_of(ours), luma_of(theirs))
        for name in "uv":
            np.testing.assert_array_equal(channel_of(ours, name), channel_of(theirs, name))


def test_frames_of_each_form_go_through_all_kernels(step_of):
    """The second kernel reads no YUV, the third never reads what the second makes."""
    random = np.random.default_rng(6)
    texts = ("invert", "rgb_to_yuv", "rgb_to_yuv", "resize(width=20, height=10)")
    every, *each = step_of(*texts), *map(step_of, texts)
    for pts, name in enumerate(["rgb24", "yuv420p", "rgb24"]):
        shape = (48, 64, 3) if name == "rgb24" else (72, 64)
        frame = av.VideoFrame.from_ndarray(random.integers(0, 256, shape, np.uint8), name)
        frame.pts = pts
        wanted = frame
        for step in each:
            (wanted,) = step.process(wanted)
        (made,) = every.process(frame)
        assert (made.format.name, made.pts) == (wanted.format.name, pts)
        assert (made.width, made.height) == (20, 10)
        for channel in "yuv":
            np.testing.assert_array_equal(channel_of(made, channel), channel_of(wanted, channel))


@pytest.mark.parametrize("text", ["invert", "rgb_to_grayscale"])
def test_a_result_holds_no_source(step_of, text):
    """An encoder keeps results for a while, and a decoder has few surfaces."""
    step = step_of(text)
    frame = av.VideoFrame.from_ndarray(np.zeros((72, 64), np.uint8), "yuv420p")
    frame.pts = 0
    before = sys.getrefcount(frame)
    made = list(step.process(frame))
    assert (len(made), sys.getrefcount(frame)) == (1, before)
