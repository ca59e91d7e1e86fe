"""The tables of a batch's page, row by row."""

from __future__ import annotations

from collections import deque
from html import escape
from typing import TYPE_CHECKING, Any

from transcode.quantity import count_text, number_text, seconds_text, size_text
from transcode.text import printable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from transcode.batch.journal import Attempt, Journal, Record
    from transcode.batch.tally import Frequent, Group, Tally

__all__ = [
    "failures",
    "frequent",
    "groups",
    "hosts",
    "jobs",
    "markup",
    "ranked",
]

_NOTHING = "-"
_STATE_KINDS = {"done": "fine", "failed": "bad", "running": "open", "waiting": "open"}
_VERIFIED = {"none": "no", "fast": "yes", "full": "frame by frame"}
_MOST_LISTED = 20


def markup(text: str) -> str:
    """Return foreign text so that it stands in a page as it is, and can be nothing else."""
    return escape(printable(text))


def _table(
    caption: str, columns: Sequence[str], rows: Iterable[str], *, name: str = "", kind: str = ""
) -> Iterator[str]:
    """Yield a table that scrolls; a column of numbers is marked by a ``#`` before its title."""
    extra = f' id="{name}"' if name else ""
    extra += f' class="{kind}"' if kind else ""
    heads = "".join(
        f'<th scope="col" class="n">{title[1:]}</th>'
        if title[0] == "#"
        else f'<th scope="col">{title}</th>'
        for title in columns
    )
    yield f'<div class="scroll" role="region" aria-label="{caption}" tabindex="0"><table{extra}>\n'
    yield f"<thead><tr>{heads}</tr></thead>\n<tbody>\n"
    yield from rows
    yield "</tbody></table></div>\n"


def _number(value: float | None, text: Callable[[float], str]) -> str:
    """Return a cell with a number, which it is sorted by."""
    if value is None:
        return f'<td class="n">{_NOTHING}</td>'
    return f'<td class="n" data-v="{value:.10g}">{text(value)}</td>'


def _link(number: int) -> str:
    return f'<a href="#job-{number}">{number}</a>'


def _files(record: Record, counted: Tally) -> str:
    """Return a cell with a job's files, without the folders that all have in common."""
    source = record.source.removeprefix(str(counted.sources))
    output = record.output.removeprefix(str(counted.outputs))
    return f'<td class="files"><bdi>{markup(source)}</bdi><bdi>{markup(output)}</bdi></td>'


def failures(journal: Journal, counted: Tally) -> Iterator[str]:
    """Yield the table of the jobs that failed."""
    columns = ("#job", "in the manifest", "source &gt; output", "how", "why", "#tries", "worker")

    def rows() -> Iterator[str]:
        for record in journal.records("failed"):
            last = _last(journal, record)
            yield (
                f'<tr><th scope="row" class="n">{_link(record.number)}</th>'
                f"<td>{markup(record.place)}</td>{_files(record, counted)}"
                f'<td class="state bad">{markup(record.kind)}</td>'
                f'<td class="error">{markup(record.error)}</td>'
                f'<td class="n">{record.tries}</td><td>{markup(last.worker if last else "")}</td>'
                "</tr>\n"
            )

    return _table("jobs that failed", columns, rows(), kind="sortable")


def frequent(caption: str, texts: Frequent) -> Iterator[str]:
    """Yield a table of texts by how often they came."""

    def rows() -> Iterator[str]:
        for times, text, number in texts.most(_MOST_LISTED):
            yield (
                f'<tr><td class="n">{count_text(times)}</td>'
                f'<td class="error">{markup(text)}</td><td class="n">{_link(number)}</td></tr>\n'
            )

    return _table(caption, ("#times", "for example", "#job"), rows())


def ranked(
    caption: str, title: str, entries: Sequence[tuple[float, int, Record]], counted: Tally
) -> Iterator[str]:
    """Yield a table of some jobs, those of highest rank first."""

    def rows() -> Iterator[str]:
        for _, _, record in sorted(entries, key=lambda entry: entry[:2], reverse=True):
            report = record.report or {}
            yield (
                f'<tr><th scope="row" class="n">{_link(record.number)}</th>'
                f"{_files(record, counted)}{_number(report['elapsed_seconds'], seconds_text)}"
                f"{_number(report['fps'], number_text)}{_number(report['frames'], count_text)}"
                "</tr>\n"
            )

    columns = ("#job", "source &gt; output", "#time", "#frames/s", "#frames")
    yield f"<h3>{title}</h3>\n"
    yield from _table(caption, columns, rows())


