"""Host memory: NumPy arrays."""

from typing import Any

import numpy as np
import numpy.typing as npt

from bridges.context import Context
from bridges.tensor import MemoryType, Tensor, TensorInfo

__all__ = ["CPUContext", "CPUTensor"]

Array = npt.NDArray[np.unsignedinteger[Any]]


class CPUTensor(Tensor):
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

    @property
    def array(self) -> npt.NDArray[Any]:
        """The samples, as a view."""
        return self.handle("array")  # type: ignore[no-any-return]

    def _handles(self) -> dict[str, Any]:
        assert self._array is not None
        return {"array": self._array, "data": self._array.ctypes.data}

    @property
    def __array_interface__(self) -> dict[str, Any]:
        return self.array.__array_interface__

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
