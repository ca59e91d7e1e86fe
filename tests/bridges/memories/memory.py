"""What the contract suite has to know of one kind of memory to try every edge from it and to it."""

from abc import ABC, abstractmethod
from collections.abc import Sequence

import numpy as np

from bridges import Context, Frame, FrameInfo, MemoryType, Tensor

Arrays = Sequence[np.ndarray]


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

    @abstractmethod
    def frame(self, context: Context, info: FrameInfo, arrays: Arrays, padding: int) -> Frame:
        """Return a frame in this memory that owns copies of ``arrays``, one per plane.

        Rows lie at least ``padding`` bytes apart where the memory allows it.
        """

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
