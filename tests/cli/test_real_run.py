"""The command around the real run, as a process."""

import json
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest
from av.codec.hwaccel import hwdevices_available

from tests.cli.conftest import COMMAND, call, environment
from transcode import probe


def test_transcodes_a_file(tmp_path, clips):
    done = call("run", clips.path("h264"), "out.mp4", "--crf", "30", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout == ""
    assert ", verified" in done.stderr.splitlines()[-1]
    assert probe(tmp_path / "out.mp4").video[0].frames == 12


def test_json_tells_the_whole_run(tmp_path, clips):
    done = call("run", clips.path("h264"), "out.mp4", "--progress", "json", cwd=tmp_path)
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert (lines[0]["type"], lines[-1]["type"]) == ("started", "finished")
    assert lines[-1]["report"]["frames"] == 12
    assert done.stderr == ""


def test_pipes_from_end_to_end(tmp_path, clips):
    with open(clips.path("h264_ts"), "rb") as source:
        done = subprocess.run(
            [*COMMAND, "run", "-", "-", "--format", "matroska", "-q"],
            stdin=source,
            capture_output=True,
            cwd=tmp_path,
            env=environment(),
            timeout=60,
        )
    assert (done.returncode, done.stderr) == (0, b"")
    (tmp_path / "out.mkv").write_bytes(done.stdout)
    assert probe(tmp_path / "out.mkv").video[0].codec == "h264"


def test_a_missing_source_is_one_line(tmp_path):
    done = call("run", "nosuch.mp4", "out.mp4", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "xtranscode: nosuch.mp4: no such file\n"


@pytest.mark.parametrize(
    "options", [("--device", "vaapi"), ("--codec", "h264_vaapi")], ids=" ".join
)
def test_a_pyav_without_vaapi_is_one_line(tmp_path, clips, options):
    if "vaapi" in hwdevices_available():
        pytest.skip("this PyAV has VA-API")
    done = call("run", clips.path("h264"), "out.mp4", *options, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("xtranscode: ")
    assert done.stderr.endswith("xtranscode devices prints the commands\n")
    assert done.stderr.count("\n") == 1
    assert os.listdir(tmp_path) == []


def test_the_input_is_never_the_output(tmp_path, clips):
    shutil.copy(clips.path("h264"), tmp_path / "in.mp4")
    before = (tmp_path / "in.mp4").read_bytes()
    for flags in ([], ["-y"]):
        done = call("run", "in.mp4", "./in.mp4", *flags, cwd=tmp_path)
        assert done.returncode == 1
        assert "is the input itself" in done.stderr
    assert (tmp_path / "in.mp4").read_bytes() == before


def test_a_signal_leaves_nothing_behind(tmp_path, sample):
    (tmp_path / "out.mp4").write_bytes(b"old")
    command = [*COMMAND, "run", str(sample), "out.mp4", "-y", "--progress", "json"]
    with subprocess.Popen(
        [*command, "--preset", "placebo"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=tmp_path,
        env=environment(),
        text=True,
    ) as process:
        assert json.loads(process.stdout.readline())["type"] == "started"
        process.send_signal(signal.SIGTERM)
        output, errors = process.communicate(timeout=30)
    assert (process.returncode, errors) == (143, "xtranscode: terminated\n")
    assert json.loads(output.splitlines()[-1])["type"] == "error"
    assert os.listdir(tmp_path) == ["out.mp4"]
    assert (tmp_path / "out.mp4").read_bytes() == b"old"


def test_a_signal_ends_a_run_whose_pipe_stalls(tmp_path, clips):
    with subprocess.Popen(
        [*COMMAND, "run", "-", "out.mp4"],
        stdin=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=tmp_path,
        env=environment(),
    ) as process:
        process.stdin.write(clips.path("h264_ts").read_bytes())
        process.stdin.flush()
        time.sleep(2)
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=15) == 130
        assert b"Traceback" not in process.stderr.read()
    assert os.listdir(tmp_path) == []


def test_a_reader_that_leaves_ends_the_run_quietly(tmp_path, sample):
    with subprocess.Popen(
        [*COMMAND, "run", str(sample), "-", "--format", "nut", "--codec", "rawvideo", "-q"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=tmp_path,
        env=environment(),
    ) as process:
        assert process.stdout.read(10)
        process.stdout.close()
        errors = process.stderr.read()
        assert process.wait(timeout=30) == 141
    assert errors == b""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_kernel_that_never_ends_can_be_stopped(needs_opencl, clips, tmp_path, number):
    (tmp_path / "forever.cl").write_text(
        "/* forever: never ends.\n */\n"
        "DEVICE pixel forever(pixel p, i32 x, i32 y) {\n"
        "    volatile i32 i = 0;\n"
        "    while (1) i = i < 0 ? 0 : i + 1;\n"
        "    return p;\n"
        "}\n"
    )
    words = ["run", clips.path("h264"), "out.mp4", "--filter", "forever.cl", "--progress", "json"]
    with subprocess.Popen(
        [*COMMAND, *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=tmp_path,
        env=environment(),
        text=True,
    ) as process:
        # The kernel runs once its program was compiled.
        while process.poll() is None and not spent(process.pid) > 4:
            time.sleep(0.1)
        process.send_signal(number)
        _, errors = process.communicate(timeout=20)
    assert process.returncode == 128 + number
    assert errors.splitlines()[-1].startswith("xtranscode: ")
    assert [path.name for path in tmp_path.iterdir()] == ["forever.cl"]


def spent(pid: int) -> float:
    """Return the processor time of a process, in seconds."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return sum(map(int, fields[11:13])) / os.sysconf("SC_CLK_TCK")
