"""What a batch comes to: sums, spreads and what is frequent, counted while a journal is read.

What grows with the jobs is some numbers of eight bytes each.
"""

from __future__ import annotations

import heapq
import re
from array import array
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from transcode.batch.timeline import Tries, is_bad

if TYPE_CHECKING:
    from transcode.batch.journal import Attempt, Journal, Record

__all__ = ["Frequent", "Group", "Tally", "TallyOfTries", "tally", "tally_of_tries"]

_MOST_TEXTS = 1000
_MOST_LISTED = 10
_NUMBER = re.compile(r"\b\d[\d.,]*\b")


@dataclass
class Group:
    """Sums over some jobs or tries: their counts, frames, seconds and bytes."""

    jobs: int = 0
    done: int = 0
    failed: int = 0
    frames: int = 0
    seconds: float = 0.0
    source_nbytes: int = 0
    output_nbytes: int = 0
    peak_nbytes: int = 0


class Frequent:
    """Texts by how often they came; those that differ only in numbers and files are one.

    Beyond a thousand kinds, those of a new kind are not counted.
    """

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()
        self._first: dict[str, tuple[str, int]] = {}

    def add(self, text: str, record: Record) -> None:
        """Count a text that a job has."""
        key = text.replace(record.source, "").replace(record.output, "")
        key = _NUMBER.sub("#", key)
        if key not in self._first:
            if len(self._first) >= _MOST_TEXTS:
                return
            self._first[key] = text, record.number
        self._counts[key] += 1

    def most(self, count: int) -> list[tuple[int, str, int]]:
        """Return the most frequent: how often, the first of them, and the job that has it."""
        return [(times, *self._first[key]) for key, times in self._counts.most_common(count)]

    def __len__(self) -> int:
        return len(self._first)


class Folder:
    """The folder that all of some paths are in, to be left away where they are shown."""

    def __init__(self) -> None:
        self._parts: list[str] | None = None

    def add(self, path: str) -> None:
        """Take in a path."""
        parts = path.split("/")[:-1]
        if self._parts is None:
            self._parts = parts
        else:
            same = 0
            for a, b in zip(self._parts, parts, strict=False):
                if a != b:
                    break
                same += 1
            del self._parts[same:]

    def __str__(self) -> str:
        return "".join(f"{part}/" for part in self._parts or ())


