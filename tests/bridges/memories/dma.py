"""DMA memory in the contract suite: real dma-bufs where this machine makes them, else memfds."""

from __future__ import annotations

import mmap
import os

import numpy as np

from bridges import Frame, MemoryType, TensorInfo
from bridges.backends.dma import DMAContext, open_descriptors
from bridges.native.drm import (
    DMA_BUF_SYNC_END,
    DMA_BUF_SYNC_READ,
    DMA_BUF_SYNC_START,
    DMA_BUF_SYNC_WRITE,
    dma_buf_sync,
)
from tests.bridges.memories.memory import Memory, padded_layout

_GAP = 192
"""Bytes before each plane, so that planes start anywhere in a page."""


def mapped_bytes(fd):
    """Return all memory behind a descriptor; as a file, a dma-buf is neither read nor written."""
    return mmap.mmap(fd, os.lseek(fd, 0, os.SEEK_END))


class Opened:
    """A plane's memory, mapped by its file descriptor alone."""

    def __init__(self, tensor):
        self.fd = tensor.handle("dma_fd")
        offset = tensor.handle("offset")
        self.memory = mapped_bytes(self.fd)
        info = tensor.info
        self.array = np.ndarray(info.shape, info.dtype, self.memory, offset, info.strides)
        self.is_dma_buf = "dmabuf" in os.readlink(f"/proc/self/fd/{self.fd}")

    def _sync(self, when):
        if self.is_dma_buf:
            dma_buf_sync(self.fd, when | DMA_BUF_SYNC_READ | DMA_BUF_SYNC_WRITE)

    def __enter__(self):
        self._sync(DMA_BUF_SYNC_START)
        return self.array

    def __exit__(self, *error):
        self._sync(DMA_BUF_SYNC_END)
        del self.array


class _DMA(Memory):
    memory_type = MemoryType.DMA
    kind = "dma-buf" if DMAContext().is_dma_buf else "memfd"

    def contexts(self, other=None):
        return [DMAContext()]

    def frame(self, context, info, arrays, padding):
        """Put all planes into one buffer, as decoders do."""
        layouts, offset = [], _GAP
        for samples in arrays:
            layout = padded_layout(samples, padding)
            layouts.append((layout, offset))
            offset += -(-layout.span // 64) * 64 + _GAP
        whole = context.allocate(TensorInfo((offset,), np.dtype("u1")))
        fd = whole.handle("dma_fd")
        tensors = [context.wrap(fd, layout, offset=start) for layout, start in layouts]
        whole.close()
        frame = Frame(info, tensors)
        self.write(frame, arrays)
        return frame

    def read(self, frame):
        found = []
        for tensor in frame.tensors:
            with Opened(tensor) as array:
                found.append(array.copy())
        return found

    def write(self, frame, arrays):
        for tensor, samples in zip(frame.tensors, arrays, strict=True):
            with Opened(tensor) as array:
                array[...] = samples

    def alive(self):
        return open_descriptors()


MEMORY = _DMA()
