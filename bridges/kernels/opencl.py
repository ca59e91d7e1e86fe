"""Kernels on OpenCL devices."""

import threading
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyopencl as cl

from bridges.backends.opencl import OpenCLContext, OpenCLTensor, opencl_errors
from bridges.context import Context
from bridges.errors import FormatError
from bridges.frame import Frame
from bridges.kernels.kernel import Kernel
from bridges.kernels.launch import Launch
from bridges.kernels.program import build
from bridges.kernels.runtime import check_frames
from bridges.tensor import MemoryType, Tensor

__all__ = ["OpenCLRuntime"]

_WORD = 4
"""Bytes. Rows that start at multiples of it are read and written a word at a time."""

Scalars = tuple[tuple[int, Any], ...]
"""Places among the arguments, with their values."""


class _Entry:
    """One entry point of a program, for one thread: a ``cl_kernel`` keeps its arguments."""

    def __init__(self, program: Any, name: str) -> None:
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


@dataclass(frozen=True)
class _Step:
    """A launch of one entry point over some columns of all rows."""

    entry: int
    size: tuple[int, int]
    scalars: Scalars


@dataclass(frozen=True)
class _Plan:
    """What running a kernel on frames of one layout takes; found once and kept."""

    launch: Launch
    words: tuple[_Step, ...]
    samples: tuple[_Step, ...]


_ENTRIES = ("words", "samples")


def _plan(kernel: Kernel, source: Frame, target: Frame, values: dict[str, Any]) -> _Plan:
    check_frames(kernel, source, target)
    launch = kernel.launch(source.info, target.info, **values)
    tensors = [target.tensors[0], *(source.tensors[plane] for plane in launch.planes)]
    strides = [tensor.info.strides[0] for tensor in tensors]
    width, height = target.info.width, target.info.height

    def step(entry: int, first: int, columns: int) -> _Step:
        given: list[np.integer[Any]] = [*map(np.uint32, (first, columns, height)), *launch.scalars]
        places: list[tuple[int, Any]] = [
            (2 * index + 1, np.uint32(stride)) for index, stride in enumerate(strides)
        ]
        places += enumerate(given, start=2 * len(strides))
        return _Step(entry, (columns, height), tuple(places))

    samples = (step(1, 0, width),)
    items, tail = divmod(width, launch.pixels_per_item)
    if items == 0 or (height > 1 and any(stride % _WORD for stride in strides)):
        return _Plan(launch, samples, samples)
    words = [step(0, 0, items)]
    if tail:
        words.append(step(1, width - tail, tail))
    return _Plan(launch, tuple(words), samples)


class OpenCLRuntime:
    """Compiles kernels for one device, keeps them, and runs them.

    Parameters
    ----------
    context : OpenCLContext
        The device.
    """

    _PLANS = 64

    def __init__(self, context: Context) -> None:
        assert isinstance(context, OpenCLContext)
        self.context: Context = context
        self.name = f"OpenCL: {context.device.name} ({context.device.platform})"
        self._device = context
        self._plans: dict[Any, _Plan] = {}
        self._programs: dict[Any, Any] = {}
        self._lock = threading.Lock()
        self._thread = threading.local()

    def run(self, kernel: Kernel, source: Frame, target: Frame, **parameters: object) -> None:
        """Run a kernel and wait until it is done; see `Runtime.run`."""
        plan = self._plan(kernel, source, target, parameters)
        entries = self._entries(kernel, plan.launch)
        tensors = [target.tensors[0], *(source.tensors[plane] for plane in plan.launch.planes)]
        buffers = [tensor.handle("cl_mem") for tensor in tensors]
        steps = plan.samples if any(map(_is_unaligned, tensors)) else plan.words
        with opencl_errors(f"run {kernel.name} on {self._device.name}"):
            queue = self._device.queue
            for step in steps:
                done = entries[step.entry].enqueue(queue, step.size, buffers, step.scalars)
            done.wait()

    def _plan(
        self, kernel: Kernel, source: Frame, target: Frame, parameters: dict[str, Any]
    ) -> _Plan:
        # Times differ from frame to frame, so that a whole FrameInfo is no key.
        key = (
            kernel.name,
            _layout(source),
            _layout(target),
            tuple(parameters.items()),
        )
        plan = self._plans.get(key)
        if plan is None:
            for frame in (source, target):
                if frame.memory_type is not MemoryType.OPENCL:
                    raise FormatError(
                        f"{self.name} takes frames in OpenCL memory, not {frame.memory_type.value}"
                    )
            plan = _plan(kernel, source, target, kernel.check(parameters))
            with self._lock:
                if len(self._plans) >= self._PLANS:
                    self._plans.clear()
                self._plans[key] = plan
        return plan

    def _mine(self) -> dict[Any, tuple[_Entry, ...]]:
        if not hasattr(self._thread, "entries"):
            self._thread.entries = {}
        mine: dict[Any, tuple[_Entry, ...]] = self._thread.entries
        return mine

    def _entries(self, kernel: Kernel, launch: Launch) -> tuple[_Entry, ...]:
        """Return this thread's own entry points."""
        key = kernel.name, launch.macros
        mine = self._mine()
        entries = mine.get(key)
        if entries is None:
            with self._lock:
                program = self._programs.get(key)
                if program is None:
                    program = self._programs[key] = build(self._device, kernel, launch)
            with opencl_errors(f"find the entry points of {kernel.name}"):
                entries = tuple(_Entry(program, f"{kernel.name}_{name}") for name in _ENTRIES)
            mine[key] = entries
        return entries


def _layout(frame: Frame) -> tuple[Any, ...]:
    info = frame.info
    planes = tuple(tensor.info for tensor in frame.tensors)
    return frame.memory_type, info.format.name, info.colour, info.width, info.height, planes


def _is_unaligned(tensor: Tensor) -> bool:
    return isinstance(tensor, OpenCLTensor) and tensor.address % _WORD != 0