def groups(of: Mapping[str, Group]) -> Iterator[str]:
    """Yield the table of the profiles."""

    def rows() -> Iterator[str]:
        for name, group in of.items():
            fps = group.frames / group.seconds if group.seconds else None
            yield (
                f'<tr><th scope="row">{markup(name) or "(none)"}</th>'
                f"{_number(group.jobs, count_text)}{_number(group.done, count_text)}"
                f"{_failed(group)}{_number(group.frames, count_text)}"
                f"{_number(fps, number_text)}{_number(group.seconds, seconds_text)}"
                f"{_number(group.source_nbytes, size_text)}"
                f"{_number(group.output_nbytes, size_text)}"
                f"{_number(_percent(group.source_nbytes, group.output_nbytes), _percent_text)}"
                "</tr>\n"
            )

    columns = (
        *("profile", "#jobs", "#done", "#failed", "#frames", "#frames/s a job", "#time of all"),
        *("#source", "#output", "#output/source"),
    )
    return _table("profiles", columns, rows(), kind="sortable")


def hosts(of: Mapping[str, Group]) -> Iterator[str]:
    """Yield the table of the machines."""

    def rows() -> Iterator[str]:
        for name, group in of.items():
            yield (
                f'<tr><th scope="row">{markup(name) or "(unknown)"}</th>'
                f"{_number(group.jobs, count_text)}{_number(group.done, count_text)}"
                f"{_failed(group)}{_number(group.seconds, seconds_text)}"
                f"{_number(group.seconds / group.jobs, seconds_text)}"
                f"{_number(group.peak_nbytes or None, size_text)}</tr>\n"
            )

    columns = (
        *("machine", "#tries", "#done", "#failed", "#time of all", "#time of one"),
        "#most memory of one",
    )
    return _table("machines", columns, rows(), kind="sortable")


def jobs(journal: Journal, counted: Tally) -> Iterator[str]:
    """Yield the table of all jobs."""
    columns = (
        *("#job", "profile", "source &gt; output", "state", "#frames", "#frames/s", "#time"),
        *("#source", "#output", "#output/source", "#copied a frame", "verified", "#tries"),
        *("#most memory", "what was noticed"),
    )
    rows = (_job(record, _last(journal, record), counted) for record in journal.records())
    return _table("all jobs", columns, rows, name="jobs", kind="sortable")


def _job(record: Record, last: Attempt | None, counted: Tally) -> str:
    report: Mapping[str, Any] = record.report or {}
    read = report["source"]["nbytes"] if report else record.input and record.input.nbytes
    written = report["output"]["nbytes"] if report else record.result and record.result.nbytes
    frames = report.get("frames")
    copied = report["bytes_copied"] / frames if frames and report["route"] else None
    seconds = report.get("elapsed_seconds", last.seconds if last else None)
    verified = _VERIFIED.get(record.verified, "") if record.state == "done" else _NOTHING
    kind = _STATE_KINDS[record.state]
    state = record.state if record.state != "failed" else f"failed: {record.kind}"
    return (
        f'<tr id="job-{record.number}" data-state="{record.state}">'
        f'<th scope="row" class="n">{record.number}</th><td>{markup(record.profile)}</td>'
        f'{_files(record, counted)}<td class="state {kind}">{markup(state)}</td>'
        f"{_number(frames, count_text)}{_number(report.get('fps'), number_text)}"
        f"{_number(seconds, seconds_text)}{_number(read, size_text)}"
        f"{_number(written, size_text)}{_number(_percent(read, written), _percent_text)}"
        f"{_number(copied, size_text)}"
        f'<td>{verified}</td><td class="n">{record.tries}</td>'
        f"{_number((last and last.peak_nbytes) or None, size_text)}"
        f"{_noticed(record, report)}</tr>\n"
    )


def _noticed(record: Record, report: Mapping[str, Any]) -> str:
    """Return a cell with what there is to read about a job, folded; sorted by how much it is."""
    notices = list(report.get("notices", ()))
    facts = [f"{name}: {report[name]}" for name in ("device", "route") if report.get(name)]
    if record.state != "done":
        facts = [record.error] if record.error else []
        facts += [record.cause] if record.state == "waiting" else []
    if not notices and not facts:
        return f'<td data-v="0">{_NOTHING}</td>'
    items = "".join(f"<li>{markup(text)}</li>" for text in (*notices, *facts))
    count = len(notices)
    title = f"{count} notice{'s' * (count != 1)}" if notices else "more"
    return (
        f'<td data-v="{count}"><details><summary>{title}</summary><ul>{items}</ul></details></td>'
    )


def _last(journal: Journal, record: Record) -> Attempt | None:
    """Return the last try of a job."""
    last = deque(journal.attempts(record.output) if record.tries else (), maxlen=1)
    return last[0] if last else None


def _failed(group: Group) -> str:
    cell = _number(group.failed, count_text)
    return cell.replace('class="n"', 'class="n state bad"') if group.failed else cell


def _percent(whole: float | None, part: float | None) -> float | None:
    return 100 * part / whole if whole and part is not None else None


def _percent_text(percent: float) -> str:
    return f"{number_text(percent)} %"
