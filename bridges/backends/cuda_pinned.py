"""Page-locked memory of the host, which GPUs copy to and from by themselves, and used again."""

import threading
import weakref

import numpy as np
import numpy.typing as npt
from cuda.bindings import driver

from bridges.backends.cuda_driver import Current, check
from bridges.backends.host_array import array_at
from bridges.tensor import TensorInfo

__all__ = ["PinnedPool"]

_KEPT = 8
"""Blocks of one size that wait to be used again; locking a page costs more than copying it."""

_BYTE = np.dtype(np.uint8)


class _Block:
    """Page-locked memory; it goes back to the pool once nobody refers to it."""

    def __init__(self, address: int) -> None:
        self.address = address


class PinnedPool:
    """Lends page-locked memory as arrays, and gets each back once nobody refers to it.

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

    def take(self, nbytes: int) -> npt.NDArray[np.uint8]:
        """Return memory of so many bytes, of undefined contents.

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
        block = _Block(address)
        ending = weakref.finalize(block, self._give_back, address, nbytes)
        ending.atexit = False  # The process takes all with it.
        return array_at(address, TensorInfo((nbytes,), _BYTE), owner=block, writeable=True)

    def _give_back(self, address: int, nbytes: int) -> None:
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
