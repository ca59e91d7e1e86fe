"""GStreamer's buffers in the contract suite."""

from __future__ import annotations

import ctypes

import numpy as np

from bridges import Frame, MemoryType
from bridges.backends import dma_allocator
from bridges.backends.gstreamer import GStreamerContext, probe
from bridges.backends.gstreamer_buffer import held_planes
from bridges.backends.gstreamer_caps import namespaces
from bridges.native.libgstreamer import GstMapInfo, boxed_pointer, library
from tests.bridges.memories.memory import Memory
from tests.helpers.require import require


def _rows(samples):
    return samples.reshape(samples.shape[0], -1).view(np.uint8)


class _GStreamer(Memory):
    memory_type = MemoryType.GSTREAMER

    def contexts(self, other=None):
        found = probe()
        require("gstreamer", found.available, f"{found.reason}; try: {found.remedy}")
        return [GStreamerContext(), GStreamerContext("dmabuf")]

    def frame(self, context, info, arrays, padding):
        strides = [_rows(samples).shape[1] + padding * samples.itemsize for samples in arrays]
        sizes = [stride * samples.shape[0] for stride, samples in zip(strides, arrays, strict=True)]
        offsets = [sum(sizes[:index]) for index in range(len(sizes))]
        gst, video, allocators = namespaces()
        if context.memory == "dmabuf":
            fd = dma_allocator.allocators()[0].allocate(sum(sizes))
            memory = allocators.DmaBufAllocator.alloc(
                allocators.DmaBufAllocator.new(), fd, sum(sizes)
            )
            buffer = gst.Buffer.new()
            buffer.append_memory(memory)
            del memory
        else:
            buffer = gst.Buffer.new_allocate(None, sum(sizes), None)
        caps = context.caps(info)
        picture = video.VideoInfo.new_from_caps(caps)
        rest = [0] * (4 - len(sizes))
        video.buffer_add_video_meta_full(
            buffer,
            video.VideoFrameFlags.NONE,
            picture.finfo.format,
            info.width,
            info.height,
            len(sizes),
            offsets + rest,
            strides + rest,
        )
        frame = Frame(info, context.wrap(buffer, caps).tensors)
        self.write(frame, arrays)
        return frame

    def _planes(self, frame):
        """Yield each plane with its buffer, its place in there, and the bytes of a row."""
        _, video, _ = namespaces()
        buffer = frame.tensors[0].handle("gst_buffer")
        meta = video.buffer_get_video_meta(buffer)
        for index, dense in enumerate(frame.info.planes):
            yield buffer, dense, meta.offset[index], meta.stride[index]

    def read(self, frame):
        found = []
        for buffer, dense, offset, stride in self._planes(frame):
            row = dense.strides[0]
            lines = [buffer.extract_dup(offset + y * stride, row) for y in range(dense.shape[0])]
            found.append(np.frombuffer(b"".join(lines), dense.dtype).reshape(dense.shape))
        return found

    def write(self, frame, arrays):
        for samples, (buffer, dense, offset, stride) in zip(
            arrays, self._planes(frame), strict=True
        ):
            for y, row in enumerate(_rows(samples)):
                assert buffer.fill(offset + y * stride, row.tobytes()) == dense.strides[0]

    def address(self, tensor):
        # Each mapping of a file lies elsewhere.
        if not tensor.handle("gst_memory").is_type("SystemMemory"):
            return None
        memory, native = boxed_pointer(tensor.handle("gst_memory")), GstMapInfo()
        assert library().gst_memory_map(memory, ctypes.byref(native), 1)
        library().gst_memory_unmap(memory, ctypes.byref(native))
        return native.data + tensor.handle("offset")

    def alive(self):
        return held_planes()


MEMORY = _GStreamer()
