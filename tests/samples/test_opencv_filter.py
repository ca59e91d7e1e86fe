"""The sample of OpenCV: luma as OpenCV makes it, chroma and times as they were, no copy."""

from __future__ import annotations

import importlib.util

import numpy as np
import pytest

from tests.helpers.require import require
from tests.samples.program import SAMPLES, frames_of, planes_of, run, seconds_of

SAMPLE = SAMPLES / "opencv_filter.py"


def test_contrast(clips, tmp_path):
    require("opencv", importlib.util.find_spec("cv2") is not None, "it is not installed")
    import cv2

    done = run(SAMPLE, clips.path("h264"), tmp_path / "out.mp4")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        "FFmpeg > CPU > OpenCV   zero-copy",
        "OpenCV > CPU > FFmpeg   zero-copy",
    ]
    source, made = frames_of(clips.path("h264")), frames_of(tmp_path / "out.mp4")
    assert seconds_of(made) == pytest.approx(seconds_of(source))
    clahe = cv2.createCLAHE(clipLimit=3.0, tileGridSize=(8, 8))
    for before, after in zip(source, made, strict=True):
        luma, *chroma = planes_of(before)
        result, *kept = planes_of(after)
        wanted = clahe.apply(luma.astype(np.uint8)).astype(float)
        assert np.abs(wanted - luma).mean() > 10
        assert np.abs(wanted - result).mean() < 4  # What coding loses.
        for plane, other in zip(chroma, kept, strict=True):
            assert np.abs(plane - other).mean() < 2


def test_its_own_words(tmp_path):
    done = run(SAMPLE)
    assert "python samples/opencv_filter.py in.mp4 out.mp4" in done.stderr
    done = run(SAMPLE, tmp_path / "absent.mp4", tmp_path / "out.mp4")
    assert done.returncode == 1
    assert done.stderr.startswith("opencv_filter: ")
    assert "absent.mp4" in done.stderr
    assert "Traceback" not in done.stderr
