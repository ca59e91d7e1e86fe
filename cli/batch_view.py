"""How a batch is shown while it runs, before, and after: live, a line a job, JSON, tables."""

import os
import time
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from bridges.closable import Closable
from cli.errors import one_line
from cli.render import grid, print_json, show
from transcode.batch.event import (
    BatchEvent,
    BatchFinished,
    BatchStarted,
    JobEnded,
    JobProgress,
    JobStarted,
)
from transcode.batch.run_batch import left_out_text
from transcode.batch.summary import Summary
from transcode.progress import Notice, Progress
from transcode.quantity import duration_text, size_text
from transcode.report import plain

if TYPE_CHECKING:
    from transcode.batch.task import Outcome
    from transcode.manifest import Manifest, ManifestJob

__all__ = [
    "JsonLines",
    "Lines",
    "LiveView",
    "plan_fields",
    "show_plan",
    "show_summary",
]

_TYPES = {
    BatchStarted: "started",
    JobStarted: "job_started",
    JobProgress: "job_progress",
    JobEnded: "job_ended",
    Notice: "notice",
    BatchFinished: "finished",
}
_MOST_SHOWN = 20
"""Failures, and running jobs, that a terminal shows at once."""


class JsonLines(Closable):
    """Tells a batch to a program: one JSON object a line on standard output, with a ``type``."""

    def close(self) -> None:
        """Nothing to let go: every line is written at once."""

    def __call__(self, event: BatchEvent) -> None:
        """Print one event."""
        print_json({"type": _TYPES[type(event)], **plain(event)})


class Lines(Closable):
    """Shows a batch where no terminal can draw: a line a job that ended, and the summary.

    Parameters
    ----------
    jobs : int
        How many there are.
    out : Console
        Where to.
    failures_only : bool
        Whether to leave out what went well, and the summary.
    """

    def __init__(self, jobs: int, out: Console, *, failures_only: bool) -> None:
        self._out = out
        self._counts = _Counts(jobs)
        self._failures_only = failures_only

    def close(self) -> None:
        """Nothing to let go."""

    def __call__(self, event: BatchEvent) -> None:
        """Show one event."""
        self._counts.take(event)
        match event:
            case BatchStarted() if not self._failures_only:
                _print(self._out, _started_line(event))
            case JobEnded() if event.state != "done" or not self._failures_only:
                _print(self._out, _job_line(event, self._counts))
            case Notice():
                _print(self._out, Text(one_line(event.message), "dim"))
            case BatchFinished() if not self._failures_only:
                _print(self._out, _finished_line(event.summary))


class LiveView(Closable):
    """Shows a batch on a terminal: how far it is, what runs, what failed.

    Parameters
    ----------
    jobs : int
        How many there are.
    out : Console
        The terminal.
    """

    def __init__(self, jobs: int, out: Console) -> None:
        self._out = out
        self._counts = _Counts(jobs)
        self._running: dict[int, tuple[str, float, Progress | None]] = {}
        self._recent: deque[tuple[float, int]] = deque()
        self._live = Live(console=out, auto_refresh=False, transient=True, redirect_stdout=False)
        self._drawn = 0.0

    def close(self) -> None:
        """Stop drawing; may be repeated."""
        self._live.stop()

    def __call__(self, event: BatchEvent) -> None:
        """Show one event."""
        self._counts.take(event)
        match event:
            case BatchStarted():
                _print(self._out, _started_line(event))
                self._live.start()
            case JobStarted():
                name = os.path.basename(event.output)
                self._running[event.number] = name, time.monotonic(), None
            case JobProgress():
                name, since, _ = self._running[event.number]
                self._running[event.number] = name, since, event.progress
            case JobEnded():
                self._running.pop(event.number, None)
                if event.state != "done":
                    _print(self._out, _job_line(event, self._counts))
            case Notice():
                _print(self._out, Text(one_line(event.message), "dim"))
            case BatchFinished():
                self._live.stop()
                _print(self._out, _finished_line(event.summary))
                return
        now = time.monotonic()
        if now - self._drawn >= 0.1 and self._live.is_started:
            self._drawn = now
            self._live.update(self._view(), refresh=True)

    def _view(self) -> Group:
        counts = self._counts
        head = Table.grid(padding=(0, 2, 0, 0))
        bar = ProgressBar(total=max(counts.jobs, 1), completed=counts.ended, width=40)
        fps = sum(progress.fps for _, _, progress in self._running.values() if progress)
        facts = [f"{counts.ended}/{counts.jobs} jobs", f"{counts.done} done"]
        if counts.failed:
            facts.append(f"{counts.failed} failed")
        facts += [f"{len(self._running)} running", f"{fps:.0f} fps"]
        if (left := counts.seconds_left()) is not None:
            facts.append(f"eta {duration_text(left)}")
        head.add_row(bar, Text("   ".join(facts)))
        jobs = Table.grid(padding=(0, 2, 0, 0))
        jobs.add_column(overflow="ellipsis", no_wrap=True, max_width=40)
        most = max(1, min(_MOST_SHOWN, self._out.size.height - 4))
        for name, since, progress in list(self._running.values())[:most]:
            jobs.add_row(Text(one_line(name)), *_running_cells(progress, time.monotonic() - since))
        return Group(head, jobs)


def _running_cells(progress: Progress | None, seconds: float) -> tuple[Any, ...]:
    """Return the bar of a running job, its stage, and what there is to say of it."""
    if progress is None:
        return "", "starting", Text(duration_text(seconds), "dim")
    total, encoded = progress.total_frames, progress.frames_encoded
    bar = ProgressBar(total=total or 1, completed=encoded if total else 0, width=20)
    facts = f"{encoded}{f'/{total}' if total else ''} frames   {progress.fps:.0f} fps"
    if total and encoded >= total:
        return bar, "verifying", Text(facts, "dim")
    if progress.eta_seconds is not None:
        facts += f"   eta {duration_text(progress.eta_seconds)}"
    return bar, "encoding", Text(facts, "dim")


