"""What the commands show: the lines and the bar of a run, tables, sizes, JSON."""

import json
import os
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import IO, Any, NoReturn

import click
from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.live import Live
from rich.table import Table
from rich.text import Text

from bridges.closable import Closable
from cli.errors import one_line
from transcode.job import Job, VideoOptions
from transcode.progress import Event, Finished, Notice, Progress, Started
from transcode.quantity import bit_rate_text, duration_text, rate_text, size_text
from transcode.report import Report, StreamSummary, plain

__all__ = [
    "JsonProgress",
    "TextProgress",
    "can_show_bar",
    "console",
    "grid",
    "print_json",
    "show",
]

_LABEL_WIDTH = 10
_BAR_WIDTHS = slice(8, 40)
_VERIFIED = {"none": "not verified", "fast": "verified", "full": "verified frame by frame"}


class _Console(Console):
    """A console that leaves a broken pipe to the command's own seam."""

    def on_broken_pipe(self) -> NoReturn:
        raise BrokenPipeError


def console(*, stderr: bool = False, terminal: bool | None = None) -> Console:
    """Return a console that prints what it is given, without guessing at highlights.

    Parameters
    ----------
    stderr : bool
        Whether it writes to standard error.
    terminal : bool, optional
        Whether to take the stream for a terminal; by default it is asked.
    """
    return _Console(stderr=stderr, highlight=False, markup=False, force_terminal=terminal)


def can_show_bar() -> bool:
    """Whether standard error is a terminal that can draw one line over another."""
    return sys.stderr.isatty() and os.environ.get("TERM") not in ("dumb", "unknown")


def show(out: Console, what: RenderableType) -> None:
    """Print a table; where no terminal limits the width, without padding at the line ends."""
    if out.is_terminal:
        out.print(what)
        return
    out.width = 1000
    with out.capture() as captured:
        out.print(what)
    text = "\n".join(line.rstrip() for line in captured.get().splitlines())
    out.print(Text(text), soft_wrap=True)


def grid(columns: int) -> Table:
    """Return a table without lines whose last column takes what width is left."""
    table = Table.grid(padding=(0, 3, 0, 0))
    for _ in range(columns - 1):
        table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    return table


def print_json(value: Any, *, file: IO[str] | None = None) -> None:
    """Print one JSON object on one line, at once."""
    click.echo(json.dumps(plain(value)), file=file)


def _encoding_text(video: VideoOptions) -> str:
    """Return the encoder and the quality asked for: ``"libx264 crf 23"``."""
    parts: Iterable[tuple[str, object]] = (
        ("", video.codec),
        ("preset ", video.preset),
        ("profile ", video.profile),
        ("crf ", None if video.crf is None else f"{video.crf:g}"),
        ("", None if video.bit_rate is None else bit_rate_text(video.bit_rate)),
    )
    return " ".join(f"{name}{value}" for name, value in parts if value is not None)


def _name(path: str, stream: str) -> str:
    return stream if path == "-" else one_line(path)


def _source_line(source: StreamSummary, output: StreamSummary, video: VideoOptions) -> Text:
    facts = [f"{source.width}x{source.height}"]
    if source.rate:
        facts.append(rate_text(source.rate))
    facts += [source.codec, source.matrix]
    changes = []
    if (output.width, output.height) != (source.width, source.height):
        changes.append(f"{output.width}x{output.height}")
    if video.fps is not None and output.rate:
        changes.append(rate_text(output.rate))
    if output.matrix != source.matrix:
        changes.append(output.matrix)
    return Text.assemble(
        (_name(source.path, "stdin"), "bold"),
        f"  {' '.join(facts)}  >  ",
        (_name(output.path, "stdout"), "bold"),
        f"  {' '.join([*changes, _encoding_text(video)])}",
    )


def _done_text(report: Report) -> str:
    parts = [f"{report.frames} frames", f"{report.fps:.0f} fps"]
    sizes = [end.nbytes for end in (report.source, report.output) if end.nbytes is not None]
    if sizes:
        parts.append(" > ".join(size_text(nbytes) for nbytes in sizes))
    if report.route:
        parts.append(f"{size_text(report.bytes_copied_per_frame)} copied a frame")
    if report.device_bytes:
        parts.append(f"{size_text(report.device_bytes)} on the device")
    return ", ".join([*parts, _VERIFIED[report.verified]])


