"""Batches from manifest to summary: what is run, again, or not; and what the journal says."""

from __future__ import annotations

import os
import re
import shutil
from dataclasses import replace

import pytest

from tests.helpers.process import open_files, resident_bytes
from tests.transcode.output import frames_of
from transcode.batch import run_batch as module
from transcode.batch.child import Child
from transcode.batch.event import (
    BatchFinished,
    BatchStarted,
    JobEnded,
    JobProgress,
    JobStarted,
)
from transcode.batch.journal import Journal
from transcode.batch.resume import first_record, mark_of
from transcode.batch.run_batch import BatchOptions, journal_path, run_batch
from transcode.batch.task import Limits, Outcome, Task
from transcode.errors import JobError, JournalError
from transcode.file_identity import FileIdentity
from transcode.progress import Notice

AGAIN = BatchOptions(resume=True, backoff_seconds=0.05)


@pytest.fixture
def run(tmp_path):
    """Run a manifest; return the summary and the events."""

    def call(manifest, options=None, **named):
        events = []
        options = options or BatchOptions(workers=2, backoff_seconds=0.05, **named)
        summary = run_batch(manifest, str(tmp_path / "journal"), options, events.append)
        assert events[-1] == BatchFinished(summary)
        return summary, events

    return call


def ended(events, state=None):
    found = [event for event in events if isinstance(event, JobEnded)]
    return [event for event in found if state in (None, event.state)]


def numbers_run(events):
    return sorted(event.number for event in events if isinstance(event, JobStarted))


@pytest.fixture
def records(tmp_path):
    def read():
        with Journal(str(tmp_path / "journal"), write=False) as journal:
            return list(journal.records())

    return read


def test_every_job_is_done_verified_and_written_down(run, make_manifest, records, tmp_path):
    before = open_files()
    summary, events = run(make_manifest(["h264", "bframes", "h264"]))
    assert isinstance(events[0], BatchStarted)
    assert (summary.jobs, summary.done, summary.failed, summary.waiting) == (3, 3, 0, 0)
    assert summary.is_complete
    for record in records():
        assert (record.state, record.verified, record.tries) == ("done", "fast", 1)
        assert record.report["frames"] == len(frames_of(record.output))
    assert summary.frames == sum(record.report["frames"] for record in records())
    assert sorted(os.listdir(tmp_path / "out")) == ["1.mp4", "2.mp4", "3.mp4"]
    assert {os.stat(tmp_path / "out" / name).st_nlink for name in ("1.mp4", "2.mp4")} == {1}
    assert open_files() == before


def test_a_name_that_is_no_text(run, make_manifest, records, clips, tmp_path):
    source = os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9 ? '.mp4")
    shutil.copy(clips.path("h264"), source)
    manifest = make_manifest([source, "/nowhere/\udce9.mp4"])
    (listed, other) = manifest.jobs
    output = replace(listed.job.outputs[0], path=os.fsdecode(os.fsencode(tmp_path) + b"/\xe9.mp4"))
    manifest = replace(
        manifest, jobs=(replace(listed, job=replace(listed.job, outputs=(output,))), other)
    )
    summary, _ = run(manifest)
    assert (summary.done, summary.failed) == (1, 1)
    assert records()[0].output == output.path
    assert os.path.exists(output.path)
    summary, events = run(manifest, AGAIN)
    assert numbers_run(events) == [2]


def test_the_longest_is_first(run, make_manifest, clips, tmp_path):
    sizes = {}
    for name, padding in (("a", 0), ("b", 200_000), ("c", 100_000)):
        path = tmp_path / f"{name}.ts"
        path.write_bytes(clips.path("h264_ts").read_bytes() + b"\0" * padding)
        sizes[name] = str(path)
    _, events = run(make_manifest(list(sizes.values())), BatchOptions(workers=1))
    started = [event.number for event in events if isinstance(event, JobStarted)]
    assert started == [2, 3, 1]


