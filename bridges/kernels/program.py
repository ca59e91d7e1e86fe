"""OpenCL programs, built once per machine: their binaries are kept in the user's cache folder.

pyopencl has a cache of its own. It is not used: a process that is killed while it holds the lock
file there makes every later one wait for a minute and then fail.
"""

import contextlib
import threading
import warnings
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
from bridges.kernels.kernel import Kernel
from bridges.kernels.launch import Launch

__all__ = ["build"]

_building = threading.Lock()


def build(context: OpenCLContext, kernel: Kernel, launch: Launch) -> Any:
    """Return the program of a kernel for one set of macros, from the cache where it is there.

    Raises
    ------
    KernelError
        The source does not compile; the message holds the compiler's own.
    """
    source = portable_source(launch)
    options = ["-cl-std=CL1.2", *(f"-D{name}={value}" for name, value in launch.macros)]
    native, device = context.native, context.handle("cl_device")
    path = cache_folder("opencl") / cache_key([source, *options, *_made_by(device)])
    # Runtimes talk about every build, also a good one, and pyopencl makes warnings of that.
    with _building, warnings.catch_warnings():
        warnings.simplefilter("ignore", cl.CompilerWarning)
        binary = read_code(path)
        if binary:
            with contextlib.suppress(cl.Error):
                return cl.Program(native, [device], [binary]).build()
        try:
            program = cl.Program(native, source).build(options, cache_dir=False)
        except cl.Error as error:
            raise KernelError(f"kernel {kernel.name} does not compile: {error}") from error
        write_code(path, program.get_info(cl.program_info.BINARIES)[0])
        return program


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
