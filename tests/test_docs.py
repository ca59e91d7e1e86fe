"""The examples of the guide run as they are printed."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest
from av.video.frame import VideoFrame

from bridges import Frame
from bridges.backends.cpu import CPUContext
from bridges.backends.opencl import probe
from tests.bridges.picture import frame_info
from tests.helpers.require import require

ROOT = Path(__file__).resolve().parents[1]
CLIP = ROOT / "samples" / "media" / "bigbuckbunny.mp4"


def blocks(name):
    return re.findall(
        r"^```python\n(.*?)^```$", (ROOT / name).read_text(), re.DOTALL | re.MULTILINE
    )


@pytest.mark.usefixtures("_opencl")
def test_the_guide_to_memory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shutil.copy(CLIP, "talk.mp4")
    names = {
        "cpu": CPUContext(),
        "info": frame_info("gray", (64, 36)).planes[0],
        "picture": VideoFrame(64, 36, "yuv420p"),
    }
    examples = blocks("docs/memory.md")
    assert len(examples) >= 4
    for example in examples:
        exec(example, names)
    assert Path("talk.gray").stat().st_size == 1280 * 720 * 132
    assert isinstance(names["frame"], Frame)


@pytest.mark.usefixtures("_opencl")
def test_the_readme_s_frame(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    shutil.copy(CLIP, "talk.mp4")
    example = next(text for text in blocks("README.md") if "create_mapper" in text)
    exec(example, {})
    assert capsys.readouterr().out == "FFmpeg > CPU > OpenCL   zero-copy\n"


@pytest.fixture
def _opencl():
    pytest.importorskip("cv2", reason="opencv-python-headless is not installed")
    found = probe()
    require("opencl", found.available, f"{found.reason}; try: {found.remedy}")
