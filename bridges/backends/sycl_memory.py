"""USM by its address, as the frameworks of SYCL pass it on, and the seam to dpctl's errors."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import dpctl
import dpctl.memory
import numpy as np

from bridges.errors import DeviceError
from bridges.tensor import TensorInfo

__all__ = ["finish", "layout_of", "sycl_errors", "usm_at"]

_ERRORS = (
    RuntimeError,
    dpctl.SyclContextCreationError,
    dpctl.SyclKernelSubmitError,
    dpctl.SyclQueueCreationError,
    dpctl.memory.USMAllocationError,
)


@contextmanager
def sycl_errors(action: str) -> Iterator[None]:
    """Translate dpctl's errors; ``action`` completes "SYCL cannot ...".

    Raises
    ------
    DeviceError
        The runtime reported a failure.
    """
    try:
        yield
    except DeviceError:
        raise
    except _ERRORS as error:
        raise DeviceError(f"SYCL cannot {action}: {error}") from error


def finish(queue: Any, name: str) -> None:
    """Wait for all kernels and copies on a queue; ``name`` is its device's.

    Raises
    ------
    DeviceError
        One of them failed.
    """
    with sycl_errors(f"finish the work on {name}"):
        queue.wait()


class _Bytes:
    """Some bytes of USM, as ``__sycl_usm_array_interface__`` passes them on."""

    def __init__(self, address: int, nbytes: int, queue: Any, owner: object) -> None:
        self.owner = owner
        self.__sycl_usm_array_interface__ = {
            "data": (address, True),
            "shape": (nbytes,),
            "typestr": "|u1",
            "version": 1,
            "syclobj": queue,
        }


def usm_at(address: int, nbytes: int, queue: Any, owner: object) -> Any:
    """Return USM of a queue's context as dpctl's object, which keeps ``owner`` alive.

    Raises
    ------
    DeviceError
        There is no memory of that context.
    """
    with sycl_errors(f"use memory at {address:#x}"):
        try:
            return dpctl.memory.as_usm_memory(_Bytes(address, nbytes, queue, owner))
        except ValueError as error:
            raise DeviceError(f"SYCL cannot use memory at {address:#x}: {error}") from error


def layout_of(interface: dict[str, Any]) -> TensorInfo:
    """Return the layout that a ``__sycl_usm_array_interface__`` describes."""
    dtype = np.dtype(interface["typestr"])
    # They count samples, unlike NumPy's.
    strides = tuple(stride * dtype.itemsize for stride in interface.get("strides") or ())
    return TensorInfo(tuple(interface["shape"]), dtype, strides)
