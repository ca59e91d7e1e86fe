"""SYCL's unified shared memory in the contract suite."""

from __future__ import annotations

import importlib

import numpy as np

from bridges import MemoryType
from tests.bridges.memories.memory import Memory, strided
from tests.helpers.require import require


def sycl_backend():
    """Return the backend's module, or skip."""
    try:
        backend = importlib.import_module("bridges.backends.sycl")
    except ImportError as error:
        require("sycl", False, str(error))
    found = backend.probe()
    require("sycl", found.available, f"{found.reason}; try: {found.remedy}")
    return backend


class _Sycl(Memory):
    memory_type = MemoryType.SYCL

    def contexts(self, other=None):
        backend = sycl_backend()
        shared, distant = backend.create("cpu"), backend.create("cpu", usm_type="device")
        # No machine without a GPU has a device with memory of its own: this one pretends.
        distant.shares_host_memory = False
        return [shared, distant]

    def _fetch(self, tensor):
        memory = np.empty(tensor.info.span, np.uint8)
        tensor.context.queue.memcpy(memory, tensor.memory, tensor.info.span)
        return memory

    def read(self, frame):
        return [strided(self._fetch(tensor), tensor.info).copy() for tensor in frame.tensors]

    def write(self, frame, arrays):
        for tensor, samples in zip(frame.tensors, arrays, strict=True):
            memory = self._fetch(tensor)
            strided(memory, tensor.info)[...] = samples
            tensor.context.queue.memcpy(tensor.memory, memory, tensor.info.span)

    def address(self, tensor):
        return tensor.memory._pointer if tensor.is_host_visible else None


MEMORY = _Sycl()
