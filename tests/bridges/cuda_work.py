"""What tests put on a GPU: clips for its decoder, and pictures with all that lies around them."""

from __future__ import annotations

import contextlib
import io

import av
import numpy as np
from av.codec.hwaccel import HWAccel

from bridges import Frame, TensorFrame, TensorInfo
from tests.bridges.memories.cuda import fetch, store

__all__ = ["NVDEC", "numbers_on_device", "on_device"]


class NVDEC:
    """A clip, decoded by the GPU and by the processor."""

    def __init__(self, pictures=8, size=(176, 144), pixel_format="yuv420p", codec="libx264"):
        file = io.BytesIO()
        random = np.random.default_rng(1)
        with av.open(file, "w", format="matroska") as container:
            stream = container.add_stream(codec, rate=25)
            stream.width, stream.height = size
            stream.pix_fmt = pixel_format
            for _ in range(pictures):
                picture = random.integers(0, 255, (size[1] // 8, size[0] // 8, 3), np.uint8)
                picture = np.ascontiguousarray(picture.repeat(8, 0).repeat(8, 1))
                container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, "rgb24")))
            container.mux(stream.encode(None))
        self._bytes = file.getvalue()

    def decode(self):
        with av.open(io.BytesIO(self._bytes)) as container:
            yield from container.decode(video=0)

    def on_gpu(self, cuda, **options):
        """Decode in a CUDA context; by default in that of ``cuda``."""
        accelerator = HWAccel(
            "cuda",
            is_hw_owned=True,
            allow_software_fallback=False,
            options=options or {"primary_ctx": "0", "current_ctx": "1"},
        )
        with cuda.current:
            container = av.open(io.BytesIO(self._bytes), hwaccel=accelerator)
        with container:
            yield from container.decode(video=0)


@contextlib.contextmanager
def on_device(context, picture):
    """Put a picture on the GPU with strides, alignment and guards alike; fetch all at the end."""
    blocks, tensors = [], []
    for memory, tensor in zip(picture.memory, picture.frame.tensors, strict=True):
        # Memory of the device starts at multiples of 256 bytes.
        lead = memory.ctypes.data % 64
        block = context.allocate(TensorInfo((lead + memory.size,), memory.dtype))[lead:]
        store(block, memory)
        start = tensor.handle("data") - memory.ctypes.data
        address = block.handle("data") + start
        tensors.append(context.wrap_pointer(address, tensor.info, owner=block))
        blocks.append(block)
    frame = Frame(picture.frame.info, tensors)
    try:
        yield frame
    finally:
        for memory, block in zip(picture.memory, blocks, strict=True):
            memory[...] = fetch(block)
        frame.close()
        for block in blocks:
            block.parent.close()


@contextlib.contextmanager
def numbers_on_device(context, frame):
    """Put a frame of tensors on the GPU; fetch it at the end."""
    tensors = [context.allocate(TensorInfo(each.shape, each.dtype)) for each in frame.info.tensors]
    for near, far in zip(frame.tensors, tensors, strict=True):
        store(far, near.handle("array"))
    with TensorFrame(frame.info, tensors) as made:
        yield made
        for near, far in zip(frame.tensors, tensors, strict=True):
            near.handle("array")[...] = fetch(far)
