"""The sample of OpenVINO: edges as their formula has them, no colour, no copy."""

from __future__ import annotations

import importlib.util

import numpy as np
import pytest

from tests.helpers.require import require
from tests.samples.program import SAMPLES, frames_of, planes_of, run, seconds_of

SAMPLE = SAMPLES / "openvino_filter.py"


def edges_of(luma):
    """Return how much each sample differs from its eight neighbours; beyond the edge is nothing."""
    padded = np.pad(luma, 1)
    height, width = luma.shape
    around = sum(padded[y : y + height, x : x + width] for y in range(3) for x in range(3))
    return np.clip(16 + np.abs(around - 9 * luma), 16, 235)


def test_edges(clips, tmp_path):
    require("openvino", importlib.util.find_spec("openvino") is not None, "it is not installed")
    done = run(SAMPLE, clips.path("h264"), tmp_path / "out.mp4")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        "FFmpeg > CPU > OpenVINO   zero-copy",
        "OpenVINO > CPU > FFmpeg   zero-copy",
    ]
    source, made = frames_of(clips.path("h264")), frames_of(tmp_path / "out.mp4")
    assert seconds_of(made) == pytest.approx(seconds_of(source))
    for before, after in zip(source, made, strict=True):
        wanted = edges_of(planes_of(before)[0])
        result, *chroma = planes_of(after)
        assert np.abs(wanted - result).mean() < 0.1 * np.ptp(wanted)  # What coding loses.
        assert np.corrcoef(wanted.ravel(), result.ravel())[0, 1] > 0.95
        assert np.abs(np.array(chroma) - 128).max() <= 1


def test_its_own_words(tmp_path):
    done = run(SAMPLE)
    assert "python samples/openvino_filter.py in.mp4 out.mp4" in done.stderr
    done = run(SAMPLE, tmp_path / "absent.mp4", tmp_path / "out.mp4")
    assert done.returncode == 1
    assert done.stderr.startswith("openvino_filter: ")
    assert "Traceback" not in done.stderr
