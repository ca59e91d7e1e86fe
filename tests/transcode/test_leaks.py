"""Many runs in one process leave memory, threads and descriptors as they were."""

from __future__ import annotations

import ctypes
import gc
import os
import threading
from fractions import Fraction
from pathlib import Path

import pytest

import transcode
from bridges.edges.cpu_to_ffmpeg import held_planes
from bridges.errors import XTranscodeError
from transcode import AudioOptions, Progress, VideoOptions

QUICK = VideoOptions(preset="ultrafast")


class _Enough(Exception):
    """Raised by a callback to end a run in its middle."""


def _interrupt(event):
    if isinstance(event, Progress):
        raise _Enough


GOOD = [
    ("everything_mkv", {}),
    ("everything_mp4", {"audio": AudioOptions(codec="aac"), "verify": "full"}),
    ("odd_yuv420p", {"vf": "hflip,scale=96:64"}),
    ("long_gop", {"start": Fraction(1), "duration": Fraction(1)}),
    ("cut_mkv", {"damaged": "keep"}),
]
FAILING = [
    ("cut_mkv", {}),
    ("noise", {}),
    ("text", {}),
    ("h264", {"video": VideoOptions(preset="nosuch")}),
    ("h264", {"vf": "scale=abc:def"}),
    ("h264", {"video": VideoOptions(codec="libvpx-vp9", pix_fmt="rgb24")}),
    ("long_gop", {"on_progress": _interrupt}),
]


def resident_kib():
    """Return the memory in use, after what is free was given back to the system."""
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1])
    raise AssertionError("no VmRSS in /proc/self/status")


def state():
    gc.collect()
    return {
        "threads": {thread.name for thread in threading.enumerate()},
        "native threads": len(os.listdir("/proc/self/task")),
        "descriptors": sorted(os.listdir("/proc/self/fd")),
        "planes held": held_planes(),
    }


def run_all(clips, folder):
    """Run every job once; return how many there were of each kind."""
    done = failed = 0
    for name, options in GOOD + FAILING:
        try:
            transcode.run(
                clips.path(name), folder / "out.mkv", **{"video": QUICK, "overwrite": True, **options}
            )
            done += 1
        except (XTranscodeError, _Enough):
            failed += 1
    return done, failed


@pytest.mark.parametrize("rounds", [5])
def test_sixty_runs(clips, tmp_path, rounds):
    for _ in range(3):
        assert run_all(clips, tmp_path) == (len(GOOD), len(FAILING))
    before, used = state(), resident_kib()
    for _ in range(rounds):
        assert run_all(clips, tmp_path) == (len(GOOD), len(FAILING))
    grown = resident_kib() - used
    assert state() == before
    assert os.listdir(tmp_path) == ["out.mkv"]
    assert grown < 6 * 1024, f"{grown} KiB more after {rounds * len(GOOD + FAILING)} runs"


@pytest.mark.parametrize("name", ["everything_mkv", "everything_mp4", "audio_only", "text"])
def test_probing(clips, name):
    def probe():
        try:
            transcode.probe(clips.path(name))
        except XTranscodeError:
            assert name == "text"

    for _ in range(30):
        probe()
    before, used = state(), resident_kib()
    for _ in range(150):
        probe()
    grown = resident_kib() - used
    assert state() == before
    assert grown < 4 * 1024, f"{grown} KiB more after 150 probes"
