"""CUDA machine code of portable sources, by NVRTC: compiled once per machine, no GPU needed."""

import threading
from collections.abc import Sequence
from typing import Any

from cuda.bindings import nvrtc
from cuda.core import Program, ProgramOptions
from cuda.core._utils.cuda_utils import NVRTCError

from bridges.errors import DeviceNotFoundError, KernelError
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

__all__ = ["build", "build_source", "compiler_version"]

_building = threading.Lock()


def compiler_version() -> str:
    """Return NVRTC's version, such as ``"13.0"``.

    Raises
    ------
    DeviceNotFoundError
        NVRTC is not installed.
    """
    try:
        failure, major, minor = nvrtc.nvrtcVersion()
    except RuntimeError as error:  # cuda-pathfinder's, when it finds no library.
        reason = str(error).partition(",")[0]
        raise DeviceNotFoundError(
            f"CUDA kernels need NVIDIA's runtime compiler NVRTC: {reason}; try: "
            "pip install 'nvidia-cuda-nvrtc>=13'"
        ) from error
    if failure:
        raise DeviceNotFoundError(f"NVRTC tells no version: {failure}; install it anew")
    return f"{major}.{minor}"


def build(kernel: Kernel, launch: Launch, architecture: str) -> bytes:
    """Return the machine code of a kernel for one set of macros, from the cache where it is there.

    Parameters
    ----------
    kernel : Kernel
        Its portable source is compiled.
    launch : Launch
        The macros.
    architecture : str
        Of the device, such as ``"sm_90"``. The code is for that and no other: a driver that is
        older than NVRTC loads such code, but no PTX.

    Raises
    ------
    KernelError
        The source does not compile; the message holds the compiler's first, with its line.
    DeviceNotFoundError
        NVRTC is not installed.
    """
    macros = [(name, str(value)) for name, value in launch.macros]
    return build_source(portable_source(launch), kernel.name, architecture, macros)


def build_source(
    source: str, name: str, architecture: str, macros: Sequence[tuple[str, str]] = ()
) -> bytes:
    """Return the machine code of CUDA C++; see `build`.

    Parameters
    ----------
    source : str
        The whole text.
    name : str
        What messages call it.
    architecture : str
        As for `build`.
    macros : sequence of pairs
        Names and values.

    Raises
    ------
    KernelError, DeviceNotFoundError
        As of `build`.
    """
    made_by = [architecture, compiler_version(), *map("=".join, macros)]
    path = cache_folder("cuda") / cache_key([source, *made_by])
    with _building:
        code = read_code(path)
        if not code:
            code = _compile(source, name, list(macros), architecture)
            write_code(path, code)
    return code


def _compile(source: str, name: str, macros: list[tuple[str, str]], architecture: str) -> bytes:
    options = ProgramOptions(name=name, arch=architecture, define_macro=macros or None)
    try:
        program: Any = Program(source, "c++", options)
        return bytes(program.compile("cubin").code)
    except NVRTCError as error:
        said = complaint(str(error), source)
        raise KernelError(f"kernel {name} does not compile: {said}") from error
