"""Blocks of a GPU's memory that are lent again and again, in the order of one stream."""

import sys
import threading
from collections import deque

from bridges.backends.cuda import CUDAContext, CUDAMemory, Lent
from bridges.backends.cuda_driver import LEGACY_STREAM
from bridges.closable import Closable

__all__ = ["Block", "BlockPool"]

_KEPT = 4
"""Blocks that wait; whoever takes one a frame has let go of most before the next."""


class Block(Lent):
    """Memory that is lent; it goes back to its pool once nobody refers to it.

    Attributes
    ----------
    address : int
        Of the first byte, a multiple of 256.
    """

    __slots__ = ("_memory", "_pool", "address")

    def __init__(self, pool: "BlockPool", memory: CUDAMemory) -> None:
        super().__init__()
        self._pool, self._memory, self.address = pool, memory, memory.address

    def __del__(self) -> None:
        self._pool.give_back(self._memory, is_lent=self.is_lent)


class BlockPool(Closable):
    """Lends blocks of one size, and gets each back once nobody refers to it.

    The driver is asked for as many as are held at a time, and not for one a frame: with many
    streams at work that takes it a tenth of a millisecond. Several threads may share the pool.

    Parameters
    ----------
    context : CUDAContext
        The device, and the stream on which blocks are used.
    nbytes : int
        Of each block; at least 1.
    """

    def __init__(self, context: CUDAContext, nbytes: int) -> None:
        self._context, self._nbytes = context, nbytes
        # Reentrant: a block may come back by the collector within a call.
        self._lock = threading.RLock()
        self._waiting: deque[CUDAMemory] = deque()
        self._closed = False

    def take(self) -> Block:
        """Return a block of undefined contents.

        Raises
        ------
        DeviceError
            The device has too little memory.
        """
        with self._lock:
            memory = self._waiting.popleft() if self._waiting else None
        return Block(self, memory or CUDAMemory(self._context, self._nbytes))

    def give_back(self, memory: CUDAMemory, *, is_lent: bool) -> None:
        """Take memory back that was lent; `Block` does it, and says whether to others too."""
        if is_lent and not sys.is_finalizing():
            self._context.join(self._context.stream_handle, LEGACY_STREAM)
        with self._lock:
            if not self._closed and len(self._waiting) < _KEPT:
                self._waiting.append(memory)

    def close(self) -> None:
        """Let go of what waits, and of what comes back later as it comes; may be repeated."""
        with self._lock:
            self._closed = True
            self._waiting.clear()
