"""Many runs in one process leave memory, threads and descriptors as they were."""

from __future__ import annotations

import ctypes
import gc
import json
import os
import subprocess
import sys
import threading
from fractions import Fraction
from pathlib import Path

import transcode
from bridges.edges.cpu_to_ffmpeg import held_planes
from bridges.errors import XTranscodeError
from tests.assets.clips import library
from transcode import AudioOptions, Progress, VideoOptions

QUICK = VideoOptions(preset="ultrafast")


class EnoughError(Exception):
    """Raised by a callback to end a run in its middle."""


def _interrupt(event):
    if isinstance(event, Progress):
        raise EnoughError


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
        "threads": sorted(thread.name for thread in threading.enumerate()),
        "native threads": len(os.listdir("/proc/self/task")),
        "descriptors": sorted(os.listdir("/proc/self/fd")),
        "planes held": held_planes(),
    }


def run_all(clips, folder):
    """Run every job once; hold that as many fail as should."""
    failed = 0
    for name, options in GOOD + FAILING:
        try:
            transcode.run(
                clips.path(name),
                folder / "out.mkv",
                **{"video": QUICK, "overwrite": True, **options},
            )
        except (XTranscodeError, EnoughError):
            failed += 1
    assert failed == len(FAILING)


def probe_all(clips, folder):
    """Look at good and bad files many times."""
    for name in ("everything_mkv", "everything_mp4", "audio_only", "text") * 20:
        try:
            transcode.probe(clips.path(name))
        except XTranscodeError:
            assert name == "text"


def measure(work, folder, warm, rounds):
    """Do some work again and again; say how the process changed after it was warm."""
    clips = library(folder / "clips")
    for _ in range(warm):
        work(clips, folder)
    before, used = state(), resident_kib()
    for _ in range(rounds):
        work(clips, folder)
    print(json.dumps({"before": before, "after": state(), "grown": resident_kib() - used}))


def measured(work, folder, *, warm, rounds):
    """Measure in a process of its own with one heap, for several would grow by chance."""
    code = (
        "import sys; from pathlib import Path; from tests.transcode import test_leaks as leaks; "
        f"leaks.measure(leaks.{work.__name__}, Path(sys.argv[1]), {warm}, {rounds})"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, folder],
        cwd=Path(__file__).resolve().parents[2],
        env={**os.environ, "MALLOC_ARENA_MAX": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_sixty_runs(tmp_path):
    found = measured(run_all, tmp_path, warm=3, rounds=5)
    assert found["after"] == found["before"]
    assert found["before"]["threads"] == ["MainThread"]
    assert found["before"]["planes held"] == 0
    assert sorted(os.listdir(tmp_path)) == ["clips", "out.mkv"]
    assert found["grown"] < 2 * 1024, f"{found['grown']} KiB more after 60 runs"


def test_probing(tmp_path):
    found = measured(probe_all, tmp_path, warm=1, rounds=4)
    assert found["after"] == found["before"]
    assert found["grown"] < 2 * 1024, f"{found['grown']} KiB more after 320 probes"
