"""``xtranscode batch``: many jobs from a manifest, with a journal of what became of them."""

import functools
import json
import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from cli.params import NBYTES, TIME

if TYPE_CHECKING:
    from transcode.batch.event import BatchEvent
    from transcode.batch.journal import Journal
    from transcode.batch.summary import Summary
    from transcode.manifest import Manifest
    from transcode.manifest_file import ManifestFormat

__all__ = ["batch"]

_NOT_ALL_DONE = 3


class _Batch(click.Group):
    """A group whose first word may also be a manifest: then its jobs are run."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Insert the name of the command that runs a manifest where no other stands."""
        if not args or args[0] not in self.commands:
            args = [_RUN, *args]
        return super().parse_args(ctx, args)

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return those that a user types."""
        return [name for name in super().list_commands(ctx) if name != _RUN]

    def get_help(self, ctx: click.Context) -> str:
        """Return the help of the command that needs no name, which tells of the others too."""
        command = self.commands[_RUN]
        width = ctx.terminal_width
        return command.get_help(_RunContext(command, ctx, _RUN, terminal_width=width))


class _RunContext(click.Context):
    """That of the command which needs no name."""

    @property
    def command_path(self) -> str:
        assert self.parent is not None
        return self.parent.command_path


class _Run(click.Command):
    """The command that needs no name."""

    context_class = _RunContext


_RUN = "run"


@click.group(cls=_Batch, short_help="Run many jobs from a manifest; go on after any failure.")
def batch() -> None:
    """Run many jobs from a manifest."""


def _print_schema(ctx: click.Context, _param: click.Parameter, wanted: bool) -> None:
    if wanted and not ctx.resilient_parsing:
        from transcode.manifest_schema import schema

        click.echo(json.dumps(schema(), indent=2))
        ctx.exit()


class _Room(click.ParamType):  # type: ignore[type-arg]  # not generic before click 8.5
    """A number of bytes, or none."""

    name = "size"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        return 0 if value in ("0", 0) else NBYTES.convert(value, param, ctx)


def _execution(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that say how jobs are run."""
    options = [
        _manifest_argument,
        _format_option,
        _root_option,
        _journal_option,
        click.option(
            "--workers",
            metavar="NUMBER",
            type=click.IntRange(1),
            help="Jobs at once; default: one for every four cores.",
        ),
        click.option(
            "--cluster",
            metavar="ADDRESS",
            default="",
            help="Run on a Dask cluster: tcp://host:8786, or local. Slots are resources of its "
            "workers.",
        ),
        click.option(
            "--max-tries",
            metavar="NUMBER",
            type=click.IntRange(1),
            default=2,
            show_default=True,
            help="How often a job is tried whose failure another try may mend.",
        ),
        click.option(
            "--fail-fast/--keep-going",
            default=False,
            help="Start no job any more after one has failed; default: go on.",
        ),
        click.option(
            "--time-limit", metavar="TIME", type=TIME, help="End a try that takes longer."
        ),
        click.option(
            "--stall-limit",
            metavar="TIME",
            type=TIME,
            default="5:00",
            show_default=True,
            help="End a try that neither makes frames nor uses a processor for so long.",
        ),
        click.option(
            "--memory-limit",
            metavar="SIZE",
            type=NBYTES,
            help="End a job whose process takes more: 4G, 512M.",
        ),
        click.option(
            "--min-free",
            "min_free_nbytes",
            metavar="SIZE",
            type=_Room(),
            default="1G",
            show_default=True,
            help="Start no job while there is less room where its output goes; 0: never mind.",
        ),
        click.option(
            "--summary", metavar="FILE", help="Write what became of it, as JSON; '-': stdout."
        ),
        click.option("--report", metavar="FILE", help="Write it as an HTML page; '-': stdout."),
        click.option("-q", "--quiet", is_flag=True, help="Show failures only."),
        click.option(
            "--progress",
            type=click.Choice(["auto", "live", "lines", "json", "none"]),
            default="auto",
            show_default=True,
            help="auto: a live view on a terminal, else a line a job. json: one object a line "
            "with a type on stdout.",
        ),
    ]
    return functools.reduce(lambda made, option: option(made), reversed(options), function)


