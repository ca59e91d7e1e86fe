"""Every clip holds exactly what its truth says."""

from __future__ import annotations

import contextlib
import multiprocessing
import struct
from collections import defaultdict
from fractions import Fraction

import av
import numpy as np
import pytest

from tests.assets import barcode
from tests.assets.catalogue import ALL
from tests.assets.clips import CLIPS, DAMAGED, SOUND, library, make
from tests.assets.picture import ALPHA, channel_of, luma_of, patch_values
from tests.assets.recipe import WIDTH

# The demuxer's name for what a decoder calls otherwise.
CODEC_OF_DECODER = {"libdav1d": "av1", "srt": "subrip", "mp3float": "mp3"}
WITH_VIDEO = [name for name in SOUND if CLIPS[name].video]
TRACKS = [(name, n) for name in SOUND for n in range(len(CLIPS[name].video))]
LOSSLESS = {"ffv1", "rawvideo"}
ONSET_SECONDS = 0.003  # the tone needs 0.1 ms to be heard, and MP4 edits count milliseconds


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    return library(tmp_path_factory.mktemp("clips"))


def codec_name(stream):
    return CODEC_OF_DECODER.get(stream.codec_context.name, stream.codec_context.name)


def videos_of(container):
    """Return the video streams, cover pictures left out."""
    return [
        stream
        for stream in container.streams.video
        if not stream.disposition & av.stream.Disposition.attached_pic
    ]


def packets_of(path):
    """Return the packets of each stream, by its index, in the order of the file."""
    packets = defaultdict(list)
    with av.open(str(path)) as container:
        for packet in container.demux():
            if packet.size:
                packets[packet.stream_index].append(packet)
    return packets


def frames_of(path, number=0):
    with av.open(str(path)) as container:
        yield from container.decode(videos_of(container)[number])


def decodable(path):
    """Count the frames that come out in spite of errors."""
    count = 0
    with av.open(str(path)) as container:
        for packet in container.demux(container.streams.video[0]):
            with contextlib.suppress(av.error.InvalidDataError):
                count += len(packet.decode())
    return count


@pytest.mark.parametrize("name", SOUND)
def test_streams_and_container(clips, name):
    clip = clips[name]
    with av.open(str(clips.path(name))) as container:
        assert clip.container in container.format.name.split(",")
        assert {k: container.metadata.get(k) for k in clip.metadata} == clip.metadata
        covers = 0 if clip.cover_index is None else 1
        assert len(container.streams.video) == len(clip.video) + covers
        assert len(container.streams.audio) == len(clip.audio)
        assert len(container.streams.subtitles) == len(clip.subtitles)
        assert len(container.streams.attachments) == len(clip.attachments)
        assert len(container.streams.data) == (
            clip.suffix in (".mp4", ".mov") and bool(clip.chapters)
        )
        kinds = [stream.type for stream in container.streams if stream.type != "data"]
        assert kinds == (
            ["video"] * len(clip.video)
            + ["audio"] * len(clip.audio)
            + ["subtitle"] * len(clip.subtitles)
            + ["attachment"] * len(clip.attachments)
            + ["video"] * covers
        )


@pytest.mark.parametrize(("name", "number"), TRACKS)
def test_video_stream(clips, name, number):
    track = clips[name].video[number]
    with av.open(str(clips.path(name))) as container:
        stream = videos_of(container)[number]
        context = stream.codec_context
        assert codec_name(stream) == track.codec
        assert (context.width, context.height) == (track.width, track.height)
        assert context.pix_fmt == track.pix_fmt
        assert stream.time_base == track.time_base
        assert (stream.sample_aspect_ratio or 1) == track.sample_aspect_ratio
        assert stream.disposition == track.disposition
        assert {k: stream.metadata.get(k) for k in track.metadata} == track.metadata
        interlaced = context.field_order not in (0, 1)
        assert interlaced == track.interlaced
        if interlaced:
            assert context.field_order == track.field_order
        if track.rate is not None and track.frame_count > 1:
            assert stream.guessed_rate == track.rate


