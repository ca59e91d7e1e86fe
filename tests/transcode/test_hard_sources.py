"""Sources whose times, layouts or packets are not as they should be, and sources through a pipe."""

import subprocess
import sys
from fractions import Fraction

import av
import numpy as np
import pytest

import transcode
from tests.transcode.output import indices_of
from transcode import AudioOptions, VideoOptions
from transcode.errors import EncodeError, SourceError

QUICK = VideoOptions(preset="ultrafast")
SECONDS = 2


def make(path, audio_codec, layout="stereo", rate=48000):
    """Write two seconds of picture and tone."""
    with av.open(str(path), "w") as container:
        video = container.add_stream("mpeg4", rate=25)
        video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
        audio = container.add_stream(audio_codec, rate=rate, layout=layout)
        audio.codec_context.bit_rate = 128_000
        for index in range(25 * SECONDS):
            frame = av.VideoFrame(64, 48, "yuv420p")
            for plane in frame.planes:
                plane.update(bytes([60 + index]) * plane.buffer_size)
            frame.pts = index
            container.mux(video.encode(frame))
        tone = np.sin(np.arange(rate * SECONDS) * 2 * np.pi * 440 / rate).astype(np.float32)
        count = 1 if layout == "mono" else 2
        frame = av.AudioFrame.from_ndarray(np.stack([tone] * count) / 2, "fltp", layout)
        frame.sample_rate, frame.pts = rate, 0
        container.mux(audio.encode(frame))
        container.mux(audio.encode(None))
        container.mux(video.encode(None))
    return path


def audio_seconds(path):
    with av.open(str(path)) as container:
        frames = list(container.decode(audio=0))
    times = [frame.pts * frame.time_base for frame in frames]
    assert times == sorted(times)
    return sum(Fraction(frame.samples, frame.sample_rate) for frame in frames)


@pytest.mark.parametrize("source_codec", ["libmp3lame", "ac3", "pcm_s16le"])
@pytest.mark.parametrize("encoder", ["aac", "libopus", "flac"])
def test_audio_of_avi_whose_times_waver(tmp_path, source_codec, encoder):
    source = make(tmp_path / "in.avi", source_codec)
    target = tmp_path / "out.mkv"
    transcode.run(source, target, video=QUICK, audio=AudioOptions(codec=encoder))
    assert float(audio_seconds(target)) == pytest.approx(SECONDS, abs=0.09)


@pytest.mark.parametrize("layout", ["mono", "stereo"])
def test_audio_that_says_no_layout(tmp_path, layout):
    source = make(tmp_path / "in.avi", "pcm_s16le", layout)
    target = tmp_path / "out.mp4"
    transcode.run(source, target, video=QUICK, audio="aac:96k")
    with av.open(str(target)) as container:
        assert container.streams.audio[0].layout.name == layout


def test_what_an_audio_decoder_holds_back_is_not_lost(tmp_path):
    source = make(tmp_path / "in.wmv", "wmav2")
    target = tmp_path / "out.mkv"
    transcode.run(source, target, video=QUICK, audio=AudioOptions(codec="flac"))
    with av.open(str(source)) as container:
        decoded = sum(frame.samples for frame in container.decode(audio=0))
    assert audio_seconds(target) == Fraction(decoded, 48000)


def test_damaged_audio_is_damage(tmp_path):
    source = make(tmp_path / "in.mp4", "aac")
    content = bytearray(source.read_bytes())
    with av.open(str(source)) as container:
        places = [(p.pos, p.size) for p in container.demux(audio=0) if p.size][10:40:10]
    for start, size in places:
        content[start : start + size] = b"\xff" * size
    source.write_bytes(content)
    audio = AudioOptions(codec="libopus")
    with pytest.raises(SourceError, match=r"audio packet of stream 1 .*say --damaged keep"):
        transcode.run(source, tmp_path / "out.mkv", video=QUICK, audio=audio)
    assert not (tmp_path / "out.mkv").exists()
    options = {"video": QUICK, "audio": audio, "damaged": "keep"}
    report = transcode.run(source, tmp_path / "out.mkv", **options)
    assert report.frames == 25 * SECONDS
    assert any(notice.startswith("damaged: ") for notice in report.notices)


@pytest.mark.parametrize("vf", ["setpts=0", "setpts=-PTS"])
def test_filters_that_break_time_are_named(clips, tmp_path, vf):
    with pytest.raises(EncodeError, match=r"do not increase from zero on; .*--vf"):
        transcode.run(clips.path("h264"), tmp_path / "out.mp4", vf=vf, video=QUICK)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["h264_mkv", "h264_ts"])
def test_a_pipe_is_cut_without_going_back(clips, tmp_path, name):
    code = "import sys, transcode; transcode.run('-', sys.argv[1], start=0.2, overwrite=True)"
    target = tmp_path / "out.mkv"
    with subprocess.Popen(["cat", clips.path(name)], stdout=subprocess.PIPE) as cat:
        done = subprocess.run(
            [sys.executable, "-c", code, target],
            stdin=cat.stdout,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    assert done.returncode == 0, done.stderr
    assert indices_of(target) == list(range(5, 12))
