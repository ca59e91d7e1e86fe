"""OpenCL programs, built once per machine: their binaries are kept in the user's cache folder.

pyopencl has a cache of its own. It is not used: a process that is killed while it holds the lock
file there makes every later one wait for a minute and then fail.
"""

import contextlib
import threading
import warnings
from collections.abc import Iterator
from typing import Any

import pyopencl as cl

from bridges.backends.opencl import OpenCLContext
from bridges.errors import KernelError
from bridges.kernels.code_cache import (
    cache_folder,
    cache_key,
    portable_source,
    read_code,
    write_code,
)
from bridges.kernels.complaint import complaint
from bridges.kernels.kernel import Kernel
from bridges.kernels.launch import Launch

__all__ = ["build", "complaint_of"]

_building = threading.Lock()


def build(context: OpenCLContext, kernel: Kernel, launch: Launch) -> Any:
    """Return the program of a kernel for one set of macros, from the cache where it is there.

    Raises
    ------
    KernelError
        The source does not compile; the message holds the compiler's first, with its line.
    """
    source = portable_source(launch)
    options = ["-cl-std=CL1.2", *(f"-D{name}={value}" for name, value in launch.macros)]
    native, device = context.native, context.handle("cl_device")
    path = cache_folder("opencl") / cache_key([source, *options, *_made_by(device)])
    with _quietly():
        binary = read_code(path)
        if binary:
            with contextlib.suppress(cl.Error):
                return cl.Program(native, [device], [binary]).build()
        program, said = _compile(native, source, options)
        if said:
            raise KernelError(f"kernel {kernel.name} does not compile: {said}")
        write_code(path, program.get_info(cl.program_info.BINARIES)[0])
        return program


def complaint_of(native: cl.Context, source: str, options: list[str]) -> str:
    """Return what is wrong with a source; nothing where it compiles."""
    with _quietly():
        return _compile(native, source, options)[1]


@contextlib.contextmanager
def _quietly() -> Iterator[None]:
    # Runtimes talk about every build, also a good one, and pyopencl makes warnings of that.
    with _building, warnings.catch_warnings():
        warnings.simplefilter("ignore", cl.CompilerWarning)
        # Of what `_compile` does on purpose.
        warnings.filterwarnings("ignore", "Pre-build attribute access")
        yield


def _compile(native: Any, source: str, options: list[str]) -> tuple[Any, str]:
    """Build a program; return it, and what is wrong with it, which is often nothing."""
    program = cl.Program(native, source)
    # Once it was asked for something, pyopencl leaves no copy of a source that does not compile
    # in the folder of temporary files.
    program.get_info(cl.program_info.NUM_DEVICES)
    try:
        program.build(options, cache_dir=False)
    except cl.Error as error:
        log = program.get_build_info(native.devices[0], cl.program_build_info.LOG)
        return program, complaint(log or str(error), source)
    return program, ""


def _made_by(device: Any) -> list[str]:
    made_by = [device.platform.name, device.platform.version, device.name, device.driver_version]
    if device.type & cl.device_type.CPU:
        # Machines that share a home may name their processors alike, and yet differ in these.
        made_by.append(_cpu_flags())
    return made_by


def _cpu_flags() -> str:
    with contextlib.suppress(OSError), open("/proc/cpuinfo") as lines:
        return next((line for line in lines if line.startswith(("flags", "Features"))), "")
    return ""
