"""The interpreter may end with mappings open, and libraries may be loaded and unloaded before."""

from __future__ import annotations

import subprocess
import sys

import pytest

from bridges import MemoryType
from tests.bridges.memories import memory_of

CYCLE = """
import numpy as np
from bridges import AccessMode, Frame, FrameInfo, MemoryType, create_mapper, open_context
from bridges.formats import pixel_format

class Holder:
    pass

cpu, other = open_context(MemoryType.CPU), open_context(MemoryType.{name})
info = FrameInfo(pixel_format("gray"), 64, 36)
frame = Frame(info, [cpu.wrap(np.ones((36, 64), "u1"))])
holder = Holder()
holder.me = holder
holder.mapped = create_mapper([cpu, other]).map(frame, AccessMode.READ)
print("end")
"""

INTERRUPT = """
import gc, os, signal, time
from bridges import MemoryType, open_context
from bridges.backends.openvino import probe

probe()
open_context(MemoryType.OPENVINO).close()
gc.collect()
try:
    os.kill(os.getpid(), signal.SIGINT)
    time.sleep(5)
except KeyboardInterrupt:
    print("end")
"""


def run(code):
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60
    )
    assert (done.returncode, done.stdout) == (0, "end\n"), done.stderr


@pytest.mark.parametrize("name", ["FFMPEG", "GSTREAMER", "OPENCL", "OPENCV", "OPENVINO"])
def test_a_mapping_in_a_cycle(name):
    memory_of(MemoryType[name]).contexts()
    run(CYCLE.format(name=name))


def test_ctrl_c_after_a_plugin_was_unloaded():
    memory_of(MemoryType.OPENVINO).contexts()
    run(INTERRUPT)
