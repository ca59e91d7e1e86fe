"""VA surfaces in the contract suite: the real libva, with our software driver under it."""

from __future__ import annotations

import ctypes as c

import numpy as np

from bridges import MemoryType
from bridges.native.libva import Image, libva
from tests.bridges.memories.memory import Memory
from tests.lab.software_va import software_va

_FORMATS = ("nv12", "p010le", "yuv420p", "gray", "bgra")


class Mapped:
    """A surface, mapped by libva's own calls: its one derived image and every plane in it."""

    def __init__(self, tensor):
        self.display = tensor.context.handle("va_display")
        self.image = Image()
        address = c.c_void_p()
        number = tensor.handle("va_surface")
        assert libva().vaDeriveImage(self.display, number, c.byref(self.image)) == 0
        assert libva().vaMapBuffer(self.display, self.image.buf, c.byref(address)) == 0
        self.address = address.value

    def plane(self, tensor):
        """Return a plane's samples, placed by what the image says of its offset and pitch."""
        index, info = tensor.handle("plane_index"), tensor.info
        pitch = self.image.pitches[index]
        start = self.image.offsets[index]
        memory = (c.c_uint8 * self.image.data_size).from_address(self.address)
        return np.ndarray(info.shape, info.dtype, memory, start, (pitch, *info.strides[1:]))

    def close(self):
        assert libva().vaUnmapBuffer(self.display, self.image.buf) == 0
        assert libva().vaDestroyImage(self.display, self.image.image_id) == 0


class _VAAPI(Memory):
    memory_type = MemoryType.VAAPI

    def contexts(self, other=None):
        driver = software_va()
        return [driver.open(), driver.open(NO_DERIVE="1")]

    def takes(self, info):
        return info.format.name in _FORMATS

    def frame(self, context, info, arrays, padding):
        frame = context.allocate_frame(info)
        self.write(frame, arrays)
        return frame

    def read(self, frame):
        mapped = Mapped(frame.tensors[0])
        samples = [mapped.plane(tensor).copy() for tensor in frame.tensors]
        mapped.close()
        return samples

    def write(self, frame, arrays):
        mapped = Mapped(frame.tensors[0])
        for tensor, samples in zip(frame.tensors, arrays, strict=True):
            mapped.plane(tensor)[...] = samples
        mapped.close()

    def address(self, tensor):
        mapped = Mapped(tensor)
        address = mapped.plane(tensor).ctypes.data
        mapped.close()
        return address

    def alive(self):
        return software_va().counts().alive


MEMORY = _VAAPI()
