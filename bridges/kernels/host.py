"""Kernels on the host, by their NumPy references: for machines that have no OpenCL device."""

from typing import Any

from bridges.context import Context
from bridges.frame import Frame
from bridges.kernels import reference
from bridges.kernels.kernel import Kernel
from bridges.kernels.runtime import check_frames

__all__ = ["NumPyRuntime"]

_ROWS = 32
"""Rows worked on at a time, few enough for their intermediate sums to stay in the cache."""


class NumPyRuntime:
    """Runs the references themselves, one thread a frame.

    Parameters
    ----------
    context : Context
        Host memory.
    """

    def __init__(self, context: Context) -> None:
        self.context = context
        self.name = "NumPy"

    def run(self, kernel: Kernel, source: Frame, target: Frame, **parameters: object) -> None:
        """Run a kernel and wait until it is done; see `Runtime.run`."""
        values = kernel.check(parameters)
        check_frames(kernel, source, target)
        read = kernel.launch(source.info, target.info, **values).planes
        compute = getattr(reference, kernel.name)
        planes: list[Any] = [tensor.handle("array") for tensor in source.tensors]
        out = target.tensors[0].handle("array")
        for first in range(0, source.info.height, _ROWS):
            rows = slice(first, first + _ROWS)
            band = [plane[rows] if k in read else plane for k, plane in enumerate(planes)]
            out[rows] = compute(band, source.info, target.info, **values)
