"""Kernels on OpenCL devices."""

import functools
from typing import Any

import pyopencl as cl

from bridges.backends.opencl import OpenCLContext, OpenCLTensor, opencl_errors
from bridges.context import Context
from bridges.frame import Frame
from bridges.kernels.entries import EntryPoints
from bridges.kernels.kernel import Kernel
from bridges.kernels.plan import WORD, Planner, Scalars
from bridges.kernels.program import build
from bridges.tensor import MemoryType, Tensor

__all__ = ["OpenCLRuntime"]


class _Entry:
    """One entry point of a program, for one thread: a ``cl_kernel`` keeps its arguments."""

    def __init__(self, program: Any, name: str) -> None:
        with opencl_errors(f"find the entry point {name}"):
            self._kernel = cl.Kernel(program, name)
        self._scalars: Scalars = ()

    def enqueue(
        self, queue: Any, size: tuple[int, int], buffers: list[Any], scalars: Scalars
    ) -> Any:
        """Enqueue ``size`` items and return their event."""
        for index, buffer in enumerate(buffers):
            self._kernel.set_arg(2 * index, buffer)
        # Scalars cost more time than buffers and seldom change.
        if scalars is not self._scalars:
            for place, value in scalars:
                self._kernel.set_arg(place, value)
            self._scalars = scalars
        return cl.enqueue_nd_range_kernel(queue, self._kernel, size, None)


class OpenCLRuntime:
    """Compiles kernels for one device, keeps them, and runs them.

    Parameters
    ----------
    context : OpenCLContext
        The device.
    """

    def __init__(self, context: Context) -> None:
        assert isinstance(context, OpenCLContext)
        self.context: Context = context
        self.name = f"OpenCL: {context.device.name} ({context.device.platform})"
        self._device = context
        self._planner = Planner(MemoryType.OPENCL, self.name)
        self._entries = EntryPoints(functools.partial(build, context), _Entry)

    def run(self, kernel: Kernel, source: Frame, target: Frame, **parameters: object) -> None:
        """Run a kernel and wait until it is done; see `Runtime.run`."""
        plan = self._planner.find(kernel, source, target, parameters)
        entries = self._entries.find(kernel, plan.launch)
        tensors = plan.tensors(source, target)
        buffers = [tensor.handle("cl_mem") for tensor in tensors]
        steps = plan.samples if any(map(_is_unaligned, tensors)) else plan.words
        with opencl_errors(f"run {kernel.name} on {self._device.name}"):
            queue = self._device.queue
            for step in steps:
                done = entries[step.entry].enqueue(queue, step.size, buffers, step.scalars)
            done.wait()


def _is_unaligned(tensor: Tensor) -> bool:
    return isinstance(tensor, OpenCLTensor) and tensor.address % WORD != 0
