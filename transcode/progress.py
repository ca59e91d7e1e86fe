"""What a run tells while it goes on: one dataclass per kind of event."""

from collections.abc import Callable
from dataclasses import dataclass

from transcode.report import Report, StreamSummary

__all__ = ["Event", "Finished", "Notice", "OnProgress", "Progress", "Started"]


@dataclass(frozen=True)
class Started:
    """The source is open, the first frame is decoded, the encoder is ready.

    Attributes
    ----------
    source, output : StreamSummary
        The video read and the video written.
    device : str
        Where kernels run, and why there; empty where there are none.
    route : str
        The way that frames take through memory; empty where there are no kernels.
    total_frames : int or None
        An estimate for the progress bar, where the source tells enough.
    """

    source: StreamSummary
    output: StreamSummary
    device: str
    route: str
    total_frames: int | None


@dataclass(frozen=True)
class Progress:
    """How far a run is; sent several times a second.

    Attributes
    ----------
    frames_decoded, frames_encoded : int
        So far.
    total_frames : int or None
        As in `Started`.
    fps : float
        Frames encoded per second, since the start.
    kernel_ms : float or None
        Mean time of one frame in all kernels, in milliseconds.
    eta_seconds : float or None
        Time still needed, where ``total_frames`` is known.
    bytes_written : int
        Size of the output so far.
    """

    frames_decoded: int
    frames_encoded: int
    total_frames: int | None
    fps: float
    kernel_ms: float | None
    eta_seconds: float | None
    bytes_written: int


@dataclass(frozen=True)
class Notice:
    """Something that was dropped, converted, assumed or rounded; also in the report."""

    message: str


@dataclass(frozen=True)
class Finished:
    """The output is published; always the last event of a run that succeeds."""

    report: Report


Event = Started | Progress | Notice | Finished
OnProgress = Callable[[Event], None]
"""Called with each event, never from two threads at once. What it raises stops the run."""
