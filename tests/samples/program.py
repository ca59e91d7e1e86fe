"""A sample run as people run it, and the frames of what it wrote."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import av

ROOT = Path(__file__).resolve().parents[2]
SAMPLES = ROOT / "samples"


def run(*words, path=ROOT):
    """Run Python with a command line; every warning is an error."""
    return subprocess.run(
        [sys.executable, "-W", "error", *map(str, words)],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(map(str, [path, ROOT]))},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )


def frames_of(path):
    """Return the decoded frames of a file's video."""
    with av.open(str(path)) as container:
        return list(container.decode(container.streams.video[0]))


def planes_of(frame):
    """Return the planes of a planar frame of 8 bits as floats."""
    assert frame.format.name == "yuv420p"
    rows = frame.to_ndarray().astype(float)
    height, width = frame.height, frame.width
    chroma = rows[height:].reshape(2, height // 2, width // 2)
    return rows[:height], *chroma


def seconds_of(frames):
    """Return when frames are shown."""
    return [float(frame.pts * frame.time_base) for frame in frames]
