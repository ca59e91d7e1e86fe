"""The project's own tests of DMA memory, where there are dma-bufs and a DRM node: in the guest.

Elsewhere the same tests take memfds for dma-bufs, and ``/dev/null`` for the node. The guest is many
times slower than the machine, so these are the tests that the difference matters to.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from bridges import MemoryType
from bridges.routes import declared_edges
from tests.bridges.test_edge_contract import name_of
from tests.helpers.require import require
from tests.lab.software_va.build import build
from tests.lab.virtual_machine import missing

PROJECT = Path(__file__).parents[2]
CHOSEN = (
    "tests/bridges/test_dma.py",
    "tests/bridges/test_dma_opencl.py",
    "tests/bridges/test_drm_prime.py",
    "tests/bridges/test_ffmpeg_hardware.py",
    "tests/bridges/test_gstreamer.py::TestFileDescriptors",
    "tests/bridges/test_vaapi.py",
    "tests/bridges/test_vaapi_edges.py",
    "tests/bridges/test_vaapi_ffmpeg.py",
    "tests/lab/test_software_va_processing.py::test_surfaces_are_dma_bufs_on_a_drm_node",
)
PROMISES = (
    "test_pixels_and_everything_else_are_kept",
    "test_zero_copy_is_the_same_memory",
    "test_the_mapping_keeps_its_source_alive",
    "test_either_side_may_be_closed_first_and_twice",
)
MEMORY = "DMA memory: dma-buf of /dev/dri/card0 (vgem)"


def edges():
    """Return the edges that have the same DMA memory on both sides."""
    for declared in declared_edges():
        if MemoryType.DMA in (declared.source, declared.target) and not declared.copies:
            yield name_of(declared)


def promises():
    for promise, edge in itertools.product(PROMISES, edges()):
        yield f"tests/bridges/test_edge_contract.py::{promise}[{edge}]"


@pytest.mark.timeout(600)
def test_dma_memory_in_the_guest():
    reason = missing()
    require("guest", not reason, reason)
    with contextlib.suppress(OSError, subprocess.CalledProcessError):
        build()  # In the guest it takes half a minute.
    variables = {
        "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",  # Hypothesis takes seconds.
        "PYTHONDONTWRITEBYTECODE": "1",  # It would be forgotten.
        "PYTHONPATH": os.environ.get("PYTHONPATH", ""),
        "XT_REQUIRE": f"{os.environ.get('XT_REQUIRE', '')},dma",
    }
    command = [PROJECT / "tests/lab/guest", "--timeout", "580"]
    for name, value in variables.items():
        command += ["-e", f"{name}={value}"]
    command += [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    command += ["-p", "pytest_timeout", "--timeout=300", "--durations=10", *CHOSEN, *promises()]
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True)
    print(done.stdout, done.stderr)
    assert done.returncode == 0
    assert MEMORY in done.stdout.splitlines()
    assert int(re.search(r"(\d+) passed", done.stdout)[1]) > 200
