"""Kernels on SYCL devices: OpenCL compiles the portable source itself, Level Zero takes its SPIR-V.

CUDA takes its own code alone.
"""

import ctypes
from contextlib import AbstractContextManager
from typing import Any

import dpctl
import dpctl.program
import numpy as np
import numpy.typing as npt

from bridges.backends.sycl import SyclContext, sycl_errors
from bridges.context import Context
from bridges.errors import KernelError, NoRouteError
from bridges.kernels import spirv
from bridges.kernels.code_cache import portable_source
from bridges.kernels.compiled import CompiledRuntime, NativeEvent
from bridges.kernels.entries import EntryPoints
from bridges.kernels.kernel import Kernel
from bridges.kernels.launch import Launch
from bridges.kernels.plan import Step
from bridges.native.dpctl_memory import native_context
from bridges.tensor import Tensor

__all__ = ["SyclRuntime"]

_TYPES = {np.uint32: ctypes.c_uint32, np.int32: ctypes.c_int32, np.int64: ctypes.c_int64}
"""What dpctl passes for each type that sources declare; it takes no scalars of NumPy."""


class _Entry:
    """One entry point, for one thread and one step: its native kernel keeps its arguments."""

    def __init__(self, program: Any, name: str) -> None:
        # Asked for a name that is not there, dpctl returns a kernel that crashes when it is run.
        if not program.has_sycl_kernel(name):
            raise KernelError(f"the source has no entry point {name}")
        self._kernel = program.get_sycl_kernel(name)
        self._scalars: list[Any] | None = None

    def submit(self, queue: Any, step: Step, memories: list[Any]) -> Any:
        """Submit a step and return its event."""
        if self._scalars is None:
            self._scalars = _scalars(step)
        # A copy: what is kept must hold no memory.
        arguments = self._scalars.copy()
        for (place, _), memory in zip(step.memories, memories, strict=True):
            arguments[place] = memory
        # SYCL counts dimensions from the slowest, OpenCL from the fastest.
        size, group = step.launch.size[::-1], step.launch.group
        sizes = (list(size),) if group is None else (list(size), list(group[::-1]))
        return queue.submit_async(self._kernel, arguments, *sizes)


class _Event(NativeEvent):
    @property
    def is_done(self) -> bool:
        return bool(self._native.execution_status == dpctl.event_status_type.complete)


class SyclRuntime(CompiledRuntime[_Entry]):
    """Compiles kernels for one device, keeps them, and runs them.

    Parameters
    ----------
    context : SyclContext
        The device.
    takes_spirv : bool, optional
        Whether the driver is given SPIR-V, and not the source. By default it is where it takes
        nothing else; OpenCL drivers mostly take both.

    Raises
    ------
    NoRouteError
        The device is driven by neither OpenCL nor Level Zero.
    """

    def __init__(self, context: Context, *, takes_spirv: bool | None = None) -> None:
        assert isinstance(context, SyclContext)
        device = context.device
        if device.backend not in ("opencl", "level_zero"):
            raise NoRouteError(
                f"no runtime runs kernels on {device.selector} {device.name}: {device.backend} "
                "takes neither their source nor SPIR-V; name the device by its OpenCL driver, as "
                f"sycl:opencl:{device.kind}, or use another kind of device"
            )
        super().__init__(context, "SYCL", f"{device.name} ({device.selector})", handle="usm_memory")
        self._takes_spirv = device.backend == "level_zero" if takes_spirv is None else takes_spirv
        self._device = context
        self._entries = EntryPoints(self._build, _Entry)

    def _address(self, tensor: Tensor, memory: Any) -> int:
        address: int = memory._pointer
        return address

    def _entry(self, kernel: Kernel, step: Step) -> _Entry:
        return self._entries.find(kernel, step)

    def _working(self, action: str) -> AbstractContextManager[None]:
        return sycl_errors(action)

    def _launch(self, entry: _Entry, step: Step, memories: list[Any]) -> Any:
        return entry.submit(self._device.queue, step, memories)

    def _event(self, last: Any, action: str, keep: object) -> _Event:
        return _Event(last, sycl_errors, action, keep)

    def _upload(self, tensor: Tensor, content: npt.NDArray[np.uint8]) -> None:
        self._device.queue.memcpy(tensor.handle("usm_memory"), content, content.nbytes)

    def _build(self, kernel: Kernel, launch: Launch) -> Any:
        if self._takes_spirv:
            return self._build_spirv(kernel, launch)
        source = portable_source(launch)
        options = ["-cl-std=CL1.2", *(f"-D{name}={value}" for name, value in launch.macros)]
        queue = self._device.queue
        try:
            return dpctl.program.create_program_from_source(queue, source, " ".join(options))
        except dpctl.program.SyclProgramCompilationError as error:
            said = _complaint(queue, source, options)
            raise KernelError(f"kernel {kernel.name} does not compile: {said}") from error

    def _build_spirv(self, kernel: Kernel, launch: Launch) -> Any:
        module = spirv.build(kernel, launch)
        try:
            return dpctl.program.create_program_from_spirv(self._device.queue, module)
        except dpctl.program.SyclProgramCompilationError as error:
            raise KernelError(
                f"the driver of {self.name} refuses the SPIR-V of kernel {kernel.name}, which is "
                f"kept as {spirv.module_key(launch)}; name the device by its OpenCL driver, or "
                "use another kind of device"
            ) from error


def _scalars(step: Step) -> list[Any]:
    """Return all arguments as dpctl takes them, with None where memory goes."""
    places = [place for place, _ in (*step.memories, *step.scalars)]
    arguments: list[Any] = [None] * (1 + max(places))
    for place, value in step.scalars:
        arguments[place] = _TYPES[value.dtype.type](int(value))
    return arguments


def _complaint(queue: Any, source: str, options: list[str]) -> str:
    """Return what the compiler says; dpctl's errors tell nothing, so that OpenCL is asked again."""
    from bridges.backends.opencl import devices

    # pyopencl's loader looks for runtimes at its first call, which is to find all of them.
    devices()
    import pyopencl as cl

    from bridges.kernels.program import complaint_of

    # ``native_context`` retained it for us.
    context = cl.Context.from_int_ptr(native_context(queue.sycl_context), False)
    said = complaint_of(context, source, options)
    return said or f"the OpenCL driver compiles it, and SYCL does not, with {' '.join(options)}"
