"""Every option of the video arrives in the bit stream, or is refused by its name."""

from __future__ import annotations

import dataclasses
from fractions import Fraction

import av
import numpy as np
import pytest

from tests.assets.clips import CLIPS
from tests.assets.picture import channel_of, patch_values
from tests.assets.truth import BT709
from tests.transcode.output import (
    colour_of,
    first_payload,
    frames_of,
    indices_of,
    key_numbers,
    matrix_of,
    packets_of,
    patches_of,
    track_seconds,
    video_bytes,
    videos_of,
)
from transcode import VideoOptions
from transcode.errors import EncodeError, JobError

ENCODERS = (
    ("libx264", "h264", ".mp4", {"preset": "ultrafast"}),
    ("libx265", "hevc", ".mp4", {"preset": "ultrafast"}),
    ("libsvtav1", "av1", ".mp4", {"preset": "9", "crf": 20}),
    ("libvpx-vp9", "vp9", ".webm", {"options": {"deadline": "realtime", "cpu-used": "8"}}),
    ("mpeg4", "mpeg4", ".mp4", {"options": {"qmax": "3"}}),
    ("mpeg2video", "mpeg2video", ".ts", {}),
    ("ffv1", "ffv1", ".mkv", {}),
    ("prores_ks", "prores", ".mov", {}),
    ("mjpeg", "mjpeg", ".mov", {}),
)


def context_of(path):
    with av.open(str(path)) as container:
        context = videos_of(container)[0].codec_context
        return context.codec.canonical_name, context.profile, context.width, context.height


@pytest.mark.parametrize(("encoder", "codec", "suffix", "options"), ENCODERS)
@pytest.mark.parametrize("name", ["h264", "hevc", "ffv1"])
def test_every_encoder(convert, name, encoder, codec, suffix, options):
    path, report = convert(name, f"out{suffix}", video=VideoOptions(codec=encoder, **options))
    assert context_of(path)[0] == codec
    assert indices_of(path) == list(CLIPS[name].main.indices)
    assert report.output.codec == encoder
    frame = frames_of(path)[6]
    if encoder != "mjpeg":
        # Neither MPEG-4 part 2 nor a transport stream's parser has to lose these.
        assert colour_of(frame)[1] in (1, 2)
        assert colour_of(frame)[0] in (0, 1)
        wanted = patch_values(CLIPS[name].main, frame.format.name)
        found = patches_of(frame, wanted)
        scale = 1 << (frame.format.components[0].bits - 8)
        for channel, values in wanted.items():
            np.testing.assert_allclose(found[channel], values, rtol=0, atol=6 * scale)


@pytest.mark.parametrize("name", ["h264", "odd_yuv420p", "ffv1_bgra", "ffv1_gray10"])
def test_lossless_is_lossless(clips, convert, name):
    path, report = convert(name, "out.mkv", video=VideoOptions(codec="ffv1"))
    before, after = frames_of(clips.path(name)), frames_of(path)
    for was, now in zip(before, after, strict=True):
        assert now.format.name == was.format.name
        for channel in channels_of(was):
            np.testing.assert_array_equal(channel_of(was, channel), channel_of(now, channel))
    assert not any("format" in notice or "crop" in notice for notice in report.notices)


def channels_of(frame):
    count = len(frame.format.components)
    return "rgba"[:count] if frame.format.is_rgb else "yuva"[:count]


def x264_settings(path):
    """Return what x264 wrote of itself into the first packet."""
    payload, extra = first_payload(path)
    text = (payload + extra).split(b"options: ")[1].split(b"\0")[0].decode(errors="replace")
    return dict(pair.split("=", 1) for pair in text.split() if "=" in pair)


def test_crf_preset_and_options_arrive(convert):
    video = VideoOptions(
        preset="veryfast", crf=31.5, gop_size=5, options={"bf": "1", "aq-mode": "0"}
    )
    path, _ = convert("long_gop", video=video)
    settings = x264_settings(path)
    assert settings["rc"] == "crf"
    assert settings["crf"] == "31.5"
    assert settings["keyint"] == "5"
    assert settings["bframes"] == "1"
    assert settings["aq"] == "1:0.00"  # x264's way to say "off" beside mbtree
    assert settings["subme"] == "2"  # what veryfast stands for
    assert settings["cabac"] == "1"