_manifest_argument = click.argument("manifest", metavar="MANIFEST")
_format_option = click.option(
    "--format",
    "manifest_format",
    type=click.Choice(["yaml", "json", "jsonl", "csv"]),
    help="What the manifest is; default: by its name, YAML for '-'.",
)
_root_option = click.option(
    "--output-root",
    metavar="FOLDER",
    help="Where outputs lie; none may leave it. Default: as the manifest says, or here.",
)
_journal_option = click.option(
    "--journal", metavar="FILE", help="Default: MANIFEST with .journal behind it."
)


@batch.command(_RUN, cls=_Run)
@_execution
@click.option("--resume", is_flag=True, help="Go on with the journal that there is.")
@click.option("--dry-run", is_flag=True, help="Show the jobs, and run none.")
@click.option(
    "--schema",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_print_schema,
    help="Print the JSON Schema of manifests and exit.",
)
def run(dry_run: bool, **options: Any) -> int:
    """Run the jobs of a MANIFEST (YAML, JSON, JSONL or CSV; '-' is standard input).

    Each job runs in a process of its own, and what becomes of it stands in a journal. With
    --resume, jobs that are done, verified and unchanged are not run again.

    \b
    xtranscode batch jobs.yaml --workers 4
    xtranscode batch jobs.yaml --resume
    xtranscode batch status jobs.yaml
    xtranscode batch retry jobs.yaml
    xtranscode batch report jobs.yaml --html report.html

    \b
    Exit codes: 0 all jobs are done, 3 some are not; 1, 2, 130 and 143 as for all commands.
    """
    if dry_run:
        manifest = _read(**{name: options[name] for name in _READING})
        from transcode.batch.check import check_jobs

        check_jobs(manifest.jobs)
        _show_plan(manifest, options["progress"] == "json")
        return 0
    return _run(**options)


_READING = ("manifest", "manifest_format", "output_root")


@batch.command()
@_execution
def retry(**options: Any) -> int:
    """Run again the jobs of a MANIFEST that failed.

    Exit codes: 0 all jobs are done, 3 some are not.
    """
    return _run(resume=True, only_failed=True, **options)


@batch.command()
@_manifest_argument
@_journal_option
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
def status(manifest: str, journal: str | None, as_json: bool) -> int:
    """Show what became of the jobs of a MANIFEST so far; a batch may be running.

    Exit codes: 0 all jobs are done, 3 some are not.
    """
    from cli.batch_view import show_summary
    from cli.render import console, print_json

    summary = _summary(manifest, journal)
    if as_json:
        print_json(summary)
    else:
        show_summary(summary, console())
    return 0 if summary.is_complete else _NOT_ALL_DONE


@batch.command()
@_manifest_argument
@_journal_option
@click.option("--html", metavar="FILE", help="Write an HTML page there; '-' is standard output.")
def report(manifest: str, journal: str | None, html: str | None) -> None:
    """Tell in full what became of the jobs of a MANIFEST: a JSON object a job, or an HTML page."""
    from cli.render import print_json
    from transcode.batch.journal import Journal
    from transcode.batch.run_batch import journal_path

    with Journal(journal or journal_path(manifest), write=False) as opened:
        if html is not None:
            _write_page(opened, html)
            return
        for record in opened.records():
            print_json({"type": "job", **_fields(record)})


def _fields(record: Any) -> dict[str, Any]:
    from transcode.report import plain

    fields: dict[str, Any] = plain(record)
    return {**fields, "spec": json.loads(fields["spec"])}


def _write_page(journal: "Journal", html: str) -> None:
    from transcode.batch.page import page
    from transcode.publish import write_text

    if html == "-":
        for part in page(journal):
            click.echo(part, nl=False)
    else:
        write_text(html, page(journal), source=journal.path)


