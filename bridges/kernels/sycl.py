"""Kernels on SYCL devices that OpenCL drives: they are compiled from the portable source itself.

Level Zero takes SPIR-V alone, and CUDA its own code.
"""

import ctypes
from typing import Any

import dpctl.program
import numpy as np

from bridges.backends.sycl import SyclContext, sycl_errors
from bridges.context import Context
from bridges.errors import KernelError, NoRouteError
from bridges.frame import Frame
from bridges.kernels.code_cache import portable_source
from bridges.kernels.entries import EntryPoints
from bridges.kernels.kernel import Kernel
from bridges.kernels.launch import Launch
from bridges.kernels.plan import WORD, Planner, Scalars
from bridges.native.dpctl_memory import native_context
from bridges.tensor import MemoryType

__all__ = ["SyclRuntime"]

_TYPES = {np.uint32: ctypes.c_uint32, np.int32: ctypes.c_int32, np.int64: ctypes.c_int64}
"""What dpctl passes for each type that sources declare; it takes no scalars of NumPy."""


class _Entry:
    """One entry point of a program, for one thread: its native kernel keeps its arguments."""

    def __init__(self, program: Any, name: str) -> None:
        # Asked for a name that is not there, dpctl returns a kernel that crashes when it is run.
        if not program.has_sycl_kernel(name):
            raise KernelError(f"the source has no entry point {name}")
        self._kernel = program.get_sycl_kernel(name)
        self._scalars: Scalars = ()
        self._arguments: list[Any] = []

    def submit(
        self, queue: Any, size: tuple[int, int], memories: list[Any], scalars: Scalars
    ) -> Any:
        """Submit ``size`` items and return their event."""
        if scalars is not self._scalars:
            self._arguments = _arguments(scalars)
            self._scalars = scalars
        # A copy: what is kept must hold no memory.
        arguments = self._arguments.copy()
        arguments[0 : 2 * len(memories) : 2] = memories
        # SYCL counts dimensions from the slowest, OpenCL from the fastest.
        return queue.submit_async(self._kernel, arguments, [size[1], size[0]])


class SyclRuntime:
    """Compiles kernels for one device, keeps them, and runs them.

    Parameters
    ----------
    context : SyclContext
        The device.

    Raises
    ------
    NoRouteError
        The device is not driven by OpenCL.
    """

    def __init__(self, context: Context) -> None:
        assert isinstance(context, SyclContext)
        device = context.device
        if device.backend != "opencl":
            raise NoRouteError(
                f"no runtime runs kernels on {device.selector} {device.name}: {device.backend} "
                "does not compile their source; name the device by its OpenCL driver, as "
                f"sycl:opencl:{device.kind}, or use another kind of device"
            )
        self.context: Context = context
        self.name = f"SYCL: {device.name} ({device.selector})"
        self._device = context
        self._planner = Planner(MemoryType.SYCL, self.name)
        self._entries = EntryPoints(self._build, _Entry)

    def run(self, kernel: Kernel, source: Frame, target: Frame, **parameters: object) -> None:
        """Run a kernel and wait until it is done; see `Runtime.run`."""
        plan = self._planner.find(kernel, source, target, parameters)
        entries = self._entries.find(kernel, plan.launch)
        tensors = plan.tensors(source, target)
        memories = [tensor.handle("usm_memory") for tensor in tensors]
        is_unaligned = any(memory._pointer % WORD for memory in memories)
        steps = plan.samples if is_unaligned else plan.words
        with sycl_errors(f"run {kernel.name} on {self._device.name}"):
            queue = self._device.queue
            for step in steps:
                done = entries[step.entry].submit(queue, step.size, memories, step.scalars)
            # The queue is in order, and others may have work on it: what is theirs is theirs.
            done.wait()

    def _build(self, kernel: Kernel, launch: Launch) -> Any:
        source = portable_source(kernel)
        options = ["-cl-std=CL1.2", *(f"-D{name}={value}" for name, value in launch.macros)]
        queue = self._device.queue
        try:
            return dpctl.program.create_program_from_source(queue, source, " ".join(options))
        except dpctl.program.SyclProgramCompilationError as error:
            said = _complaint(queue, source, options)
            raise KernelError(f"kernel {kernel.name} does not compile: {said}") from error


def _arguments(scalars: Scalars) -> list[Any]:
    """Return all arguments as dpctl takes them, with None where planes go."""
    arguments: list[Any] = [None] * (1 + scalars[-1][0])
    for place, value in scalars:
        arguments[place] = _TYPES[value.dtype.type](int(value))
    return arguments


def _complaint(queue: Any, source: str, options: list[str]) -> str:
    """Return what the compiler says; dpctl's errors tell nothing, so that OpenCL is asked again."""
    from bridges.backends.opencl import devices

    # pyopencl's loader looks for runtimes at its first call, which is to find all of them.
    devices()
    import pyopencl as cl

    # ``native_context`` retained it for us.
    context = cl.Context.from_int_ptr(native_context(queue.sycl_context), False)
    try:
        cl.Program(context, source).build(options, cache_dir=False)
    except cl.Error as error:
        return str(error)
    return f"the OpenCL driver compiles it, and SYCL does not, with {' '.join(options)}"
