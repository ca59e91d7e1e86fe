"""The notebooks, each from a clean kernel as a reader runs it; what they show is looked at."""

from __future__ import annotations

import base64
import io
import os
import re
from pathlib import Path

import av
import nbformat
import numpy as np
import pytest
from nbclient import NotebookClient

from bridges.backends.opencl import probe
from bridges.backends.opencl_vendors import wheel_library
from tests.helpers.require import require

ROOT = Path(__file__).resolve().parents[2]
NOTEBOOKS = sorted((ROOT / "samples" / "notebooks").glob("*.ipynb"))
NAMES = [path.stem for path in NOTEBOOKS]

STRICT = "import warnings\nwarnings.simplefilter('error')"


def notebook(name):
    return nbformat.read(ROOT / "samples" / "notebooks" / f"{name}.ipynb", as_version=4)


class Shown:
    """What the cells of a notebook put out."""

    def __init__(self, cells):
        outputs = [each for cell in cells if cell.cell_type == "code" for each in cell.outputs]
        data = [each.data for each in outputs if "data" in each]
        self.text = "".join(each.text for each in outputs if each.output_type == "stream")
        self.complaints = [each.text for each in outputs if each.get("name") == "stderr"]
        self.results = [each["text/plain"] for each in data]
        self.pictures = [rgb_of(each["image/png"]) for each in data if "image/png" in each]
        html = [each["text/html"] for each in data if "text/html" in each]
        self.reports = [each for each in html if each.startswith("<table")]
        self.videos = [video_of(each) for each in html if each.startswith("<video")]


def rgb_of(png):
    """Return a picture as floats."""
    with av.open(io.BytesIO(base64.b64decode(png))) as file:
        (frame,) = file.decode(video=0)
    return frame.to_ndarray(format="rgb24").astype(float)


