"""The sample of sessions: two sizes of a clip, with its times, and nothing carried in between."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import av
import numpy as np
import pytest

from tests.helpers.require import require
from xma_plugins.drivers import open_driver
from xma_plugins.errors import NoDeviceError

ROOT = Path(__file__).resolve().parents[2]
SAMPLE = ROOT / "samples" / "xma_transcode.py"


def run(*arguments):
    return subprocess.run(
        [sys.executable, "-W", "error", str(SAMPLE), *map(str, arguments)],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )


def frames_of(path):
    with av.open(str(path)) as container:
        return list(container.decode(container.streams.video[0]))


@pytest.mark.parametrize("device", ["cpu", "opencl", "sycl", "cuda"])
def test_two_sizes(clips, tmp_path, device):
    try:
        open_driver(device).close()
    except NoDeviceError as error:
        require(device, False, str(error))
    done = run(clips.path("h264"), tmp_path / "new" / "folder", "--device", device)
    assert done.returncode == 0, done.stdout + done.stderr
    carried, *loads = done.stdout.splitlines()
    moved = re.fullmatch(r"device 0 \(.*\): <(\d+) bytes to the device, (\d+) .*>", carried)
    if device != "cuda":
        assert moved.groups() == ("0", "0")
    assert len(loads) == 1
    assert re.match(r"scaler session \d+ \(kernel_scaler\) on resize of device 0: 100.0%", loads[0])
    source = frames_of(clips.path("h264"))
    for width, height in ((1280, 720), (640, 360)):
        made = frames_of(tmp_path / "new" / "folder" / f"{width}x{height}.mp4")
        seconds = [float(frame.pts * frame.time_base) for frame in made]
        assert seconds == pytest.approx([float(each.pts * each.time_base) for each in source])
        for frame, before in zip(made, source, strict=True):
            assert (frame.width, frame.height) == (width, height)
            assert frame.colorspace == before.colorspace
            back = frame.reformat(before.width, before.height, "gray").to_ndarray()
            error = back.astype(float) - before.reformat(format="gray").to_ndarray()
            assert np.abs(error).mean() < 6


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["absent.mp4", "out"], "xma_transcode: .*absent.mp4"),
        (["absent.mp4", "out", "--device", "toaster"], "xma_transcode: .*no device 'toaster'"),
        ([], "usage: xma_transcode.py"),
    ],
)
def test_its_own_words(tmp_path, arguments, words):
    done = run(*[tmp_path / each if each == "out" else each for each in arguments])
    assert done.returncode != 0
    assert re.search(words, done.stderr)
    assert "Traceback" not in done.stderr


def test_it_is_short():
    assert len(SAMPLE.read_text().splitlines()) <= 80
