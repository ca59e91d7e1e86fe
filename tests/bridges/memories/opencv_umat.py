"""OpenCV's UMat in the contract suite."""

from __future__ import annotations

import importlib.util

import numpy as np

from bridges import Frame, MemoryType
from tests.bridges.memories.memory import Memory
from tests.helpers.require import require


class _OpenCVUMat(Memory):
    memory_type = MemoryType.OPENCV_UMAT

    def contexts(self, other=None):
        there = importlib.util.find_spec("cv2") is not None
        require(
            "opencv_umat", there, "OpenCV is not installed; try: pip install 'xtranscode[opencv]'"
        )
        from bridges.backends.opencv_umat import NO_OPENCL, create

        shared, distant = create(), create()
        require("opencv_umat", shared.opencl is not None, NO_OPENCL)
        # No machine without a GPU has a device with memory of its own: this one pretends.
        distant.shares_host_memory = False
        return [shared, distant]

    def frame(self, context, info, arrays, padding):
        import cv2

        tensors = []
        for samples in arrays:
            rows, columns, *channels = samples.shape
            wide = np.zeros((rows, columns + padding, *channels), samples.dtype)
            part = cv2.UMat(cv2.UMat(wide), (0, 0, columns, rows))
            tensors.append(context.wrap(part))
        frame = Frame(info, tensors)
        self.write(frame, arrays)
        return frame

    def read(self, frame):
        return [tensor.handle("cv_umat").get() for tensor in frame.tensors]

    def write(self, frame, arrays):
        import cv2

        for tensor, samples in zip(frame.tensors, arrays, strict=True):
            cv2.copyTo(samples, None, tensor.handle("cv_umat"))

    def address(self, tensor):
        if not tensor.context.shares_host_memory:
            return None
        import pyopencl as cl

        queue = tensor.context.handle("cl_queue")
        view, _ = cl.enqueue_map_buffer(
            queue, tensor.handle("cl_mem"), cl.map_flags.READ, 0, 1, np.uint8
        )
        address = view.ctypes.data
        view.base.release(queue).wait()
        return address + tensor.handle("offset")


MEMORY = _OpenCVUMat()