def video_of(html):
    """Return how many frames a video of a page has, and their size."""
    encoded = re.search(r"base64,([^\"]+)\"", html)[1]
    with av.open(io.BytesIO(base64.b64decode(encoded))) as file:
        frames = list(file.decode(video=0))
    return len(frames), frames[0].width, frames[0].height


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Run a notebook, beside the clip, with what pip installs and nothing of the checkout."""
    found = probe()
    require("opencl", found.available, f"{found.reason}; try: {found.remedy}")
    (tmp_path / "media").symlink_to(ROOT / "samples" / "media")
    (tmp_path / "notebooks").mkdir()
    (tmp_path / "tmp").mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "tmp"))
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    if wheel_library() is not None:
        # Runtimes of the system take long to compile, and add nothing to what a notebook says.
        (tmp_path / "intel.icd").write_text(f"{wheel_library()}\n")
        monkeypatch.setenv("OCL_ICD_VENDORS", f"{tmp_path}/")
        monkeypatch.setenv("OCL_ICD_FILENAMES", str(wheel_library()))

    def run(name):
        made = notebook(name)
        made.cells.insert(0, nbformat.v4.new_code_cell(STRICT))
        folder = {"metadata": {"path": str(tmp_path / "notebooks")}}
        NotebookClient(made, timeout=60, kernel_name="python3", resources=folder).execute()
        shown = Shown(made.cells)
        assert shown.complaints == []
        assert os.listdir(tmp_path / "notebooks") == []
        return shown

    return run


@pytest.mark.parametrize("name", NAMES)
def test_nothing_of_a_run_is_kept(name):
    text = (ROOT / "samples" / "notebooks" / f"{name}.ipynb").read_text()
    made = nbformat.reads(text, as_version=4)
    nbformat.validate(made)
    assert made.metadata.kernelspec.name == "python3"
    for cell in made.cells:
        if cell.cell_type == "code":
            remedy = "run: jupyter nbconvert --clear-output --inplace samples/notebooks/*.ipynb"
            assert cell.outputs == [], remedy
            assert cell.execution_count is None, remedy
    assert not re.search(r"/(home|root|tmp|work|Users|usr)/", text)


@pytest.mark.parametrize("name", NAMES)
def test_a_notebook_is_short_and_begins_with_what_it_is(name):
    made = notebook(name)
    assert 15 <= len(made.cells) <= 33
    assert made.cells[0].cell_type == "markdown"
    assert made.cells[0].source.startswith("# ")
    assert "pip install 'xtranscode[" in made.cells[0].source
    for cell in made.cells:
        assert len(cell.source.splitlines()) <= 60
    for link in re.findall(r"\]\(([^)]+)\)", "".join(cell.source for cell in made.cells)):
        assert (ROOT / "samples" / "notebooks" / link).exists(), link


def test_there_are_four():
    assert NAMES == [
        "01_rgb_to_gray",
        "02_where_a_frame_lives",
        "03_write_a_kernel",
        "04_xma_plugin",
    ]


def test_rgb_to_gray(run):
    shown = run("01_rgb_to_gray")
    assert "rgb_to_grayscale takes the luma" in shown.text
    assert "BT709      red  54  green 182  blue  18" in shown.text
    distances = [float(each) for each in re.findall(r"([\d.]+) codes at most", shown.text)]
    assert len(distances) == 4
    assert max(distances) < 0.525
    assert "518,400 samples alike" in shown.text
    assert "10 frames of yuv420p: luma as it was, no colour left" in shown.text
    colour, gray = shown.pictures
    assert colour.shape == gray.shape == (270, 480, 3)
    assert np.ptp(colour, axis=2).mean() > 20
    assert np.ptp(gray, axis=2).max() <= 1
    # Either is scaled and coded in its own way.
    luma = colour @ [0.299, 0.587, 0.114]
    assert np.corrcoef(luma.ravel(), gray[..., 0].ravel())[0, 1] > 0.98
    (report,) = shown.reports
    assert "FFmpeg &gt; CPU &gt; OpenCL &gt; CPU &gt; FFmpeg" in report
    assert "0 B a frame" in report
    assert shown.videos == [(75, 480, 270)]


def test_where_a_frame_lives(run):
    shown = run("02_where_a_frame_lives")
    array, plane = re.search(
        r"array lies at (0x\w+), FFmpeg's plane at (0x\w+)", shown.text
    ).groups()
    buffer = re.search(r"Buffer of [\d,]+ bytes over (0x\w+)", shown.text)[1]
    assert array == plane == buffer
    assert "read-only" in shown.text
    assert "<Route FFmpeg > CPU > OpenCL   zero-copy   taken>" in shown.text
    assert "CPU > OpenCL   3 times   4,147,200 B" in shown.text
    assert (
        "<MapperChain FFmpeg > CPU > OpenCL   4,147,200 B copied in CPU > OpenCL>" in shown.results
    )
    before, after = shown.pictures
    assert before.shape == after.shape == (270, 480, 3)
    # The negative, but for what leaves the range on its way through 4:2:0 and limited range.
    assert np.abs(255 - before - after).mean() < 3
    assert len(shown.reports) == 1
    assert "0 B a frame along FFmpeg > CPU > OpenCL > CPU > FFmpeg" in shown.text


def test_write_a_kernel(run):
    shown = run("03_write_a_kernel")
    assert "strength: float = 1.0   0 leaves the picture" in shown.text
    assert "wrong.cl:9: error: use of undeclared identifier 'scael'" in shown.text
    assert "float64 reference" in shown.text
    assert "differs" not in shown.text
    assert "failed" not in shown.text
    assert "0 B copied a frame, verified" in shown.text
    day, dark, half, chained, last = shown.pictures
    luma = day @ [0.299, 0.587, 0.114]
    for night in (dark, chained, last):
        red, green, blue = night.mean(axis=(0, 1))
        assert green > 2 * max(red, blue)
    rows = [dark[first::4, :, 1].mean() for first in range(4)]
    assert rows[0] < 0.8 * min(rows[1:])
    assert np.corrcoef(luma[1::4].ravel(), dark[1::4, :, 1].ravel())[0, 1] > 0.98
    assert np.abs(half - day).mean() < np.abs(dark - day).mean()
    assert len(shown.reports) == 1


def test_xma_plugin(run):
    shown = run("04_xma_plugin")
    assert "is out of order: nothing was sent yet; call send_frame first" in shown.text
    assert "receive: SUCCESS <XmaFrame yuv420p 1280x720, HOST, pts 0>" in shown.text
    assert "breaks no rule in 14 scenarios" in shown.text
    assert "plugin careless.py:Trails breaks rules" in shown.text
    assert "trails.py keeps the rules: 14 passed, 0 broken" in shown.text
    before, after = shown.pictures
    assert before.shape == after.shape == (270, 480, 3)
    # A trail only brightens; what coding loses stays small.
    assert (after - before).mean() > 1
    assert np.mean(after.mean(axis=2) < before.mean(axis=2) - 25) < 0.01
    assert shown.videos == [(50, 480, 270)]
    assert len(shown.reports) == 1
