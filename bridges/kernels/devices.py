"""Every device of the machine that kernels may run on."""

import importlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

from bridges.backends.probe import BACKENDS, open_context
from bridges.errors import XTranscodeError
from bridges.kernels.runtime import Runtime, create_runtime
from bridges.tensor import MemoryType

__all__ = ["Device", "devices"]

_KINDS = (MemoryType.OPENCL, MemoryType.SYCL, MemoryType.CUDA)


@dataclass(frozen=True)
class Device:
    """What kernels may run on.

    Attributes
    ----------
    name : str
        What people call it.
    runtime : Runtime or None
        None where kernels do not run on it.
    reason : str
        Why not.
    """

    name: str
    runtime: Runtime | None
    reason: str = ""


@contextmanager
def devices() -> Iterator[list[Device]]:
    """Open every OpenCL, SYCL and CUDA device of this machine."""
    with ExitStack() as stack:
        yield [
            _open(memory_type, selector, stack)
            for memory_type in _KINDS
            for selector in _selectors(memory_type)
        ]


def _selectors(memory_type: MemoryType) -> list[str]:
    try:
        backend: Any = importlib.import_module(f"bridges.backends.{BACKENDS[memory_type][0]}")
    except ImportError:
        return []
    found = backend.probe()
    if not found.available:
        return []
    if memory_type is MemoryType.OPENCL:
        return [f"{each.platform_index}:{each.device_index}" for each in backend.devices()]
    if memory_type is MemoryType.SYCL:
        return [each.selector for each in backend.devices()]
    return [str(number) for number in range(len(found.devices))]


def _open(memory_type: MemoryType, selector: str, stack: ExitStack) -> Device:
    name = f"{BACKENDS[memory_type][0]}:{selector}"
    try:
        runtime = create_runtime(stack.enter_context(open_context(memory_type, selector)))
    except XTranscodeError as error:
        return Device(name, None, str(error))
    return Device(f"{name} {runtime.name.partition(': ')[2]}", runtime)
