"""The sample of the memory layer: red is not blue, on any device."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import av
import numpy as np
import pytest

from bridges.backends.opencl import probe as probe_opencl
from bridges.backends.sycl import probe as probe_sycl
from tests.helpers.require import require

ROOT = Path(__file__).resolve().parents[2]
SAMPLE = ROOT / "samples" / "rgb_to_grayscale.py"
COLOURS = {"red": (255, 0, 0), "green": (0, 255, 0), "blue": (0, 0, 255), "white": (255,) * 3}
WEIGHTS = np.array([0.2126, 0.7152, 0.0722])  # ITU-R BT.709-6, item 3.2.
WIDTH, HEIGHT = 70, 34
ROUTES = {
    "CPU": "FFmpeg > CPU   zero-copy",
    "OpenCL": "FFmpeg > CPU > OpenCL   zero-copy",
    "SYCL": "FFmpeg > CPU > SYCL   zero-copy",
}


def run(*arguments):
    return subprocess.run(
        [sys.executable, str(SAMPLE), *map(str, arguments)],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )


def write(path, arrays, pix_fmt):
    with av.open(str(path), "w") as out:
        stream = out.add_stream("rawvideo", rate=25)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, pix_fmt
        for array in arrays:
            frame = av.VideoFrame.from_ndarray(array, format="rgb24")
            # Within RGB this only moves bytes.
            out.mux(stream.encode(frame.reformat(format=pix_fmt)))
        out.mux(stream.encode())


@pytest.mark.parametrize("memory", ROUTES)
@pytest.mark.parametrize("pix_fmt", ["rgb24", "bgr24", "rgba", "bgra", "gbrp"])
def test_pure_colours(tmp_path, pix_fmt, memory):
    if memory != "CPU":
        probe = {"OpenCL": probe_opencl, "SYCL": probe_sycl}[memory]()
        require(probe.name, probe.available, probe.reason)
    random = np.random.default_rng(2)
    arrays = [np.full((HEIGHT, WIDTH, 3), colour, np.uint8) for colour in COLOURS.values()]
    arrays.append(random.integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8))
    source, target = tmp_path / "colours.nut", tmp_path / "out.gray"
    write(source, arrays, pix_fmt)
    done = run(source, target, memory)
    assert (done.returncode, done.stdout) == (0, f"5 pictures by {ROUTES[memory]}\n"), done.stderr
    gray = np.fromfile(target, np.uint8).reshape(len(arrays), HEIGHT, WIDTH)
    for picture, colour in zip(gray, COLOURS.values(), strict=False):
        assert (picture == round(float(WEIGHTS @ colour))).all()
    assert np.abs(gray[-1] - arrays[-1] @ WEIGHTS).max() <= 0.525  # Half a code and 1/40.


def test_its_own_words():
    done = run()
    assert done.returncode != 0
    assert "input.mp4 output.gray" in done.stderr
    assert "Traceback" not in done.stderr
    done = run("absent.mp4", "out.gray")
    assert done.returncode != 0
    assert "cannot open absent.mp4" in done.stderr
    assert "absent.mp4" in done.stderr