def test_a_batch_of_damaged_sources_and_good_ones(run, make_manifest, clips, tmp_path):
    data = clips.path("h264").read_bytes()
    sources = []
    for index in range(12):
        if index % 3:
            sources.append("h264")
            continue
        path = tmp_path / f"bad{index}.mp4"
        path.write_bytes(data[: len(data) // (index + 2)])
        sources.append(str(path))
    summary, events = run(make_manifest(sources))
    assert (summary.done, summary.failed) == (8, 4)
    assert [failure.number for failure in summary.failures] == [1, 4, 7, 10]
    assert all(failure.tries == 1 and failure.error for failure in summary.failures)
    assert summary.failures[0].place == "jobs.yaml:1:1"
    assert len(ended(events, "failed")) == 4
    assert len(os.listdir(tmp_path / "out")) == 8


def test_only_what_may_help_is_tried_again(run, make_manifest, tmp_path):
    pipe = tmp_path / "pipe.mp4"
    os.mkfifo(pipe)
    summary, events = run(
        make_manifest([str(pipe), "/nowhere/at/all.mp4"]),
        limits=Limits(stalled_seconds=0.5),
        max_tries=3,
    )
    kinds = [(event.number, event.outcome.kind, event.state) for event in ended(events)]
    assert kinds.count((1, "stalled", "waiting")) == 2
    assert kinds.count((1, "stalled", "failed")) == 1
    assert kinds.count((2, "failed", "failed")) == 1
    assert len(kinds) == 4
    assert [failure.tries for failure in summary.failures] == [3, 1]


def test_fail_fast_starts_no_further_job(run, make_manifest, records):
    manifest = make_manifest(["/nowhere.mp4", "h264", "h264"])
    # The longest is first, and what is not there has no length.
    jobs = [replace(manifest.jobs[0], job=replace(manifest.jobs[0].job, vf="nothing"))]
    jobs[0] = replace(jobs[0], job=replace(jobs[0].job, source=manifest.jobs[1].job.source))
    manifest = replace(manifest, jobs=(*jobs, *manifest.jobs[1:]))
    summary, events = run(manifest, BatchOptions(workers=1, fail_fast=True))
    assert (summary.done, summary.failed, summary.waiting) == (0, 1, 2)
    assert summary.stopped == "job 1 failed"
    assert numbers_run(events) == [1]
    assert [record.state for record in records()] == ["failed", "waiting", "waiting"]


def test_without_room_on_the_disk_no_job_starts(run, make_manifest):
    summary, events = run(make_manifest(["h264"]), min_free_nbytes=1 << 62)
    assert (summary.waiting, summary.stopped) == (1, "too little room on the disk")
    (notice,) = (event for event in events if isinstance(event, Notice))
    assert re.search(r"MiB are free, less than [\d,]+ MiB; no job starts", notice.message)
    summary, _ = run(make_manifest(["h264"]), AGAIN)
    assert summary.is_complete


def test_a_journal_that_is_there_needs_resume(run, make_manifest):
    run(make_manifest(["h264", "/nowhere.mp4"]))
    with pytest.raises(JournalError, match="1 of 2 jobs are done already; say --resume to go on"):
        run(make_manifest(["h264"]))


def test_resume_skips_only_what_is_verified_and_unchanged(
    run, make_manifest, records, clips, tmp_path
):
    sources = [tmp_path / f"{index}.mp4" for index in range(8)]
    for source in sources[:7]:
        shutil.copy(clips.path("h264"), source)
    manifest = make_manifest(list(map(str, sources)))
    unverified = replace(manifest.jobs[6], job=replace(manifest.jobs[6].job, verify="none"))
    manifest = replace(manifest, jobs=(*manifest.jobs[:6], unverified, manifest.jobs[7]))
    run(manifest)

    outputs = [str(listed.job.outputs[0].path) for listed in manifest.jobs]
    shutil.copy(clips.path("bframes"), sources[1])  # The source of 2 is changed.
    os.unlink(outputs[2])  # The output of 3 is gone.
    with open(outputs[3], "ab") as file:  # The output of 4 is changed.
        file.write(b"x")
    changed = replace(manifest.jobs[4], job=replace(manifest.jobs[4].job, vf="hflip"))
    jobs = (*manifest.jobs[:4], changed, *manifest.jobs[5:])  # Job 5 is changed.
    summary, events = run(replace(manifest, jobs=jobs), AGAIN)

    causes = {record.number: record.cause for record in records()}
    assert causes == {
        1: "verified and unchanged",
        2: "the source was changed",
        3: "the output is gone",
        4: "the output was changed",
        5: "the job was changed",
        6: "verified and unchanged",
        7: "was not verified",
        8: "failed before",
    }
    assert numbers_run(events) == [2, 3, 4, 5, 7, 8]
    # What somebody else changed is not replaced; what was the batch's own is.
    assert [failure.number for failure in summary.failures] == [4, 8]
    assert "exists already" in summary.failures[0].error
    assert summary.skipped == 2
    assert len(frames_of(outputs[1])) == len(frames_of(clips.path("bframes")))
    with open(outputs[3], "rb") as file:
        assert file.read().endswith(b"x")

    summary, events = run(replace(manifest, jobs=jobs), AGAIN)
    assert numbers_run(events) == [4, 7, 8]


def test_retry_runs_what_failed_and_nothing_else(run, make_manifest, clips, tmp_path):
    late = tmp_path / "late.mp4"
    manifest = make_manifest([str(late), "h264"])
    run(manifest)
    os.unlink(manifest.jobs[1].job.outputs[0].path)
    shutil.copy(clips.path("h264"), late)
    summary, events = run(manifest, replace(AGAIN, only_failed=True))
    assert numbers_run(events) == [1]
    assert (summary.done, summary.failed) == (2, 0)
    with pytest.raises(JournalError, match="there is no journal; run the batch first"):
        run_batch(manifest, str(tmp_path / "other"), replace(AGAIN, only_failed=True), print)


def test_jobs_that_left_the_manifest_are_told(run, make_manifest, records):
    run(make_manifest(["h264", "h264"]))
    summary, events = run(make_manifest(["h264"]), AGAIN)
    notice = "1 job of the journal: not in the manifest any more, and forgotten"
    assert Notice(notice) in events
    assert (summary.jobs, summary.skipped) == (1, 1)
    assert len(records()) == 1


class _StopError(Exception):
    pass


def test_a_batch_that_is_stopped_cleans_up_and_goes_on(
    run, make_manifest, records, sample, tmp_path
):
    manifest = make_manifest([str(sample)] * 3)

    def stop(event):
        if isinstance(event, JobStarted) and event.number == 2:
            raise _StopError

    with pytest.raises(_StopError):
        run_batch(manifest, str(tmp_path / "journal"), BatchOptions(workers=2), stop)
    assert {record.state for record in records()} <= {"waiting", "done"}
    left = os.listdir(tmp_path / "out") if (tmp_path / "out").exists() else []
    assert not [name for name in left if name.startswith(".")]
    summary, _ = run(manifest, AGAIN)
    assert summary.is_complete


@pytest.mark.parametrize("change", ["nothing", "job", "source", "nothing, and it waits"])
def test_what_a_killed_batch_had_published_is_its_own(
    run, make_manifest, clips, records, tmp_path, change
):
    """A try published and nobody took note; the next batch is killed too; then one runs through."""
    source = shutil.copy(clips.path("h264"), tmp_path / "talk.mp4")
    manifest = make_manifest([str(source)])
    (listed,) = manifest.jobs
    path = str(tmp_path / "journal")
    output = str(listed.job.outputs[0].path)
    with Journal(path, write=True) as journal:
        journal.begin([first_record(listed)], {})
        journal.started(output, input=FileIdentity.of(str(source)), versions="")
        mark = mark_of(journal.mark, output)
        limits = Limits()
        with Child() as child:
            task = Task(number=1, attempt=1, job=listed.job, mark=mark, limits=limits)
            published = child.run(task, lambda *_: None)
        if "waits" in change:
            lost = Outcome(kind="lost", error="the worker is gone")
            journal.ended(output, lost, "waiting", verified="none")
    assert os.stat(output).st_nlink == 2  # The claim.
    if change == "job":
        listed = replace(listed, job=replace(listed.job, vf="hflip"))
    elif change == "source":
        shutil.copy(clips.path("bframes"), source)
    manifest = replace(manifest, jobs=(listed,))

    def stop(event):
        raise _StopError

    with pytest.raises(_StopError):
        run_batch(manifest, path, AGAIN, stop)
    summary, _ = run(manifest, AGAIN)
    assert summary.is_complete
    (record,) = records()
    assert record.result == FileIdentity.of(output)
    assert (record.result == published.output) == change.startswith("nothing")
    assert record.verified == "fast"
    assert sorted(os.listdir(tmp_path / "out")) == ["1.mp4"]
    assert os.stat(output).st_nlink == 1


def test_a_new_try_that_fails_leaves_the_old_output_the_batch_s_own(
    run, make_manifest, clips, tmp_path
):
    source = shutil.copy(clips.path("h264"), tmp_path / "talk.mp4")
    manifest = make_manifest([str(source)])
    run(manifest)
    source.write_text("no video")
    summary, _ = run(manifest, AGAIN)
    assert "a text file, not media" in summary.failures[0].error
    shutil.copy(clips.path("bframes"), source)
    summary, _ = run(manifest, AGAIN)
    assert summary.is_complete


def test_what_was_published_of_another_source_is_made_anew(
    run, make_manifest, clips, records, tmp_path
):
    """The source is changed while the job, whose claim is there, waits for its turn."""
    source = shutil.copy(clips.path("h264"), tmp_path / "talk.mp4")
    manifest = make_manifest([str(source)])
    (listed,) = manifest.jobs
    output = str(listed.job.outputs[0].path)
    with Journal(str(tmp_path / "journal"), write=True) as journal:
        journal.begin([first_record(listed)], {})
        journal.started(output, input=FileIdentity.of(str(source)), versions="")
        mark = mark_of(journal.mark, output)
        with Child() as child:
            task = Task(number=1, attempt=1, job=listed.job, mark=mark, limits=Limits())
            child.run(task, lambda *_: None)

    def change(event):
        if isinstance(event, BatchStarted):
            shutil.copy(clips.path("vfr_mp4"), source)

    summary = run_batch(manifest, str(tmp_path / "journal"), AGAIN, change)
    assert summary.is_complete
    assert len(frames_of(output)) == len(frames_of(source))
    assert records()[0].report is not None
    assert os.listdir(tmp_path / "out") == ["1.mp4"]


def test_a_file_that_comes_while_a_job_runs_is_left_alone(
    run, make_manifest, clips, sample, tmp_path
):
    source = shutil.copy(clips.path("h264"), tmp_path / "talk.mp4")
    manifest = make_manifest([str(source)])
    run(manifest)
    shutil.copy(sample, source)
    output = tmp_path / "out" / "1.mp4"

    def put(event):
        if isinstance(event, JobProgress) and output.read_bytes() != b"precious":
            output.unlink()
            output.write_bytes(b"precious")

    summary = run_batch(manifest, str(tmp_path / "journal"), AGAIN, put)
    assert "appeared in the meantime" in summary.failures[0].error
    assert output.read_bytes() == b"precious"
    assert os.listdir(tmp_path / "out") == ["1.mp4"]


def test_the_journal_is_no_job_s_file_and_of_one_manifest(
    run, make_manifest, tmp_path, monkeypatch
):
    manifest = make_manifest(["h264"])
    (listed,) = manifest.jobs
    for ending in ("", ".lock", "-wal"):
        output = replace(listed.job.outputs[0], path=f"{tmp_path}/journal{ending}", format="mp4")
        wrong = replace(listed, job=replace(listed.job, outputs=(output,)))
        with pytest.raises(JobError, match="is the batch's journal; name another"):
            run(replace(manifest, jobs=(wrong,)))
    run(manifest)
    with pytest.raises(JournalError, match=r"is the journal of .*jobs.yaml, not of .*other.yaml"):
        run(replace(manifest, path=str(tmp_path / "other.yaml")), AGAIN)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    moved = replace(listed.job.outputs[0], path="1.mp4")
    moved = replace(listed, job=replace(listed.job, outputs=(moved,)))
    with pytest.raises(JournalError, match=r"was begun in .*; go on there"):
        run(replace(manifest, jobs=(moved,)), AGAIN)
    assert run(manifest, AGAIN)[0].skipped == 1


def test_a_journal_that_is_removed_meanwhile_is_told(run, make_manifest, tmp_path):
    def remove(event):
        if isinstance(event, JobStarted):
            (tmp_path / "journal").unlink()

    with pytest.raises(JournalError, match="was removed while the batch ran"):
        run_batch(make_manifest(["h264"]), str(tmp_path / "journal"), BatchOptions(), remove)


class _AtOnce:
    """An executor whose tasks end when they are handed out; nothing is run."""

    keeps_slots = False
    name = "nothing"

    def __init__(self, workers, tell):
        self.most = self.now = 0

    def at_once(self):
        return 4

    def obstacle(self):
        return ""

    def submit(self, task, slot, on_end):
        on_end(Outcome(kind="failed", error="not run"))

    def stop(self):
        pass

    close = stop


def test_memory_stays_flat_over_ten_thousand_jobs(make_manifest, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "LocalExecutor", _AtOnce)
    (listed,) = make_manifest(["h264"]).jobs
    jobs = tuple(
        replace(
            listed,
            index=number,
            job=replace(
                listed.job,
                outputs=(replace(listed.job.outputs[0], path=str(tmp_path / f"{number}.mp4")),),
            ),
        )
        for number in range(1, 10_001)
    )
    manifest = replace(make_manifest(["h264"]), jobs=jobs)
    seen = []

    def look(event):
        if isinstance(event, JobEnded) and len(seen) % 1000 == 0:
            seen.append(resident_bytes())
        elif isinstance(event, JobEnded):
            seen.append(0)

    monkeypatch.setattr(Journal, "_change", _not_synced(Journal._change))
    summary = run_batch(manifest, str(tmp_path / "journal"), BatchOptions(), look)
    assert summary.failed == 10_000
    sizes = [size for size in seen if size]
    assert len(sizes) == 10
    assert sizes[-1] - sizes[1] < 4 << 20


def _not_synced(change):
    """Write without waiting for the disk, which is not what is looked at."""

    def quick(self):
        self._open_database.execute("PRAGMA synchronous = OFF")
        return change(self)

    return quick


def test_slots_are_kept(run, make_manifest, tmp_path):
    manifest = make_manifest(["h264"] * 4, device="cpu", slots={"cpu": 1})
    running, most = set(), 0

    def look(event):
        nonlocal most
        if isinstance(event, JobStarted):
            running.add(event.number)
            most = max(most, len(running))
        elif isinstance(event, JobEnded):
            running.discard(event.number)

    summary = run_batch(manifest, str(tmp_path / "journal"), BatchOptions(workers=3), look)
    assert summary.is_complete
    assert most == 1


def test_names_that_there_are_not_are_refused_before_anything_runs(run, make_manifest, tmp_path):
    manifest = make_manifest(["h264", "h264"])
    job = manifest.jobs[1].job
    for wrong, said in [
        (replace(job, filters=("gary",)), "no kernel 'gary'"),
        (replace(job, outputs=(replace(job.outputs[0], path="a.nothing"),)), "nothing"),
        (replace(job, outputs=(replace(job.outputs[0], audio="acc"),)), "acc"),
    ]:
        jobs = (manifest.jobs[0], replace(manifest.jobs[1], job=wrong))
        with pytest.raises(JobError, match=f"jobs.yaml:2:1: .*{said}"):
            run(replace(manifest, jobs=jobs))
    assert os.listdir(tmp_path) == []


def test_options_that_cannot_be():
    with pytest.raises(JobError, match="at least one worker, got 0"):
        BatchOptions(workers=0)
    with pytest.raises(JobError, match="at least once, got max_tries 0"):
        BatchOptions(max_tries=0)
    with pytest.raises(JobError, match="a manifest from standard input needs --journal FILE"):
        journal_path("-")
    assert journal_path("a/jobs.yaml") == "a/jobs.yaml.journal"
