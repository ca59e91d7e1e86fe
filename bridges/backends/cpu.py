"""Host memory: NumPy arrays."""

import os
import platform
from typing import Any

import numpy as np
import numpy.typing as npt

from bridges.backends.host_array import HostArray
from bridges.backends.probe import Probe, open_context
from bridges.context import Context
from bridges.errors import DeviceNotFoundError, FormatError
from bridges.tensor import MemoryType, Tensor, TensorInfo

__all__ = ["CPUContext", "CPUTensor", "create", "on_the_host", "probe"]

Array = npt.NDArray[np.unsignedinteger[Any]]


class CPUTensor(HostArray, Tensor):
    """A block of host memory, as a NumPy array.

    Parameters
    ----------
    array : numpy.ndarray
        Samples; never copied.
    context, parent, on_close
        As for `Tensor`.
    """

    memory_type = MemoryType.CPU

    def __init__(self, array: npt.NDArray[Any], **tensor: Any) -> None:
        super().__init__(TensorInfo(array.shape, array.dtype, array.strides), **tensor)
        self._array: npt.NDArray[Any] | None = array
        self._address = 0

    @property
    def array(self) -> npt.NDArray[Any]:
        """The samples, as a view."""
        array: npt.NDArray[Any] = self.handle("array")
        return array

    def _handles(self) -> dict[str, Any]:
        assert self._array is not None
        # NumPy takes a microsecond to tell it.
        self._address = self._address or self._array.ctypes.data
        return {"array": self._array, "data": self._address}

    def __getitem__(self, index: slice | tuple[slice, ...]) -> "CPUTensor":
        """Return a part of the samples, over the same memory; see `Tensor`."""
        self.info.slice(index)  # Refuses what NumPy would take for something else.
        return CPUTensor(self.array[index], context=self.context, parent=self)

    def check_writeable(self) -> None:
        """Refuse a mapping for WRITE of a read-only array; see `Tensor`."""
        if self._array is not None and not self._array.flags.writeable:
            raise FormatError(
                f"a WRITE mapping needs an array that can be written to, got a read-only one of "
                f"shape {self.info.shape}; map it with READ, or copy it first"
            )

    def _host_array(self) -> npt.NDArray[Any]:
        return self.array

    def _release(self) -> None:
        self._array = None


class CPUContext(Context):
    """The host."""

    memory_type = MemoryType.CPU
    name = "host memory"
    shares_host_memory = True

    def allocate(self, info: TensorInfo) -> CPUTensor:
        """Return a tensor of new, dense host memory."""
        return CPUTensor(np.empty(info.shape, info.dtype), context=self)

    def wrap(self, array: npt.NDArray[Any]) -> CPUTensor:
        """Return a tensor over an array, without a copy."""
        return CPUTensor(array, context=self)


def on_the_host(memory_type: MemoryType) -> Context | None:
    """Return another framework's context that works in host memory; None where there is none."""
    if memory_type is MemoryType.CPU:
        return CPUContext()
    try:
        context = open_context(memory_type)
    except DeviceNotFoundError:
        return None
    if context.shares_host_memory:
        return context
    context.close()
    return None


def create(selector: str = "") -> CPUContext:
    """Return the host, which has nothing to select."""
    return CPUContext()


def probe() -> Probe:
    """Report NumPy and the processor."""
    device = f"{platform.machine()}, {os.cpu_count()} threads"
    return Probe("cpu", True, f"NumPy {np.__version__}", devices=(device,))
