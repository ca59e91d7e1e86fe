"""OpenCL's buffers in the contract suite."""

from __future__ import annotations

import numpy as np
import pyopencl as cl

from bridges import MemoryType
from bridges.backends.opencl import OpenCLContext, probe
from tests.bridges.memories.memory import Memory, strided
from tests.helpers.require import require


class _OpenCL(Memory):
    memory_type = MemoryType.OPENCL

    def contexts(self, other=None):
        found = probe()
        require("opencl", found.available, f"{found.reason}; try: {found.remedy}")
        shared, distant = OpenCLContext.create(), OpenCLContext.create()
        # No machine without a GPU has a device with memory of its own: this one pretends.
        distant.shares_host_memory = False
        return [shared, distant]

    def _fetch(self, tensor):
        memory = np.empty(tensor.info.span, np.uint8)
        cl.enqueue_copy(tensor.context.queue, memory, tensor.native)
        return memory

    def read(self, frame):
        return [strided(self._fetch(tensor), tensor.info).copy() for tensor in frame.tensors]

    def write(self, frame, arrays):
        for tensor, samples in zip(frame.tensors, arrays, strict=True):
            memory = self._fetch(tensor)
            strided(memory, tensor.info)[...] = samples
            cl.enqueue_copy(tensor.context.queue, tensor.native, memory)

    def address(self, tensor):
        # What the runtime maps is the memory itself on a device that shares it.
        if not tensor.context.shares_host_memory:
            return None
        view, _ = cl.enqueue_map_buffer(
            tensor.context.queue, tensor.native, cl.map_flags.READ, 0, 1, np.uint8
        )
        address = view.ctypes.data
        view.base.release(tensor.context.queue).wait()
        return address


MEMORY = _OpenCL()
