"""Host memory as arrays: what NumPy, torch and every other library take without a copy."""

import ctypes
from abc import abstractmethod
from typing import Any

import numpy as np
import numpy.typing as npt

from bridges.tensor import TensorInfo

__all__ = ["HostArray", "array_at", "array_over"]


def array_at(address: int, info: TensorInfo, *, owner: object, writeable: bool) -> npt.NDArray[Any]:
    """Return the samples at an address as an array, which keeps ``owner`` alive.

    Parameters
    ----------
    address : int
        Of the first sample.
    info : TensorInfo
        Their layout; strides are not negative.
    owner : object
        Whatever frees the memory when it goes.
    writeable : bool
        Whether the array may be written to.
    """
    memory = (ctypes.c_uint8 * info.span).from_address(address)
    memory.owner = owner  # type: ignore[attr-defined]
    array = array_over(memoryview(memory), info)
    array.flags.writeable = writeable
    return array


def array_over(memory: Any, info: TensorInfo, offset: int = 0) -> npt.NDArray[Any]:
    """Return the samples in a block of memory as an array, which keeps the block alive.

    Parameters
    ----------
    memory : buffer
        Such as an array of bytes.
    info : TensorInfo
        Their layout; all samples are inside.
    offset : int
        Bytes from the start of the block to the first sample.
    """
    return np.ndarray(info.shape, info.dtype, memory, offset, info.strides)


class HostArray:
    """The array protocols of a tensor whose samples the host can read.

    What another library makes of them keeps the memory alive, also beyond the tensor's ``close()``.
    """

    info: TensorInfo

    @abstractmethod
    def _host_array(self) -> npt.NDArray[Any]:
        """Return the samples as an array that keeps their memory alive."""

    @property
    def __array_interface__(self) -> dict[str, Any]:
        # With an address NumPy would hold this tensor, and not the memory; a buffer it holds.
        array = self._host_array()
        reach = [(n - 1) * stride for n, stride in zip(array.shape, array.strides, strict=True)]
        # Rows that run backward begin behind the lowest address.
        offset = -sum(step for step in reach if step < 0)
        nbytes = offset + sum(step for step in reach if step > 0) + array.itemsize
        memory = (ctypes.c_uint8 * (nbytes if array.size else 0)).from_address(
            array.ctypes.data - offset
        )
        memory.owner = array  # type: ignore[attr-defined]
        view = memoryview(memory) if array.flags.writeable else memoryview(memory).toreadonly()
        interface = {**array.__array_interface__, "data": view, "offset": offset}
        return {**interface, "strides": array.strides}

    def __dlpack__(self, **options: Any) -> Any:
        """Return a DLPack capsule; NumPy documents the options, and refuses what it cannot do."""
        array = self._host_array()
        return array.__dlpack__(**{k: v for k, v in options.items() if v is not None})

    def __dlpack_device__(self) -> tuple[int, int]:
        """Return ``(1, 0)``: the host (``kDLCPU`` of dlpack.h)."""
        kind, number = self._host_array().__dlpack_device__()
        return int(kind), int(number)

    def __buffer__(self, flags: int) -> memoryview:
        """Return the samples as a buffer (PEP 688: Python 3.12 and newer ask for it)."""
        return self._host_array().data
