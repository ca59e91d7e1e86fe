"""The sample of GStreamer: a pipeline's colour, inverted by a kernel, in a file of FFmpeg's."""

from __future__ import annotations

import ast
import re
import shlex

import numpy as np
import pytest

from bridges.backends.gstreamer import probe
from tests.helpers.require import require
from tests.samples.program import SAMPLES, frames_of, planes_of, run, seconds_of

SAMPLE = SAMPLES / "gstreamer_source.py"
TREE = ast.parse(SAMPLE.read_text())
COLOUR = (0x20, 0x40, 0xC0)
PIPELINE = (
    "videotestsrc num-buffers=10 pattern=solid-color foreground-color=0xff2040c0 ! "
    "video/x-raw,format=I420,width=160,height=96,framerate=25/1,colorimetry=bt601"
)


@pytest.fixture(autouse=True)
def _gstreamer(needs_opencl):
    found = probe()
    require("gstreamer", found.available, f"{found.reason}; try: {found.remedy}")


def yuv_of(rgb):
    """Return limited-range codes of a colour: ITU-R BT.601-7, items 2.5.1 to 2.5.3."""
    red, green, blue = (part / 255 for part in rgb)
    luma = 0.299 * red + 0.587 * green + 0.114 * blue
    return (
        16 + 219 * luma,
        128 + 224 * (blue - luma) / 1.772,
        128 + 224 * (red - luma) / 1.402,
    )


def test_a_negative(tmp_path):
    done = run(SAMPLE, tmp_path / "out.mp4", PIPELINE, "invert")
    assert done.returncode == 0, done.stderr
    way, back = done.stdout.splitlines()
    assert (way, back) == ("GStreamer > OpenCL   zero-copy", "OpenCL > CPU > FFmpeg   zero-copy")
    frames = frames_of(tmp_path / "out.mp4")
    assert seconds_of(frames) == pytest.approx([number / 25 for number in range(10)])
    wanted = yuv_of([255 - part for part in COLOUR])
    for frame in frames:
        for plane, code in zip(planes_of(frame), wanted, strict=True):
            assert np.abs(plane - code).max() < 3


def test_the_example_of_its_own_words(tmp_path):
    (example,) = re.findall(r"    python (.*?)\n\n", ast.get_docstring(TREE), re.DOTALL)
    _, *words = shlex.split(example.replace("\\\n", ""))
    done = run(SAMPLE, *[tmp_path / each if each == "out.mp4" else each for each in words])
    assert done.returncode == 0, done.stderr
    assert len(frames_of(tmp_path / "out.mp4")) == 50


@pytest.mark.parametrize(
    ("pipeline", "words"),
    [
        ("no_such_element", "no such pipeline: .*no_such_element"),
        ("filesrc location=/no/such/file ! decodebin", "the pipeline failed: "),
    ],
)
def test_what_fails_is_said(tmp_path, pipeline, words):
    done = run(SAMPLE, tmp_path / "out.mp4", pipeline)
    assert done.returncode == 1
    assert done.stderr.startswith("gstreamer_source: ")
    assert len(done.stderr.splitlines()) == 1
    assert re.search(words, done.stderr)
