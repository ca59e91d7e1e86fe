"""Kernels on the host, by their NumPy references: for machines that have no OpenCL device."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from bridges.context import Context
from bridges.frame import Frame, MediaFrame
from bridges.kernels.frames import check_frames, previous_for
from bridges.kernels.kernel import Kernel

__all__ = ["NumPyRuntime"]


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

    def run(
        self,
        kernel: Kernel,
        source: Frame,
        target: MediaFrame,
        parameters: Mapping[str, object] = MappingProxyType({}),
        *,
        previous: Frame | None = None,
    ) -> None:
        """Run a kernel and wait until it is done; see `Runtime.run`."""
        values = kernel.check(parameters)
        previous = previous_for(kernel, source, previous)
        check_frames(kernel, source, target, previous, values)
        read = [*source.tensors, *(previous.tensors if previous is not None else ())]
        planes: list[Any] = [tensor.handle("array") for tensor in read]
        written = kernel.written(target.info)
        # What the kernel leaves alone may lie in other memory.
        out: list[Any] = [
            tensor.handle("array") if k in written else None
            for k, tensor in enumerate(target.tensors)
        ]
        kernel.compute(planes, source.info, target.info, out, values)
