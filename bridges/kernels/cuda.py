"""Kernels on NVIDIA GPUs."""

import ctypes
import functools
import threading
import weakref
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt
from cuda.bindings import driver
from cuda.core import ObjectCode

from bridges.backends.cuda import CUDAContext, CUDATensor
from bridges.backends.cuda_driver import check, check_code, cuda_errors, quick
from bridges.backends.cuda_launch import CUDALaunch
from bridges.context import Context
from bridges.errors import FormatError
from bridges.frame import Frame, MediaFrame
from bridges.kernels.code_cache import portable_source
from bridges.kernels.compiled import CompiledRuntime
from bridges.kernels.kernel import Kernel
from bridges.kernels.launch import WORD, Launch
from bridges.kernels.nvrtc import build, compiler_version
from bridges.kernels.plan import Plan, Step
from bridges.tensor import Tensor

__all__ = ["CUDARuntime", "PreparedKernel"]

BLOCK = 32, 4
"""Threads of a block, along a row and across rows: a warp reads neighbours of one row."""


class _Event:
    """What `CUDARuntime.enqueue` returns.

    Parameters
    ----------
    stream : cuda.core.Stream
        What is put there so far is what it waits for.
    free : deque
        CUDA's events that nobody waits for any more, to be recorded anew: it takes one from there,
        and gives it back.
    action : str
        Completes "CUDA cannot ...".
    keep : object
        Held until it is done.
    """

    def __init__(self, stream: Any, free: deque[Any], action: str, keep: object) -> None:
        self._free, self._action = free, action
        self._keep: object | None = keep
        try:
            event = free.pop()
        except IndexError:
            self._native = stream.record()
            return
        code = quick().cuEventRecord(int(event.handle), int(stream.handle))
        check_code(code, action)
        self._native = event

    @property
    def is_done(self) -> bool:
        code, *_ = driver.cuEventQuery(self._native.handle)
        return bool(code != driver.CUresult.CUDA_ERROR_NOT_READY)

    def wait(self) -> None:
        with cuda_errors(self._action):
            self._native.sync()
        self._keep = None

    def __del__(self) -> None:
        # There is none where it could not be recorded.
        if hasattr(self, "_native"):
            self._free.append(self._native)


class PreparedKernel:
    """A kernel and frames of one layout: what is left to do is to launch it with their addresses.

    `CUDARuntime.prepare` makes it; one thread at a time uses it.
    """

    def __init__(self, context: CUDAContext, name: str, plan: Plan, launches: list[Any]) -> None:
        self._name = name
        self._keep = plan, launches
        self._steps = []
        for step, entry, memories in launches:
            slots, pointers = _slots(step)
            places = []
            for (place, memory), address in zip(step.memories, memories, strict=True):
                if isinstance(memory, int):
                    plane = plan.planes[memory]
                    places.append((place, plane.frame == "target", plane.index))
                else:
                    slots[place] = address
            launch = _launch_of(entry, step, context, pointers)
            self._steps.append((launch, slots, tuple(places)))

    def launch(self, source: Sequence[int], target: Sequence[int]) -> None:
        """Put it on the context's stream; no context has to be current.

        Parameters
        ----------
        source, target : sequence of int
            The address of each plane, a multiple of `bridges.kernels.launch.WORD`. What lies there
            has to stay until the stream is past this.

        Raises
        ------
        DeviceError
            The device refused.
        """
        for launch, slots, places in self._steps:
            for place, is_target, index in places:
                slots[place] = (target if is_target else source)[index]
            code = launch.start()
            if code:
                check_code(code, f"run {self._name}")


