"""Texts on one line, and the bar."""

import io

from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from cli.errors import one_line
from cli.render import _Bar
from transcode import Progress


@given(st.text())
def test_one_line_is_one_line_that_can_be_printed(text):
    assert one_line(text).isprintable()


def bar(progress, width, encoding="utf-8"):
    file = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    console = Console(file=file, width=width, force_terminal=True, no_color=True, color_system=None)
    console.print(_Bar(progress))
    file.flush()
    return file.buffer.getvalue().decode(encoding)


@given(
    encoded=st.integers(0, 10**6),
    total=st.none() | st.integers(0, 10**6),
    fps=st.floats(0, 1e5),
    kernel_ms=st.none() | st.floats(0, 1e4),
    eta=st.none() | st.floats(0, 1e6),
    width=st.integers(10, 200),
)
def test_the_bar_always_fits_one_line(encoded, total, fps, kernel_ms, eta, width):
    line = bar(Progress(encoded, encoded, total, fps, kernel_ms, eta, 0), width)
    assert line.count("\n") == 1
    assert len(line.rstrip("\n")) <= width


def test_what_matters_least_goes_first():
    progress = Progress(70, 66, 132, 212.3, 0.21, 61, 0)
    shown = [bar(progress, width).strip() for width in (80, 60, 40, 30, 20)]
    assert shown == [
        "frames ██████████░░░░░░░░░░░  66/132   kernel 0.2 ms   encode 212 fps   eta 1:01",
        "frames ████████░░░░░░░░░  66/132   encode 212 fps   eta 1:01",
        "frames ████░░░░  66/132   encode 212 fps",
        "frames ███████░░░░░░░░  66/132",
        "frames  66/132",
    ]


def test_no_total_no_bar():
    assert bar(Progress(5, 4, None, 2.0, None, None, 0), 80) == "frames 4   encode 2 fps\n"


def test_a_terminal_without_unicode_gets_another_bar():
    line = bar(Progress(66, 66, 132, 2.0, None, None, 0), 60, encoding="ascii")
    assert line.startswith("frames ####")
