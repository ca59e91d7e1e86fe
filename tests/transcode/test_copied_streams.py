"""What is not the first video goes along: other streams, chapters, tags, pictures, files."""

from __future__ import annotations

import av
import pytest
from av.stream import Disposition

from tests.assets import barcode
from tests.assets.clips import CLIPS, SOUND
from tests.assets.picture import luma_of
from tests.transcode.output import (
    indices_of,
    onset_seconds,
    packets_of,
    seconds_of,
    videos_of,
)
from transcode import VideoOptions
from transcode.errors import EncodeError

WITH_AUDIO = [name for name in SOUND if CLIPS[name].video and CLIPS[name].audio]
WITH_CHAPTERS = [name for name in SOUND if CLIPS[name].chapters]
WITH_METADATA = [name for name in SOUND if CLIPS[name].video and CLIPS[name].metadata]
WITH_COVER = [name for name in SOUND if CLIPS[name].video and CLIPS[name].cover_index is not None]
SUFFIXES = (".mp4", ".mkv")
# Which kinds of text subtitles each container takes as they are.
SUBTITLES = {".mkv": {"subrip", "webvtt"}, ".mp4": {"mov_text"}}


def content_of(path, kind):
    """Return the packets of each stream of a kind, as bytes."""
    packets = packets_of(path)
    with av.open(str(path)) as container:
        indices = [s.index for s in container.streams if s.type == kind]
    return [[bytes(packet) for packet in packets[index]] for index in indices]


def stream_tags(path, kind):
    with av.open(str(path)) as container:
        return [
            (s.language, s.disposition & ~Disposition.default, s.metadata.get("title"))
            for s in container.streams
            if s.type == kind
        ]


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("name", WITH_AUDIO)
def test_audio_packets_are_the_same_bytes(clips, plain, name, suffix):
    before = content_of(clips.path(name), "audio")
    if CLIPS[name].container == "mpegts":
        before = [[without_adts(packet) for packet in track] for track in before]
    after = content_of(plain(name, suffix)[0], "audio")
    assert len(after) == len(CLIPS[name].audio)
    if CLIPS[name].audio[0].codec == "pcm_s16le":  # cut into packets anew by some containers
        before, after = ([[b"".join(track)] for track in tracks] for tracks in (before, after))
    assert after == before


def without_adts(packet):
    """Take off the header of AAC in a transport stream (ISO/IEC 13818-7, 6.2.1)."""
    assert packet[0] == 0xFF
    return packet[7 if packet[1] & 1 else 9 :]


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("name", WITH_AUDIO)
def test_audio_keeps_its_offset_to_the_video(clips, plain, name, suffix):
    path, _ = plain(name, suffix)
    for number in range(len(CLIPS[name].audio)):
        # MP4's edits count milliseconds, Matroska's packets too; two of them meet here.
        wanted = heard_after_the_first_frame(clips.path(name), number)
        assert heard_after_the_first_frame(path, number) == pytest.approx(wanted, abs=0.0015)


def heard_after_the_first_frame(path, number):
    return onset_seconds(path, number) - float(seconds_of(path)[0])


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("name", ["two_audio", "two_audio_mp4", "everything_mkv"])
def test_audio_languages_and_dispositions(clips, plain, name, suffix):
    before = stream_tags(clips.path(name), "audio")
    after = stream_tags(plain(name, suffix)[0], "audio")
    assert [language for language, *_ in after] == ["eng", "deu"]
    assert [bits for _, bits, _ in after] == [bits for _, bits, _ in before]
    if suffix == ".mkv":
        assert after == before
    with av.open(str(plain(name, suffix)[0])) as container:
        default = [bool(s.disposition & Disposition.default) for s in container.streams.audio]
    assert default == [True, False]


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("name", [name for name in SOUND if CLIPS[name].subtitles])
def test_subtitles(clips, plain, name, suffix):
    path, report = plain(name, suffix)
    tracks = CLIPS[name].subtitles
    dropped = [notice for notice in report.notices if ": subtitle" in notice]
    if tracks[0].codec in SUBTITLES[suffix]:
        assert dropped == []
        assert lines_of(path) == lines_of(clips.path(name))
        assert len(lines_of(path)) == 4
        found = stream_tags(path, "subtitle")
        assert found == stream_tags(clips.path(name), "subtitle")
        assert [language for language, *_ in found] == ["eng", "deu"]
    else:
        assert content_of(path, "subtitle") == []
        assert [("(eng)" in d, "(deu)" in d) for d in dropped] == [(True, False), (False, True)]
        assert all(tracks[0].codec in d for d in dropped)