def test_preset_changes_what_is_written(convert):
    path, _ = convert("h264", video=VideoOptions(preset="ultrafast"))
    assert x264_settings(path)["cabac"] == "0"
    assert x264_settings(path)["subme"] == "0"


def test_bit_rate_arrives(convert):
    sizes = {}
    for bit_rate in (100_000, 400_000):
        video = VideoOptions(preset="ultrafast", bit_rate=bit_rate)
        path, _ = convert("long_gop", f"{bit_rate}.mp4", video=video)
        settings = x264_settings(path)
        assert settings["rc"] == "abr"
        assert settings["bitrate"] == str(bit_rate // 1000)
        sizes[bit_rate] = video_bytes(path) * 8 / 4
    assert sizes[100_000] == pytest.approx(100_000, rel=0.35)
    assert sizes[400_000] > 1.5 * sizes[100_000]


@pytest.mark.parametrize("gop_size", [1, 7, 25])
@pytest.mark.parametrize(
    ("codec", "suffix", "options"),
    [
        ("libx264", ".mp4", {"preset": "ultrafast", "options": {"sc_threshold": "0"}}),
        ("libx265", ".mp4", {"preset": "ultrafast", "options": {"x265-params": "scenecut=0"}}),
        ("mpeg4", ".mp4", {}),
        ("ffv1", ".mkv", {}),
    ],
)
def test_gop_size_arrives(convert, codec, suffix, options, gop_size):
    video = VideoOptions(codec=codec, gop_size=gop_size, **options)
    path, _ = convert("bframes", f"out{suffix}", video=video)
    assert key_numbers(path) == list(range(0, 20, gop_size))


@pytest.mark.parametrize(
    ("profile", "pix_fmt", "told"),
    [
        ("baseline", None, "Constrained Baseline"),
        ("main", None, "Main"),
        ("high", None, "High"),
        ("high10", "yuv420p10le", "High 10"),
        ("high422", "yuv422p", "High 4:2:2"),
        ("high444", "yuv444p", "High 4:4:4 Predictive"),
    ],
)
def test_profile_arrives(convert, profile, pix_fmt, told):
    video = VideoOptions(preset="veryfast", profile=profile, pix_fmt=pix_fmt)
    path, _ = convert("h264", video=video)
    _, extra = first_payload(path)
    # AVCProfileIndication (ISO/IEC 14496-15, 5.3.3.1.2), by the values of ITU-T H.264 annex A.
    numbers = {"baseline": 66, "main": 77, "high": 100, "high10": 110, "high422": 122}
    assert extra[1] == numbers.get(profile, 244)
    assert context_of(path)[1] == told


@pytest.mark.parametrize(
    ("codec", "pix_fmt", "suffix"),
    [
        ("libx264", "yuv420p10le", ".mp4"),
        ("libx264", "yuv444p", ".mp4"),
        ("libx265", "yuv422p10le", ".mp4"),
        ("prores_ks", "yuv422p10le", ".mov"),
        ("ffv1", "gray", ".mkv"),
        ("ffv1", "bgr0", ".mkv"),
        ("ffv1", "gray10le", ".mkv"),
        ("libx264rgb", "rgb24", ".mkv"),
    ],
)
@pytest.mark.parametrize("name", ["h264", "bt601", "full_range", "ffv1"])
def test_pixel_format_on_demand(convert, name, codec, pix_fmt, suffix):
    path, _ = convert(name, f"out{suffix}", video=VideoOptions(codec=codec, pix_fmt=pix_fmt))
    frames = frames_of(path)
    frame = frames[4]
    track = CLIPS[name].main
    assert frame.format.name in decoded_as(pix_fmt, full=track.colour.full_range)
    assert indices_of(path) == list(range(12))
    if codec == "prores_ks":
        # It has no place to say that samples are in full range.
        track = dataclasses.replace(track, colour=dataclasses.replace(track.colour, range=1))
    if pix_fmt.startswith("gray"):
        # Luma stays luma of the same matrix; its range is what the output says.
        colour = dataclasses.replace(track.colour, range=colour_of(frame)[0])
        track = dataclasses.replace(track, colour=colour)
    wanted = patch_values(track, frame.format.name)
    found = patches_of(frame, wanted)
    scale = 1 << (frame.format.components[0].bits - 8)
    for channel, values in wanted.items():
        np.testing.assert_allclose(found[channel], values, rtol=0, atol=6 * scale)
    if pix_fmt.startswith("yuv"):
        assert colour_of(frame)[:2] == (track.colour.range, track.colour.matrix)


def decoded_as(pix_fmt, *, full):
    """Return the names that a decoder may give: H.264 in full range has its own, RGB is planar."""
    if pix_fmt == "rgb24":
        return {"gbrp"}
    return {pix_fmt, pix_fmt.replace("yuv4", "yuvj4")} if full else {pix_fmt}


@pytest.mark.parametrize("pix_fmt", ["gray", "gray10le"])
@pytest.mark.parametrize("name", ["raw_rgb24", "raw_gbrp", "raw_rgba"])
def test_rgb_in_gray_out(convert, name, pix_fmt):
    path, _ = convert(name, "out.mkv", video=VideoOptions(codec="ffv1", pix_fmt=pix_fmt))
    frame = frames_of(path)[2]
    colour = dataclasses.replace(BT709, range=colour_of(frame)[0])
    wanted = patch_values(dataclasses.replace(CLIPS[name].main, colour=colour), pix_fmt)
    scale = 1 << (frame.format.components[0].bits - 8)
    np.testing.assert_allclose(patches_of(frame, "y")["y"], wanted["y"], rtol=0, atol=3 * scale)


@pytest.mark.parametrize("pix_fmt", ["yuv420p", "yuv422p", "yuv420p10le"])
@pytest.mark.parametrize("name", ["raw_rgb24", "raw_bgr0", "raw_gbrp", "raw_rgba", "h264_rgb"])
def test_rgb_in_yuv_out(convert, name, pix_fmt):
    video = VideoOptions(preset="ultrafast", crf=8, pix_fmt=pix_fmt)
    path, report = convert(name, video=video)
    frame = frames_of(path)[2]
    assert frame.format.name == pix_fmt
    assert colour_of(frame)[:2] == (1, 1)
    track = dataclasses.replace(CLIPS[name].main, colour=BT709)
    wanted = patch_values(track, pix_fmt)
    found = patches_of(frame, wanted)
    scale = 1 << (frame.format.components[0].bits - 8)
    for channel, values in wanted.items():
        np.testing.assert_allclose(found[channel], values, rtol=0, atol=4 * scale)
    assert "RGB written as BT.709 YUV in limited range" in report.notices


@pytest.mark.parametrize(
    ("name", "size", "expected"),
    [
        ("h264", (64, 72), (64, 72)),
        ("h264", (256, 192), (256, 192)),
        ("h264", (-2, 72), (96, 72)),
        ("h264", (96, -2), (96, 72)),
        ("h264", (200, -2), (200, 150)),
        ("h264", (-2, 70), (94, 70)),
        ("h264", (127, 95), (126, 94)),
        ("odd_yuv420p", (-2, 190), (254, 190)),
        ("raw_rgb24", (100, 80), (100, 80)),
    ],
)
def test_size(convert, name, size, expected):
    video = VideoOptions(preset="ultrafast", crf=10, size=size, pix_fmt="yuv420p")
    path, report = convert(name, video=video)
    frames = frames_of(path)
    assert {(frame.width, frame.height) for frame in frames} == {expected}
    assert (report.output.width, report.output.height) == expected
    assert indices_of(path) == list(CLIPS[name].main.indices)
    said = [n for n in report.notices if "127x95 > 126x94" in n]
    assert bool(said) == (size == (127, 95))


@pytest.mark.parametrize("size", [(64, 96), (128, 64), (96, 72)])
@pytest.mark.parametrize("name", ["h264", "anamorphic"])
def test_size_keeps_the_display_aspect(convert, name, size):
    path, _ = convert(name, video=VideoOptions(preset="ultrafast", size=size))
    track = CLIPS[name].main
    with av.open(str(path)) as container:
        aspect = videos_of(container)[0].sample_aspect_ratio or Fraction(1)
    shown = Fraction(track.width, track.height) * track.sample_aspect_ratio
    assert Fraction(*size) * aspect == shown


def test_size_keeps_times_tags_and_rotation(convert):
    path, _ = convert("rotated_90", video=VideoOptions(preset="ultrafast", size=(64, 72)))
    frames = frames_of(path)
    track = CLIPS["rotated_90"].main
    assert [f.pts * f.time_base for f in frames] == track_seconds(track)
    assert {matrix_of(frame) for frame in frames} == {track.display_matrix}
    assert {colour_of(frame) for frame in frames} == {dataclasses.astuple(track.colour)}


@pytest.mark.parametrize("size", [(0, 96), (-1, 96), (-2, -2), (128, 20000), (128, -3)])
def test_size_out_of_range(size):
    with pytest.raises(JobError, match="each side is 1 to 16384 pixels"):
        VideoOptions(size=size)


REFUSALS = (
    ("h264", ".mp4", {"codec": "nosuch"}, "unknown video encoder 'nosuch'"),
    ("h264", ".mp4", {"codec": "aac"}, "aac encodes audio, not video"),
    ("h264", ".mp4", {"options": {"nosuch": "1"}}, "libx264 has no option nosuch"),
    ("h264", ".mp4", {"pix_fmt": "rgb24"}, "libx264 does not take pixel format rgb24; it takes"),
    ("h264", ".mp4", {"pix_fmt": "nosuch"}, "unknown pixel format 'nosuch'"),
    ("h264", ".webm", {}, "webm cannot hold libx264: its usual video codec is vp9"),
    ("h264", ".webm", {"codec": "ffv1"}, "webm cannot hold ffv1"),
    ("h264", ".mp4", {"preset": "nosuch"}, "libx264 was refused"),
    ("h264", ".mp4", {"profile": "nosuch"}, "libx264 was refused"),
    ("h264", ".mp4", {"codec": "ffv1", "crf": 20}, "ffv1 has no option crf"),
    ("h264", ".mp4", {"codec": "mpeg4", "preset": "fast"}, "mpeg4 has no option preset"),
)


@pytest.mark.parametrize(("name", "suffix", "options", "said"), REFUSALS)
def test_refused(convert, tmp_path, name, suffix, options, said):
    with pytest.raises(EncodeError, match=said):
        convert(name, f"out{suffix}", video=VideoOptions(**options))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "options", [{"fps": Fraction(0)}, {"bit_rate": 0}, {"gop_size": -1}, {"fps": Fraction(-25)}]
)
def test_values_out_of_range(options):
    with pytest.raises(JobError, match=r"must (be above 0|not be negative)"):
        VideoOptions(**options)


def test_interlaced_into_a_codec_that_cannot(convert):
    video = VideoOptions(codec="mpeg4", options={"qmax": "3"})
    path, report = convert("interlaced_tff", video=video)
    assert indices_of(path) == list(range(12))
    assert "mpeg4 writes interlaced frames as progressive" in report.notices


@pytest.mark.parametrize(("codec", "target"), [("ffv1", "out.mkv"), ("prores_ks", "out.mov")])
def test_interlaced_kept_by_other_codecs(convert, codec, target):
    path, _ = convert("interlaced_bff", target, video=VideoOptions(codec=codec))
    assert all(frame.interlaced_frame for frame in frames_of(path))
    assert len(packets_of(path)[0]) == 12
    with av.open(str(path)) as container:
        assert videos_of(container)[0].codec_context.field_order in (3, 5)
