"""Page-locked memory of the host, which GPUs copy to and from by themselves, and used again."""

import contextlib
import ctypes
import functools
import sys
from collections import defaultdict, deque
from typing import Any

import numpy as np
import numpy.typing as npt
from cuda.bindings import driver

from bridges.backends.cuda_driver import Current, check

__all__ = ["PinnedMemory", "PinnedPool"]

_KEPT = 8
"""Blocks of one size that wait to be used again; locking a page costs more than copying it."""


class PinnedMemory(ctypes.Array[ctypes.c_uint8]):
    """Page-locked memory, as a buffer; it goes back to its pool once nobody refers to it."""

    _type_ = ctypes.c_uint8
    _length_ = 0
    pool: "PinnedPool"
    address: int

    def array(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> npt.NDArray[Any]:
        """Return a dense array over it, which holds it."""
        buffer: Any = self
        return np.ndarray(shape, dtype, buffer)

    def __del__(self) -> None:
        # The process takes all with it.
        if hasattr(self, "address") and not sys.is_finalizing():
            self.pool.give_back(self.address, len(self))


@functools.lru_cache(64)
def _of_length(nbytes: int) -> type[PinnedMemory]:
    return type("PinnedMemory", (PinnedMemory,), {"_type_": ctypes.c_uint8, "_length_": nbytes})


class PinnedPool:
    """Lends page-locked memory, and gets each block back once nobody refers to it.

    Several threads may share it.

    Parameters
    ----------
    current : Current
        Makes the CUDA context current that the memory belongs to.
    """

    def __init__(self, current: Current) -> None:
        self._current = current
        # Without a lock: memory may come back by the collector within a call.
        self._free: defaultdict[int, deque[int]] = defaultdict(deque)
        self._closed = False

    def take(self, nbytes: int) -> PinnedMemory:
        """Return memory of so many bytes, of undefined contents; what is made over it holds it.

        Raises
        ------
        DeviceError
            There is too little memory that can be locked.
        """
        try:
            address = self._free[nbytes].pop()
        except IndexError:
            with self._current:
                action = f"lock {nbytes} bytes of the host's memory"
                address = int(check(driver.cuMemHostAlloc(nbytes, 0), action))
        memory = _of_length(nbytes).from_address(address)
        memory.pool, memory.address = self, address
        return memory

    def give_back(self, address: int, nbytes: int) -> None:
        """Take memory back that was lent; `PinnedMemory` does it."""
        free = self._free[nbytes]
        if len(free) < _KEPT:
            free.append(address)
        else:
            with self._current:
                driver.cuCtxSynchronize()  # A kernel or a copy may still write there.
            self._unlock(address)
        if self._closed:
            self._unlock_all()

    def _unlock_all(self) -> None:
        for free in list(self._free.values()):
            while free:
                with contextlib.suppress(IndexError):  # Another thread was quicker.
                    self._unlock(free.pop())

    def _unlock(self, address: int) -> None:
        with self._current:
            driver.cuMemFreeHost(address)

    def close(self) -> None:
        """Unlock what waits, and what comes back later as it comes; may be repeated."""
        self._closed = True
        self._unlock_all()

    def __del__(self) -> None:
        # Nobody has memory of it any more, for that would hold it.
        if not sys.is_finalizing():
            self._unlock_all()
