"""SPIR-V modules of portable sources, for drivers that take no source, such as Level Zero's.

Some ship with the package, in the folder ``spirv_modules``, made by ``tools/build_spirv.py``. All
others are made by the machine's clang and llvm-spirv, once, and kept in the user's cache folder.
"""

import functools
import json
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from importlib.resources.abc import Traversable
from typing import Any

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

__all__ = [
    "Compiler",
    "build",
    "compile_module",
    "find_compiler",
    "module_key",
    "shipped_index",
    "shipped_modules",
]

# Clang's own passes make loops that llvm-spirv writes down wrongly, and integers of odd widths,
# which OpenCL has not; those of the driver follow anyway. Without -O2, functions would be marked
# as not to be optimised by anybody.
_CLANG = ("--target=spir64", "-x", "cl", "-cl-std=CL1.2", "-O2", "-Xclang", "-disable-llvm-passes")
_TO_BITCODE = ("-emit-llvm", "-c", "-o", "-", "-")
# Kernels need no more than 1.0, which every driver takes. Variables in registers make a module a
# third smaller.
_TO_SPIRV = ("--spirv-max-version=1.0", "--spirv-mem2reg", "-o", "-", "-")

_VERSIONS = ("-15", *(f"-{version}" for version in range(16, 25)), "-14", "")
"""What the names of the tools end in. The two have to be of one version; 15 was tried."""
_INSTALL = "apt install clang-15 llvm-spirv-15"


@dataclass(frozen=True, slots=True)
class Compiler:
    """Two programs that make SPIR-V of OpenCL C.

    Attributes
    ----------
    clang, llvm_spirv : str
        Their paths.
    """

    clang: str
    llvm_spirv: str

    @property
    def versions(self) -> list[str]:
        """What the two say of themselves, a line each."""
        tools = (self.clang, "version"), (self.llvm_spirv, "LLVM version")
        said = [
            (_run([tool, "--version"], b"").stdout.decode().splitlines(), what)
            for tool, what in tools
        ]
        return [next((line.strip() for line in lines if what in line), "") for lines, what in said]


def find_compiler() -> Compiler | None:
    """Return the compiler that is on ``PATH``, if there is one."""
    for version in _VERSIONS:
        clang, llvm_spirv = (shutil.which(f"{tool}{version}") for tool in ("clang", "llvm-spirv"))
        if clang and llvm_spirv:
            return Compiler(clang, llvm_spirv)
    return None


def build(kernel: Kernel, launch: Launch) -> bytes:
    """Return the module of a kernel for one set of macros.

    It is the one that ships with the package, else the one in the cache, else made now.

    Raises
    ------
    KernelError
        The source does not compile, and the message holds the compiler's first; or there is neither
        a module nor a compiler.
    """
    key = module_key(launch)
    shipped = shipped_modules().joinpath(f"{key}.spv")
    if shipped.is_file():
        return shipped.read_bytes()
    path = cache_folder("spirv") / key
    module = read_code(path)
    if not module:
        compiler = find_compiler()
        if compiler is None:
            raise KernelError(_no_compiler(kernel))
        module = compile_module(compiler, kernel, launch)
        write_code(path, module)
    return module


def module_key(launch: Launch) -> str:
    """Return what a module is kept by: it changes with the text, the macros and the options."""
    return cache_key([portable_source(launch), *_options(launch), *_CLANG, *_TO_SPIRV])


def compile_module(compiler: Compiler, kernel: Kernel, launch: Launch) -> bytes:
    """Return the module that a compiler makes; the same compiler makes the same bytes.

    Raises
    ------
    KernelError
        The source does not compile; the message holds the compiler's first, with its line.
    """
    source = portable_source(launch)
    bitcode = _run([compiler.clang, *_CLANG, *_options(launch), *_TO_BITCODE], source.encode())
    if bitcode.returncode:
        said = complaint(_said(bitcode), source)
        raise KernelError(f"kernel {kernel.name} does not compile: {said}")
    module = _run([compiler.llvm_spirv, *_TO_SPIRV], bitcode.stdout)
    if module.returncode:
        raise KernelError(
            f"{compiler.llvm_spirv} makes no SPIR-V of kernel {kernel.name}, which {compiler.clang}"
            f" compiles: {_said(module)}; both have to be of one version"
        )
    return module.stdout


def shipped_modules() -> Traversable:
    """Return the folder of the modules that ship: ``<key>.spv`` each, and an index."""
    return resources.files("bridges.kernels").joinpath("spirv_modules")


@functools.cache
def shipped_index() -> Mapping[str, Any]:
    """Return what ships.

    ``compiler`` are the `Compiler.versions` that made it, ``calls`` the pixel formats by the call
    of a kernel, ``matrices`` and ``range`` what YUV is tagged with.
    """
    index: dict[str, Any] = json.loads(shipped_modules().joinpath("index.json").read_text("utf-8"))
    return index


def _options(launch: Launch) -> list[str]:
    return [f"-D{name}={value}" for name, value in launch.macros]


def _run(command: Sequence[str], given: bytes) -> "subprocess.CompletedProcess[bytes]":
    return subprocess.run(command, input=given, capture_output=True, check=False)


def _said(done: "subprocess.CompletedProcess[bytes]") -> str:
    return done.stderr.decode(errors="replace").strip() or f"exit status {done.returncode}"


def _no_compiler(kernel: Kernel) -> str:
    index = shipped_index()
    there = "; ".join(f"{call}: {' '.join(formats)}" for call, formats in index["calls"].items())
    return (
        f"kernel {kernel.name} is needed as SPIR-V, which does not ship with the package for these "
        "frames and parameters, and clang and llvm-spirv, which make it, are not on PATH; try: "
        f"{_INSTALL}. What ships, for YUV of {' and '.join(index['matrices'])} in "
        f"{index['range']} range, and for any value of a parameter that is shown, is {there}"
    )
