"""Kernels on NVIDIA GPUs."""

import functools
import threading
import weakref
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt
from cuda.bindings import driver
from cuda.core import LaunchConfig, ObjectCode, launch

from bridges.backends.cuda import CUDAContext, CUDATensor
from bridges.backends.cuda_driver import check, cuda_errors
from bridges.context import Context
from bridges.errors import FormatError
from bridges.frame import Frame, MediaFrame
from bridges.kernels.frames import previous_for
from bridges.kernels.kernel import Kernel
from bridges.kernels.launch import WORD, Launch, Plane
from bridges.kernels.memories import Memories
from bridges.kernels.nvrtc import build, compiler_version
from bridges.kernels.plan import Planner, Step
from bridges.tensor import MemoryType, Tensor

__all__ = ["CUDARuntime"]

BLOCK = 32, 4
"""Threads of a block, along a row and across rows: a warp reads neighbours of one row."""


class CUDARuntime:
    """Compiles kernels for one device, keeps them, and runs them on the context's own stream.

    Parameters
    ----------
    context : CUDAContext
        The device.

    Raises
    ------
    DeviceNotFoundError
        NVRTC is not installed.
    """

    def __init__(self, context: Context) -> None:
        assert isinstance(context, CUDAContext)
        compiler_version()
        self.context: Context = context
        self.name = f"CUDA: {context.device.name}"
        self._device = context
        major, minor = context.device.compute_capability
        self._architecture = f"sm_{major}{minor}"
        self._planner = Planner(MemoryType.CUDA, self.name)
        self._entries: weakref.WeakKeyDictionary[Step, Any] = weakref.WeakKeyDictionary()
        self._memories = Memories(context, self._upload)
        self._lock = threading.Lock()
        self._thread = threading.local()

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
        self.enqueue(kernel, source, target, parameters, previous=previous)
        with cuda_errors(f"run {kernel.name} on {self._device.name}"):
            with self._device.current:
                # One for each thread: what one thread waits for, no other may record anew.
                done = self._device.stream.record(getattr(self._thread, "done", None))
            self._thread.done = done
            done.sync()

    def enqueue(
        self,
        kernel: Kernel,
        source: Frame,
        target: MediaFrame,
        parameters: Mapping[str, object] = MappingProxyType({}),
        *,
        previous: Frame | None = None,
    ) -> None:
        """Put a kernel on the context's stream, and do not wait; see `Runtime.run`.

        It comes after what was put on the streams of the frames' contexts so far. The frames have
        to stay open until it is done.
        """
        previous = previous_for(kernel, source, previous)
        plan = self._planner.find(kernel, source, target, previous, parameters)
        tensors = plan.tensors(source, target, previous)
        addresses = {plane: tensor.handle("data") for plane, tensor in tensors.items()}
        steps = plan.steps(not any(address % WORD for address in addresses.values()))
        entries = [self._entry(kernel, step) for step in steps]
        for tensor in tensors.values():
            if tensor.context is not self._device:
                self._follow(tensor)
        stream = self._device.stream
        with cuda_errors(f"run {kernel.name} on {self._device.name}"), self._device.current:
            for step, entry in zip(steps, entries, strict=True):
                arguments = dict(step.scalars)
                for place, memory in step.memories:
                    arguments[place] = (
                        addresses[memory]
                        if isinstance(memory, Plane)
                        else self._memories.find(memory).handle("data")
                    )
                shape = _grid(step.launch.size, step.launch.group or BLOCK)
                launch(stream, shape, entry, *(arguments[k] for k in range(len(arguments))))

    def _follow(self, tensor: Tensor) -> None:
        """Have the stream wait for that of another context on the device."""
        assert isinstance(tensor, CUDATensor)
        if tensor.context.ordinal != self._device.ordinal:
            raise FormatError(
                f"{self.name} is CUDA device {self._device.ordinal}, and these samples are on "
                f"device {tensor.context.ordinal}; map them to the CPU first"
            )
        self._device.join(self._device.stream_handle, tensor.handle("cuda_stream"))

    def _upload(self, tensor: Tensor, content: npt.NDArray[np.uint8]) -> None:
        stream = self._device.stream_handle
        with cuda_errors("put a table on the device"), self._device.current:
            check(
                driver.cuMemcpyHtoDAsync(
                    tensor.handle("data"), content.ctypes.data, content.nbytes, stream
                ),
                "copy a table",
            )
            self._device.stream.sync()

    def _entry(self, kernel: Kernel, step: Step) -> Any:
        """Return an entry point, which lives as long as its plan; it keeps no arguments."""
        entry = self._entries.get(step)
        if entry is None:
            with self._lock:
                entry = self._entries.get(step)
                if entry is None:
                    entry = self._entries[step] = self._load(kernel, step.launch)
        return entry

    def _load(self, kernel: Kernel, launch: Launch) -> Any:
        code = build(kernel, launch, self._architecture)
        with cuda_errors(f"load {kernel.name} on {self._device.name}"), self._device.current:
            program: Any = ObjectCode.from_cubin(code, name=kernel.name)
            return program.get_kernel(launch.entry)


@functools.lru_cache(256)
def _grid(size: tuple[int, int], block: tuple[int, int]) -> Any:
    """Return as many blocks as cover ``size`` items; what lies outside is skipped by OUTSIDE."""
    blocks = tuple(-(-items // threads) for items, threads in zip(size, block, strict=True))
    return LaunchConfig(grid=blocks, block=block)
