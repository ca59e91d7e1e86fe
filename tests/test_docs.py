"""The guide: its examples run as they are printed, and what it names is there."""

from __future__ import annotations

import ast
import re
import shutil
from fractions import Fraction
from importlib.util import find_spec
from pathlib import Path

import av
import pytest
from click.testing import CliRunner

import xma_plugins
from bridges.backends.opencl import OpenCLContext, probe
from bridges.kernels import get, load, names
from bridges.routes import declared_edges
from tests.assets.recipe import aac, mkv
from tests.assets.writer import write as write_clip
from tests.helpers.guide import PAGES, ROOT, blocks, run_page
from tests.helpers.require import require
from tests.xma_plugins import noop
from tests.xma_plugins.xclbin import COPY, write
from transcode import probe as probe_clip
from xma_plugins import Device
from xma_plugins.drivers.opencl import OpenCLDriver

RUN = [page for page in PAGES if any(block.runs for block in blocks(page))]
NOT_RUN = [(page, each) for page in PAGES for each in blocks(page) if each.note == "not run"]


@pytest.fixture(scope="session")
def ran(venv, clips, tmp_path_factory):
    """Run a page in a folder with the videos that the examples name."""
    for name, module in (("opencv", "cv2"), ("sycl", "dpctl")):
        require(name, find_spec(module) is not None, f"{module} is not installed")
    found = probe()
    require("opencl", found.available, f"{found.reason}; try: {found.remedy}")
    # Long enough to be cut at 1:30, and with few pictures.
    talk = tmp_path_factory.mktemp("talk") / "talk.mkv"
    sound = aac("eng", 440, samples=120 * 8000, sample_rate=8000)
    write_clip(mkv("talk", rate=Fraction(1, 4), count=32, audio=(sound,)), talk)

    def ran(page):
        folder = tmp_path_factory.mktemp("page")
        shutil.copy(clips.path("bframes"), folder / "talk.mp4")
        shutil.copy(talk, folder)
        return run_page(page, folder, venv)

    return ran


def _readme(guide):
    said = guide.printed
    assert "zero-copy" in said[0]
    assert "FFmpeg > CPU > OpenCL" in said[1]
    assert said[2] == "FFmpeg > CPU > OpenCL   zero-copy\n"


def _memory(guide):
    assert (guide.folder / "talk.gray").stat().st_size == 128 * 96 * 20


def _kernels(guide):
    outputs = ["negative.mp4", "warm.mp4", "warm2.mp4"]
    found = [probe_clip(guide.folder / name).video[0].frames for name in outputs]
    assert found == [20, 20, 20]
    said = "".join(guide.printed)
    assert load(str(guide.folder / "my.cl")).summary in said
    assert "(90, 160)" in said
    assert "[14400 14400 14400]" in said


def _xma(guide):
    for stream, count, size in (("ten.h264", 10, (320, 180)), ("small.h264", 20, (640, 360))):
        with av.open(guide.folder / stream) as container:
            pictures = list(container.decode(video=0))
        assert len(pictures) == count
        assert {(picture.width, picture.height) for picture in pictures} == {size}
    means = [line.split() for line in guide.printed[1].splitlines()]
    assert [number for number, _ in means] == [str(number) for number in range(10)]
    assert [float(mean) for _, mean in means] == pytest.approx(
        [_inverted(25 * number) for number in range(10)], abs=1
    )
    plans = [told for line, told in guide.told.items() if line.startswith("xtranscode plan")]
    assert len(plans) == 2
    assert all("at once   3 of 3 jobs" in told for told in plans)


def _inverted(luma, amount=0.9):
    """Return what nine tenths of a negative are, for luma in limited range without colour."""
    signal = min(max((luma - 16) / 219, 0), 1)
    return 16 + 219 * ((1 - amount) * signal + amount * (1 - signal))


RESULTS = {
    "README.md": _readme,
    "docs/kernels.md": _kernels,
    "docs/memory.md": _memory,
    "docs/xma.md": _xma,
}
"""What else has to be true once a page was run."""


# A new machine compiles kernels for half a minute.
@pytest.mark.timeout(300)
@pytest.mark.parametrize("page", RUN)
def test_examples_run_as_they_are_printed(ran, page):
    guide = ran(page)
    if page in RESULTS:
        RESULTS[page](guide)


def test_what_is_not_run_says_why():
    reasons = sorted(f"{page}: {block.words}" for page, block in NOT_RUN)
    assert reasons == [
        "docs/hardware.md: takes root's rights and some minutes",
        "docs/quickstart.md: the gate types the README's first command, which does the same",
        *["docs/xma.md: needs an XRT card; a test has it run on XRT's device without hardware"] * 2,
    ]


def test_every_comment_above_an_example_is_known():
    notes = {(block.note, page) for page in PAGES for block in blocks(page)}
    assert {note for note, _ in notes} == {"", "command", "file", "not run", "or refused"}
    assert {page for note, page in notes if note == "command"} == {"README.md"}
    named = [block.words for block in blocks("README.md") if block.note == "command"]
    gate = (ROOT / ".ci" / "run").read_text()
    assert named == re.findall(r"readme_command (\w+)", gate)


