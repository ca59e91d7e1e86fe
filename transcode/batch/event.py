"""What a batch tells while it goes on: one dataclass per kind of event."""

from collections.abc import Callable
from dataclasses import dataclass

from transcode.batch.journal import State
from transcode.batch.summary import Summary
from transcode.batch.task import Outcome
from transcode.progress import Notice, Progress

__all__ = [
    "BatchEvent",
    "BatchFinished",
    "BatchStarted",
    "JobEnded",
    "JobProgress",
    "JobStarted",
    "OnBatchEvent",
]


@dataclass(frozen=True)
class BatchStarted:
    """The journal is open, and known is what is to be done.

    Attributes
    ----------
    jobs : int
        All of the manifest.
    skipped : int
        Done before, verified and unchanged.
    executor : str
        Where jobs run.
    journal : str
        The file.
    """

    jobs: int
    skipped: int
    executor: str
    journal: str


@dataclass(frozen=True)
class JobStarted:
    """A job was handed out.

    Attributes
    ----------
    number : int
        Of the job in its manifest, from 1.
    source, output : str
        Its files.
    attempt : int
        Which try it is in this batch, from 1.
    """

    number: int
    source: str
    output: str
    attempt: int


@dataclass(frozen=True)
class JobProgress:
    """How far a job is; sent several times a second."""

    number: int
    progress: Progress


@dataclass(frozen=True)
class JobEnded:
    """A try of a job ended.

    Attributes
    ----------
    number : int
        Of the job in its manifest, from 1.
    source, output : str
        Its files.
    outcome : Outcome
        How.
    state : State
        What the job is now: ``"waiting"`` for another try, ``"done"``, ``"failed"``.
    """

    number: int
    source: str
    output: str
    outcome: Outcome
    state: State


@dataclass(frozen=True)
class BatchFinished:
    """Nothing runs any more; always the last event."""

    summary: Summary


BatchEvent = BatchStarted | JobStarted | JobProgress | JobEnded | Notice | BatchFinished
OnBatchEvent = Callable[[BatchEvent], None]
"""Called in the thread that runs the batch. What it raises stops the batch."""
