"""The examples of the guide run as they are printed."""

from __future__ import annotations

import re
import shlex
import shutil
from pathlib import Path

import pytest
from av.video.frame import VideoFrame
from click.testing import CliRunner

from bridges import Frame
from bridges.backends.cpu import CPUContext
from bridges.backends.opencl import probe
from bridges.kernels import check, get, load, names
from tests.bridges.picture import frame_info
from tests.helpers.require import require
from transcode import probe as probe_clip

ROOT = Path(__file__).resolve().parents[1]
CLIP = ROOT / "samples" / "media" / "bigbuckbunny.mp4"


def blocks(name, kind="python"):
    pattern = rf"^```{kind}\n(.*?)^```$"
    return re.findall(pattern, (ROOT / name).read_text(), re.DOTALL | re.MULTILINE)


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
def own_kernel(tmp_path, monkeypatch, clips):
    """The kernel of the guide, its reference and a short clip, in the working folder."""
    monkeypatch.chdir(tmp_path)
    shutil.copy(clips.path("h264"), "talk.mp4")
    (source,) = blocks("docs/kernels.md", "c")
    (reference,) = blocks("docs/kernels.md", "python reference")
    Path("my.cl").write_text(source)
    Path("my.py").write_text(reference)
    return load("my.cl")


@pytest.mark.usefixtures("_opencl")
def test_the_guide_to_kernels(own_kernel, monkeypatch, capsys):
    from cli.main import cli

    # One format says whether the command works, and compiles less.
    monkeypatch.setattr(check, "FORMATS", ("nv12",))
    lines = "".join(blocks("docs/kernels.md", "sh")).splitlines()
    assert len(lines) == 7
    for line in lines:
        program, *words = shlex.split(line, comments=True)
        assert program == "xtranscode"
        result = CliRunner().invoke(cli, words)
        assert result.exit_code == 0, f"{line}: {result.output}"
    outputs = ["negative.mp4", "warm.mp4", "warm2.mp4"]
    assert [probe_clip(name).video[0].frames for name in outputs] == [12, 12, 12]
    known: dict[str, object] = {}
    for example in blocks("docs/kernels.md"):
        exec(example, known)
    said = capsys.readouterr().out
    assert own_kernel.summary in said
    assert "(90, 160)" in said
    assert "[14400 14400 14400]" in said


@pytest.mark.usefixtures("_opencl")
def test_the_guide_s_error_is_what_is_said(own_kernel, monkeypatch):
    from cli.main import cli

    text = Path("my.cl").read_text()
    Path("my.cl").write_text(text.replace("scale", "scael", 1))
    words = ["run", "talk.mp4", "out.mp4", "--device", "opencl:Intel", "--filter", "my.cl"]
    (shown,) = blocks("docs/kernels.md", "text")
    assert CliRunner().invoke(cli, words).stderr.splitlines()[-1] == shown.strip()


def test_the_guide_lists_all_kernels():
    rows = re.findall(r"^\| `(\w+)` \| (.*) \|$", (ROOT / "docs/kernels.md").read_text(), re.M)
    listed = dict(rows[: len(names())])
    assert listed == {name: get(name).summary for name in names()}


def test_the_sample_s_first_kernel_is_the_guide_s(own_kernel):
    sample = (ROOT / "samples" / "own_kernels.cl").read_text()
    assert sample.startswith(Path("my.cl").read_text())


@pytest.fixture
def _opencl():
    pytest.importorskip("cv2", reason="opencv-python-headless is not installed")
    found = probe()
    require("opencl", found.available, f"{found.reason}; try: {found.remedy}")
