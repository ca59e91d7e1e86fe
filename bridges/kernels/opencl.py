"""Kernels on OpenCL devices."""

import functools
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt
import pyopencl as cl

from bridges.backends.opencl import OpenCLContext, OpenCLTensor, opencl_errors
from bridges.context import Context
from bridges.frame import Frame, MediaFrame
from bridges.kernels.entries import EntryPoints
from bridges.kernels.frames import previous_for
from bridges.kernels.kernel import Kernel
from bridges.kernels.launch import WORD, Plane
from bridges.kernels.memories import Memories
from bridges.kernels.plan import Planner, Step
from bridges.kernels.program import build
from bridges.tensor import MemoryType, Tensor

__all__ = ["OpenCLRuntime"]


class _Entry:
    """One entry point, for one thread and one step: a ``cl_kernel`` keeps its arguments."""

    def __init__(self, program: Any, name: str) -> None:
        with opencl_errors(f"find the entry point {name}"):
            self._kernel = cl.Kernel(program, name)
        self._is_new = True

    def enqueue(self, queue: Any, step: Step, buffers: list[Any]) -> Any:
        """Enqueue a step and return its event."""
        # Scalars cost more time than buffers and never change.
        if self._is_new:
            for place, value in step.scalars:
                self._kernel.set_arg(place, value)
            self._is_new = False
        for (place, _), buffer in zip(step.memories, buffers, strict=True):
            self._kernel.set_arg(place, buffer)
        return cl.enqueue_nd_range_kernel(queue, self._kernel, step.launch.size, step.launch.group)


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
        self._memories = Memories(context, self._upload)

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
        previous = previous_for(kernel, source, previous)
        plan = self._planner.find(kernel, source, target, previous, parameters)
        tensors = plan.tensors(source, target, previous)
        buffers = {plane: tensor.handle("cl_mem") for plane, tensor in tensors.items()}
        steps = plan.steps(not any(map(_is_unaligned, tensors.values())))
        entries = [self._entries.find(kernel, step) for step in steps]
        with opencl_errors(f"run {kernel.name} on {self._device.name}"):
            queue = self._device.queue
            for step, entry in zip(steps, entries, strict=True):
                arguments = [
                    buffers[memory]
                    if isinstance(memory, Plane)
                    else self._memories.find(memory).handle("cl_mem")
                    for _, memory in step.memories
                ]
                done = entry.enqueue(queue, step, arguments)
            done.wait()

    def _upload(self, tensor: Tensor, content: npt.NDArray[np.uint8]) -> None:
        cl.enqueue_copy(self._device.queue, tensor.handle("cl_mem"), content)


def _is_unaligned(tensor: Tensor) -> bool:
    return isinstance(tensor, OpenCLTensor) and tensor.address % WORD != 0
