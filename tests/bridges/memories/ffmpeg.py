"""FFmpeg's frames in the contract suite."""

from __future__ import annotations

import ctypes

import numpy as np

from bridges import MemoryType
from bridges.backends.ffmpeg import FFmpegContext
from bridges.edges.cpu_to_ffmpeg import held_planes
from tests.bridges.memories.memory import Memory


def _array(tensor):
    info = tensor.info
    memory = (ctypes.c_uint8 * info.span).from_address(tensor.handle("data"))
    return np.ndarray(info.shape, info.dtype, memory, strides=info.strides)


class _FFmpeg(Memory):
    memory_type = MemoryType.FFMPEG

    def contexts(self, other=None):
        return [FFmpegContext()]

    def frame(self, context, info, arrays, padding):
        frame = context.allocate_frame(info)
        self.write(frame, arrays)
        return frame

    def read(self, frame):
        return [_array(tensor).copy() for tensor in frame.tensors]

    def write(self, frame, arrays):
        for tensor, samples in zip(frame.tensors, arrays, strict=True):
            _array(tensor)[...] = samples

    def address(self, tensor):
        return tensor.handle("data")

    def alive(self):
        return held_planes()


MEMORY = _FFmpeg()
