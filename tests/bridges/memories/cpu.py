"""Host memory in the contract suite."""

from __future__ import annotations

import numpy as np

from bridges import Frame, MemoryType
from bridges.backends.cpu import CPUContext
from tests.bridges.memories.memory import Memory


class _CPU(Memory):
    memory_type = MemoryType.CPU

    def contexts(self, other=None):
        return [CPUContext()]

    def frame(self, context, info, arrays, padding):
        tensors = []
        for samples in arrays:
            row = samples.strides[0] + padding * samples.itemsize
            memory = np.zeros(row * samples.shape[0] + 128, np.uint8)
            strides = (row, *samples.strides[1:])
            start = -memory.ctypes.data % 64
            array = np.ndarray(samples.shape, samples.dtype, memory, start, strides)
            array[...] = samples
            tensors.append(context.wrap(array))
        return Frame(info, tensors)

    def read(self, frame):
        return [tensor.handle("array").copy() for tensor in frame.tensors]

    def write(self, frame, arrays):
        for tensor, samples in zip(frame.tensors, arrays, strict=True):
            tensor.handle("array")[...] = samples

    def address(self, tensor):
        return tensor.handle("data")


MEMORY = _CPU()