@dataclass(frozen=True)
class _Bar:
    """One line that says how far a run is, cut to the width that there is.

    ``frames ████████ 66/132   kernel 0.2 ms   encode 212 fps   eta 0:01``
    """

    progress: Progress

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        now = self.progress
        total = now.total_frames
        # Frames written, not decoded: trimming and --fps change how many of those there are.
        count = str(now.frames_encoded)
        if total:
            count = f"{count.rjust(len(str(total)))}/{total}"
        facts = {"encode": f"{now.fps:.0f} fps"}
        if now.kernel_ms is not None:
            facts = {"kernel": f"{now.kernel_ms:.1f} ms", **facts}
        if now.eta_seconds is not None:
            facts["eta"] = duration_text(now.eta_seconds)
        room = options.max_width - len(f"frames {count} ") - _width(facts)
        for name in ("kernel", "eta", "encode"):
            if room < (_BAR_WIDTHS.start if total else -1) and name in facts:
                room += _width({name: facts.pop(name)})
        line = Text("frames ", no_wrap=True, overflow="crop")
        if total and room >= _BAR_WIDTHS.start:
            width = min(room, _BAR_WIDTHS.stop)
            full = min(width * now.frames_encoded // total, width)
            block, space = ("#", ".") if options.ascii_only else ("█", "░")
            line.append(block * full, "green").append(f"{space * (width - full)} ", "dim")
        line.append(count)
        for name, value in facts.items():
            line.append(f"   {name} ", "dim").append(value)
        yield line


def _width(facts: Mapping[str, str]) -> int:
    return sum(4 + len(name) + len(value) for name, value in facts.items())


class TextProgress(Closable):
    """Shows a run to a person, on standard error.

    Parameters
    ----------
    job : Job
        What is run.
    out : Console
        Where to.
    bar : bool
        Whether to draw a progress bar.
    verbose : bool
        Whether to add the times of the stages.
    """

    def __init__(self, job: Job, out: Console, *, bar: bool, verbose: bool) -> None:
        self._video = job.outputs[0].video
        self._out = out
        self._verbose = verbose
        self._live = Live(console=out, auto_refresh=False, redirect_stdout=False) if bar else None
        self._last: Progress | None = None

    def close(self) -> None:
        """Stop drawing the bar; may be repeated."""
        if self._live is not None:
            self._live.stop()

    def __call__(self, event: Event) -> None:
        """Show one event."""
        match event:
            case Started():
                self._print(_source_line(event.source, event.output, self._video))
                self._label("device", event.device)
                self._label("route", event.route)
            case Progress():
                self._draw(event)
            case Notice():
                self._print(Text(one_line(event.message), "dim"))
            case Finished():
                self._finish(event.report)

    def _print(self, text: Text) -> None:
        self._out.print(text, soft_wrap=not self._out.is_terminal)

    def _label(self, label: str, value: str) -> None:
        if value:
            self._print(Text.assemble((label.ljust(_LABEL_WIDTH), "dim"), one_line(value)))

    def _draw(self, progress: Progress) -> None:
        self._last = progress
        if self._live is not None:
            if not self._live.is_started:
                self._live.start()
            self._live.update(_Bar(progress), refresh=True)

    def _finish(self, report: Report) -> None:
        if self._last is not None:
            count = report.frames
            done = replace(self._last, frames_encoded=count, total_frames=count)
            self._draw(replace(done, fps=report.fps, kernel_ms=report.kernel_ms, eta_seconds=0.0))
        if self._live is not None:
            self._live.stop()
        self._label("done", _done_text(report))
        if self._verbose:
            times = [f"{name} {spent:.2f} s" for name, spent in report.stage_seconds.items()]
            self._label("stages", ", ".join([*times, f"all {report.elapsed_seconds:.2f} s"]))


class JsonProgress(Closable):
    """Tells a run to a program: one JSON object a line, with a ``type``.

    Parameters
    ----------
    stderr : bool
        Whether to write to standard error, because standard output carries the video.
    """

    def __init__(self, *, stderr: bool) -> None:
        self._stderr = stderr

    def close(self) -> None:
        """Nothing to let go: every line is written at once."""

    def __call__(self, event: Event) -> None:
        """Print one event."""
        self.write(type(event).__name__.lower(), plain(event))

    def write(self, kind: str, fields: Mapping[str, object]) -> None:
        """Print one line."""
        print_json({"type": kind, **fields}, file=sys.stderr if self._stderr else sys.stdout)
