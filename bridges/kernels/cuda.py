"""Kernels on NVIDIA GPUs."""

import functools
import threading
from typing import Any

from cuda.core import LaunchConfig, ObjectCode, launch

from bridges.backends.cuda import CUDAContext, CUDATensor
from bridges.backends.cuda_driver import cuda_errors
from bridges.context import Context
from bridges.errors import FormatError
from bridges.frame import Frame
from bridges.kernels.kernel import Kernel
from bridges.kernels.launch import Launch
from bridges.kernels.nvrtc import build, compiler_version
from bridges.kernels.plan import ENTRIES, WORD, Planner, Scalars
from bridges.tensor import MemoryType, Tensor

__all__ = ["CUDARuntime"]

BLOCK = 32, 8
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
        self._programs: dict[Any, tuple[Any, ...]] = {}
        self._lock = threading.Lock()
        self._thread = threading.local()

    def run(self, kernel: Kernel, source: Frame, target: Frame, **parameters: object) -> None:
        """Run a kernel and wait until it is done; see `Runtime.run`."""
        self.enqueue(kernel, source, target, **parameters)
        with cuda_errors(f"run {kernel.name} on {self._device.name}"):
            with self._device.current:
                # One for each thread: what one thread waits for, no other may record anew.
                done = self._device.stream.record(getattr(self._thread, "done", None))
            self._thread.done = done
            done.sync()

    def enqueue(self, kernel: Kernel, source: Frame, target: Frame, **parameters: object) -> None:
        """Put a kernel on the context's stream, and do not wait; see `Runtime.run`.

        It comes after what was put on the streams of the frames' contexts so far. The frames have
        to stay open until it is done.
        """
        plan = self._planner.find(kernel, source, target, parameters)
        entries = self._entries(kernel, plan.launch)
        tensors = plan.tensors(source, target)
        addresses = [tensor.handle("data") for tensor in tensors]
        steps = plan.samples if any(address % WORD for address in addresses) else plan.words
        for tensor in tensors:
            if tensor.context is not self._device:
                self._follow(tensor)
        stream = self._device.stream
        with cuda_errors(f"run {kernel.name} on {self._device.name}"), self._device.current:
            for step in steps:
                arguments = _arguments(addresses, step.scalars)
                launch(stream, _grid(step.size), entries[step.entry], *arguments)

    def _follow(self, tensor: Tensor) -> None:
        """Have the stream wait for that of another context on the device."""
        assert isinstance(tensor, CUDATensor)
        if tensor.context.ordinal != self._device.ordinal:
            raise FormatError(
                f"{self.name} is CUDA device {self._device.ordinal}, and these samples are on "
                f"device {tensor.context.ordinal}; map them to the CPU first"
            )
        self._device.join(self._device.stream_handle, tensor.handle("cuda_stream"))

    def _entries(self, kernel: Kernel, launch: Launch) -> tuple[Any, ...]:
        """Return the entry points, in the order of `ENTRIES`; they keep no arguments."""
        key = kernel.name, launch.macros
        entries = self._programs.get(key)
        if entries is None:
            with self._lock:
                entries = self._programs.get(key)
                if entries is None:
                    entries = self._programs[key] = self._load(kernel, launch)
        return entries

    def _load(self, kernel: Kernel, launch: Launch) -> tuple[Any, ...]:
        code = build(kernel, launch, self._architecture)
        with cuda_errors(f"load {kernel.name} on {self._device.name}"), self._device.current:
            program: Any = ObjectCode.from_cubin(code, name=kernel.name)
            return tuple(program.get_kernel(f"{kernel.name}_{entry}") for entry in ENTRIES)


def _arguments(addresses: list[int], scalars: Scalars) -> list[Any]:
    arguments: list[Any] = [None] * (len(addresses) + len(scalars))
    arguments[: 2 * len(addresses) : 2] = addresses
    for place, value in scalars:
        arguments[place] = value
    return arguments


@functools.lru_cache(256)
def _grid(size: tuple[int, int]) -> Any:
    """Return as many blocks as cover ``size`` items; what lies outside is skipped by OUTSIDE."""
    blocks = tuple(-(-items // threads) for items, threads in zip(size, BLOCK, strict=True))
    return LaunchConfig(grid=blocks, block=BLOCK)
