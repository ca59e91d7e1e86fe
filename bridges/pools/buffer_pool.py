"""Buffers that are made when they are needed, and used again."""

import contextlib
import functools
import threading
from collections.abc import Callable, Sequence
from typing import TypeVar

from bridges.closable import Closable
from bridges.errors import ClosedError
from bridges.pools.pool import Lease, Pool

__all__ = ["BufferPool"]

T = TypeVar("T")


class BufferPool(Pool[T]):
    """As many buffers as are in use at once, made when needed and used again. It never waits.

    Free buffers that are `Closable` are closed with the pool, later ones as they come back.

    Parameters
    ----------
    make : callable
        Returns a new buffer. Several threads may be in it at once.
    """

    def __init__(self, make: Callable[[], T]) -> None:
        self._make = make
        self._free: list[T] = []
        # Reentrant: a buffer can come back from a destructor while this thread is in the pool.
        self._lock = threading.RLock()
        self._created = 0
        self._closed = False

    def acquire(self, timeout: float | None = None) -> Lease[T]:
        """Lease a buffer; see `Pool.acquire`. Whatever ``make`` raises is passed on."""
        with self._lock:
            self._check()
            buffers = [self._free.pop()] if self._free else []
        if not buffers:
            # Not under the lock: making a buffer of a device may take long.
            buffers.append(self._make())
            with self._lock:
                self._created += 1
                closed = self._closed
            if closed:
                _close(buffers)
                self._check()
        return Lease(buffers[0], functools.partial(self._end, buffers[0]))

    @property
    def created(self) -> int:
        """Buffers made so far."""
        return self._created

    def _check(self) -> None:
        if self._closed:
            raise ClosedError("the pool was closed")

    def _end(self, buffer: T, returned: bool) -> None:
        if not returned:
            return
        with self._lock:
            if not self._closed:
                self._free.append(buffer)
                return
        _close([buffer])

    def close(self) -> None:
        """Let go of free buffers; those lent follow as their leases end."""
        with self._lock:
            self._closed = True
            free, self._free = self._free, []
        _close(free)


def _close(buffers: Sequence[object]) -> None:
    """Close what can be closed, whatever fails on the way."""
    with contextlib.ExitStack() as stack:
        for buffer in buffers:
            if isinstance(buffer, Closable):
                stack.callback(buffer.close)
