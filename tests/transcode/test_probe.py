"""What a probe finds, against what was put into the clips."""

import json
from dataclasses import FrozenInstanceError
from fractions import Fraction

import pytest

from tests.assets.clips import CLIPS, SOUND
from transcode import probe
from transcode.errors import SourceError
from transcode.media import AttachmentInfo

FIELD_ORDERS = {2: "top field first", 3: "bottom field first"}
WITH_VIDEO = [name for name in SOUND if CLIPS[name].video]


@pytest.mark.parametrize("name", WITH_VIDEO)
def test_the_picture(clips, name):
    truth = CLIPS[name].main
    video = probe(clips.path(name)).video[0]
    assert (video.codec, video.pix_fmt) == (truth.codec, truth.pix_fmt)
    assert (video.width, video.height) == (truth.width, truth.height)
    assert video.sample_aspect_ratio in (None, truth.sample_aspect_ratio)
    if truth.sample_aspect_ratio != 1:
        shape = Fraction(truth.width, truth.height) * truth.sample_aspect_ratio
        assert video.display_aspect_ratio == shape
    assert (video.rotation_degrees, video.is_mirrored) == (truth.rotation, truth.mirrored)
    if truth.interlaced:
        assert video.field_order == FIELD_ORDERS[truth.field_order]
    else:
        assert video.field_order in ("progressive", "unknown")


@pytest.mark.parametrize("name", WITH_VIDEO)
def test_the_times(clips, name):
    truth = CLIPS[name].main
    video = probe(clips.path(name)).video[0]
    assert video.frames in (None, truth.frame_count + len(truth.hidden_pts))
    assert video.is_rate_variable in (None, truth.is_variable_rate)
    if truth.rate is not None and truth.frame_count > 1:
        assert video.rate == truth.rate


def test_a_variable_rate_is_seen_in_an_index(clips):
    assert probe(clips.path("vfr_mp4")).video[0].is_rate_variable is True
    assert probe(clips.path("ntsc_mp4")).video[0].is_rate_variable is False
    assert probe(clips.path("vfr_mkv")).video[0].is_rate_variable is None


@pytest.mark.parametrize(
    ("name", "colour"),
    [
        ("h264", ("bt709", "limited", "bt709", "bt709")),
        ("full_range", ("bt709", "full", "bt709", "bt709")),
        ("bt601", ("smpte170m", "limited", "smpte170m", "smpte170m")),
        ("hdr10", ("bt2020nc", "limited", "bt2020", "smpte2084")),
        ("untagged", ("unspecified",) * 4),
        ("h264_rgb", ("gbr", "full", "unspecified", "unspecified")),
    ],
)
def test_the_colour(clips, name, colour):
    video = probe(clips.path(name)).video[0]
    assert (video.matrix, video.range, video.primaries, video.transfer) == colour


def test_the_dynamic_range(clips):
    hdr = probe(clips.path("hdr10")).video[0].hdr
    assert (hdr.min_luminance_nits, hdr.max_luminance_nits) == (0.0001, 1000)
    assert (hdr.max_cll_nits, hdr.max_fall_nits) == (1000, 400)
    assert hdr.dynamic == ()
    assert probe(clips.path("h264")).video[0].hdr is None


def test_everything_in_a_file(clips):
    truth = CLIPS["everything_mkv"]
    info = probe(clips.path("everything_mkv"))
    assert info.container == "matroska,webm"
    assert info.nbytes == clips.path("everything_mkv").stat().st_size
    assert [stream.index for stream in info.streams] == list(range(len(info.streams)))
    for audio, track in zip(info.audio, truth.audio, strict=True):
        assert (audio.codec, audio.language) == (track.codec, track.language)
        assert (audio.sample_rate_hz, audio.channels) == (track.sample_rate, track.channels)
        assert track.metadata.items() <= audio.metadata.items()
    subtitles = [stream for stream in info.streams if stream.kind == "subtitle"]
    assert [s.language for s in subtitles] == [track.language for track in truth.subtitles]
    attachments = [s for s in info.streams if isinstance(s, AttachmentInfo)]
    assert [(a.name, a.mimetype, a.nbytes) for a in attachments] == [
        (a.name, a.mimetype, len(a.data)) for a in truth.attachments
    ]
    assert [(c.title, c.start_seconds, c.end_seconds) for c in info.chapters] == [
        (c.title, float(c.start * c.time_base), float(c.end * c.time_base)) for c in truth.chapters
    ]
    assert "attached_pic" in info.video[-1].disposition
    assert truth.metadata.items() <= {k.lower(): v for k, v in info.metadata.items()}.items()


@pytest.mark.parametrize("name", list(CLIPS))
def test_every_clip_can_be_told_as_json_or_is_refused_in_words(clips, name):
    damage = CLIPS[name].damage
    if damage is not None and not damage.opens:
        with pytest.raises(SourceError, match=rf"{name}\.\w+: [a-z]"):
            probe(clips.path(name))
        return
    info = probe(clips.path(name))
    told = json.loads(json.dumps(info.as_dict(), allow_nan=False))
    assert told["path"] == str(clips.path(name))
    assert len(told["streams"]) == len(info.streams) > 0


def test_what_is_found_cannot_be_changed(sample):
    info = probe(sample)
    with pytest.raises(FrozenInstanceError):
        info.path = "other.mp4"
    assert info == probe(str(sample))
