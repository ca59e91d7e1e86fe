"""Child processes: tasks that end well, badly, by force, with their parent."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from tests.helpers.process import open_files
from tests.transcode.output import frames_of
from transcode.batch.child import Child, Children
from transcode.batch.task import Limits
from transcode.errors import JobError
from transcode.file_identity import FileIdentity
from transcode.job import VideoOptions

CRASH = """\
/* crash: writes where nothing is. */
DEVICE pixel crash(pixel p, i32 x, i32 y) {
    *(volatile int *)8 = x;
    return p;
}
"""
HANG = """\
/* hang: never ends. */
DEVICE pixel hang(pixel p, i32 x, i32 y) {
    volatile int turn = 1;
    while (turn) {
    }
    return p;
}
"""
SLOW = VideoOptions(codec="libx264", preset="placebo", size=(1920, 1080))


@pytest.fixture
def child():
    with Child() as made:
        yield made


@pytest.fixture
def pipe(tmp_path):
    """A named pipe that nobody writes to: who opens it waits for ever, and does nothing."""
    path = tmp_path / "pipe.mp4"
    os.mkfifo(path)
    return str(path)


def ignore(number, progress):
    pass


def soon(condition, seconds=10.0):
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        time.sleep(0.01)
    return condition()


def is_gone(pid):
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return True
    return state == "Z"


def test_one_process_runs_one_task_after_the_other(child, make_task, tmp_path):
    pid = child.pid
    for number, name in enumerate(("a.mp4", "sub/b.mkv"), 1):
        outcome = child.run(make_task(target=name, number=number), ignore)
        assert outcome.kind == "done", outcome.error
        assert outcome.report.frames == len(frames_of(tmp_path / name)) == 12
        assert outcome.report.verified == "fast"
        assert outcome.output == FileIdentity.of(str(tmp_path / name))
        assert outcome.worker.endswith(f":{pid}")
        assert outcome.seconds > 0
    assert child.is_usable
    assert child.pid == pid


def test_progress_is_told_with_the_job_s_number(child, make_task, sample):
    told = []
    outcome = child.run(
        make_task(sample, number=7), lambda number, progress: told.append((number, progress))
    )
    assert outcome.kind == "done", outcome.error
    assert {number for number, _ in told} == {7}
    counts = [progress.frames_encoded for _, progress in told]
    assert counts == sorted(counts)
    assert counts[-1] <= outcome.report.frames


def test_errors_are_told_and_the_process_goes_on(child, make_task, tmp_path):
    text = tmp_path / "text.mp4"
    text.write_text("no video")
    outcome = child.run(make_task(str(text)), ignore)
    assert (outcome.kind, outcome.may_help) == ("failed", False)
    assert "a text file, not media" in outcome.error
    outcome = child.run(make_task(video=VideoOptions(codec="nothing")), ignore)
    assert (outcome.kind, outcome.may_help) == ("failed", False)
    assert child.is_usable
    assert child.run(make_task(), ignore).kind == "done"


@pytest.mark.usefixtures("needs_opencl")
def test_a_native_crash_is_that_task_s_alone(make_task, tmp_path):
    (tmp_path / "crash.cl").write_text(CRASH)
    with Children() as children:
        crashing = make_task(target="crash.mp4", filters=(f"{tmp_path}/crash.cl:crash",))
        outcome = children.run(crashing, ignore)
        assert (outcome.kind, outcome.may_help) == ("crashed", True)
        assert outcome.error.startswith("Segmentation fault")
        assert children.run(make_task(), ignore).kind == "done"
    assert sorted(os.listdir(tmp_path)) == [".out.mark.claim.mp4", "crash.cl", "out.mp4"]


@pytest.mark.usefixtures("needs_opencl")
def test_a_kernel_that_never_ends_is_ended_at_the_time_limit(child, make_task, tmp_path):
    (tmp_path / "hang.cl").write_text(HANG)
    task = make_task(filters=(f"{tmp_path}/hang.cl:hang",), limits=Limits(seconds=4))
    outcome = child.run(task, ignore)
    assert (outcome.kind, outcome.may_help) == ("time limit", False)
    assert outcome.error == "it took longer than its limit of 4 s"
    assert not child.is_usable
    assert os.listdir(tmp_path) == ["hang.cl"]


def test_a_process_that_waits_for_ever_is_found_stalled(child, make_task, pipe, tmp_path):
    outcome = child.run(make_task(pipe, limits=Limits(stalled_seconds=1)), ignore)
    assert (outcome.kind, outcome.may_help) == ("stalled", True)
    assert outcome.error == "no frame and no work for 1 s"
    assert os.listdir(tmp_path) == ["pipe.mp4"]


def test_work_without_frames_is_no_stall(child, make_task, sample):
    # libx264's slowest preset looks far ahead before it gives the first frame.
    task = make_task(sample, limits=Limits(stalled_seconds=0.3, seconds=60))
    assert child.run(task, ignore).kind == "done"


def test_a_process_that_takes_too_much_memory_is_ended(child, make_task, tmp_path, sample):
    task = make_task(sample, vf="scale=6000:6000", limits=Limits(nbytes=200 << 20))
    outcome = child.run(task, ignore)
    assert (outcome.kind, outcome.may_help) == ("memory limit", False)
    assert outcome.error.endswith("its limit is 200 MiB")
    assert outcome.peak_nbytes > 200 << 20
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    ("number", "kind", "words"),
    [
        (signal.SIGKILL, "killed", "memory is short"),
        (signal.SIGSEGV, "crashed", "Segmentation fault"),
        (signal.SIGABRT, "crashed", "Aborted"),
    ],
)
def test_a_process_that_is_killed_leaves_nothing(
    child, make_task, tmp_path, number, kind, words, sample
):
    def kill(_number, _progress):
        os.kill(child.pid, number)

    outcome = child.run(make_task(sample, video=SLOW), kill)
    assert (outcome.kind, outcome.may_help) == (kind, True)
    assert words in outcome.error
    assert os.listdir(tmp_path) == []


def test_a_stop_from_another_thread_cleans_up(child, make_task, tmp_path, sample):
    started = threading.Event()
    outcomes = []

    def run():
        outcomes.append(child.run(make_task(sample, video=SLOW), lambda *_: started.set()))

    thread = threading.Thread(target=run)
    thread.start()
    assert started.wait(20)
    child.stop()
    thread.join(20)
    assert [outcome.kind for outcome in outcomes] == ["interrupted"]
    assert os.listdir(tmp_path) == []


def test_a_stop_before_there_is_a_process_holds_too(make_task, sample, monkeypatch):
    with Children() as children:
        take = children._take

        def stopped_meanwhile():
            children.stop()
            return take()

        monkeypatch.setattr(children, "_take", stopped_meanwhile)
        assert children.run(make_task(sample, video=SLOW), ignore).kind == "interrupted"


def test_a_limit_of_nothing_is_refused():
    with pytest.raises(JobError, match="a limit is above 0, got 0"):
        Limits(stalled_seconds=0)


def test_no_child_outlives_its_parent_whatever_it_does(tmp_path, pipe):
    # The child is stuck in open(2), and runs no code of ours.
    code = f"""
