"""What became of a batch, as its journal says."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from transcode.batch.journal import Journal

__all__ = ["FailedJob", "Summary", "summarize"]


@dataclass(frozen=True, kw_only=True)
class FailedJob:
    """A job that failed.

    Attributes
    ----------
    number : int
        Of the job in its manifest, from 1.
    place : str
        Where it stands there.
    source, output : str
        Its files.
    kind, error : str
        How and why; see `Outcome`.
    tries : int
        How many there were.
    """

    number: int
    place: str
    source: str
    output: str
    kind: str
    error: str
    tries: int


@dataclass(frozen=True, kw_only=True)
class Summary:
    """What became of a batch.

    Attributes
    ----------
    manifest, journal : str
        The files.
    jobs, done, failed, running, waiting : int
        All jobs, and how many are in which state.
    skipped : int
        Of the done ones, those that the last batch found done, verified and unchanged.
    frames : int
        Video frames written, of all jobs that are done.
    source_nbytes, output_nbytes : int
        Sizes of their files, where they are known.
    elapsed_seconds : float
        Wall time of the last batch.
    stopped : str
        Why it ended early; empty where it did not.
    is_running : bool
        Whether a batch is running on the journal.
    failures : tuple of FailedJob
        In the manifest's order.
    """

    manifest: str
    journal: str
    jobs: int
    done: int
    failed: int
    running: int
    waiting: int
    skipped: int
    frames: int
    source_nbytes: int
    output_nbytes: int
    elapsed_seconds: float
    stopped: str
    is_running: bool
    failures: tuple[FailedJob, ...]

    @property
    def is_complete(self) -> bool:
        """Whether every job is done."""
        return self.done == self.jobs


def summarize(journal: Journal) -> Summary:
    """Sum up what a journal says.

    Raises
    ------
    JournalError
        It cannot be read.
    """
    counts, facts = journal.counts(), journal.facts()
    frames = source_nbytes = output_nbytes = 0
    for record in journal.records("done"):
        if record.report is not None:
            frames += record.report["frames"]
            source_nbytes += record.report["source"]["nbytes"] or 0
            output_nbytes += record.report["output"]["nbytes"] or 0
    failures = tuple(
        FailedJob(
            number=record.number,
            place=record.place,
            source=record.source,
            output=record.output,
            kind=record.kind,
            error=record.error,
            tries=record.tries,
        )
        for record in journal.records("failed")
    )
    return Summary(
        manifest=facts.get("manifest", ""),
        journal=journal.path,
        jobs=sum(counts.values()),
        **counts,
        skipped=int(facts.get("skipped", 0)),
        frames=frames,
        source_nbytes=source_nbytes,
        output_nbytes=output_nbytes,
        elapsed_seconds=float(facts.get("elapsed_seconds", 0)),
        stopped=facts.get("stopped", ""),
        is_running=journal.is_in_use,
        failures=failures,
    )
