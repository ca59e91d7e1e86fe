"""Audio that is dropped, encoded anew, or refused."""

from __future__ import annotations

from fractions import Fraction

import av
import pytest

from tests.assets.clips import CLIPS
from tests.transcode.output import (
    indices_of,
    onset_seconds,
    packets_of,
    pitch_of,
    seconds_of,
    tone_of,
)
from transcode import AudioOptions, VideoOptions
from transcode.errors import EncodeError

VP9 = VideoOptions(codec="libvpx-vp9", options={"deadline": "realtime", "cpu-used": "8"})
AAC = AudioOptions(codec="aac", bit_rate=64_000)
SOURCES = ("two_audio", "two_audio_mp4", "audio_ts")


def audio_codecs(path):
    with av.open(str(path)) as container:
        return [s.codec_context.codec.canonical_name for s in container.streams.audio]


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
@pytest.mark.parametrize("name", [*SOURCES, "late_audio"])
def test_none(convert, name, suffix):
    path, report = convert(name, f"out{suffix}", audio=AudioOptions(codec="none"))
    assert audio_codecs(path) == []
    assert indices_of(path) == list(CLIPS[name].main.indices)
    assert not any("dropped" in notice for notice in report.notices)  # it was asked for


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
@pytest.mark.parametrize("codec", ["aac", "libopus", "flac"])
@pytest.mark.parametrize("name", SOURCES)
def test_encoded(convert, name, codec, suffix):
    path, _ = convert(name, f"out{suffix}", audio=AudioOptions(codec=codec))
    tracks = CLIPS[name].audio
    assert audio_codecs(path) == [codec.removeprefix("lib")] * len(tracks)
    for number, track in enumerate(tracks):
        samples, rate, start = tone_of(path, number)
        assert rate == (48000 if codec == "libopus" else track.sample_rate)
        assert pitch_of(path, number) == pytest.approx(track.tone_hz, abs=3)
        assert len(samples) / rate == pytest.approx(1, abs=0.07)
        assert abs(samples[rate // 4 : rate // 2]).max() > 0.05
        assert -0.03 <= start <= 0.03
    with av.open(str(path)) as container:
        streams = container.streams.audio
        assert [s.language for s in streams] == [track.language for track in tracks]
        assert [s.channels for s in streams] == [track.channels for track in tracks]


def test_bit_rate_arrives(convert):
    sizes = []
    for bit_rate in (32_000, 160_000):
        audio = AudioOptions(codec="aac", bit_rate=bit_rate)
        path, _ = convert("two_audio_mp4", f"{bit_rate}.mp4", audio=audio)
        with av.open(str(path)) as container:
            index = container.streams.audio[0].index
        sizes.append(sum(packet.size for packet in packets_of(path)[index]))
    assert sizes[0] < 32_000 / 8 * 1.5
    assert sizes[1] > 1.5 * sizes[0]


@pytest.mark.parametrize("codec", ["aac", "flac", "libopus", "pcm_s16le"])
@pytest.mark.parametrize("name", ["late_audio", "late_audio_aac"])
def test_late_audio_stays_late(convert, name, codec):
    path, _ = convert(name, "out.mkv", audio=AudioOptions(codec=codec))
    heard = onset_seconds(path) - float(seconds_of(path)[0])
    # AAC and Opus smear a sudden tone by part of a frame; a lost offset is 500 ms.
    assert heard == pytest.approx(0.5, abs=0.012)


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".mov"])
@pytest.mark.parametrize("name", ["late_audio", "late_audio_aac"])
def test_late_audio_copied_stays_late(clips, convert, name, suffix):
    path, _ = convert(name, f"out{suffix}")
    before = onset_seconds(clips.path(name))
    assert before == pytest.approx(0.5, abs=0.005)
    assert onset_seconds(path) - float(seconds_of(path)[0]) == pytest.approx(before, abs=0.002)


@pytest.mark.parametrize(
    ("name", "codec"),
    [("late_audio", "pcm_s16le"), ("two_audio_mp4", "aac"), ("two_audio", "flac")],
)
def test_copy_that_the_container_cannot_hold(convert, tmp_path, name, codec):
    with pytest.raises(EncodeError) as caught:
        convert(name, "out.webm", video=VP9)
    message = str(caught.value)
    assert f"webm cannot hold {codec} audio" in message
    assert "--audio" in message
    assert "libopus" in message
    assert list(tmp_path.iterdir()) == []


def test_the_way_out_of_that_works(convert):
    path, _ = convert("two_audio_mp4", "out.webm", video=VP9, audio=AudioOptions(codec="libopus"))
    assert audio_codecs(path) == ["opus", "opus"]
    assert indices_of(path) == list(range(25))


def test_encoder_that_the_container_cannot_hold(convert, tmp_path):
    with pytest.raises(EncodeError, match="webm cannot hold aac"):
        convert("two_audio_mp4", "out.webm", video=VP9, audio=AAC)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("codec", "said"),
    [("nosuch", "unknown audio encoder 'nosuch'"), ("libx264", "libx264 encodes video, not audio")],
)
def test_encoder_that_is_not_there(convert, tmp_path, codec, said):
    with pytest.raises(EncodeError, match=said):
        convert("two_audio_mp4", audio=AudioOptions(codec=codec))
    assert list(tmp_path.iterdir()) == []


def test_audio_without_any_in_the_source(convert):
    path, _ = convert("h264", audio=AAC)
    assert audio_codecs(path) == []
    assert indices_of(path) == list(range(12))


@pytest.mark.parametrize("codec", ["aac", "libopus", "flac"])
def test_encoded_part(convert, codec):
    path, _ = convert(
        "two_audio_mp4",
        start=Fraction(2, 5),
        duration=Fraction(2, 5),
        audio=AudioOptions(codec=codec),
    )
    samples, rate, start = tone_of(path)
    assert -0.03 <= start <= 0.03
    assert len(samples) / rate == pytest.approx(0.4, abs=0.05)
    assert pitch_of(path) == pytest.approx(440, abs=5)
