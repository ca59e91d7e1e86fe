"""Page-locked memory of the host, which GPUs copy to and from by themselves, and used again."""

import ctypes
import functools
import sys
import threading

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
        # Reentrant: memory may come back by the collector within a call.
        self._lock = threading.RLock()
        self._free: dict[int, list[int]] = {}
        self._closed = False

    def take(self, nbytes: int) -> PinnedMemory:
        """Return memory of so many bytes, of undefined contents; what is made over it holds it.

        Raises
        ------
        DeviceError
            There is too little memory that can be locked.
        """
        with self._lock:
            free = self._free.get(nbytes)
            address = free.pop() if free else 0
        if not address:
            with self._current:
                action = f"lock {nbytes} bytes of the host's memory"
                address = int(check(driver.cuMemHostAlloc(nbytes, 0), action))
        memory = _of_length(nbytes).from_address(address)
        memory.pool, memory.address = self, address
        return memory

    def give_back(self, address: int, nbytes: int) -> None:
        """Take memory back that was lent; `PinnedMemory` does it."""
        with self._lock:
            free = self._free.setdefault(nbytes, [])
            if not self._closed and len(free) < _KEPT:
                free.append(address)
                return
        self._unlock(address)

    def _unlock(self, address: int) -> None:
        with self._current:
            driver.cuMemFreeHost(address)

    def close(self) -> None:
        """Unlock what waits, and what comes back later as it comes; may be repeated."""
        with self._lock:
            self._closed = True
            waiting = [address for free in self._free.values() for address in free]
            self._free.clear()
        for address in waiting:
            self._unlock(address)