@dataclass
class _Counts:
    """How many jobs there are, and how many ended how."""

    jobs: int
    done: int = 0
    failed: int = 0
    skipped: int = 0
    started: float = 0.0

    def take(self, event: BatchEvent) -> None:
        if isinstance(event, BatchStarted):
            self.jobs, self.skipped, self.done = event.jobs, event.skipped, event.skipped
            self.started = time.monotonic()
        elif isinstance(event, JobEnded):
            self.done += event.state == "done"
            self.failed += event.state == "failed"

    @property
    def ended(self) -> int:
        return self.done + self.failed

    def seconds_left(self) -> float | None:
        """An estimate: those that are left take as long, job by job, as those that ended."""
        ended = self.ended - self.skipped
        if not ended:
            return None
        return (time.monotonic() - self.started) / ended * (self.jobs - self.ended)


def _print(out: Console, text: Text) -> None:
    out.print(text, soft_wrap=not out.is_terminal)


def _started_line(event: BatchStarted) -> Text:
    skipped = f", {event.skipped} of them done before" if event.skipped else ""
    where = f"on {event.executor}; journal {one_line(event.journal)}"
    return Text(f"{_jobs(event.jobs)}{skipped}, {where}", "dim")


def _jobs(count: int) -> str:
    return f"{count} job{'' if count == 1 else 's'}"


def _job_line(event: JobEnded, counts: _Counts) -> Text:
    count = f"{counts.ended}/{counts.jobs}".rjust(2 * len(str(counts.jobs)) + 1)
    words, style = {
        "done": ("done", "green"),
        "failed": ("failed", "red"),
        "waiting": ("again", "yellow"),
        "running": ("running", ""),
    }[event.state]
    names = f"{one_line(event.source)} > {one_line(event.output)}"
    return Text.assemble(
        f"{count}  ", (words.ljust(8), style), f"{names}  {_outcome_text(event.outcome)}"
    )


def _outcome_text(outcome: "Outcome") -> str:
    if outcome.report is None:
        if outcome.kind == "done":
            return "published by a try whose end nobody saw"
        kind = "" if outcome.kind == "failed" else f"{outcome.kind}: "
        return one_line(f"{kind}{outcome.error}")
    report = outcome.report
    size = "" if report.output.nbytes is None else f", {size_text(report.output.nbytes)}"
    count = len(report.notices)
    notices = f", {count} notice{'' if count == 1 else 's'}" if count else ""
    return f"{report.frames} frames, {report.fps:.0f} fps{size}{notices}"


def _finished_line(summary: Summary) -> Text:
    facts = [f"{summary.done} of {summary.jobs} done"]
    if summary.failed:
        facts.append(f"{summary.failed} failed")
    if left := summary.waiting + summary.running:
        facts.append(f"{left} not run")
    facts.append(f"{summary.frames:,} frames")
    facts.append(f"{size_text(summary.source_nbytes)} > {size_text(summary.output_nbytes)}")
    facts.append(duration_text(summary.elapsed_seconds))
    text = Text(", ".join(facts), "bold")
    if summary.stopped:
        text.append(f"; stopped: {one_line(summary.stopped)}", "yellow")
    return text


def show_summary(summary: Summary, out: Console) -> None:
    """Show what became of a batch, and why jobs failed."""
    table = grid(2)
    table.add_row("manifest", one_line(summary.manifest))
    table.add_row("journal", one_line(summary.journal))
    table.add_row("batch", _batch_state(summary))
    table.add_row("jobs", str(summary.jobs))
    for name in ("done", "failed", "running", "waiting"):
        table.add_row(name, str(getattr(summary, name)))
    table.add_row("frames", f"{summary.frames:,}")
    sizes = f"{size_text(summary.source_nbytes)} > {size_text(summary.output_nbytes)}"
    table.add_row("sizes", sizes)
    show(out, table)
    if summary.failures:
        out.print()
        failures = grid(4)
        for failure in summary.failures:
            failures.add_row(
                one_line(failure.place),
                one_line(failure.source),
                Text(failure.kind, "red"),
                one_line(failure.error),
            )
        show(out, failures)


def _batch_state(summary: Summary) -> str:
    if summary.is_running:
        return "is running"
    if summary.stopped:
        return f"stopped: {one_line(summary.stopped)}"
    return "was killed; --resume goes on" if summary.running or summary.waiting else "has ended"


def show_plan(manifest: "Manifest", out: Console) -> None:
    """Show the jobs that a manifest makes."""
    table = grid(4)
    table.add_row(*(Text(title, "dim") for title in ("place", "profile", "device", "job")))
    for listed in manifest.jobs:
        fields = plan_fields(listed)
        names = f"{one_line(fields['source'])} > {one_line(fields['output'])}"
        table.add_row(one_line(listed.place), fields["profile"] or "-", fields["device"], names)
    show(out, table)
    out.print()
    if manifest.left_out:
        out.print(one_line(left_out_text(manifest)), soft_wrap=not out.is_terminal)
    out.print(f"{_jobs(len(manifest.jobs))}; nothing was run")


def plan_fields(listed: "ManifestJob") -> dict[str, Any]:
    """Return what a job of a manifest is, as plain values."""
    job = listed.job
    return {
        "number": listed.index,
        "place": listed.place,
        "profile": listed.profile,
        "device": job.device,
        "source": str(job.source),
        "output": str(job.outputs[0].path),
        "job": plain(job),
    }
