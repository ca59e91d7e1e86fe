"""What every test can use."""

import gc
import sys
import threading
import time
from pathlib import Path

import pytest

from bridges.backends.opencl import probe
from tests.assets.clips import Library, library
from tests.helpers.require import require

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
    return Path(__file__).parent.parent / "samples" / "media" / "bigbuckbunny.mp4"


@pytest.fixture
def needs_opencl() -> None:
    """Skip where there is no OpenCL device, or fail where there must be one."""
    found = probe()
    require("opencl", found.available, f"{found.reason}; try: {found.remedy}")
