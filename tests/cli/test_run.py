"""``xtranscode run`` in this process, around a run that moves no pixel."""

import json
import re
from fractions import Fraction

import pytest

from transcode import AudioOptions
from transcode.errors import OutputError


def test_defaults_are_those_of_a_job(invoke, jobs):
    assert invoke("run", "in.mp4", "out.mp4").exit_code == 0
    (job,) = jobs
    (output,) = job.outputs
    assert (job.source, output.path, output.format) == ("in.mp4", "out.mp4", None)
    assert (output.video.codec, output.audio) == ("libx264", AudioOptions())
    assert (job.device, job.verify, job.damaged) == ("auto", "fast", "fail")
    assert not job.software_fallback
    assert (job.filters, job.vf, job.overwrite) == ((), None, False)


def test_every_option_reaches_the_job(invoke, jobs):
    result = invoke(
        *("run", "in.mp4", "-", "--filter", "invert(amount=0.5)", "--filter", "rgb_to_grayscale"),
        *("--vf", "hflip", "--codec", "libx265", "--preset", "fast", "--profile", "main"),
        *("--crf", "23.5", "--bitrate", "2.5M", "--gop", "50", "--pix-fmt", "yuv420p"),
        *("-o", "tune=film", "-o", "x265-params=a=1:b=2", "--size", "1280x-2", "--fps", "29.97"),
        *("--start", "1:30", "--duration", "0.5", "--audio", "aac:128k", "--format", "matroska"),
        *("--device", "VAAPI:/dev/dri/renderD129", "--verify", "full", "--damaged", "keep"),
        "--software-fallback",
    )
    assert result.exit_code == 0, result.output
    (job,) = jobs
    (output,) = job.outputs
    video = output.video
    assert job.filters == ("invert(amount=0.5)", "rgb_to_grayscale")
    assert (job.vf, job.start, job.duration) == ("hflip", Fraction(90), Fraction(1, 2))
    assert (job.device, job.verify, job.damaged) == ("vaapi:/dev/dri/renderD129", "full", "keep")
    assert job.software_fallback
    assert (output.path, output.format) == ("-", "matroska")
    assert output.audio == AudioOptions(codec="aac", bit_rate=128_000)
    assert (video.codec, video.preset, video.profile) == ("libx265", "fast", "main")
    assert (video.crf, video.bit_rate, video.gop_size) == (23.5, 2_500_000, 50)
    assert (video.pix_fmt, video.size) == ("yuv420p", (1280, -2))
    assert video.fps == Fraction(30000, 1001)
    assert video.options == {"tune": "film", "x265-params": "a=1:b=2"}


def test_a_vaapi_device_keeps_the_case_of_its_node(invoke, jobs):
    assert invoke("run", "in.mp4", "out.mp4", "--device", "VAAPI:/dev/dri/A9").exit_code == 0
    assert jobs[0].device == "vaapi:/dev/dri/A9"


def test_help_tells_which_devices_decode(invoke):
    said = " ".join(invoke("run", "--help").stdout.split())
    assert "cuda and vaapi[:node] decode, scale and encode too" in said
    assert "--software-fallback Decode in software what such a device cannot." in said


def test_shows_source_device_route_notice_and_result(invoke, jobs):
    result = invoke("run", "in.mp4", "out.mp4", "--crf", "23")
    assert result.stdout == ""
    assert result.stderr.splitlines() == [
        "in.mp4  1280x720 29.97 fps h264 bt709  >  out.mp4  libx264 crf 23",
        "device    cpu: a CPU",
        "route     FFmpeg > CPU > OpenCL   zero-copy",
        "the matrix was [assumed]",
        "done      20 frames, 212 fps, 1.1 MB > 412 kB, 0 B copied a frame, verified",
    ]


def test_long_lines_are_not_broken_off_a_terminal(invoke, jobs):
    name = "long" * 50 + ".mp4"
    assert invoke("run", name, "out.mp4").stderr.startswith(f"{name}  1280x720 29.97 fps h264")


def test_names_cannot_write_control_characters(invoke, jobs):
    result = invoke("run", "a\x1b[31m\nb.mp4", "out.mp4")
    assert "a\\x1b[31m b.mp4  1280x720" in result.stderr


def test_quiet_says_nothing(invoke, jobs):
    result = invoke("run", "in.mp4", "out.mp4", "-q")
    assert (result.exit_code, result.output) == (0, "")


def test_verbose_adds_the_times_of_the_stages(invoke, jobs):
    last = invoke("run", "in.mp4", "out.mp4", "-v").stderr.splitlines()[-1]
    assert last == "stages    decode 0.20 s, encode 0.50 s, all 0.62 s"


# Progress for programs


def test_json_goes_to_standard_output(invoke, jobs):
    result = invoke("run", "in.mp4", "out.mp4", "--progress", "json")
    lines = [json.loads(line) for line in result.stdout.splitlines()]
    kinds = [line["type"] for line in lines]
    assert kinds == ["started", "notice", *["progress"] * 20, "finished"]
    assert lines[0]["source"]["rate"] == "30000/1001"
    assert lines[1]["message"] == "the matrix was [assumed]"
    assert lines[2]["total_frames"] == 20
    assert lines[-1]["report"]["stage_seconds"] == {"decode": 0.2, "encode": 0.5}
    assert result.stderr == ""


def test_json_goes_to_standard_error_where_the_video_goes_out(invoke, jobs):
    result = invoke("run", "in.mp4", "-", "--format", "nut", "--progress", "json", "-q")
    assert result.stdout == ""
    assert json.loads(result.stderr.splitlines()[-1])["type"] == "finished"