@pytest.mark.parametrize(("name", "number"), TRACKS)
def test_packets(clips, name, number):
    track = clips[name].video[number]
    packets = packets_of(clips.path(name))[number]
    shown = sorted(packet.pts for packet in packets if not packet.is_discard)
    hidden = sorted(packet.pts for packet in packets if packet.is_discard)
    assert tuple(shown) == track.pts
    assert tuple(hidden) == track.hidden_pts
    assert packets[0].is_keyframe
    if track.key_indices is not None:
        index_of = dict(zip(track.pts, track.indices, strict=True))
        keys = sorted(index_of[packet.pts] for packet in packets if packet.is_keyframe)
        assert tuple(keys) == track.key_indices


@pytest.mark.parametrize(("name", "number"), TRACKS)
def test_frames(clips, name, number):
    track = clips[name].video[number]
    frames = list(frames_of(clips.path(name), number))
    assert tuple(frame.pts for frame in frames) == track.pts
    assert tuple(barcode.read(luma_of(frame)) for frame in frames) == track.indices
    assert (frames[0].pts, barcode.read(luma_of(frames[-1]))) == (track.pts[0], track.last_index)
    for frame in frames:
        assert (frame.width, frame.height) == (track.width, track.height)
        assert frame.format.name == track.pix_fmt
        colour = (frame.color_range, frame.colorspace, frame.color_primaries, frame.color_trc)
        wanted = track.colour
        assert colour == (wanted.range, wanted.matrix, wanted.primaries, wanted.transfer)
        assert frame.interlaced_frame == track.interlaced
    assert track.side_data <= {data.type.name for data in frames[0].side_data}


@pytest.mark.parametrize("name", WITH_VIDEO)
def test_orientation(clips, name):
    track = clips[name].main
    frame = next(frames_of(clips.path(name)))
    matrices = [data for data in frame.side_data if data.type.name == "DISPLAYMATRIX"]
    assert frame.rotation % 360 == track.rotation
    if track.display_matrix is None:
        assert not matrices
    else:
        assert struct.unpack("=9i", bytes(matrices[0])) == track.display_matrix


@pytest.mark.parametrize("name", WITH_VIDEO)
def test_samples_follow_matrix_and_range(clips, name):
    track = clips[name].main
    frame = next(frames_of(clips.path(name)))
    bits = frame.format.components[0].bits
    tolerance = (0.51 if track.codec in LOSSLESS else 6) * 2 ** (bits - 8)
    source = track.encoding.source_format
    wanted = patch_values(track, "gray" if source == "gray" else None)
    for channel, values in wanted.items():
        measured = barcode.patch_medians(channel_of(frame, channel))
        np.testing.assert_allclose(measured, values, rtol=0, atol=tolerance, err_msg=channel)
    if source == "gray":
        assert (channel_of(frame, "u") == 128).all()
    if any(part.is_alpha for part in frame.format.components):
        assert (channel_of(frame, "a") == ALPHA).all()


@pytest.mark.parametrize("name", ["h264", "hdr10", "full_range", "h264_rgb", "raw_nv12"])
@pytest.mark.parametrize("pix_fmt", ["gray", "rgb24", "yuv420p", "gbrp10le"])
@pytest.mark.parametrize("size", [(80, 64), (128, 96), (301, 203)])
def test_barcode_survives_conversion_and_scaling(clips, name, pix_fmt, size):
    for frame, index in zip(frames_of(clips.path(name)), clips[name].main.indices, strict=True):
        changed = frame.reformat(width=size[0], height=size[1], format=pix_fmt)
        assert barcode.read(luma_of(changed)) == index


def test_rotation_by_name():
    rotations = {
        n: (c.main.rotation, c.main.mirrored)
        for n, c in CLIPS.items()
        if c.video and c.main.display_matrix
    }
    assert rotations == {
        "rotated_90": (90, False),
        "rotated_180": (180, False),
        "rotated_270": (270, False),
        "mirrored": (180, True),
    }