def _summary(manifest: str, journal: str | None) -> "Summary":
    from transcode.batch.journal import Journal
    from transcode.batch.run_batch import journal_path
    from transcode.batch.summary import summarize

    with Journal(journal or journal_path(manifest), write=False) as opened:
        return summarize(opened)


def _read(
    manifest: str, manifest_format: "ManifestFormat | None", output_root: str | None
) -> "Manifest":
    from transcode.manifest import read_manifest

    return read_manifest(manifest, format=manifest_format, output_root=output_root)


def _run(
    *,
    manifest: str,
    manifest_format: "ManifestFormat | None",
    output_root: str | None,
    journal: str | None,
    summary: str | None,
    report: str | None,
    quiet: bool,
    progress: str,
    workers: int | None,
    time_limit: Any,
    stall_limit: Any,
    memory_limit: int | None,
    **options: Any,
) -> int:
    from transcode.batch.run_batch import BatchOptions, journal_path, run_batch
    from transcode.batch.task import Limits

    path = journal or journal_path(manifest)
    read = _read(manifest, manifest_format, output_root)
    limits = Limits(
        seconds=None if time_limit is None else float(time_limit),
        stalled_seconds=float(stall_limit),
        nbytes=memory_limit,
    )
    made = BatchOptions(workers=workers or _default_workers(), limits=limits, **options)
    _check_files(read, summary, report)
    shown = _shown(len(read.jobs), progress, quiet)
    has_begun = False

    def show(event: "BatchEvent") -> None:
        nonlocal has_begun
        has_begun = True
        shown(event)

    try:
        with shown:
            found = run_batch(read, path, made, show)
    finally:
        # Of a batch that was stopped as well, but not of one that was refused.
        if has_begun and os.path.exists(path):
            _write_files(path, summary, report)
    return 0 if found.is_complete else _NOT_ALL_DONE


def _check_files(manifest: "Manifest", *written: str | None) -> None:
    """Refuse to write over the manifest, or over what a job reads or writes."""
    from transcode.errors import OutputError

    files = {os.path.realpath(path) for path in written if path not in (None, "-")}
    if not files:
        return
    for listed in manifest.jobs:
        for path in (manifest.path, listed.job.source, listed.job.outputs[0].path):
            if os.path.realpath(path) in files:
                raise OutputError(f"{path}: is the manifest's or a job's file; name another")


def _write_files(journal: str, summary: str | None, report: str | None) -> None:
    from transcode.batch.journal import Journal
    from transcode.batch.summary import summarize
    from transcode.publish import write_text
    from transcode.report import plain

    if summary is None and report is None:
        return
    with Journal(journal, write=False) as opened:
        if summary is not None:
            text = json.dumps(plain(summarize(opened)), indent=2)
            if summary == "-":
                click.echo(text)
            else:
                write_text(summary, [text, "\n"], source=journal)
        if report is not None:
            _write_page(opened, report)


def _default_workers() -> int:
    """Encoders use several threads each; see ``--workers``."""
    return max(1, len(os.sched_getaffinity(0)) // 4)


def _shown(jobs: int, progress: str, quiet: bool) -> Any:
    from cli.batch_view import JsonLines, Lines, LiveView
    from cli.render import can_show_bar, console

    if progress == "json":
        return JsonLines()
    live = progress == "live" or (progress == "auto" and can_show_bar())
    out = console(stderr=True, terminal=True if progress == "live" else None)
    if live and not quiet:
        return LiveView(jobs, out)
    return Lines(jobs, out, failures_only=quiet or progress == "none")


def _show_plan(manifest: "Manifest", as_json: bool) -> None:
    from cli.batch_view import plan_fields, show_plan
    from cli.render import console, print_json

    if as_json:
        for listed in manifest.jobs:
            print_json({"type": "job", **plan_fields(listed)})
    else:
        show_plan(manifest, console())
