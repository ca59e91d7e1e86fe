"""The examples of the guide run as they are printed."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import av
import pytest
from av.video.frame import VideoFrame
from click.testing import CliRunner

import xma_plugins
from bridges import Frame
from bridges.backends.cpu import CPUContext
from bridges.backends.opencl import OpenCLContext, probe
from bridges.kernels import check, get, load, names
from bridges.routes import declared_edges
from tests.bridges.picture import frame_info
from tests.helpers.require import require
from tests.xma_plugins import noop
from tests.xma_plugins.xclbin import COPY, write
from transcode import probe as probe_clip
from xma_plugins import Device
from xma_plugins.drivers.opencl import OpenCLDriver

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
    sample = (ROOT / "samples" / "custom_kernel.cl").read_text()
    assert sample.startswith(Path("my.cl").read_text())


@pytest.fixture
def guide_to_xma(tmp_path, monkeypatch, own_kernel):
    """The names that the guide's examples share, with its files in the working folder."""
    (plugin,) = blocks("docs/xma.md", "python plugin")
    Path("negative.py").write_text(plugin)
    (jobs,) = blocks("docs/xma.md", "yaml")
    Path("jobs.yaml").write_text(jobs)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    return {"__name__": "guide"}


@pytest.mark.usefixtures("_opencl")
def test_the_guide_to_xma(guide_to_xma, capsys):
    examples = blocks("docs/xma.md")
    assert len(examples) == 9
    said = []
    for example in examples:
        exec(example, guide_to_xma)
        said.append(capsys.readouterr().out)
    for stream, size in (("ten.h264", (320, 180)), ("small.h264", (640, 360))):
        with av.open(stream) as container:
            pictures = list(container.decode(video=0))
        assert len(pictures) == (10 if size == (320, 180) else 12)
        assert {(picture.width, picture.height) for picture in pictures} == {size}
    means = [line.split() for line in said[1].splitlines()]
    assert [number for number, _ in means] == [str(number) for number in range(10)]
    assert [float(mean) for _, mean in means] == pytest.approx(
        [_inverted(25 * number) for number in range(10)], abs=1
    )


def _inverted(luma, amount=0.9):
    """Return what nine tenths of a negative are, for luma in limited range without colour."""
    signal = min(max((luma - 16) / 219, 0), 1)
    return 16 + 219 * ((1 - amount) * signal + amount * (1 - signal))


@pytest.mark.usefixtures("_opencl")
def test_the_guide_s_chain_is_carried_over_at_its_ends_alone(guide_to_xma, monkeypatch, capsys):
    examples = blocks("docs/xma.md")
    for example in examples[:3]:
        exec(example, guide_to_xma)
    context = OpenCLContext.create()
    # As if it had memory of its own.
    context.shares_host_memory = False
    monkeypatch.setattr(xma_plugins, "open_device", lambda _: Device(OpenCLDriver(context)))
    guide_to_xma["open_device"] = xma_plugins.open_device
    capsys.readouterr()
    exec(examples[3], guide_to_xma)
    sent, fetched = map(int, re.findall(r"\d+", capsys.readouterr().out))
    # Pictures of 128x96 once, and of 640x360 once, whose rows have multiples of 128 bytes.
    assert sent == 12 * 128 * 96 * 3 // 2
    assert 12 * 640 * 360 * 3 // 2 <= fetched <= 12 * (640 * 360 + 2 * 384 * 180)


@pytest.mark.usefixtures("_opencl")
def test_the_guide_to_xma_s_commands(guide_to_xma):
    lines = "".join(blocks("docs/xma.md", "sh")).splitlines()
    assert len(lines) == 7
    for line in lines:
        program, *words = shlex.split(line, comments=True)
        assert program == "xtranscode"
        # A process each: the command that plan is given takes its place.
        command = [sys.executable, "-c", "from cli.main import main; main()", *words]
        settings = {**os.environ, "PYTHONPATH": str(ROOT)}
        done = subprocess.run(command, env=settings, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{line}: {done.stdout} {done.stderr}"
        if words[0] == "plan":
            assert "at once   3 of 3 jobs" in done.stdout + done.stderr


def test_the_guide_s_cards(tmp_path):
    noop.needs_noop()
    noop.build("noop_card.c", tmp_path)
    noop.build("copy_filter.c", tmp_path, name="libfilter")
    write(tmp_path / "design.xclbin", COPY)
    settings = """
import ctypes
ctypes.CDLL("./noop_card.so", mode=ctypes.RTLD_GLOBAL)
ctypes.CDLL("libxrt_coreutil.so.2").xrtIniUintSet(b"Runtime.xma_cpu_mode", 2)
"""
    said = [
        noop.run(example + "print('done')\n", tmp_path, preamble=settings)
        for example in blocks("docs/xma.md", "python on-cards")
    ]
    assert len(said) == 2
    assert "filter session 1 (native:libfilter.so)\n" in said[0]
    assert "['copy:copy_1'" in said[1]


@pytest.fixture
def _opencl():
    pytest.importorskip("cv2", reason="opencv-python-headless is not installed")
    found = probe()
    require("opencl", found.available, f"{found.reason}; try: {found.remedy}")


def test_hardware_s_edges_are_those_there_are():
    devices = {"CUDA", "DMA", "USM", "VAAPI", "XRT"}
    there = {f"{each.source} > {each.target}" for each in declared_edges()}
    there = {each for each in there if devices & set(each.split(" > "))}
    there |= {"FFmpeg > CPU", "OpenCL > OpenVINO"}
    table = re.findall(r"^\| (\w+ > \w+) \|", (ROOT / "docs/hardware.md").read_text(), re.MULTILINE)
    assert sorted(table) == sorted(there)
