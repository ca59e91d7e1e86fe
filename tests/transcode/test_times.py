"""When frames are shown, by the output's own clock."""

from __future__ import annotations

from fractions import Fraction
from itertools import pairwise

import av
import pytest

from tests.assets.clips import CLIPS
from tests.transcode.output import (
    frames_of,
    from_first,
    indices_of,
    key_numbers,
    packets_of,
    seconds_of,
    tick_of,
    track_seconds,
    videos_of,
)
from transcode import VideoOptions
from transcode.errors import EncodeError

CONTAINERS = (".mp4", ".mkv", ".mov", ".ts", ".webm")
CLOCK_CLIPS = ("vfr_mp4", "vfr_mkv", "ntsc_mp4", "negative_pts", "edit_list", "ts_wrap", "h264_ts")


def quick(suffix):
    codec = "libvpx-vp9" if suffix == ".webm" else "libx264"
    if codec == "libx264":
        return VideoOptions(preset="ultrafast")
    return VideoOptions(codec=codec, options={"deadline": "realtime", "cpu-used": "8"})


@pytest.mark.parametrize("suffix", CONTAINERS)
@pytest.mark.parametrize("name", CLOCK_CLIPS)
def test_distances_survive_every_container(convert, name, suffix):
    path, _ = convert(name, f"out{suffix}", video=quick(suffix))
    found, wanted = from_first(seconds_of(path)), track_seconds(CLIPS[name].main)
    # Two roundings meet in a distance: of the first time and of the other.
    limit = 0 if suffix in (".mp4", ".mov") else tick_of(path)
    assert max(abs(a - b) for a, b in zip(found, wanted, strict=True)) <= limit


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
@pytest.mark.parametrize("name", [*CLOCK_CLIPS, "bframes", "one_frame", "open_gop", "fragmented"])
def test_output_starts_at_zero(plain, name, suffix):
    path, _ = plain(name, suffix)
    assert seconds_of(path)[0] == 0
    assert min(packet.pts for packet in packets_of(path)[0]) == 0


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_ntsc_is_told_as_such(plain, suffix):
    path, report = plain("ntsc_mp4", suffix)
    with av.open(str(path)) as container:
        assert videos_of(container)[0].average_rate == Fraction(30000, 1001)
    assert report.output.rate == Fraction(30000, 1001)


def test_ntsc_in_mp4_has_no_jitter(plain):
    path, _ = plain("ntsc_mp4", ".mp4")
    times = seconds_of(path)
    assert {b - a for a, b in pairwise(times)} == {Fraction(1001, 30000)}


def test_rounding_is_said_and_only_then(plain):
    rounded = "times rounded to 1/1000 s, as matroska stores them"
    assert rounded in plain("ntsc_mp4", ".mkv")[1].notices
    for name, suffix in (("ntsc_mp4", ".mp4"), ("vfr_mkv", ".mkv"), ("h264", ".mkv")):
        assert not any("rounded" in notice for notice in plain(name, suffix)[1].notices)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("h264_ts", "times moved by -10.000 s, to start at 0"),
        ("negative_pts", "times moved by +0.120 s, to start at 0"),
        ("ts_wrap", "times moved by +0.200 s, to start at 0"),
    ],
)
def test_a_moved_start_is_said(plain, name, said):
    assert said in plain(name, ".mp4")[1].notices


