"""A report as a notebook shows it: one small table, in the colours of the page around it."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

from transcode.quantity import rate_text, size_text
from transcode.text import printable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from transcode.report import Report, StreamSummary

__all__ = ["report_html"]

# Styles stand at each element, because pages that show notebooks drop style sheets. Lines and bars
# are half transparent, and text has the page's own colour, so that they suit light and dark.
_TABLE = "border-collapse:collapse;margin:0.5em 0"
_ROW = "background:transparent"
_NAME = (
    "text-align:left;vertical-align:top;padding:0.2em 1.2em 0.2em 0;font-weight:normal;"
    "opacity:0.65;white-space:nowrap;border:none;border-bottom:1px solid rgba(128,128,128,0.25)"
)
_VALUE = (
    "text-align:left;vertical-align:top;padding:0.2em 0;overflow-wrap:anywhere;"
    "border:none;border-bottom:1px solid rgba(128,128,128,0.25)"
)
_STAGE = "display:flex;align-items:center"
_BAR = "height:0.6em;background:rgba(70,130,200,0.65);border-radius:0.2em"
_CHECKED = {
    "none": "not verified",
    "fast": "read again to its end",
    "full": "decoded again to its end",
}


def report_html(report: Report) -> str:
    """Return a report as one HTML table; what came from outside is escaped."""
    rows = "".join(
        f'<tr style="{_ROW}"><th style="{_NAME}">{name}</th><td style="{_VALUE}">{value}</td></tr>'
        for name, value in _rows(report)
    )
    return f'<table style="{_TABLE}"><tbody>{rows}</tbody></table>'


def _rows(report: Report) -> Iterator[tuple[str, str]]:
    yield "source", _end(report.source, "stdin")
    yield "output", _end(report.output, "stdout")
    seconds = f"{report.elapsed_seconds:.2f} s"
    yield "frames", f"{report.frames} in {seconds}: {report.fps:.0f} fps"
    if report.device:
        yield "device", _text(report.device)
    if report.route:
        yield "route", _text(report.route)
        yield "copied", f"{size_text(report.bytes_copied_per_frame)} a frame"
    if report.device_bytes:
        yield "device memory", size_text(report.device_bytes)
    if report.kernel_ms is not None:
        yield "kernels", f"{report.kernel_ms:.1f} ms a frame"
    yield "stages", _stages(report)
    yield "checked", _CHECKED[report.verified]
    if report.notices:
        yield "notices", "<br>".join(map(_text, report.notices))


def _end(end: StreamSummary, stream: str) -> str:
    """Return a file's name, and what is in it."""
    facts = [f"{end.width}x{end.height}", end.codec, end.pix_fmt]
    if end.matrix != "unspecified":
        facts.append(end.matrix)
    if end.rate:
        facts.append(rate_text(end.rate))
    if end.nbytes is not None:
        facts.append(size_text(end.nbytes))
    name = stream if end.path == "-" else end.path
    return f"<b>{_text(name)}</b><br>{_text(', '.join(facts))}"


def _stages(report: Report) -> str:
    """Return a bar for each stage, as long as it worked."""
    longest = max(report.stage_seconds.values(), default=0.0) or 1.0
    return "".join(
        f'<div style="{_STAGE}"><span style="width:5em">{_text(name)}</span>'
        f'<span style="width:5em">{seconds:.2f} s</span>'
        f'<span style="{_BAR};width:{10 * seconds / longest:.2f}em"></span></div>'
        for name, seconds in report.stage_seconds.items()
    )


def _text(text: str) -> str:
    """Escape a text, which may hold a file's name: markup, and what cannot be printed."""
    return escape(printable(text))
