"""Counters of what a pool did."""

import functools
import threading
import time
from dataclasses import dataclass
from typing import TypeVar

from bridges.pools.pool import Lease, Pool, end_lease

__all__ = ["PoolStatistics", "StatisticsPool"]

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class PoolStatistics:
    """What a pool did so far.

    Attributes
    ----------
    leased : int
        Leases given.
    in_use, peak_in_use : int
        Leases that did not end yet, now and at most.
    refused : int
        Times that no buffer could be had: too late, a pool closed, a buffer that was not made.
    waited_seconds : float
        Time that callers spent in ``acquire``, making buffers included.
    """

    leased: int = 0
    in_use: int = 0
    peak_in_use: int = 0
    refused: int = 0
    waited_seconds: float = 0.0


class StatisticsPool(Pool[T]):
    """Counts what is leased from another pool.

    Parameters
    ----------
    pool : Pool
        Lends the buffers; closed with this one.
    """

    def __init__(self, pool: Pool[T]) -> None:
        self._pool = pool
        # Reentrant: a buffer can come back from a destructor while this thread is in the pool.
        self._lock = threading.RLock()
        self._leased = self._in_use = self._peak = self._refused = 0
        self._waited = 0.0

    def acquire(self, timeout: float | None = None) -> Lease[T]:
        """Lease a buffer; see `Pool.acquire`."""
        started = time.perf_counter()
        try:
            lease = self._pool.acquire(timeout)
        except BaseException:
            with self._lock:
                self._refused += 1
                self._waited += time.perf_counter() - started
            raise
        with self._lock:
            self._waited += time.perf_counter() - started
            self._leased += 1
            self._in_use += 1
            self._peak = max(self._peak, self._in_use)
        return Lease(lease.buffer, functools.partial(self._end, lease))

    def _end(self, lease: Lease[T], returned: bool) -> None:
        # Before the buffer is free: its next holder must not be counted beside this one.
        with self._lock:
            self._in_use -= 1
        end_lease(lease, returned)

    @property
    def statistics(self) -> PoolStatistics:
        """Counters, consistent with each other."""
        with self._lock:
            return PoolStatistics(
                self._leased, self._in_use, self._peak, self._refused, self._waited
            )

    def close(self) -> None:
        """Close the pool behind; what ends later is still counted."""
        self._pool.close()