def test_frames_before_an_edit_list_stay_hidden(plain):
    track = CLIPS["edit_list"].main
    path, report = plain("edit_list", ".mp4")
    assert indices_of(path) == list(track.indices)
    assert track.indices[0] == 3
    assert len(packets_of(path)[0]) == track.frame_count == report.frames


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_reordered_frames(convert, suffix):
    video = VideoOptions(preset="veryfast", options={"bf": "4", "b-pyramid": "normal"})
    path, _ = convert("bframes", f"out{suffix}", video=video)
    packets = packets_of(path)[0]
    assert [p.pts for p in packets] != sorted(p.pts for p in packets)  # else it proves nothing
    # Matroska stores no decoding times; a demuxer makes up what it can.
    decoding = [p.dts for p in packets if p.dts is not None]
    assert decoding == sorted(set(decoding))
    assert all(p.dts <= p.pts for p in packets if p.dts is not None)
    assert from_first(seconds_of(path)) == track_seconds(CLIPS["bframes"].main)
    assert indices_of(path) == list(range(20))


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_one_frame(plain, suffix):
    path, report = plain("one_frame", suffix)
    frames = frames_of(path)
    assert len(frames) == report.frames == 1
    assert key_numbers(path) == [0]
    with av.open(str(path)) as container:
        assert container.duration == 40_000  # microseconds: one frame at 25 per second


@pytest.mark.parametrize("name", ["h264", "vfr_mp4", "ntsc_mp4"])
def test_the_last_frame_has_a_duration(plain, name):
    track = CLIPS[name].main
    path, _ = plain(name, ".mp4")
    last = packets_of(path)[0][-1]
    assert last.duration > 0
    if track.rate is not None:
        assert last.duration * last.time_base == 1 / track.rate


@pytest.mark.parametrize(
    ("codec", "target"), [("mpeg4", "out.mp4"), ("mpeg2video", "out.ts"), ("mpeg2video", "out.mkv")]
)
def test_coarse_clocks_keep_even_times(convert, codec, target):
    path, _ = convert("h264", target, video=VideoOptions(codec=codec))
    wanted = track_seconds(CLIPS["h264"].main)
    assert from_first(seconds_of(path)) == wanted
    assert indices_of(path) == list(range(12))


def test_coarse_clock_refuses_uneven_times(convert, tmp_path):
    with pytest.raises(EncodeError, match=r"finer than .*say --fps"):
        convert("vfr_mp4", "out.ts", video=VideoOptions(codec="mpeg2video"))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("fps", [Fraction(50), Fraction(10), Fraction(30000, 1001), Fraction(24)])
@pytest.mark.parametrize("name", ["h264", "ntsc_mp4", "h264_ts"])
def test_fps_gives_a_constant_rate(convert, name, fps):
    track = CLIPS[name].main
    path, report = convert(name, video=VideoOptions(preset="ultrafast", fps=fps))
    times = seconds_of(path)
    assert times == [n / fps for n in range(len(times))]
    length = track.frame_count / track.rate
    assert abs(len(times) / fps - length) <= 1 / fps
    with av.open(str(path)) as container:
        assert videos_of(container)[0].average_rate == fps
    assert report.output.rate == fps


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_fps_repeats_and_drops_by_the_source_times(convert, suffix):
    track = CLIPS["vfr_mkv"].main
    fps = Fraction(20)
    path, _ = convert("vfr_mkv", f"out{suffix}", video=VideoOptions(preset="ultrafast", fps=fps))
    shown = indices_of(path)
    assert from_first(seconds_of(path)) == [n / fps for n in range(len(shown))]
    starts = track_seconds(track)
    for number, index in enumerate(shown):
        # The frame that stands for a moment began at most half an output frame later.
        moment = number / fps
        nearest = max(n for n, start in enumerate(starts) if start <= moment + 1 / (2 * fps))
        assert abs(index - nearest) <= 1
        assert starts[index] <= moment + 1 / (2 * fps)
    assert shown == sorted(shown)
    assert shown[0] == 0
    assert shown[-1] == track.last_index


# In a transport stream frames have no duration, and in raw Matroska they have one.
@pytest.mark.parametrize("name", ["h264", "h264_ts", "h264_mkv", "hevc", "interlaced_bff"])
def test_fps_same_as_source_changes_nothing(convert, name):
    path, _ = convert(name, video=VideoOptions(preset="ultrafast", fps=Fraction(25)))
    assert indices_of(path) == list(range(12))
    assert seconds_of(path) == track_seconds(CLIPS["h264"].main)
