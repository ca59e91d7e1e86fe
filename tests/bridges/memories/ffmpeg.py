"""FFmpeg's frames in the contract suite: in host memory, and of DRM_PRIME."""

from __future__ import annotations

from bridges import MemoryType
from bridges.backends.ffmpeg import FFmpegContext
from bridges.edges.cpu_to_ffmpeg import held_planes
from bridges.edges.dma_to_ffmpeg import held_frames
from tests.bridges import drm_prime
from tests.bridges.memories.memory import Memory, samples_at


def _arrays(frame):
    if frame.tensors[0].context.hardware:
        return drm_prime.plane_arrays(frame.tensors[0].handle("av_frame"), frame.info)
    return [samples_at(tensor) for tensor in frame.tensors]


class _FFmpeg(Memory):
    memory_type = MemoryType.FFMPEG

    def contexts(self, other=None):
        return [FFmpegContext(), FFmpegContext("drm_prime")]

    def frame(self, context, info, arrays, padding):
        if context.hardware:
            frame = context.wrap(drm_prime.drm_prime_frame(info, padding))
        else:
            frame = context.allocate_frame(info)
        self.write(frame, arrays)
        return frame

    def read(self, frame):
        return [array.copy() for array in _arrays(frame)]

    def write(self, frame, arrays):
        for array, samples in zip(_arrays(frame), arrays, strict=True):
            array[...] = samples

    def address(self, tensor):
        # Each mapping of DRM_PRIME lies elsewhere.
        return None if tensor.context.hardware else tensor.handle("data")

    def alive(self):
        return held_planes() + held_frames() + drm_prime.alive()


MEMORY = _FFmpeg()
