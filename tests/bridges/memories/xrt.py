"""XRT's buffers in the contract suite; without a card, those of XRT's device without hardware."""

from __future__ import annotations

import atexit
import ctypes
import ctypes.util
import functools
import os
import tempfile
from pathlib import Path
from unittest import mock

from bridges import MemoryType
from bridges.backends.xrt import XRTContext, probe
from bridges.native.loading import loaded_library
from tests.bridges.memories.memory import Memory, samples_at
from tests.helpers.require import require


def libraries():
    """Return the folder that XRT's libraries are in; None where they are not installed."""
    try:
        ctypes.CDLL("libxrt_coreutil.so.2")
    except OSError:
        return None
    return Path(loaded_library("libxrt_coreutil")).parent


@functools.cache
def needs_xrt():
    """Load XRT with its device without hardware, unless the machine is set up for another one.

    XRT reads its environment once: afterwards it is as it was, and child processes see nothing.
    """
    folder = libraries()
    if folder is not None and "XILINX_XRT" not in os.environ:
        home = tempfile.TemporaryDirectory()
        atexit.register(home.cleanup)
        Path(home.name, "lib").symlink_to(folder)
        settings = {"XILINX_XRT": home.name, "XCL_EMULATION_MODE": "noop"}
        with mock.patch.dict(os.environ, settings):
            found = probe()
            if found.available:
                XRTContext().close()
    found = probe()
    return found


class _XRT(Memory):
    memory_type = MemoryType.XRT

    def contexts(self, other=None):
        found = needs_xrt()
        require("xrt", found.available, f"{found.reason}; try: {found.remedy}")
        return [XRTContext(host_only=True), XRTContext()]

    def read(self, frame):
        for tensor in frame.tensors:
            self._sync(tensor, 1)
        return [samples_at(tensor).copy() for tensor in frame.tensors]

    def write(self, frame, arrays):
        for tensor, samples in zip(frame.tensors, arrays, strict=True):
            samples_at(tensor)[...] = samples
            self._sync(tensor, 0)

    def _sync(self, tensor, direction):
        library = tensor.context.xrt.library
        handle, offset = tensor.handle("xrt_bo"), tensor.handle("offset")
        assert library.xrtBOSync(handle, direction, tensor.info.span, offset) == 0

    def address(self, tensor):
        return tensor.handle("data")


MEMORY = _XRT()
