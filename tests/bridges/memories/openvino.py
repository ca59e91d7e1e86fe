"""OpenVINO's tensors in the contract suite."""

from __future__ import annotations

import numpy as np

from bridges import MemoryType
from tests.bridges.memories.memory import Memory
from tests.helpers.require import require


def _rows(tensor):
    """Return the samples as openvino itself shows them, in the shape of the plane."""
    data = tensor.handle("ov_tensor").data
    if data.shape == tensor.info.shape:
        return data
    # Rows of samples: a new axis of the last one never copies.
    return np.lib.stride_tricks.as_strided(data, tensor.info.shape, tensor.info.strides)


class _OpenVINO(Memory):
    memory_type = MemoryType.OPENVINO

    def contexts(self, other=None):
        try:
            from bridges.backends.openvino import OpenVINOContext, probe
        except ModuleNotFoundError as error:
            require("openvino", False, f"{error}; try: pip install 'xtranscode[openvino]'")
        found = probe()
        require("openvino", found.available, f"{found.reason}; try: {found.remedy}")
        shared, distant = OpenVINOContext.create(), OpenVINOContext.create()
        # No machine without Intel's GPU has remote tensors: this one pretends.
        distant.shares_host_memory = False
        return [shared, distant]

    def read(self, frame):
        return [_rows(tensor).copy() for tensor in frame.tensors]

    def write(self, frame, arrays):
        for tensor, samples in zip(frame.tensors, arrays, strict=True):
            _rows(tensor)[...] = samples

    def address(self, tensor):
        return tensor.handle("ov_tensor").data.ctypes.data


MEMORY = _OpenVINO()
