"""OpenCL programs, built once per machine: their binaries are kept in the user's cache folder.

pyopencl has a cache of its own. It is not used: a process that is killed while it holds the lock
file there makes every later one wait for a minute and then fail.
"""

import contextlib
import hashlib
import os
import tempfile
import threading
import warnings
from importlib import resources
from pathlib import Path
from typing import Any

import pyopencl as cl

from bridges.backends.opencl import OpenCLContext
from bridges.errors import KernelError
from bridges.kernels.kernel import Kernel
from bridges.kernels.launch import Launch

__all__ = ["build", "cache_folder"]

_building = threading.Lock()


def cache_folder() -> Path:
    """Return where binaries are kept: ``$XDG_CACHE_HOME/xtranscode/opencl`` or below ~/.cache."""
    base = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    return Path(base, "xtranscode", "opencl")


def build(context: OpenCLContext, kernel: Kernel, launch: Launch) -> Any:
    """Return the program of a kernel for one set of macros, from the cache where it is there.

    Raises
    ------
    KernelError
        The source does not compile; the message holds the compiler's own.
    """
    prelude = resources.files("bridges.kernels").joinpath("prelude.h").read_text("utf-8")
    source = f"{prelude}\n{kernel.source}"
    options = ["-cl-std=CL1.2", *(f"-D{name}={value}" for name, value in launch.macros)]
    native, device = context.native, context.handle("cl_device")
    path = cache_folder() / _key(source, options, device)
    # Runtimes talk about every build, also a good one, and pyopencl makes warnings of that.
    with _building, warnings.catch_warnings():
        warnings.simplefilter("ignore", cl.CompilerWarning)
        binary = _read(path)
        if binary:
            with contextlib.suppress(cl.Error):
                return cl.Program(native, [device], [binary]).build()
        try:
            program = cl.Program(native, source).build(options, cache_dir=False)
        except cl.Error as error:
            raise KernelError(f"kernel {kernel.name} does not compile: {error}") from error
        _write(path, program.get_info(cl.program_info.BINARIES)[0])
        return program


def _key(source: str, options: list[str], device: Any) -> str:
    """Return a name that changes with whatever the binary depends on."""
    made_by = [device.platform.name, device.platform.version, device.name, device.driver_version]
    if device.type & cl.device_type.CPU:
        # Machines that share a home may name their processors alike, and yet differ in these.
        made_by.append(_cpu_flags())
    return hashlib.sha256("\0".join([source, *options, *made_by]).encode()).hexdigest()


def _cpu_flags() -> str:
    with contextlib.suppress(OSError), open("/proc/cpuinfo") as lines:
        return next((line for line in lines if line.startswith(("flags", "Features"))), "")
    return ""


def _read(path: Path) -> bytes:
    """Return a binary; empty where there is none, or where the file is damaged."""
    try:
        content = path.read_bytes()
    except OSError:
        return b""
    digest, binary = content[:32], content[32:]
    return binary if hashlib.sha256(binary).digest() == digest else b""


def _write(path: Path, binary: bytes) -> None:
    """Keep a binary, whole or not at all; a folder that cannot be written is no failure."""
    with contextlib.suppress(OSError):
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as file:
            file.write(hashlib.sha256(binary).digest() + binary)
        os.replace(file.name, path)
