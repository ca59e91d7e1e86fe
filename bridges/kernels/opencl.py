"""Kernels on OpenCL devices."""

import functools
from contextlib import AbstractContextManager
from typing import Any

import numpy as np
import numpy.typing as npt
import pyopencl as cl

from bridges.backends.opencl import OpenCLContext, OpenCLTensor, opencl_errors
from bridges.context import Context
from bridges.kernels.compiled import CompiledRuntime, NativeEvent
from bridges.kernels.entries import EntryPoints
from bridges.kernels.kernel import Kernel
from bridges.kernels.plan import Step
from bridges.kernels.program import build
from bridges.tensor import Tensor

__all__ = ["OpenCLRuntime"]


class _Entry:
    """One entry point, for one thread and one step: a ``cl_kernel`` keeps its arguments."""

    def __init__(self, program: Any, name: str) -> None:
        with opencl_errors(f"find the entry point {name}"):
            self._kernel = cl.Kernel(program, name)
        self._is_new = True

    def enqueue(self, queue: Any, step: Step, memories: list[Any]) -> Any:
        """Enqueue a step and return its event."""
        # Scalars cost more time than buffers and never change.
        if self._is_new:
            for place, value in step.scalars:
                self._kernel.set_arg(place, value)
            self._is_new = False
        for (place, _), memory in zip(step.memories, memories, strict=True):
            self._kernel.set_arg(place, memory)
        return cl.enqueue_nd_range_kernel(queue, self._kernel, step.launch.size, step.launch.group)


class _Event(NativeEvent):
    @property
    def is_done(self) -> bool:
        # Negative where the device failed (OpenCL 1.2, 5.9).
        return bool(self._native.command_execution_status <= cl.command_execution_status.COMPLETE)


class OpenCLRuntime(CompiledRuntime[_Entry]):
    """Compiles kernels for one device, keeps them, and runs them.

    Parameters
    ----------
    context : OpenCLContext
        The device.
    """

    def __init__(self, context: Context) -> None:
        assert isinstance(context, OpenCLContext)
        device = context.device
        super().__init__(context, "OpenCL", f"{device.name} ({device.platform})", handle="cl_mem")
        self._device = context
        self._entries = EntryPoints(functools.partial(build, context), _Entry)

    def _address(self, tensor: Tensor, memory: Any) -> int:
        return tensor.address if isinstance(tensor, OpenCLTensor) else 0

    def _entry(self, kernel: Kernel, step: Step) -> _Entry:
        return self._entries.find(kernel, step)

    def _working(self, action: str) -> AbstractContextManager[None]:
        return opencl_errors(action)

    def _launch(self, entry: _Entry, step: Step, memories: list[Any]) -> Any:
        return entry.enqueue(self._device.queue, step, memories)

    def _event(self, last: Any, action: str, keep: object) -> _Event:
        return _Event(last, opencl_errors, action, keep)

    def _flush(self) -> None:
        with opencl_errors(f"begin the work on {self.name}"):
            self._device.queue.flush()

    def _upload(self, tensor: Tensor, content: npt.NDArray[np.uint8]) -> None:
        cl.enqueue_copy(self._device.queue, tensor.handle("cl_mem"), content)