import threading, time
from transcode.batch.child import Child
from transcode.batch.task import Limits, Task
from transcode.job import Job, Output
job = Job(source={pipe!r}, outputs=(Output({str(tmp_path / "out.mp4")!r}),))
child = Child()
task = Task(number=1, attempt=1, job=job, mark="mark", limits=Limits())
threading.Thread(target=child.run, args=(task, print), daemon=True).start()
time.sleep(1)
print(child.pid, flush=True)
time.sleep(60)
"""
    parent = subprocess.Popen(
        [sys.executable, "-c", code],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        text=True,
    )
    with parent:
        pid = int(parent.stdout.readline())
        assert not is_gone(pid)
        parent.kill()
    assert soon(lambda: is_gone(pid))


def test_closing_leaves_no_descriptor_and_no_process(make_task):
    before = open_files()
    with Children() as children:
        for _ in range(3):
            assert children.run(make_task(overwrite=True), ignore).kind == "done"
        (child,) = children._idle
    children.close()
    assert is_gone(child.pid)
    assert open_files() == before


def test_a_try_that_published_and_died_is_not_run_again(child, make_task, tmp_path):
    first = child.run(make_task(), ignore)
    # Nobody took note: the claim is still there. The next try finds the file to be its own.
    second = child.run(make_task(is_first=False), ignore)
    assert (second.kind, second.report) == ("done", None)
    assert second.output == first.output == FileIdentity.of(str(tmp_path / "out.mp4"))


def test_another_s_file_is_no_try_of_ours(child, make_task, tmp_path):
    (tmp_path / "out.mp4").write_text("precious")
    outcome = child.run(make_task(is_first=False), ignore)
    assert outcome.kind == "failed"
    assert "exists already" in outcome.error
    assert (tmp_path / "out.mp4").read_text() == "precious"
    assert os.listdir(tmp_path) == ["out.mp4"]