@pytest.mark.parametrize("name", ["interlaced_tff", "interlaced_bff"])
def test_the_fields_show_different_moments(clips, name):
    track = clips[name].main
    frame = list(frames_of(clips.path(name)))[4]
    luma = luma_of(frame)[36:72].astype(int)
    moments = [4.0, 4.5] if name == "interlaced_tff" else [4.5, 4.0]
    for parity, moment in enumerate(moments):
        errors = []
        for candidate in (4.0, 4.5):
            drawn = barcode.draw(4, track.width, track.height, moment=candidate)[36:72]
            gray = 16 + 219 / 255 * (drawn @ [0.2126, 0.7152, 0.0722])
            errors.append(np.abs(gray - luma)[parity::2].mean())
        assert (4.0, 4.5)[int(np.argmin(errors))] == moment


@pytest.mark.parametrize("name", [name for name in SOUND if CLIPS[name].audio])
def test_audio(clips, name):
    for number, track in enumerate(clips[name].audio):
        with av.open(str(clips.path(name))) as container:
            stream = container.streams.audio[number]
            assert codec_name(stream) == track.codec
            assert stream.language == track.language
            assert stream.disposition == track.disposition
            assert {k: stream.metadata.get(k) for k in track.metadata} == track.metadata
            frames = list(container.decode(stream))
        assert {frame.sample_rate for frame in frames} == {track.sample_rate}
        assert {frame.layout.nb_channels for frame in frames} == {track.channels}
        assert frames[0].format.name in ("s16", "fltp")
        check_sound(frames, track)


def check_sound(frames, track):
    start = frames[0].pts * frames[0].time_base
    channels = [to_float(frame, track.channels) for frame in frames]
    sound = np.concatenate(channels)
    priming = 0 if track.exact else 2 * frames[0].samples
    assert track.samples <= len(sound) <= track.samples + priming
    late = Fraction(0) if track.exact else Fraction(priming, track.sample_rate)
    assert abs(start - track.start) <= late
    # A second or so of a tone: the spectrum's peak is within one bin of it.
    spectrum = np.abs(np.fft.rfft(sound * np.hanning(len(sound))))
    heard = np.argmax(spectrum) * track.sample_rate / len(sound)
    assert heard == pytest.approx(track.tone_hz, abs=track.sample_rate / len(sound))
    assert np.abs(sound).max() == pytest.approx(0.5, abs=0.06)
    # And it begins when it should, whatever silence the codec put before it.
    onset = start + Fraction(int(np.argmax(np.abs(sound) > 0.1)), track.sample_rate)
    assert float(onset) == pytest.approx(float(track.start), abs=ONSET_SECONDS)


def to_float(frame, channels):
    samples = frame.to_ndarray().astype(float)
    if frame.format.name == "s16":
        return samples.reshape(-1, channels)[:, 0] / 32767
    return samples[0]


@pytest.mark.parametrize("name", [name for name in SOUND if CLIPS[name].subtitles])
def test_subtitles(clips, name):
    tracks = clips[name].subtitles
    packets = packets_of(clips.path(name))
    with av.open(str(clips.path(name))) as container:
        for stream, track in zip(container.streams.subtitles, tracks, strict=True):
            assert codec_name(stream) == track.codec
            assert stream.language == track.language
            assert stream.disposition == track.disposition
            events = []
            for packet in packets[stream.index]:
                text = bytes(packet)[2 if track.codec == "mov_text" else 0 :].decode()
                # MP4 fills the gaps with empty samples.
                if text:
                    events.append((packet.pts, packet.pts + packet.duration, text))
            assert stream.time_base == Fraction(1, 1000)
            assert events == [(e.start_ms, e.end_ms, e.text) for e in track.events]