class CUDARuntime(CompiledRuntime[Any]):
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
        super().__init__(context, "CUDA", context.device.name, handle="data")
        self._device = context
        major, minor = context.device.compute_capability
        self._architecture = f"sm_{major}{minor}"
        self._entries: weakref.WeakKeyDictionary[Step, Any] = weakref.WeakKeyDictionary()
        self._lock = threading.Lock()
        self._free = context.free_events
        self._slots = threading.local()

    def prepare(
        self,
        kernel: Kernel,
        source: Frame,
        target: MediaFrame,
        parameters: Mapping[str, object] = MappingProxyType({}),
    ) -> PreparedKernel:
        """Return a kernel for frames that lie as these do; nothing is run.

        Parameters, and what is raised, are those of `Runtime.run`.

        Raises
        ------
        FormatError
            An address is no multiple of `bridges.kernels.launch.WORD`.
        """
        plan, tensors = self._planner.find(kernel, source, target, None, parameters)
        planes = [tensor.handle(self._handle) for tensor in tensors]
        if any(address % WORD for address in planes):
            raise FormatError(f"{kernel.name} is prepared for addresses at multiples of {WORD}")
        with self._working(f"prepare {kernel.name} on {self._device.name}"):
            launches = [
                (step, self._entry(kernel, step), self._memories.arguments(step, planes))
                for step in plan.steps(True)
            ]
        return PreparedKernel(self._device, kernel.name, plan, launches)

    def _address(self, tensor: Tensor, memory: Any) -> int:
        address: int = memory
        return address

    def _follow(self, tensors: Iterable[Tensor]) -> None:
        for tensor in tensors:
            if tensor.context is self._device:
                continue
            assert isinstance(tensor, CUDATensor)
            if tensor.context.ordinal != self._device.ordinal:
                raise FormatError(
                    f"{self.name} is CUDA device {self._device.ordinal}, and these samples are on "
                    f"device {tensor.context.ordinal}; map them to the CPU first"
                )
            self._device.join(self._device.stream_handle, tensor.handle("cuda_stream"))

    @contextmanager
    def _working(self, action: str) -> Iterator[None]:
        with cuda_errors(action), self._device.current:
            yield

    def _launch(self, entry: Any, step: Step, memories: list[Any]) -> None:
        slots, launch = self._prepared(entry, step)
        for (place, _), address in zip(step.memories, memories, strict=True):
            slots[place] = address
        check_code(launch.start(), f"run {step.launch.entry}")

    def _prepared(self, entry: Any, step: Step) -> tuple[Any, CUDALaunch]:
        """Return a place of 8 bytes for each argument, scalars filled in, and what launches them.

        A thread has its own; the driver copies them as it launches.
        """
        known = self._slots.__dict__.setdefault("known", weakref.WeakKeyDictionary())
        found: tuple[Any, CUDALaunch] | None = known.get(step)
        if found is None:
            slots, pointers = _slots(step)
            found = known[step] = slots, _launch_of(entry, step, self._device, pointers)
        return found

    def _event(self, last: None, action: str, keep: object) -> _Event:
        return _Event(self._device.stream, self._free, action, keep)

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
        # All streams of a device share what is loaded.
        source = portable_source(launch)
        key = self._device.cuda_handle, launch.entry, source, tuple(launch.macros)
        with _loading:
            entry = _loaded.get(key)
            if entry is None:
                entry = _loaded[key] = self._load_anew(kernel, launch)
        return entry

    def _load_anew(self, kernel: Kernel, launch: Launch) -> "_Entry":
        code = build(kernel, launch, self._architecture)
        with cuda_errors(f"load {kernel.name} on {self._device.name}"), self._device.current:
            program: Any = ObjectCode.from_cubin(code, name=kernel.name)
            return _Entry(program.get_kernel(launch.entry))


def _launch_of(entry: "_Entry", step: Step, context: CUDAContext, pointers: Any) -> CUDALaunch:
    grid, block = _grid(step.launch.size, step.launch.group or BLOCK)
    return CUDALaunch(entry.handle, grid, block, context.stream_handle, pointers)


def _slots(step: Step) -> tuple[Any, Any]:
    """Return a place of 8 bytes for each argument, scalars filled in, and where these are."""
    count = len(step.memories) + len(step.scalars)
    slots, pointers = (ctypes.c_uint64 * count)(), (ctypes.c_void_p * count)()
    for place, value in step.scalars:
        slots[place] = int(value) & 0xFFFF_FFFF_FFFF_FFFF  # Its low bytes come first.
    for place in range(count):
        pointers[place] = ctypes.addressof(slots) + 8 * place
    return slots, pointers


class _Entry:
    """An entry point; what it is part of stays loaded for as long as this is held."""

    def __init__(self, kernel: Any) -> None:
        self._kernel = kernel
        self.handle = int(kernel.handle)


_loaded: weakref.WeakValueDictionary[Any, _Entry] = weakref.WeakValueDictionary()
_loading = threading.Lock()


@functools.lru_cache(256)
def _grid(
    size: tuple[int, int], block: tuple[int, int]
) -> tuple[tuple[int, int, int], tuple[int, int, int]]:
    """Return as many blocks as cover ``size`` items; what lies outside is skipped by OUTSIDE."""
    across, down = (-(-items // threads) for items, threads in zip(size, block, strict=True))
    return (across, down, 1), (*block, 1)
