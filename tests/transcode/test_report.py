"""What a run tells: events in their order, and the report at the end."""

from __future__ import annotations

import itertools
import json
import threading
from fractions import Fraction

import pytest

import transcode
from tests.assets.clips import CLIPS
from tests.transcode.output import packets_of
from transcode import Finished, Job, Notice, Output, Progress, Started, VideoOptions

VIDEO = VideoOptions(preset="ultrafast")


class Recorder:
    """Keeps every event and the thread that it came from."""

    def __init__(self):
        self.events = []
        self.threads = set()

    def __call__(self, event):
        self.events.append(event)
        self.threads.add(threading.get_ident())


@pytest.fixture
def recorded(convert):
    def run(name, **options):
        recorder = Recorder()
        path, report = convert(name, on_progress=recorder, **options)
        return path, report, recorder

    return run


@pytest.mark.parametrize("name", ["h264", "long_gop", "h264_ts", "one_frame", "subtitles_mkv"])
def test_order_of_events(recorded, name):
    _, report, recorder = recorded(name)
    events = recorder.events
    started = [n for n, event in enumerate(events) if isinstance(event, Started)]
    assert len(started) == 1
    assert all(isinstance(event, Notice) for event in events[: started[0]])
    assert isinstance(events[0], Started)
    assert isinstance(events[-1], Finished)
    assert sum(isinstance(event, Finished) for event in events) == 1
    assert events[-1].report == report
    assert any(isinstance(event, Progress) for event in events)
    assert recorder.threads == {threading.get_ident()}


def test_progress_never_goes_back(recorded):
    _, report, recorder = recorded("long_gop", video=VideoOptions(preset="veryslow"))
    progress = [event for event in recorder.events if isinstance(event, Progress)]
    for before, after in itertools.pairwise(progress):
        assert after.frames_decoded >= before.frames_decoded
        assert after.frames_encoded >= before.frames_encoded
        assert after.bytes_written >= before.bytes_written
    last = progress[-1]
    assert last.frames_encoded == last.frames_decoded == report.frames == 100
    assert last.total_frames == 100
    assert last.eta_seconds == 0
    assert last.kernel_ms is None
    assert last.bytes_written > 0


@pytest.mark.parametrize("name", ["h264_ts", "subtitles_mkv", "odd_yuv420p", "raw_rgb24"])
def test_notices_come_as_events_too(recorded, name):
    _, report, recorder = recorded(name)
    told = [event.message for event in recorder.events if isinstance(event, Notice)]
    assert told == list(report.notices)
    assert len(told) == len(set(told)) > 0


def test_started_says_what_is_read_and_written(recorded):
    _, report, recorder = recorded("hevc")
    started = next(event for event in recorder.events if isinstance(event, Started))
    assert started.source == report.source
    assert (started.output.codec, started.output.pix_fmt) == ("libx264", "yuv420p")
    assert (started.device, started.route) == ("", "")
    assert started.total_frames == 12


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
@pytest.mark.parametrize(
    "name", ["h264", "hevc", "vp9", "av1", "ffv1", "prores", "mpeg4", "interlaced_bff", "raw_rgb24"]
)
def test_report(clips, convert, name, suffix):
    clip, track = CLIPS[name], CLIPS[name].main
    path, report = convert(name, f"out{suffix}")
    source, output = report.source, report.output
    assert source.path == str(clips.path(name))
    assert clip.container in source.container.split(",")
    assert (source.codec, source.pix_fmt) == (track.codec, track.pix_fmt)
    assert (source.width, source.height, source.rate) == (track.width, track.height, track.rate)
    assert source.nbytes == clips.path(name).stat().st_size
    assert output.path == str(path)
    assert suffix[1:] in {"mp4": "mp4", "matroska": "mkv"}[output.container]
    assert output.codec == "libx264"
    assert (output.width, output.height, output.rate) == (track.width, track.height, track.rate)
    assert output.nbytes == path.stat().st_size
    assert output.matrix == "bt709"
    assert report.frames == report.frames_decoded == track.frame_count == len(packets_of(path)[0])
    assert report.duration_seconds == pytest.approx(track.frame_count / 25)
    assert report.elapsed_seconds > 0
    assert report.fps == pytest.approx(report.frames / report.elapsed_seconds)
    assert (report.device, report.route, report.bytes_copied) == ("", "", 0)
    assert report.kernel_ms is None
    assert report.verified == "fast"


def test_stage_seconds(convert):
    _, report = convert("long_gop")
    assert list(report.stage_seconds) == ["decode", "process", "encode", "write", "verify"]
    assert all(0 <= seconds <= report.elapsed_seconds for seconds in report.stage_seconds.values())
    assert report.stage_seconds["encode"] > 0


def test_plain_values_survive_json(convert):
    _, report = convert("ntsc_mp4")
    values = json.loads(json.dumps(report.as_dict()))
    assert values["frames"] == 12
    assert values["source"]["rate"] == "30000/1001"
    assert values["output"]["codec"] == "libx264"
    assert values["notices"] == list(report.notices)


@pytest.mark.parametrize("verify", ["none", "fast", "full"])
def test_what_was_verified(convert, verify):
    _, report = convert("h264", verify=verify)
    assert report.verified == verify


class StopNow(Exception):  # noqa: N818 - not an error, a wish
    pass


@pytest.mark.parametrize("kind", [Started, Progress, Notice])
@pytest.mark.parametrize("name", ["long_gop", "h264_ts"])
def test_what_on_progress_raises_ends_the_run(clips, tmp_path, name, kind):
    if (name, kind) == ("long_gop", Notice):
        kind = Progress  # it gives no notice

    def stop(event):
        if isinstance(event, kind):
            raise StopNow

    before = threading.active_count()
    with pytest.raises(StopNow):
        transcode.run(clips.path(name), tmp_path / "out.mp4", on_progress=stop, video=VIDEO)
    assert list(tmp_path.iterdir()) == []
    assert threading.active_count() == before


def test_an_old_file_survives_a_stop(clips, tmp_path):
    target = tmp_path / "out.mp4"
    target.write_bytes(b"old")

    def stop(event):
        if isinstance(event, Progress):
            raise StopNow

    with pytest.raises(StopNow):
        transcode.run(clips.path("h264"), target, overwrite=True, on_progress=stop, video=VIDEO)
    assert target.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [target]


def test_a_job_is_run_as_it_is(clips, tmp_path):
    output = Output(tmp_path / "out.mp4", video=VIDEO)
    job = Job(
        source=clips.path("long_gop"),
        outputs=(output,),
        start=Fraction(1),
        duration=Fraction(1, 5),
    )
    report = transcode.run(job)
    assert report.frames == 5
    assert report.frames_decoded >= 5


def test_a_job_takes_nothing_beside_it(clips, tmp_path):
    job = Job(source=clips.path("h264"), outputs=(Output(tmp_path / "out.mp4"),))
    with pytest.raises(TypeError, match="pass it alone"):
        transcode.run(job, tmp_path / "other.mp4")
    with pytest.raises(TypeError, match="needs a target"):
        transcode.run(clips.path("h264"))
