"""A bound on what is in use at once."""

import functools
import math
import threading
import time
from typing import TypeVar

from bridges.errors import ClosedError, PoolTimeoutError
from bridges.pools.pool import Lease, Pool, end_lease

__all__ = ["LimitPool"]

T = TypeVar("T")


class LimitPool(Pool[T]):
    """At most ``capacity`` leases of another pool at once; whoever asks for more waits.

    Parameters
    ----------
    pool : Pool
        Lends the buffers; closed with this one.
    capacity : int
        How many may be in use at once.
    """

    def __init__(self, pool: Pool[T], capacity: int) -> None:
        if capacity < 1:
            raise ValueError(f"a pool needs a capacity of at least 1, got {capacity}")
        self._pool = pool
        self._capacity = capacity
        # Reentrant: a buffer can come back from a destructor while this thread is in the pool.
        self._returned = threading.Condition(threading.RLock())
        self._in_use = 0
        self._closed = False

    def acquire(self, timeout: float | None = None) -> Lease[T]:
        """Lease a buffer, waiting for one to come back where all are in use; see `Pool`."""
        if timeout is not None and math.isnan(timeout):
            raise ValueError("a timeout is a number of seconds, got nan")
        if timeout is not None and timeout > threading.TIMEOUT_MAX:
            timeout = None
        started = time.monotonic()
        self._enter(timeout)
        try:
            if timeout is not None:
                timeout = max(0.0, timeout - (time.monotonic() - started))
            lease = self._pool.acquire(timeout)
        except BaseException:
            self._leave()
            raise
        return Lease(lease.buffer, functools.partial(self._end, lease))

    def _enter(self, timeout: float | None) -> None:
        with self._returned:
            try:
                free = self._returned.wait_for(
                    lambda: self._in_use < self._capacity or self._closed, timeout
                )
            except BaseException:
                # Whoever is interrupted may have taken a wake-up that another could use.
                self._returned.notify()
                raise
            if self._closed:
                raise ClosedError("the pool was closed")
            if not free:
                raise PoolTimeoutError(
                    f"all {self._capacity} buffers were in use for {timeout} s; close leases "
                    "sooner, or make the pool larger"
                )
            self._in_use += 1

    def _leave(self) -> None:
        with self._returned:
            self._in_use -= 1
            self._returned.notify()

    def _end(self, lease: Lease[T], returned: bool) -> None:
        # The buffer first: whoever is let in then finds it free.
        try:
            end_lease(lease, returned)
        finally:
            self._leave()

    def close(self) -> None:
        """Wake whoever waits, and close the pool behind; leases stay good until they end."""
        with self._returned:
            self._closed = True
            self._returned.notify_all()
        self._pool.close()