@pytest.mark.parametrize("name", [name for name in SOUND if CLIPS[name].subtitles])
def test_subtitles_decode(clips, name):
    with av.open(str(clips.path(name))) as container:
        stream = container.streams.subtitles[1]
        texts = []
        for packet in container.demux(stream):
            if packet.size:
                texts += [subtitle.dialogue.decode() for subtitle in packet.decode()]
    assert [text for text in texts if text] == [e.text for e in clips[name].subtitles[1].events]


@pytest.mark.parametrize("name", SOUND)
def test_chapters(clips, name):
    with av.open(str(clips.path(name))) as container:
        chapters = [
            (chapter["start"], chapter["end"], chapter["time_base"], chapter["metadata"]["title"])
            for chapter in container.chapters()
        ]
    assert chapters == [(c.start, c.end, c.time_base, c.title) for c in clips[name].chapters]


@pytest.mark.parametrize("name", [name for name in SOUND if CLIPS[name].attachments])
def test_attachments(clips, name):
    with av.open(str(clips.path(name))) as container:
        found = [(s.name, s.mimetype, s.data) for s in container.streams.attachments]
    assert found == [(a.name, a.mimetype, a.data) for a in clips[name].attachments]


@pytest.mark.parametrize("name", [name for name in SOUND if CLIPS[name].cover_index is not None])
def test_cover(clips, name):
    with av.open(str(clips.path(name))) as container:
        stream = container.streams.video[-1]
        assert stream.disposition & av.stream.Disposition.attached_pic
        frame = next(container.decode(stream))
    assert barcode.read(luma_of(frame)) == clips[name].cover_index


@pytest.mark.parametrize("name", DAMAGED)
def test_damage(clips, name):
    clip = clips[name]
    path = clips.path(name)
    if not clip.damage.opens:
        with pytest.raises(av.error.FFmpegError):
            av.open(str(path))
        return
    least, most = clip.damage.decodable
    assert least <= decodable(path) <= most


@pytest.mark.parametrize(
    ("name", "leading"), [("long_gop", False), ("open_gop", True), ("open_gop_hevc", True)]
)
def test_open_key_frames_are_led_by_others(clips, name, leading):
    packets = packets_of(clips.path(name))[0]
    keys = [n for n, packet in enumerate(packets) if packet.is_keyframe and n]
    assert [packets[n + 1].pts < packets[n].pts for n in keys] == [leading] * len(keys)


def test_names_are_unique():
    assert len(CLIPS) == len(ALL)
    assert len({clip.file_name for clip in ALL}) == len(ALL)


def test_special_features():
    assert CLIPS["negative_pts"].main.pts[0] < 0
    assert CLIPS["ts_wrap"].main.pts[0] < 0 < CLIPS["ts_wrap"].main.pts[-1]
    assert CLIPS["h264_ts"].main.pts[0] == 10 * 90000
    assert len(set(np.diff(CLIPS["vfr_mkv"].main.pts))) > 5


@pytest.mark.parametrize(
    "name", ["h264", "hevc", "vp9", "av1", "mpeg4", "everything_mkv", "raw_0rgb"]
)
def test_making_twice_gives_the_same_bytes(tmp_path, name):
    first, second = make(name, tmp_path / "a"), make(name, tmp_path / "b")
    assert first.read_bytes() == second.read_bytes()


def test_library_makes_a_clip_once(tmp_path):
    clips = library(tmp_path / "new")
    path = clips.path("one_frame")
    made = path.stat().st_mtime_ns
    assert clips.path("one_frame") == path
    assert path.stat().st_mtime_ns == made
    assert [entry.name for entry in (tmp_path / "new").iterdir()] == ["one_frame.mp4"]


def test_several_processes_may_make_one_clip(tmp_path):
    with multiprocessing.get_context("spawn").Pool(3) as pool:
        paths = pool.starmap(make, [("h264", tmp_path)] * 6)
    assert len(set(paths)) == 1
    assert [entry.name for entry in tmp_path.iterdir()] == ["h264.mp4"]
    assert next(frames_of(paths[0])).width == WIDTH


def test_unknown_name(tmp_path):
    with pytest.raises(KeyError):
        make("nothing", tmp_path)
