"""A batch from its manifest to its summary: hand out, watch, write down, try again."""

from __future__ import annotations

import contextlib
import os
import queue
import shutil
import time
from dataclasses import dataclass, field, replace
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING

from transcode.batch.check import check_jobs
from transcode.batch.event import (
    BatchFinished,
    BatchStarted,
    JobEnded,
    JobProgress,
    JobStarted,
    OnBatchEvent,
)
from transcode.batch.executor import Executor, LocalExecutor
from transcode.batch.journal import Journal
from transcode.batch.order import Order
from transcode.batch.resume import first_record, mark_of, resumed
from transcode.batch.summary import Summary, summarize
from transcode.batch.task import Limits, Outcome, Task
from transcode.errors import ClusterError, JobError, JournalError
from transcode.file_identity import FileIdentity
from transcode.progress import Notice
from transcode.publish import claim_path, recover

if TYPE_CHECKING:
    from os import PathLike

    from transcode.batch.journal import Record, State
    from transcode.manifest import Manifest, ManifestJob
    from transcode.progress import Progress

__all__ = ["BatchOptions", "journal_path", "left_out_text", "run_batch"]

_TICK_SECONDS = 0.2
_LOW_SECONDS = 1.0
_MOST_BACKOFF_SECONDS = 60.0


@dataclass(frozen=True, kw_only=True)
class BatchOptions:
    """How a batch is run.

    Attributes
    ----------
    workers : int
        Jobs at once; with a Dask cluster at its address, the cluster decides.
    cluster : str
        Empty for processes of this machine; ``"local"`` or an address such as
        ``"tcp://host:8786"`` for Dask.
    max_tries : int
        How often a job is tried whose failure another try may mend.
    backoff_seconds : float
        Before the second try; each further one waits twice as long, up to a minute.
    fail_fast : bool
        Whether no job starts any more after one has failed.
    limits : Limits
        Of each job that names none of its own.
    min_free_nbytes : int
        No job starts while there is less room on its output's file system.
    resume : bool
        Whether to go on with the journal that there is.
    only_failed : bool
        With ``resume``: whether only jobs are run that failed before.
    """

    workers: int = 1
    cluster: str = ""
    max_tries: int = 2
    backoff_seconds: float = 1.0
    fail_fast: bool = False
    limits: Limits = field(default_factory=lambda: Limits(stalled_seconds=300.0))
    min_free_nbytes: int = 1 << 30
    resume: bool = False
    only_failed: bool = False

    def __post_init__(self) -> None:
        if self.workers < 1:
            raise JobError(f"a batch needs at least one worker, got {self.workers}")
        if self.max_tries < 1:
            raise JobError(f"a job is tried at least once, got max_tries {self.max_tries}")


def journal_path(manifest: str) -> str:
    """Return where the journal of a manifest is by default: beside it.

    Raises
    ------
    JobError
        The manifest is standard input.
    """
    if manifest == "-":
        raise JobError("a manifest from standard input needs --journal FILE")
    return f"{manifest}.journal"


def run_batch(
    manifest: Manifest, journal: str | PathLike[str], options: BatchOptions, on_event: OnBatchEvent
) -> Summary:
    """Run the jobs of a manifest.

    Parameters
    ----------
    manifest : Manifest
        What to run.
    journal : str
        Where it is written down.
    options : BatchOptions
        How.
    on_event : callable
        Called with each `transcode.batch.event.BatchEvent`.

    Raises
    ------
    JournalError
        The journal is in use, there already (without ``resume``), or cannot be written.
    ClusterError
        The cluster does not answer, or was lost; what ran there is run again with ``resume``.
    JobError
        A job names an encoder, a container or a kernel that there is not.
    """
    journal = os.fspath(journal)
    check_jobs(manifest.jobs)
    _check_journal(manifest, journal)
    if options.only_failed and not os.path.exists(journal):
        raise JournalError(f"{journal}: there is no journal; run the batch first")
    with Journal(journal, write=True) as opened:
        counts = opened.counts()
        jobs = sum(counts.values())
        if jobs and not options.resume:
            raise JournalError(
                f"{journal}: {counts['done']} of {jobs} jobs are done already; "
                "say --resume to go on, or move it away to start anew"
            )
        if jobs:
            _check_same(manifest, opened)
        return _Batch(manifest, opened, options, on_event).run()


