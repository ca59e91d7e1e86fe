"""What an executor is given, and what it gives back: one job with its limits, and how it ended."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from transcode.errors import JobError

if TYPE_CHECKING:
    from transcode.file_identity import FileIdentity
    from transcode.job import Job
    from transcode.progress import Progress
    from transcode.report import Report

__all__ = ["Limits", "OnTaskProgress", "Outcome", "OutcomeKind", "Task"]

OutcomeKind = Literal[
    "done",
    "failed",
    "crashed",
    "killed",
    "time limit",
    "memory limit",
    "stalled",
    "interrupted",
    "lost",
]
"""How a try ended: as asked; an error; a signal of its own making; a signal
from outside; over a limit; stopped on request; with the machine that it ran on."""


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What ends a try by force; None is no limit.

    Attributes
    ----------
    seconds : float or None
        Wall time of one try.
    stalled_seconds : float or None
        Time without a frame and without work of a processor.
    nbytes : int or None
        Resident memory of the process that runs it.
    """

    seconds: float | None = None
    stalled_seconds: float | None = None
    nbytes: int | None = None

    def __post_init__(self) -> None:
        for limit in (self.seconds, self.stalled_seconds, self.nbytes):
            if limit is not None and limit <= 0:
                raise JobError(f"a limit is above 0, got {limit}")


@dataclass(frozen=True, kw_only=True)
class Task:
    """One try of one job.

    Attributes
    ----------
    number : int
        Of the job in its manifest, from 1.
    attempt : int
        Which try of the job it is, from 1.
    job : Job
        What to run.
    mark : str
        The job's own: see `transcode.publish.Publication`.
    limits : Limits
        What ends it by force.
    is_first : bool
        Whether no try before it can have left anything.
    may_recover : bool
        Whether what a try before it published is what is asked for now.
    replaces : FileIdentity or None
        The batch's own file in the output's place, which may be replaced; no other.
    """

    number: int
    attempt: int
    job: Job
    mark: str
    limits: Limits
    is_first: bool = True
    may_recover: bool = True
    replaces: FileIdentity | None = None


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How a try ended.

    Attributes
    ----------
    kind : OutcomeKind
        In a word.
    report : Report or None
        Of a job that is done, unless whoever did it could not say so any more.
    error : str
        Why it is not, in one line.
    may_help : bool
        Whether another try can end better.
    seconds : float
        Wall time.
    worker : str
        Where it ran: ``"host:process"``.
    peak_nbytes : int
        Most resident memory that was seen of the process.
    output : FileIdentity or None
        The file that it published.
    """

    kind: OutcomeKind
    report: Report | None = None
    error: str = ""
    may_help: bool = False
    seconds: float = 0.0
    worker: str = ""
    peak_nbytes: int = 0
    output: FileIdentity | None = None


OnTaskProgress = Callable[[int, "Progress"], None]
"""Called with a job's number and how far it is."""
