"""A signal ends a run at once and leaves things as they were."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from fractions import Fraction
from pathlib import Path

import pytest

import transcode
from transcode import Progress, VideoOptions

ROOT = Path(__file__).resolve().parents[2]
OLD = b"what stood here before"
SECONDS = 3

RUN = """
import signal, sys
import transcode
from transcode import Job, Output, VideoOptions

def end(number, frame):
    raise SystemExit(128 + number)

def say(event):
    print(type(event).__name__, flush=True)

signal.signal(signal.SIGTERM, end)
print("ready", flush=True)
source, target, preset, verify, size = sys.argv[1:]
video = VideoOptions(preset=preset, size=(int(size), -2))
output = Output(target, format="matroska", video=video)
job = Job(source=source, outputs=(output,), overwrite=True, verify=verify)
transcode.run(job, on_progress=say)
"""


@pytest.fixture
def started(tmp_path):
    """Start runs in processes of their own, which end with the test."""
    running = []

    def start(source, target, *, preset="slower", verify="fast", size=1280, **options):
        arguments = [sys.executable, "-u", "-c", RUN, source, target, preset, verify, str(size)]
        process = subprocess.Popen(
            list(map(str, arguments)),
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            **options,
        )
        running.append(process)
        return process

    yield start
    for process in running:
        if process.poll() is None:
            process.kill()
        process.communicate()


def wait_for(process, word):
    for line in process.stdout:
        if line.strip() == word:
            return
    pytest.fail(f"ended before it said {word!r}: {process.stderr.read()}")


def ends(process, number):
    """Send a signal; return the exit status and what was said, once it has ended in time."""
    process.send_signal(number)
    try:
        _, said = process.communicate(timeout=SECONDS)
    except subprocess.TimeoutExpired:
        pytest.fail(f"still there {SECONDS} s after {signal.Signals(number).name}")
    return process.returncode, said


# An interrupt that nobody catches ends Python as the signal itself would.
SIGNALS = [(signal.SIGINT, -signal.SIGINT), (signal.SIGTERM, 143)]


@pytest.mark.parametrize(("number", "status"), SIGNALS)
@pytest.mark.parametrize("word", ["Started", "Progress"])
def test_while_encoding(started, sample, tmp_path, number, status, word):
    target = tmp_path / "out.mkv"
    target.write_bytes(OLD)
    process = started(sample, target)
    wait_for(process, word)
    assert len(os.listdir(tmp_path)) == 2
    assert ends(process, number)[0] == status
    assert target.read_bytes() == OLD
    assert os.listdir(tmp_path) == ["out.mkv"]


@pytest.mark.parametrize(("number", "status"), SIGNALS)
def test_right_at_the_start(started, sample, tmp_path, number, status):
    process = started(sample, tmp_path / "out.mkv")
    wait_for(process, "ready")
    assert ends(process, number)[0] == status
    assert os.listdir(tmp_path) == []


def test_again_and_again(started, sample, tmp_path):
    process = started(sample, tmp_path / "out.mkv")
    wait_for(process, "Progress")
    for _ in range(3):
        process.send_signal(signal.SIGTERM)
        time.sleep(0.02)
    assert ends(process, signal.SIGTERM)[0] in (143, -signal.SIGTERM)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(("number", "status"), SIGNALS)
def test_while_a_pipe_says_nothing(started, tmp_path, number, status):
    os.mkfifo(tmp_path / "in.mkv")
    process = started(tmp_path / "in.mkv", tmp_path / "out.mkv")
    wait_for(process, "ready")
    time.sleep(0.2)
    assert ends(process, number)[0] == status
    assert os.listdir(tmp_path) == ["in.mkv"]


@pytest.mark.parametrize(("number", "status"), SIGNALS)
def test_while_a_pipe_stalls(started, clips, tmp_path, number, status):
    os.mkfifo(tmp_path / "in.mkv")
    process = started(tmp_path / "in.mkv", tmp_path / "out.mkv", preset="ultrafast", size=128)
    content = clips.path("cut_mkv").read_bytes()
    with open(tmp_path / "in.mkv", "wb", buffering=0) as pipe:
        pipe.write(content)
        wait_for(process, "Progress")
        time.sleep(0.2)
        assert ends(process, number)[0] == status
    assert os.listdir(tmp_path) == ["in.mkv"]


@pytest.mark.parametrize(("number", "status"), SIGNALS)
def test_while_nobody_reads_standard_output(started, clips, tmp_path, number, status):
    reading, writing = os.pipe()
    code = RUN.replace("print(type(event).__name__, flush=True)", "pass")
    code = code.replace('print("ready", flush=True)', 'print("ready", file=sys.stderr, flush=True)')
    code = code.replace("preset=preset", 'codec="rawvideo"')
    process = subprocess.Popen(
        [sys.executable, "-c", code, clips.path("long_gop"), "-", "", "none", "128"],
        cwd=ROOT,
        stdout=writing,
        stderr=subprocess.PIPE,
        text=True,
    )
    os.close(writing)
    try:
        assert process.stderr.readline() == "ready\n"
        time.sleep(0.5)
        assert process.poll() is None, process.stderr.read()
        assert ends(process, number)[0] == status
    finally:
        os.close(reading)
        if process.poll() is None:
            process.kill()
            process.communicate()


def test_killed(started, sample, tmp_path):
    target = tmp_path / "out.mkv"
    target.write_bytes(OLD)
    process = started(sample, target)
    wait_for(process, "Progress")
    assert ends(process, signal.SIGKILL)[0] == -signal.SIGKILL
    assert target.read_bytes() == OLD
    # Nobody could clean up; what is left is hidden and tells what it is.
    assert all(n == "out.mkv" or (n[0] == "." and ".part." in n) for n in os.listdir(tmp_path))


def test_reader_of_standard_output_goes_away(started, clips):
    code = RUN.replace("print(type(event).__name__, flush=True)", "pass")
    code = code.replace('print("ready", flush=True)', "pass")
    code = code.replace("preset=preset", 'codec="rawvideo"')
    process = subprocess.Popen(
        [sys.executable, "-c", code, clips.path("long_gop"), "-", "", "none", "128"],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout.read(1000)
    process.stdout.close()
    said = process.stderr.read().decode()
    assert process.wait(timeout=10) == 1
    process.stderr.close()
    assert said.splitlines()[-2].startswith("transcode.errors.OutputError: ")
    assert "broken pipe" in said


class TestCallback:
    """A callback that raises stops a run just as a signal does."""

    def test_interrupt_in_the_middle(self, sample, tmp_path):
        threads = set(threading.enumerate())

        def interrupt(event):
            if isinstance(event, Progress):
                raise KeyboardInterrupt

        began = time.monotonic()
        with pytest.raises(KeyboardInterrupt):
            transcode.run(
                sample,
                tmp_path / "out.mp4",
                video=VideoOptions(preset="slower"),
                on_progress=interrupt,
            )
        assert time.monotonic() - began < SECONDS
        assert set(threading.enumerate()) == threads
        assert os.listdir(tmp_path) == []

    def test_interrupt_while_verifying(self, clips, tmp_path):
        stop = []

        def interrupt(event):
            # The last progress comes when everything is written, and verification begins.
            if isinstance(event, Progress) and event.frames_encoded == event.total_frames:
                stop.append(event)
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            transcode.run(clips.path("h264"), tmp_path / "out.mp4", on_progress=interrupt)
        assert len(stop) == 1
        assert os.listdir(tmp_path) == []

    def test_a_run_after_one_that_was_stopped(self, clips, tmp_path):
        def interrupt(event):
            raise KeyboardInterrupt

        for _ in range(3):
            with pytest.raises(KeyboardInterrupt):
                transcode.run(clips.path("h264"), tmp_path / "out.mp4", on_progress=interrupt)
        report = transcode.run(
            clips.path("h264"), tmp_path / "out.mp4", duration=Fraction(1, 5), verify="full"
        )
        assert report.frames == 5
