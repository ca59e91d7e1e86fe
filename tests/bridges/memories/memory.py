"""What the contract suite has to know of one kind of memory to try every edge from it and to it."""

import ctypes
from abc import ABC, abstractmethod
from collections.abc import Sequence

import numpy as np

from bridges import Context, Frame, FrameInfo, MemoryType, Tensor, TensorInfo

Arrays = Sequence[np.ndarray]


def padded_layout(samples: np.ndarray, padding: int) -> TensorInfo:
    """Return the layout of samples with ``padding`` more of them between two rows."""
    row = samples.strides[0] + padding * samples.itemsize
    return TensorInfo(samples.shape, samples.dtype, (row, *samples.strides[1:]))


def strided(memory: object, info: TensorInfo) -> np.ndarray:
    """Return the samples in a buffer that begins with the first one."""
    return np.ndarray(info.shape, info.dtype, memory, strides=info.strides)


def samples_at(tensor: Tensor) -> np.ndarray:
    """Return the samples in place, by the address that the tensor tells; it keeps nothing alive."""
    nbytes = tensor.info.span
    return strided((ctypes.c_uint8 * nbytes).from_address(tensor.handle("data")), tensor.info)


class Memory(ABC):
    """One kind of memory, used through its own framework and not through any edge."""

    memory_type: MemoryType

    @abstractmethod
    def contexts(self, other: Context | None = None) -> list[Context]:
        """Return contexts to try, or skip with `tests.helpers.require.require`.

        ``other`` is the context at the edge's other end, where this end has to be derived from it.
        An edge is tested with the first one that it does not refuse, so that a device with memory
        of its own, or a context that pretends to be one, belongs in here too.
        """

    def takes(self, info: FrameInfo) -> bool:
        """Return whether a frame can lie in this memory; what cannot is not tested."""
        return True

    def frame(self, context: Context, info: FrameInfo, arrays: Arrays, padding: int) -> Frame:
        """Return a frame in this memory that owns copies of ``arrays``, one per plane.

        ``padding`` more samples lie between two rows where the memory allows it.
        """
        layouts = [padded_layout(samples, padding) for samples in arrays]
        frame = Frame(info, [context.allocate(layout) for layout in layouts])
        self.write(frame, arrays)
        return frame

    @abstractmethod
    def read(self, frame: Frame) -> list[np.ndarray]:
        """Return copies of the samples, plane by plane."""

    @abstractmethod
    def write(self, frame: Frame, arrays: Arrays) -> None:
        """Write all samples, and leave what lies between rows."""

    def address(self, tensor: Tensor) -> int | None:
        """Return where the samples are in host memory; None where that cannot be known."""
        return None

    def alive(self) -> int:
        """Return how many native objects of this kind there are, if the framework counts them."""
        return 0
