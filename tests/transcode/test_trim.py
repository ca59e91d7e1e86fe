"""A part of a source is cut out exactly to the frame, with all that belongs to it."""

from __future__ import annotations

from fractions import Fraction

import av
import pytest
from av.stream import Disposition

from tests.assets.clips import CLIPS
from tests.transcode.output import (
    from_first,
    indices_of,
    onset_seconds,
    packets_of,
    seconds_of,
    tone_of,
    track_seconds,
)
from transcode import VideoOptions, run
from transcode.errors import SourceError

F = Fraction
# Several GOPs, open GOPs, uneven times, and containers that seek in different ways.
SOURCES = ("long_gop", "open_gop", "open_gop_hevc", "vfr_mp4", "vfr_mkv", "h264_ts", "ffv1")
PARTS = (
    (None, F(1, 5)),
    (F(1, 10), None),
    (F(1, 25), F(2, 25)),
    (F(3, 10), F(1, 10)),
    (F(2), F(1, 2)),
    (F(17, 8), F(1, 25)),
    (F(199, 100), F(1)),
    (F(7, 5), None),
)


def kept(track, start, duration):
    """Return the barcode numbers and times of the frames that lie in a part."""
    first = start or F(0)
    chosen = [
        (index, time)
        for index, time in zip(track.indices, track_seconds(track), strict=True)
        if time >= first and (duration is None or time < first + duration)
    ]
    return [index for index, _ in chosen], [time - first for _, time in chosen]


def cases():
    for name in SOURCES:
        for start, duration in PARTS:
            if kept(CLIPS[name].main, start, duration)[0]:
                yield pytest.param(name, start, duration, id=f"{name}-{start}-{duration}")


@pytest.mark.parametrize(("name", "start", "duration"), list(cases()))
def test_exact_to_the_frame(convert, name, start, duration):
    indices, times = kept(CLIPS[name].main, start, duration)
    path, report = convert(name, start=start, duration=duration)
    assert indices_of(path) == indices
    assert report.frames == len(indices)
    found = seconds_of(path)
    assert from_first(found) == from_first(times)
    # Where the first frame kept comes after the start, it keeps that distance within a tick.
    assert abs(found[0] - times[0]) <= CLIPS[name].main.time_base


@pytest.mark.parametrize("start", [F(n, 25) for n in range(0, 60, 7)])
@pytest.mark.parametrize("name", ["open_gop", "open_gop_hevc"])
def test_any_start_in_open_gops(convert, name, start):
    path, _ = convert(name, "out.mkv", start=start, duration=F(3, 25))
    first = int(start * 25)
    expected = [n for n in range(first, first + 3) if n <= CLIPS[name].main.last_index]
    assert indices_of(path) == expected


@pytest.mark.parametrize("name", ["long_gop", "open_gop_hevc"])
def test_trim_decodes_no_more_than_needed(convert, name):
    _, report = convert(name, start=F(2), duration=F(1, 25))
    assert report.frames == 1
    assert report.frames_decoded < CLIPS[name].main.frame_count


@pytest.mark.parametrize("name", ["long_gop", "vfr_mkv", "h264_ts", "ffv1", "raw_nv12"])
def test_start_beyond_the_end(convert, tmp_path, name):
    with pytest.raises(SourceError, match="no frame lies in the part asked for"):
        convert(name, start=F(100))
    assert list(tmp_path.iterdir()) == []


def test_part_between_two_frames(convert, tmp_path):
    with pytest.raises(SourceError, match="no frame lies in the part asked for"):
        convert("vfr_mp4", start=F(71, 100), duration=F(1, 5))
    assert list(tmp_path.iterdir()) == []


def test_whole_length_asked_for_is_whole_length(convert):
    path, _ = convert("long_gop", start=F(0), duration=F(4))
    assert indices_of(path) == list(range(100))


def longest_packet(path, index):
    with av.open(str(path)) as container:
        stream = container.streams[index]
        return max(float(p.duration * p.time_base) for p in container.demux(stream) if p.size)


@pytest.mark.parametrize(
    ("name", "suffix"), [("two_audio_mp4", ".mp4"), ("two_audio", ".mkv"), ("audio_ts", ".mkv")]
)
def test_audio_is_cut_with_the_video(clips, convert, name, suffix):
    path, _ = convert(name, f"out{suffix}", start=F(2, 5), duration=F(2, 5))
    # The transport stream is counted from its audio's priming samples, 21 ms before the video.
    assert indices_of(path)[0] == 10
    for number in range(2):
        packet = longest_packet(clips.path(name), number + 1)
        samples, rate, start = tone_of(path, number)
        assert -0.001 <= start <= packet + 0.001  # copied packets are cut whole
        assert len(samples) / rate == pytest.approx(0.4, abs=packet + 0.001)