@pytest.mark.parametrize("target", ["out.mp4", "-"])
def test_json_ends_with_the_error(invoke, jobs, monkeypatch, target):
    monkeypatch.setenv("FAKE_ERROR", "SourceError")
    result = invoke("run", "in.mp4", target, "--format", "mp4", "--progress", "json")
    said = result.stderr if target == "-" else result.stdout
    assert json.loads(said.splitlines()[-1]) == {
        "type": "error",
        "message": "talk.mp4: no such file",
        "exit_code": 1,
    }
    assert result.exit_code == 1


def test_json_tells_a_job_that_cannot_be_run(invoke, jobs):
    result = invoke("run", "in.mp4", "out.mp4", "--progress", "json", "--start", "1", "--crf", "1")
    assert result.exit_code == 0
    result = invoke("run", "in.mp4", "-", "--progress", "json")
    assert json.loads(result.stderr)["exit_code"] == 2


# Replacing a file


@pytest.mark.parametrize(
    ("flags", "exit_code", "text"),
    [
        ([], 1, "xtranscode: out.mp4 exists already; say -y to replace it\n"),
        (["-n"], 1, "xtranscode: out.mp4 exists and is kept (-n)\n"),
        (["-y"], 0, None),
    ],
)
def test_replaces_a_file_only_when_told(invoke, jobs, tmp_path, flags, exit_code, text):
    (tmp_path / "out.mp4").write_bytes(b"old")
    result = invoke("run", "in.mp4", "out.mp4", *flags, input="y\n")
    assert result.exit_code == exit_code
    if text is None:
        assert jobs[0].overwrite
    else:
        assert (result.stderr, jobs) == (text, [])


def test_overwriting_is_not_allowed_where_nothing_stood(invoke, jobs):
    # A file that appears meanwhile was never asked about.
    invoke("run", "in.mp4", "out.mp4")
    assert not jobs[0].overwrite


def test_no_question_about_a_job_that_cannot_be_run(invoke, jobs, tmp_path):
    (tmp_path / "out.mp4").write_bytes(b"old")
    result = invoke("run", "in.mp4", "out.mp4", "--duration", "0")
    assert result.exit_code == 2
    assert result.stderr == "xtranscode: duration must be above 0, got 0.0 s\n"


# Errors


@pytest.mark.parametrize(
    ("args", "text"),
    [
        (["run"], "missing argument 'SOURCE' (see xtranscode run --help)"),
        (["run", "a"], "missing argument 'TARGET' (see xtranscode run --help)"),
        (["run", "a", "b", "--size", "3"], "invalid value for '--size': size '3' has the form"),
        (
            ["run", "a", "b", "--device", "gpu"],
            "invalid value for '--device': unknown device 'gpu'",
        ),
        (
            ["run", "a", "b", "--audio", "copy:1k"],
            "invalid value for '--audio': audio copy takes no",
        ),
        (["run", "a", "b", "-o", "x"], "invalid value for '-o': 'x' has not the form key=value"),
        (["run", "a", "b", "--verify", "x"], "invalid value for '--verify': 'x' is not one of"),
        (["run", "a", "-"], "standard output needs a container: say --format matroska"),
        (["walk"], "no such command 'walk'"),
        (["--walk"], "no such option '--walk'"),
    ],
)
def test_wrong_usage_is_one_line_and_exit_code_2(invoke, args, text):
    result = invoke(*args)
    assert result.exit_code == 2
    assert result.stdout == ""
    assert result.stderr.startswith(f"xtranscode: {text}")
    assert result.stderr.count("\n") == 1


def test_without_a_command_the_help_is_shown(invoke):
    result = invoke()
    assert result.exit_code == 2
    assert result.stderr.startswith("Usage: xtranscode ")


@pytest.mark.parametrize(
    ("error", "exit_code", "text"),
    [
        ("SourceError", 1, "talk.mp4: no such file"),
        ("JobError", 2, "a job of another kind"),
        ("OSError", 1, "out.mp4: no space left on device"),
        (
            "EOFError",
            1,
            "a bug, please report it: EOFError: end (fake.py, line N); -v shows the way there",
        ),
        (
            "ZeroDivisionError",
            1,
            "a bug, please report it: ZeroDivisionError: division by zero (fake.py, line N)"
            "; -v shows the way there",
        ),
    ],
)
def test_an_error_is_one_line(invoke, jobs, monkeypatch, error, exit_code, text):
    monkeypatch.setenv("FAKE_ERROR", error)
    result = invoke("run", "in.mp4", "out.mp4", "-q")
    assert result.exit_code == exit_code
    assert re.sub(r"line \d+", "line N", result.output) == f"xtranscode: {text}\n"


def test_verbose_shows_where_a_bug_is(invoke, jobs, monkeypatch):
    monkeypatch.setenv("FAKE_ERROR", "ZeroDivisionError")
    result = invoke("run", "in.mp4", "out.mp4", "-v")
    assert result.exit_code == 1
    assert "Traceback (most recent call last)" in result.stderr
    assert "in run" in result.stderr


def test_verbose_shows_no_traceback_of_a_foreseen_error(invoke, jobs, monkeypatch):
    monkeypatch.setenv("FAKE_ERROR", "SourceError")
    assert "Traceback" not in invoke("run", "in.mp4", "out.mp4", "-v").stderr


def test_a_reader_that_left_ends_the_run_quietly(invoke, monkeypatch):
    import transcode

    def run(job, *, on_progress):
        raise OutputError("standard output: broken pipe") from BrokenPipeError(32, "Broken pipe")

    monkeypatch.setattr(transcode, "run", run)
    result = invoke("run", "in.mp4", "-", "--format", "nut")
    assert (result.exit_code, result.output) == (141, "")
    result = invoke("run", "in.mp4", "rtmp://host/x", "--format", "flv")
    assert (result.exit_code, result.output) == (1, "xtranscode: standard output: broken pipe\n")