@pytest.fixture
def own_kernel(tmp_path, monkeypatch, clips):
    """The files of the guide to kernels and a short clip, in the working folder."""
    monkeypatch.chdir(tmp_path)
    shutil.copy(clips.path("h264"), "talk.mp4")
    for page in ("docs/kernels.md", "docs/xma.md"):
        for block in blocks(page):
            if block.note == "file":
                Path(block.words).write_text(block.text)
    return load("my.cl")


@pytest.mark.usefixtures("needs_opencl")
def test_the_guide_s_error_is_what_is_said(own_kernel, monkeypatch):
    from cli.main import cli

    text = Path("my.cl").read_text()
    Path("my.cl").write_text(text.replace("scale", "scael", 1))
    words = ["run", "talk.mp4", "out.mp4", "--device", "opencl:Intel", "--filter", "my.cl"]
    (shown,) = [b.text for b in blocks("docs/kernels.md") if b.language == "text"]
    assert CliRunner().invoke(cli, words).stderr.splitlines()[-1] == shown.strip()


def test_the_guide_lists_all_kernels():
    rows = re.findall(r"^\| `(\w+)` \| (.*) \|$", (ROOT / "docs/kernels.md").read_text(), re.M)
    listed = dict(rows[: len(names())])
    assert listed == {name: get(name).summary for name in names()}


def test_the_sample_s_first_kernel_is_the_guide_s(own_kernel):
    sample = (ROOT / "samples" / "custom_kernel.cl").read_text()
    assert sample.startswith(Path("my.cl").read_text())


@pytest.mark.usefixtures("needs_opencl", "own_kernel")
def test_the_guide_s_chain_is_carried_over_at_its_ends_alone(monkeypatch, capsys):
    examples = [each.text for each in blocks("docs/xma.md") if each.language == "python"]
    known = {"__name__": "guide"}
    for example in examples[:3]:
        exec(example, known)
    context = OpenCLContext.create()
    # As if it had memory of its own.
    context.shares_host_memory = False
    monkeypatch.setattr(xma_plugins, "open_device", lambda _: Device(OpenCLDriver(context)))
    known["open_device"] = xma_plugins.open_device
    capsys.readouterr()
    exec(examples[3], known)
    sent, fetched = map(int, re.findall(r"\d+", capsys.readouterr().out))
    # Pictures of 128x96 once, and of 640x360 once, whose rows have multiples of 128 bytes.
    assert sent == 12 * 128 * 96 * 3 // 2
    assert 12 * 640 * 360 * 3 // 2 <= fetched <= 12 * (640 * 360 + 2 * 384 * 180)


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
        for example in [b.text for b in blocks("docs/xma.md") if "XRT card" in b.words]
    ]
    assert len(said) == 2
    assert "filter session 1 (native:libfilter.so)\n" in said[0]
    assert "['copy:copy_1'" in said[1]


def test_hardware_s_edges_are_those_there_are():
    devices = {"CUDA", "DMA", "USM", "VAAPI", "XRT"}
    there = {f"{each.source} > {each.target}" for each in declared_edges()}
    there = {each for each in there if devices & set(each.split(" > "))}
    there |= {"FFmpeg > CPU", "OpenCL > OpenVINO"}
    table = re.findall(r"^\| (\w+ > \w+) \|", (ROOT / "docs/hardware.md").read_text(), re.MULTILINE)
    assert sorted(table) == sorted(there)


def test_guarantees_are_held_by_tests_that_are_there():
    named = re.findall(
        r"`(tests/[\w/]+\.py)(?:::(\w+))?`", (ROOT / "docs/guarantees.md").read_text()
    )
    assert len(named) > 40
    for file, test in named:
        functions = {
            node.name
            for node in ast.walk(ast.parse((ROOT / file).read_text()))
            if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")
        }
        assert functions, file
        assert not test or test in functions, f"{file}::{test}"


def test_each_promise_names_a_test():
    promises = re.findall(
        r"^- (?:.+\n)(?:  .+\n)*", (ROOT / "docs/guarantees.md").read_text(), re.M
    )
    assert len(promises) > 25
    assert [promise for promise in promises if "`tests/" not in promise] == []


LINKED = (
    *PAGES,
    "CONTRIBUTING.md",
    "CHANGELOG.md",
    "benchmarks/README.md",
    *(str(path.relative_to(ROOT)) for path in sorted((ROOT / "docs").glob("api/*.md"))),
)


@pytest.mark.parametrize("page", LINKED)
def test_links_lead_to_files_and_headings_that_are_there(page):
    path = ROOT / page
    for link in re.findall(r"\]\(([^)\s]+)\)", path.read_text()):
        if link.startswith(("http:", "https:")):
            continue
        name, _, anchor = link.partition("#")
        target = path.parent / name if name else path
        assert target.exists(), link
        if anchor:
            headings = re.findall(r"^#+ (.*)$", target.read_text(), re.MULTILINE)
            assert anchor in {_slug(heading) for heading in headings}, link


def _slug(heading):
    """Return a heading's anchor, as GitHub and MyST make it."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def test_every_page_is_in_the_table_of_contents():
    listed = re.findall(r"^([\w/]+)$", (ROOT / "docs/index.md").read_text(), re.MULTILINE)
    there = {str(p.relative_to(ROOT / "docs"))[:-3] for p in (ROOT / "docs").rglob("*.md")}
    assert set(listed) == there - {"index"}
