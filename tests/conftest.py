"""What every test can use."""

import gc
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from bridges.backends.opencl import probe
from tests.assets.clips import Library, library
from tests.helpers.require import require

ROOT = Path(__file__).resolve().parents[1]
_TICK_SECONDS = 0.2


def pytest_configure() -> None:
    """Have a thread wake now and then, for as long as the tests run.

    Before version 2.41 glibc can lose the wake-up of a thread that waits on a condition variable
    (its bug 25847). A thread of CPython that handed on the interpreter's lock waits on one without
    a time limit: where all others sleep, it waits for ever; any thread that takes the lock sets it
    going again.
    """
    threading.Thread(target=_tick, name="tick", daemon=True).start()


def _tick() -> None:
    while True:
        time.sleep(_TICK_SECONDS)


def pytest_collection_finish() -> None:
    """Leave the tests themselves, which live to the end, out of what the collector looks through.

    Many tests collect garbage before they count what is left.
    """
    gc.collect()
    gc.freeze()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say what lay behind the file descriptors of DMA memory, lest a memfd pass for a dma-buf."""
    if "bridges.backends.dma" in sys.modules:
        from bridges.backends.dma import DMAContext

        terminalreporter.write_line(f"DMA memory: {DMAContext().name}")


@pytest.fixture(scope="session")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Library:
    """Return the generated clips, each made when it is first asked for."""
    return library(tmp_path_factory.mktemp("clips"))


@pytest.fixture(scope="session")
def sample() -> Path:
    """Return the real clip that the project ships."""
    return ROOT / "samples" / "media" / "bigbuckbunny.mp4"


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the wheel of the tree, built from a copy: a build leaves folders behind."""
    folder = tmp_path_factory.mktemp("dist")
    tree = folder / "tree"
    for package in ("bridges", "cli", "transcode", "xma_plugins"):
        shutil.copytree(ROOT / package, tree / package)
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, tree)
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", folder, tree]
    built = subprocess.run(command, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stdout + built.stderr
    return next(folder.glob("*.whl"))


@pytest.fixture(scope="session")
def venv(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a fresh environment with the wheel in it, and nothing of the checkout in reach.

    What the wheel depends on is seen by a path file in the environment of the tests: installing it
    again would take minutes and several hundred MB, for the OpenCL runtime above all.
    """
    folder = tmp_path_factory.mktemp("environment") / "venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    command = [sys.executable, "-m", "pip", "--python", folder / "bin" / "python", "install"]
    subprocess.run([*command, "-q", "--no-deps", "--no-index", wheel], check=True)
    (site,) = folder.glob("lib/python*/site-packages")
    installed = [path for path in sys.path if path.endswith(("site-packages", "dist-packages"))]
    (site / "dependencies.pth").write_text("\n".join(installed))
    return folder


@pytest.fixture
def needs_opencl() -> None:
    """Skip where there is no OpenCL device, or fail where there must be one."""
    found = probe()
    require("opencl", found.available, f"{found.reason}; try: {found.remedy}")
