"""What compilers say, told in one line: each has a form of its own."""

import pytest

from bridges.kernels.complaint import AFTER, complaint

SOURCE = f"""prelude
#line 1 "a b.cl"
first
  second
third
#line 1 "{AFTER}"
KERNEL"""


@pytest.mark.parametrize(
    ("log", "expected"),
    [
        ("a b.cl:2:5: error: no q", "a b.cl:2: error: no q: 'second'"),
        ("a b.cl:2:5: fatal error: no q", "a b.cl:2: error: no q: 'second'"),
        ("error: a b.cl:2:5: no q", "a b.cl:2: error: no q: 'second'"),
        ("error: a b.cl:2:5 <Spelling=x.cl:2:16>: no q", "a b.cl:2: error: no q: 'second'"),
        ('a b.cl(2): error: "q" is no', "a b.cl:2: error: \"q\" is no: 'second'"),
        ("a b.cl(2): error #20: no q", "a b.cl:2: error: no q: 'second'"),
        ("a b.cl(2): catastrophic error: no q", "a b.cl:2: error: no q: 'second'"),
        ("a b.cl:1:1: warning: w\na b.cl:3:1: error: e", "a b.cl:3: error: e: 'third'"),
        ("a b.cl:3:1: error: e\na b.cl:2:1: error: f", "a b.cl:3: error: e: 'third' (and 1 more)"),
        (
            f"{AFTER}:1:1: error: e\na b.cl:2:1: error: f",
            "a b.cl:2: error: f: 'second' (and 1 more)",
        ),
        (
            f"{AFTER}:1:1: error: e",
            "a b.cl: error behind its last line: e; is a brace or semicolon missing?",
        ),
        ("<kernel>:1:1: error: e", "line 1: error: e: 'prelude'"),
        ("<kernel>:99:1: error: e", "line 99: error: e"),
        ("Linking started\nundefined symbol f\nDone", "undefined symbol f"),
        ("clBuildProgram failed: OUT_OF_HOST_MEMORY", "clBuildProgram failed: OUT_OF_HOST_MEMORY"),
        ("no reason\n given", "no reason given"),
        ("", "the compiler does not say why"),
    ],
)
def test_the_first_error_is_told_with_its_line(log, expected):
    assert complaint(log, SOURCE) == expected


def test_a_long_log_is_shortened():
    assert len(complaint("failed " * 1000, SOURCE)) == 300