@dataclass(slots=True)
class _Entry:
    """A job that is to be run, and how far it is."""

    listed: ManifestJob
    output: str
    mark: str
    slot: str
    own: FileIdentity | None
    read: FileIdentity | None
    length: float
    tries: int = 0
    progress: Progress | None = None

    @property
    def number(self) -> int:
        return self.listed.index

    @property
    def source(self) -> str:
        return str(self.listed.job.source)

    @property
    def target(self) -> str:
        """The output as the manifest has it."""
        return str(self.listed.job.outputs[0].path)


def left_out_text(manifest: Manifest) -> str:
    """Say what patterns found and is no source."""
    count = len(manifest.left_out)
    return (
        f"{count} file{'s' if count > 1 else ''} that patterns found, such as "
        f"{manifest.left_out[0]!r}, {'are outputs' if count > 1 else 'is an output'} of this "
        "manifest, and no source"
    )


def _check_journal(manifest: Manifest, journal: str) -> None:
    """Refuse a journal where a job reads or writes."""
    kept = {os.path.realpath(f"{journal}{ending}") for ending in ("", "-wal", "-shm", ".lock")}
    for listed in manifest.jobs:
        for path in (str(listed.job.source), str(listed.job.outputs[0].path)):
            if os.path.realpath(path) in kept:
                raise JobError(f"{listed.place}: {path!r} is the batch's journal; name another")


def _check_same(manifest: Manifest, journal: Journal) -> None:
    """Refuse the journal of another manifest, or of another folder: all it knows would be lost."""
    facts = journal.facts()
    place = _place(manifest)
    if facts.get("manifest", place) != place:
        raise JournalError(f"{journal.path}: is the journal of {facts['manifest']}, not of {place}")
    if facts.get("folder", os.getcwd()) != os.getcwd():
        known = {first_record(listed).output for listed in manifest.jobs}
        if any(record.output not in known for record in journal.records()):
            raise JournalError(
                f"{journal.path}: was begun in {facts['folder']}, where relative paths started; "
                "go on there"
            )