@pytest.mark.parametrize("first", [0, 7, 26, 49, 50, 51, 77, 99])
def test_transport_stream_of_many_gops(convert, tmp_path, first):
    video = VideoOptions(preset="ultrafast", gop_size=25)
    source, _ = convert("long_gop", "long.ts", video=video)
    run(source, tmp_path / "out.mp4", start=F(first, 25), duration=F(1, 25), video=video)
    assert indices_of(tmp_path / "out.mp4") == [first]


def test_late_audio_keeps_its_place_in_a_part(convert):
    path, _ = convert("late_audio", "out.mov", start=F(1, 5))
    assert indices_of(path) == list(range(5, 25))
    assert onset_seconds(path) == pytest.approx(0.3, abs=0.003)


def test_packets_of_cut_audio_are_the_source_packets(clips, convert):
    path, _ = convert("two_audio_mp4", start=F(2, 5), duration=F(2, 5))
    before, after = packets_of(clips.path("two_audio_mp4")), packets_of(path)
    for index in (1, 2):
        there = {bytes(p): p.pts * p.time_base for p in before[index]}
        for packet in after[index]:
            moved = there[bytes(packet)] - packet.pts * packet.time_base
            assert abs(moved - F(2, 5)) <= F(1, 1000)  # an MP4's edits count milliseconds


def subtitle_lines(path):
    """Return start in ms and text of every subtitle packet of the first such track."""
    with av.open(str(path)) as container:
        stream = container.streams.subtitles[0]
        return [
            (round(packet.pts * packet.time_base * 1000), bytes(packet).decode())
            for packet in container.demux(stream)
            if packet.size
        ]


def test_subtitles_are_cut_and_moved(convert):
    path, _ = convert("subtitles_mkv", "out.mkv", start=F(1, 2), duration=F(2, 5))
    assert subtitle_lines(path) == [(100, "Two\nlines")]


def test_a_subtitle_that_reaches_into_the_part_stays(convert):
    # "Hello" is shown from 0.1 s to 0.4 s.
    path, _ = convert("subtitles_mkv", "out.mkv", start=F(1, 5), duration=F(3, 5))
    lines = subtitle_lines(path)
    assert [text for _, text in lines] == ["Hello", "Two\nlines"]
    assert [start for start, _ in lines] == [0, 400]


def chapters_of(path):
    with av.open(str(path)) as container:
        return [
            (
                round(chapter["start"] * chapter["time_base"], 3),
                round(chapter["end"] * chapter["time_base"], 3),
                chapter["metadata"]["title"],
            )
            for chapter in container.chapters()
        ]


# The clips' chapters: "Beginning" from 0 to 0.4 s, "Das Ende" from 0.4 s to 1 s.
CHAPTERS = (
    (F(1, 5), F(2, 5), [(0.0, 0.2, "Beginning"), (0.2, 0.4, "Das Ende")]),
    (F(3, 5), None, [(0.0, 0.4, "Das Ende")]),
    (None, F(1, 5), [(0.0, 0.2, "Beginning")]),
)


@pytest.mark.parametrize(("start", "duration", "expected"), CHAPTERS)
@pytest.mark.parametrize("name", ["chapters_mkv", "chapters_mp4"])
@pytest.mark.parametrize("suffix", [".mkv", ".mp4"])
def test_chapters_are_cut_and_moved(convert, name, suffix, start, duration, expected):
    path, _ = convert(name, f"out{suffix}", start=start, duration=duration)
    found = chapters_of(path)
    assert [title for *_, title in found] == [title for *_, title in expected]
    for (begin, end, _), (should_begin, should_end, _) in zip(found, expected, strict=True):
        assert begin == pytest.approx(should_begin, abs=0.001)
        assert end == pytest.approx(should_end, abs=0.001)


def test_cover_and_attachments_survive_a_cut(convert):
    path, _ = convert("everything_mkv", "out.mkv", start=F(2, 5), duration=F(1, 5))
    assert indices_of(path) == list(range(10, 15))
    with av.open(str(path)) as container:
        assert [a.name for a in container.streams.attachments] == ["notes.txt", "Sans.ttf"]
        covers = [s for s in container.streams.video if s.disposition & Disposition.attached_pic]
        assert len(covers) == 1


def test_fps_and_part(convert):
    video = VideoOptions(preset="ultrafast", fps=F(50))
    path, _ = convert("long_gop", start=F(1), duration=F(1, 5), video=video)
    assert indices_of(path) == [n for n in range(25, 30) for _ in range(2)]
    assert seconds_of(path) == [F(n, 50) for n in range(10)]
