"""OpenCV's Mat in the contract suite."""

from __future__ import annotations

import importlib.util

import numpy as np

from bridges import Frame, MemoryType
from tests.bridges.memories.memory import Memory
from tests.helpers.require import require


class _OpenCV(Memory):
    memory_type = MemoryType.OPENCV

    def contexts(self, other=None):
        there = importlib.util.find_spec("cv2") is not None
        require("opencv", there, "OpenCV is not installed; try: pip install 'xtranscode[opencv]'")
        from bridges.backends.opencv import OpenCVContext

        return [OpenCVContext()]

    def frame(self, context, info, arrays, padding):
        tensors = []
        for samples in arrays:
            rows, columns, *channels = samples.shape
            wide = np.zeros((rows, columns + padding, *channels), samples.dtype)
            tensors.append(context.wrap(wide[:, :columns]))
        frame = Frame(info, tensors)
        self.write(frame, arrays)
        return frame

    def read(self, frame):
        import cv2

        found = []
        for tensor in frame.tensors:
            copy = np.empty(tensor.info.shape, tensor.info.dtype)
            # OpenCV writes in place or fails, and so tells of a layout that is not its own.
            cv2.copyTo(tensor.handle("cv_mat"), None, copy)
            found.append(copy)
        return found

    def write(self, frame, arrays):
        import cv2

        for tensor, samples in zip(frame.tensors, arrays, strict=True):
            cv2.copyTo(samples, None, tensor.handle("cv_mat"))

    def address(self, tensor):
        return tensor.handle("data")


MEMORY = _OpenCV()