class _Batch:
    """The state of one batch."""

    def __init__(
        self, manifest: Manifest, journal: Journal, options: BatchOptions, on_event: OnBatchEvent
    ) -> None:
        self._manifest = manifest
        self._journal = journal
        self._options = options
        self._tell = on_event
        self._started = time.monotonic()
        self._versions = _versions()
        self._entries: dict[int, _Entry] = {}
        self._running: dict[int, _Entry] = {}
        self._ends: queue.SimpleQueue[tuple[_Entry, Outcome | ClusterError]] = queue.SimpleQueue()
        self._stopped = ""
        self._told_low: set[str] = set()
        self._obstacle = ""
        self._executor = self._make_executor()
        self._order = Order({} if self._executor.keeps_slots else manifest.slots)

    def _make_executor(self) -> Executor:
        options = self._options
        if not options.cluster:
            return LocalExecutor(options.workers, self._saw)
        from transcode.batch.dask_executor import DaskExecutor

        return DaskExecutor(
            options.cluster,
            workers=options.workers,
            slots=self._manifest.slots,
            mark=self._journal.mark,
            tell=self._saw,
        )

    def _saw(self, number: int, progress: Progress) -> None:
        """Take note of how far a job is; called in other threads. `_wait` tells the newest."""
        self._entries[number].progress = progress

    def run(self) -> Summary:
        try:
            self._begin()
            while self._goes_on():
                self._wait()
        except BaseException as error:
            self._stop(str(error) if isinstance(error, ClusterError) else "interrupted")
            raise
        finally:
            self._executor.close()
        summary = self._finish()
        self._tell(BatchFinished(summary))
        return summary

    def _begin(self) -> None:
        old = {record.output: record for record in self._journal.records()}
        records: list[Record] = []
        claims: list[str | None] = []
        for listed in self._manifest.jobs:
            record = first = first_record(listed)
            before = old.pop(first.output, None)
            if self._options.only_failed and (before is None or before.state != "failed"):
                records.append(before or first)
                continue
            if before is not None:
                record, claim = resumed(first, before, self._journal.mark)
                claims.append(claim)
            if record.state == "waiting":
                self._take_in(listed, record)
            records.append(record)
        skipped = sum(record.state == "done" for record in records)
        facts = {
            "manifest": _place(self._manifest),
            "folder": os.getcwd(),
            "versions": self._versions,
            "executor": self._executor.name,
            "started": str(time.time()),
            "skipped": str(skipped),
            "stopped": "",
        }
        self._journal.begin(records, facts)
        for claim in filter(None, claims):
            with contextlib.suppress(OSError):
                os.unlink(claim)
        self._tell(BatchStarted(len(records), skipped, self._executor.name, self._journal.path))
        if self._manifest.left_out:
            self._tell(Notice(left_out_text(self._manifest)))
        if old:
            for record in old.values():
                recover(record.output, mark_of(self._journal.mark, record.output))
            count = f"{len(old)} job{'' if len(old) == 1 else 's'} of the journal"
            self._tell(Notice(f"{count}: not in the manifest any more, and forgotten"))

    def _take_in(self, listed: ManifestJob, record: Record) -> None:
        entry = _Entry(
            listed=listed,
            output=record.output,
            mark=mark_of(self._journal.mark, record.output),
            slot=self._slot(listed.job.device),
            own=record.result,
            read=record.input,
            length=_length(str(listed.job.source)),
        )
        self._entries[entry.number] = entry
        self._order.add(entry.number, length=entry.length, slot=entry.slot)

    def _slot(self, device: str) -> str:
        """Return the kind of slot that a job takes: by the name of its device, or by its kind."""
        names = (device, device.partition(":")[0])
        return next((name for name in names if name in self._manifest.slots), "")

    def _goes_on(self) -> bool:
        """Hand out what can be; return whether there is something to wait for."""
        room = 0 if self._stopped else self._executor.at_once() - len(self._running)
        obstacle = self._executor.obstacle()
        if obstacle and obstacle != self._obstacle:
            self._tell(Notice(obstacle))
        self._obstacle = obstacle
        is_low = False
        while room > 0:
            number = self._order.next(time.monotonic())
            if number is None:
                break
            entry = self._entries[number]
            if self._low_on_disk(entry):
                is_low = True
                self._put_back(entry, time.monotonic() + _LOW_SECONDS)
            else:
                self._hand_out(entry)
                room -= 1
        if is_low and not self._running:
            self._stopped = "too little room on the disk"
        return bool(self._running) or (len(self._order) > 0 and not self._stopped)

    def _low_on_disk(self, entry: _Entry) -> bool:
        """Return whether there is too little room for a job's output; say so once a folder."""
        folder = os.path.dirname(entry.output)
        while not os.path.isdir(folder):
            folder = os.path.dirname(folder)
        free, least = shutil.disk_usage(folder).free, self._options.min_free_nbytes
        if free >= least:
            return False
        if folder not in self._told_low:
            self._told_low.add(folder)
            rule = f"{free >> 20:,} MiB are free, less than {least >> 20:,} MiB"
            self._tell(Notice(f"{folder}: {rule}; no job starts while that is so"))
        return True

    def _put_back(self, entry: _Entry, at: float) -> None:
        """Have a job wait that ended, or cannot start now."""
        self._order.give_back(entry.slot)
        self._order.add(entry.number, length=entry.length, slot=entry.slot, at=at)

    def _hand_out(self, entry: _Entry) -> None:
        limits, listed = self._options.limits, entry.listed
        entry.tries += 1
        before, entry.read = entry.read, FileIdentity.of(entry.source)
        attempt = self._journal.started(entry.output, input=entry.read, versions=self._versions)
        task = Task(
            number=entry.number,
            attempt=attempt,
            job=entry.listed.job,
            mark=entry.mark,
            is_first=attempt == 1,
            may_recover=before == entry.read,
            replaces=entry.own,
            limits=replace(
                limits,
                seconds=listed.time_limit or limits.seconds,
                nbytes=listed.memory_limit or limits.nbytes,
            ),
        )
        self._running[entry.number] = entry
        self._executor.submit(task, entry.slot, lambda outcome: self._ends.put((entry, outcome)))
        self._tell(JobStarted(entry.number, entry.source, entry.target, entry.tries))

    def _wait(self) -> None:
        """Wait a while for jobs to end; write down those that did; tell how far the others are."""
        with contextlib.suppress(queue.Empty):
            end = self._ends.get(timeout=_TICK_SECONDS)
            while True:
                self._take_end(*end)
                end = self._ends.get_nowait()
        for entry in self._running.values():
            progress, entry.progress = entry.progress, None
            if progress is not None:
                self._tell(JobProgress(entry.number, progress))

    def _take_end(self, entry: _Entry, outcome: Outcome | ClusterError) -> None:
        if isinstance(outcome, ClusterError):
            raise outcome
        state = self._write_down(entry, outcome)
        if state == "waiting":
            delay = self._options.backoff_seconds * 2 ** (entry.tries - 1)
            self._put_back(entry, time.monotonic() + min(delay, _MOST_BACKOFF_SECONDS))
        else:
            self._order.give_back(entry.slot)
        self._tell(JobEnded(entry.number, entry.source, entry.target, outcome, state))
        if state == "failed" and self._options.fail_fast:
            self._stopped = f"job {entry.number} failed"

    def _write_down(self, entry: _Entry, outcome: Outcome) -> State:
        """Write down how a try ended; return what the job is now."""
        state = self._state_after(entry, outcome)
        verified = entry.listed.job.verify if state == "done" else "none"
        self._journal.ended(entry.output, outcome, state, verified=verified)
        del self._running[entry.number]
        entry.own = outcome.output or entry.own
        if state == "done":
            # From now on the journal says whose the output is.
            with contextlib.suppress(OSError):
                os.unlink(claim_path(entry.output, entry.mark))
        return state

    def _state_after(self, entry: _Entry, outcome: Outcome) -> State:
        if outcome.kind == "done":
            return "done"
        again = outcome.may_help and entry.tries < self._options.max_tries
        return "waiting" if again or outcome.kind == "interrupted" else "failed"

    def _stop(self, why: str) -> None:
        """End what runs, and write down how."""
        self._executor.stop()
        self._executor.close()
        with contextlib.suppress(queue.Empty):
            while True:
                entry, outcome = self._ends.get_nowait()
                if isinstance(outcome, Outcome):
                    self._write_down(entry, outcome)
        self._finish(why)

    def _finish(self, stopped: str = "") -> Summary:
        elapsed = time.monotonic() - self._started
        stopped = stopped or (self._stopped if len(self._order) else "")
        self._journal.note(
            stopped=stopped, elapsed_seconds=f"{elapsed:.3f}", ended=str(time.time())
        )
        if not os.path.exists(self._journal.path):
            raise JournalError(
                f"{self._journal.path}: was removed while the batch ran; what became of its jobs "
                "is lost"
            )
        return replace(summarize(self._journal), is_running=False)


def _place(manifest: Manifest) -> str:
    return "-" if manifest.path == "-" else os.path.abspath(manifest.path)


def _length(source: str) -> float:
    """Return a measure of how long a job may take: what it reads, in bytes; of a URL nothing."""
    identity = FileIdentity.of(source)
    return 0.0 if identity is None else float(identity.nbytes)


def _versions() -> str:
    import av

    try:
        own = version("xtranscode")
    except PackageNotFoundError:
        own = "(not installed)"
    return f"xtranscode {own}, PyAV {av.__version__}, FFmpeg {av.ffmpeg_version_info}"