def lines_of(path):
    """Return track, start, duration and text of every line; MP4 fills gaps with empty ones."""
    packets = packets_of(path)
    with av.open(str(path)) as container:
        indices = [stream.index for stream in container.streams.subtitles]
    return [
        (track, p.pts * p.time_base, p.duration * p.time_base, bytes(p))
        for track, index in enumerate(indices)
        for p in packets[index]
        if bytes(p) != b"\0\0"
    ]


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("name", WITH_CHAPTERS)
def test_chapters(plain, name, suffix):
    path, report = plain(name, suffix)
    with av.open(str(path)) as container:
        found = [
            (c["start"] * c["time_base"], c["end"] * c["time_base"], c["metadata"]["title"])
            for c in container.chapters()
        ]
    assert found == [
        (c.start * c.time_base, c.end * c.time_base, c.title) for c in CLIPS[name].chapters
    ]
    # An MP4 also holds its chapters as a text track, which is made anew and not lost.
    assert not any("of unknown kind" in notice for notice in report.notices)


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("name", WITH_METADATA)
def test_metadata(plain, name, suffix):
    path, report = plain(name, suffix)
    with av.open(str(path)) as container:
        found = {key.lower(): value for key, value in container.metadata.items()}
    for key, value in CLIPS[name].metadata.items():
        # MP4 has a fixed list of tags; what falls outside it has to be named.
        if suffix == ".mp4" and key.lower() not in found:
            assert any(key in notice for notice in report.notices), key
        else:
            assert found[key.lower()] == value


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_tags_of_the_old_file_are_not_carried(plain, suffix):
    path, _ = plain("metadata_mp4", suffix)
    with av.open(str(path)) as container:
        keys = {key.lower() for key in container.metadata}
        if suffix == ".mkv":
            assert not keys & {"major_brand", "minor_version", "compatible_brands"}
        assert videos_of(container)[0].metadata.get("ENCODER", "") != "unknown"


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("name", WITH_COVER)
def test_cover_stays_a_cover(clips, plain, name, suffix):
    path, _ = plain(name, suffix)
    with av.open(str(path)) as container:
        covers = [s for s in container.streams.video if s.disposition & Disposition.attached_pic]
        assert len(covers) == 1
        assert len(videos_of(container)) == 1
        picture = next(container.decode(covers[0]))
    assert barcode.read(luma_of(picture)) == CLIPS[name].cover_index


@pytest.mark.parametrize("name", ["attachments", "everything_mkv"])
def test_attachments(plain, name):
    path, report = plain(name, ".mkv")
    with av.open(str(path)) as container:
        found = [(a.name, a.mimetype, a.data) for a in container.streams.attachments]
    assert found == [(a.name, a.mimetype, a.data) for a in CLIPS[name].attachments]
    assert not any("attachment" in notice for notice in report.notices)


@pytest.mark.parametrize("name", ["attachments", "everything_mkv"])
def test_attachments_that_mp4_cannot_hold_are_named(plain, name):
    _, report = plain(name, ".mp4")
    for attachment in CLIPS[name].attachments:
        assert any(attachment.name in notice for notice in report.notices)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_second_video_is_copied(clips, plain, suffix):
    path, report = plain("two_videos", suffix)
    first, second = CLIPS["two_videos"].video
    assert indices_of(path, 0) == list(first.indices)
    assert indices_of(path, 1) == list(second.indices)
    assert len(content_of(path, "video")) == 2
    with av.open(str(path)) as container:
        sizes = [(s.codec_context.width, s.codec_context.height) for s in videos_of(container)]
    assert sizes == [(first.width, first.height), (second.width, second.height)]
    assert report.frames == first.frame_count
    if suffix == ".mkv":
        before, after = (content_of(p, "video")[1] for p in (clips.path("two_videos"), path))
        assert after == before
        assert [title for *_, title in stream_tags(path, "video")] == ["First", "Second"]
        assert stream_tags(path, "video")[0][0] == "eng"


def test_webm_holds_no_attachments(convert):
    video = VideoOptions(codec="libvpx-vp9", options={"deadline": "realtime", "cpu-used": "8"})
    path, report = convert("attachments", "out.webm", video=video)
    with av.open(str(path)) as container:
        assert len(container.streams.attachments) == 0
    for attachment in CLIPS["attachments"].attachments:
        assert any(attachment.name in notice for notice in report.notices)


def test_audio_that_a_transport_stream_cannot_hold(convert, tmp_path):
    # Its muxer would take FLAC, and write what no demuxer knows as audio.
    with pytest.raises(EncodeError, match=r"mpegts cannot hold flac audio .*--audio"):
        convert("two_audio", "out.ts")
    assert list(tmp_path.iterdir()) == []
