"""Level Zero's memory in the contract suite, on a mock of its loader: no hardware is tried here."""

from __future__ import annotations

import atexit
import ctypes
import functools
import shutil
import subprocess
import tempfile
from pathlib import Path

from bridges import MemoryType
from bridges.backends import level_zero
from tests.bridges.memories.memory import Memory, samples_at
from tests.helpers.require import require

_SOURCE = Path(__file__).parent.parent / "mock_level_zero.c"


@functools.cache
def mock_library() -> str:
    """Return the mock's path, built when it is first asked for; skip where there is no compiler."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    require("mock-level-zero", compiler is not None, "no C compiler; try: apt install gcc")
    folder = tempfile.mkdtemp(prefix="mock-level-zero-")
    atexit.register(shutil.rmtree, folder)
    library = str(Path(folder, "libmock_level_zero.so"))
    options = ["-std=c11", "-Wall", "-Wextra", "-Werror", "-O1", "-shared", "-fPIC", "-pthread"]
    subprocess.run([compiler, *options, str(_SOURCE), "-o", library], check=True)
    return library


def live(kind: str = "allocations") -> int:
    """Return how many of the mock's allocations, contexts or lists there are."""
    return int(getattr(ctypes.CDLL(mock_library()), f"mock_live_{kind}")())


class _USM(Memory):
    memory_type = MemoryType.USM

    def contexts(self, other=None):
        return [
            level_zero.create(library=mock_library(), usm_type=usm_type)
            for usm_type in ("device", "shared")
        ]

    def read(self, frame):
        # In place: the mock alone allows that for device memory too.
        return [samples_at(tensor).copy() for tensor in frame.tensors]

    def write(self, frame, arrays):
        for tensor, samples in zip(frame.tensors, arrays, strict=True):
            samples_at(tensor)[...] = samples

    def address(self, tensor):
        return tensor.handle("data") if tensor.is_host_visible else None

    def alive(self):
        return live()


MEMORY = _USM()
