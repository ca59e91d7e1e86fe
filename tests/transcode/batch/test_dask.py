"""Batches on a Dask cluster: the same bytes as local processes, whatever is lost meanwhile."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace

import pytest

from tests.helpers.require import require
from transcode.batch.event import JobEnded, JobProgress, JobStarted
from transcode.batch.journal import Journal
from transcode.batch.run_batch import BatchOptions, run_batch
from transcode.errors import ClusterError
from transcode.progress import Notice

pytestmark = pytest.mark.timeout(180)


@pytest.fixture(autouse=True)
def _dask():
    found = importlib.util.find_spec("distributed")
    require(
        "dask", found is not None, "Dask is not installed; try: pip install 'xtranscode[batch]'"
    )


@contextmanager
def dask(*words):
    """Run a process of Dask's own, in a session of its own."""
    started = subprocess.Popen(
        [sys.executable, "-m", "dask", *words, "--no-dashboard"],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        yield started
    finally:
        kill(started)


def kill(started):
    """Kill a process and wait for it; what it started lives on, if it can."""
    started.kill()
    started.wait()


@pytest.fixture
def cluster(tmp_path):
    """Start a scheduler and workers, as people do on several machines."""
    with ExitStack() as stack:

        def start(workers=2, *words):
            file = tmp_path / "scheduler.json"
            scheduler = stack.enter_context(
                dask("scheduler", "--host", "127.0.0.1", "--port", "0", "--scheduler-file", file)
            )
            while not file.exists():
                time.sleep(0.05)
            address = json.loads(file.read_text())["address"]
            options = (address, "--nthreads", "1", "--no-nanny", *words)
            folders = (tmp_path / f"worker{number}" for number in range(workers))
            started = [
                stack.enter_context(dask("worker", *options, "--local-directory", str(folder)))
                for folder in folders
            ]
            return address, scheduler, started

        yield start


def run(manifest, tmp_path, cluster, on_event=lambda event: None, **options):
    made = BatchOptions(cluster=cluster, workers=2, backoff_seconds=0.05, **options)
    return run_batch(manifest, str(tmp_path / "journal"), made, on_event)


def contents(folder):
    return {name: (folder / name).read_bytes() for name in sorted(os.listdir(folder))}


def test_two_workers_give_the_same_bytes_as_local_processes(
    cluster, make_manifest, tmp_path, sample
):
    sources = ["h264", "bframes", "vfr_mp4", "hevc", str(sample)]
    local = make_manifest(sources, folder="local")
    run_batch(local, str(tmp_path / "local.journal"), BatchOptions(workers=2), lambda event: None)
    address, _, _ = cluster()
    events = []
    summary = run(make_manifest(sources), tmp_path, address, events.append)
    assert summary.is_complete
    assert contents(tmp_path / "out") == contents(tmp_path / "local")
    assert any(isinstance(event, JobProgress) for event in events)
    with Journal(str(tmp_path / "journal"), write=False) as journal:
        workers = {attempt.worker for attempt in journal.attempts()}
    assert len(workers) == 2


def test_a_cluster_of_this_program_s_own_keeps_slots_too(make_manifest, tmp_path):
    sources = ["h264", "/nowhere.mp4", "h264", "h264"]
    manifest = make_manifest(sources, device="cpu", slots={"cpu": 1})
    running, most = set(), 0

    def look(event):
        nonlocal most
        if isinstance(event, JobStarted):
            running.add(event.number)
            most = max(most, len(running))
        elif isinstance(event, JobEnded):
            running.discard(event.number)

    summary = run(manifest, tmp_path, "local", look)
    assert (summary.done, summary.failed, most) == (3, 1, 1)
    assert summary.failures[0].error == "/nowhere.mp4: no such file"


def test_slots_are_resources_of_the_workers(cluster, make_manifest, tmp_path):
    # Of two workers one has the resource, and comes when its lack was told; all jobs run there.
    address, _, workers = cluster(1)
    manifest = make_manifest(["h264"] * 3, device="cpu", slots={"cpu": 1})
    with ExitStack() as stack:

        def come(event):
            if isinstance(event, Notice) and "no worker offers the slot 'cpu'; " in event.message:
                folder = ("--local-directory", str(tmp_path / "with"))
                words = ("worker", address, "--nthreads", "1", "--no-nanny", *folder)
                workers.append(stack.enter_context(dask(*words, "--resources", "cpu=1")))

        assert run(manifest, tmp_path, address, come).is_complete
    assert len(workers) == 2
    with Journal(str(tmp_path / "journal"), write=False) as journal:
        assert len({attempt.worker for attempt in journal.attempts()}) == 1


def test_a_lost_worker_loses_nothing(cluster, make_manifest, tmp_path, sample):
    address, _, workers = cluster()
    manifest = make_manifest([str(sample)] * 4)

    def lose(event):
        if isinstance(event, JobProgress) and len(workers) > 1:
            kill(workers.pop())

    summary = run(manifest, tmp_path, address, lose)
    assert summary.is_complete
    assert sorted(os.listdir(tmp_path / "out")) == ["1.mp4", "2.mp4", "3.mp4", "4.mp4"]
    assert len(workers) == 1


def test_a_lost_scheduler_ends_the_batch_and_resume_goes_on(cluster, make_manifest, tmp_path):
    address, scheduler, workers = cluster()
    manifest = make_manifest(["h264"] * 12)
    done = []

    def lose(event):
        if isinstance(event, JobEnded):
            done.append(event.number)
            if len(done) == 3:
                kill(scheduler)

    with pytest.raises(ClusterError, match=r"was lost .*; go on with --resume"):
        run(manifest, tmp_path, address, lose)
    for worker in workers:
        with suppress(ProcessLookupError):
            os.kill(worker.pid, signal.SIGKILL)
    started = []

    def look(event):
        if isinstance(event, JobStarted):
            started.append(event.number)

    options = BatchOptions(resume=True, workers=2)
    summary = run_batch(manifest, str(tmp_path / "journal"), options, look)
    assert summary.is_complete
    assert not set(started) & set(done)
    assert len(os.listdir(tmp_path / "out")) == 12


def test_relative_paths_start_where_the_batch_runs(
    cluster, make_manifest, clips, tmp_path, monkeypatch
):
    address, _, _ = cluster(1)  # Its working folder is another one.
    monkeypatch.chdir(tmp_path)
    shutil.copy(clips.path("h264"), "talk.mp4")
    manifest = make_manifest(["h264"])
    (listed,) = manifest.jobs
    output = replace(listed.job.outputs[0], path="sub/1.mp4")
    job = replace(listed.job, source="talk.mp4", outputs=(output,))
    manifest = replace(manifest, jobs=(replace(listed, job=job),))
    assert run(manifest, tmp_path, address).is_complete
    assert os.listdir("sub") == ["1.mp4"]


def test_without_workers_jobs_wait_and_that_is_said(cluster, make_manifest, tmp_path):
    address, _, workers = cluster(0)
    with ExitStack() as stack:

        def come(event):
            if isinstance(event, Notice):
                assert event.message == "no worker is there; jobs wait for one"
                folder = ("--local-directory", str(tmp_path / "late"))
                words = ("worker", address, "--nthreads", "1", "--no-nanny", *folder)
                workers.append(stack.enter_context(dask(*words)))

        assert run(make_manifest(["h264"]), tmp_path, address, come).is_complete
    assert len(workers) == 1


def test_no_scheduler_there(make_manifest, tmp_path):
    with pytest.raises(ClusterError, match=r"no Dask scheduler answers at tcp://127\.0\.0\.1:9"):
        run(make_manifest(["h264"]), tmp_path, "tcp://127.0.0.1:9")
    with pytest.raises(ClusterError, match="no Dask scheduler answers at what"):
        run(make_manifest(["h264"]), tmp_path, "what")