@dataclass
class Tally:
    """What the jobs of a batch come to.

    Attributes
    ----------
    all : Group
        All jobs.
    profiles : dict of str to Group
        Likewise, by the profile that the manifest names.
    skipped, waiting, running : int
        Jobs that were done before; that have not run; that run, or whose end nobody saw.
    retried : int
        Jobs with more than one try.
    video_seconds : float
        Duration of the video written.
    fps, seconds : array of float
        Of each job that is done: video frames per second of wall time, and that time.
    source_sizes, output_sizes : array of float
        Likewise in bytes, where both are known.
    stages : Counter
        Seconds of work by stage, all jobs together.
    verified : Counter
        Jobs that are done, by what was checked.
    errors, notices : Frequent
        What the failed jobs died of, with its kind, and what the others noticed.
    longest, slowest : list
        Some jobs: those that took longest, and those with the fewest frames per second. Each is
        the seconds or the frames per second, the number, and the record without its notices.
    sources, outputs : Folder
        What their paths have in common.
    """

    all: Group = field(default_factory=Group)
    profiles: dict[str, Group] = field(default_factory=dict)
    skipped: int = 0
    waiting: int = 0
    running: int = 0
    retried: int = 0
    video_seconds: float = 0.0
    fps: array[float] = field(default_factory=lambda: array("d"))
    seconds: array[float] = field(default_factory=lambda: array("d"))
    source_sizes: array[float] = field(default_factory=lambda: array("d"))
    output_sizes: array[float] = field(default_factory=lambda: array("d"))
    stages: Counter[str] = field(default_factory=Counter)
    verified: Counter[str] = field(default_factory=Counter)
    errors: Frequent = field(default_factory=Frequent)
    notices: Frequent = field(default_factory=Frequent)
    longest: list[tuple[float, int, Record]] = field(default_factory=list)
    slowest: list[tuple[float, int, Record]] = field(default_factory=list)
    sources: Folder = field(default_factory=Folder)
    outputs: Folder = field(default_factory=Folder)

    def add(self, record: Record) -> None:
        """Count in a job."""
        self.sources.add(record.source)
        self.outputs.add(record.output)
        groups = (self.all, self.profiles.setdefault(record.profile, Group()))
        for group in groups:
            group.jobs += 1
            group.done += record.state == "done"
            group.failed += record.state == "failed"
        self.waiting += record.state == "waiting"
        self.running += record.state == "running"
        self.retried += record.tries > 1
        if record.state == "failed":
            self.errors.add(f"{record.kind}: {record.error}", record)
        if record.state == "done":
            self.verified[record.verified] += 1
            if record.report is not None:
                self._add_report(record, record.report, groups)

    def _add_report(
        self, record: Record, report: dict[str, Any], groups: tuple[Group, Group]
    ) -> None:
        read, written = report["source"]["nbytes"], report["output"]["nbytes"]
        for group in groups:
            group.frames += report["frames"]
            group.seconds += report["elapsed_seconds"]
            group.source_nbytes += read or 0
            group.output_nbytes += written or 0
        self.video_seconds += report["duration_seconds"]
        self.seconds.append(report["elapsed_seconds"])
        if report["frames"]:
            self.fps.append(report["fps"])
            _keep(self.slowest, -report["fps"], record)
        _keep(self.longest, report["elapsed_seconds"], record)
        if read and written:
            self.source_sizes.append(read)
            self.output_sizes.append(written)
        self.stages.update(report["stage_seconds"])
        for notice in report["notices"]:
            self.notices.add(notice, record)


def _keep(heap: list[tuple[float, int, Record]], rank: float, record: Record) -> None:
    """Keep the records of highest rank; of equals the first."""
    entry = (rank, -record.number, record)
    if len(heap) < _MOST_LISTED:
        heapq.heappush(heap, entry)
    elif entry[:2] > heap[0][:2]:
        heapq.heapreplace(heap, entry)


def tally(journal: Journal) -> Tally:
    """Count what the jobs of a journal come to.

    Raises
    ------
    JournalError
        It cannot be read.
    """
    counted = Tally(skipped=int(journal.facts().get("skipped", 0)))
    for record in journal.records():
        counted.add(record)
    return counted


@dataclass
class TallyOfTries:
    """What the tries of the last batch of a journal come to.

    Attributes
    ----------
    tries : Tries
        When they were.
    earlier : int
        How many there were in batches before.
    bad : Group
        Those that failed.
    hosts : dict of str to Group
        All by the machine that they ran on.
    last : float
        When the last thing happened, in seconds since 1970.
    """

    tries: Tries = field(default_factory=Tries)
    earlier: int = 0
    bad: Group = field(default_factory=Group)
    hosts: dict[str, Group] = field(default_factory=dict)
    last: float = 0.0

    def add(self, attempt: Attempt) -> None:
        """Count in a try."""
        self.tries.add(attempt)
        self.last = max(self.last, attempt.started, attempt.ended or 0.0)
        if attempt.ended is None:
            return
        host = self.hosts.setdefault(attempt.worker.rpartition(":")[0], Group())
        for group in (host, self.bad) if is_bad(attempt) else (host,):
            group.jobs += 1
            group.done += attempt.kind == "done"
            group.failed += is_bad(attempt)
            group.seconds += attempt.seconds or 0.0
            group.peak_nbytes = max(group.peak_nbytes, attempt.peak_nbytes or 0)


def tally_of_tries(journal: Journal, since: float) -> TallyOfTries:
    """Count what the tries since a time come to.

    Raises
    ------
    JournalError
        It cannot be read.
    """
    counted = TallyOfTries(last=since)
    for attempt in journal.attempts():
        if attempt.started < since:
            counted.earlier += 1
        else:
            counted.add(attempt)
    return counted
