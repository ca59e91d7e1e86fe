"""A report in a notebook: a table that says what there is, whatever a file is called."""

from __future__ import annotations

from fractions import Fraction
from html.parser import HTMLParser

import pytest

from transcode import Report
from transcode.report import StreamSummary

EVIL = "<script>alert('\"&')</script>\n\udcff.mp4"
SOURCE = StreamSummary(
    path="talk.mp4",
    container="mov",
    codec="h264",
    pix_fmt="yuv420p",
    width=1280,
    height=720,
    rate=Fraction(30000, 1001),
    matrix="bt709",
    nbytes=1_055_736,
)


def report(**changes):
    fields = {
        "source": SOURCE,
        "output": StreamSummary("-", "mp4", "libx264", "gray", 640, 360, None, "unspecified", None),
        "frames": 132,
        "frames_decoded": 132,
        "duration_seconds": 5.28,
        "elapsed_seconds": 0.66,
        "fps": 200.0,
        "device": "opencl: a processor (auto: no GPU found)",
        "route": "FFmpeg > CPU > OpenCL   zero-copy",
        "bytes_copied": 132 * 1_382_400,
        "bytes_between": 0,
        "loads": (),
        "kernel_ms": 0.25,
        "stage_seconds": {"decode": 0.2, "encode": 0.4, "verify": 0.0},
        "verified": "fast",
        "notices": ("alpha dropped", "odd < even"),
    }
    return Report(**(fields | changes))


class Table(HTMLParser):
    """Reads rows of two cells, and refuses what is not closed; keeps tags and widths."""

    def __init__(self, text):
        super().__init__()
        self.rows, self.tags, self.widths, self._open = {}, set(), [], []
        self.feed(text)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        if tag != "br":
            self._open.append(tag)
        style = dict(attrs).get("style", "")
        if "border-radius" in style:
            self.widths.append(style.rpartition("width:")[2])

    def handle_endtag(self, tag):
        assert self._open.pop() == tag

    def handle_data(self, data):
        if self._open[-1] == "th":
            self._name = data
            self.rows[data] = []
        else:
            self.rows[self._name].append(data)


def rows_of(**changes):
    return Table(report(**changes)._repr_html_()).rows


def test_all_that_there_is():
    rows = rows_of()
    assert rows == {
        "source": ["talk.mp4", "1280x720, h264, yuv420p, bt709, 29.97 fps, 1.1 MB"],
        "output": ["stdout", "640x360, libx264, gray"],
        "frames": ["132 in 0.66 s: 200 fps"],
        "device": ["opencl: a processor (auto: no GPU found)"],
        "route": ["FFmpeg > CPU > OpenCL   zero-copy"],
        "copied": ["1.4 MB a frame"],
        "kernels": ["0.2 ms a frame"],
        "stages": ["decode", "0.20 s", "encode", "0.40 s", "verify", "0.00 s"],
        "checked": ["read again to its end"],
        "notices": ["alpha dropped", "odd < even"],
    }


def test_without_kernels_there_is_nothing_of_them():
    rows = rows_of(device="", route="", bytes_copied=0, kernel_ms=None, notices=())
    assert list(rows) == ["source", "output", "frames", "stages", "checked"]


def test_bars_are_as_long_as_stages_worked():
    assert Table(report()._repr_html_()).widths == ["5.00em", "10.00em", "0.00em"]
    assert Table(report(stage_seconds={"decode": 0.0})._repr_html_()).widths == ["0.00em"]


@pytest.mark.parametrize("field", ["device", "route"])
def test_texts_are_escaped(field):
    shown = report(**{field: EVIL})._repr_html_()
    assert "<script" not in shown
    assert Table(shown).rows[field] == ["<script>alert('\"&')</script>\\n\\xff.mp4"]


def test_names_and_notices_are_escaped():
    stream = StreamSummary(EVIL, EVIL, EVIL, EVIL, 2, 2, None, EVIL, 0)
    made = report(source=stream, output=stream, notices=(EVIL,), stage_seconds={EVIL: 1.0})
    table = Table(made._repr_html_())
    assert table.tags == {"table", "tbody", "tr", "th", "td", "b", "br", "div", "span"}
    assert table.rows["source"][0] == table.rows["notices"][0]
    made._repr_html_().encode()  # It is sent as UTF-8.


def test_colours_are_the_page_s_own():
    shown = report()._repr_html_()
    # Text has no colour of its own; what has one is half transparent.
    assert "color:" not in shown.replace("background-color:", "")
    assert "#" not in shown
    assert shown.count("rgba(") == shown.count("background:rgba(") + shown.count("solid rgba(")


def test_a_run_s_report_shows_itself(convert):
    path, made = convert("h264")
    rows = Table(made._repr_html_()).rows
    assert rows["output"][0] == str(path)
    assert rows["frames"][0].startswith("12 in ")
