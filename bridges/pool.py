"""A bounded pool of reusable buffers, handed out as leases."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from bridges.closable import Closable
from bridges.errors import ClosedError, PoolTimeoutError

__all__ = ["BufferPool", "Lease", "PoolStatistics"]

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class PoolStatistics:
    """What a pool did so far.

    Attributes
    ----------
    created : int
        Buffers made.
    leased : int
        Leases given.
    in_use, peak_in_use : int
        Leases not yet closed, now and at most.
    waited_seconds : float
        Time that callers waited for a buffer.
    """

    created: int
    leased: int
    in_use: int
    peak_in_use: int
    waited_seconds: float


class Lease(Closable, Generic[T]):
    """The right to use one buffer of a pool until ``close()``, which may be repeated."""

    def __init__(self, pool: "BufferPool[T]", buffer: T) -> None:
        self._pool: BufferPool[T] | None = pool
        self._buffer = buffer

    @property
    def buffer(self) -> T:
        """The buffer.

        Raises
        ------
        ClosedError
            The lease was closed, and the buffer may be somebody else's by now.
        """
        if self._pool is None:
            raise ClosedError("this buffer was returned to its pool; acquire another")
        return self._buffer

    def close(self) -> None:
        """Return the buffer to its pool."""
        pool, self._pool = self._pool, None
        if pool is not None:
            pool._give_back(self._buffer)


class BufferPool(Closable, Generic[T]):
    """At most ``capacity`` buffers, made as they are first needed and used again. Thread-safe.

    Parameters
    ----------
    make : callable
        Returns a new buffer.
    capacity : int
        How many may be in use at once; ``acquire`` waits beyond that.
    """

    def __init__(self, make: Callable[[], T], capacity: int) -> None:
        if capacity < 1:
            raise ValueError(f"a pool needs a capacity of at least 1, got {capacity}")
        self._make = make
        self._capacity = capacity
        self._free: list[T] = []
        # Reentrant: a buffer can come back from a destructor while this thread is in the pool.
        self._returned = threading.Condition(threading.RLock())
        self._created = self._leased = self._in_use = self._peak = 0
        self._waited = 0.0
        self._closed = False

    def acquire(self, timeout: float | None = None) -> Lease[T]:
        """Lease a buffer, waiting for one to come back where all are in use.

        Parameters
        ----------
        timeout : float, optional
            Seconds to wait at most; by default without end.

        Raises
        ------
        PoolTimeoutError
            No buffer came back in time.
        ClosedError
            The pool was closed, before or while waiting.
        """
        with self._returned:
            if self._in_use >= self._capacity and not self._closed:
                started = time.perf_counter()
                self._returned.wait_for(
                    lambda: self._in_use < self._capacity or self._closed, timeout
                )
                self._waited += time.perf_counter() - started
            if self._closed:
                raise ClosedError("the pool was closed")
            if self._in_use >= self._capacity:
                raise PoolTimeoutError(
                    f"all {self._capacity} buffers were in use for {timeout} s; close leases "
                    "sooner, or make the pool larger"
                )
            buffer = self._free.pop() if self._free else self._new()
            self._in_use += 1
            self._leased += 1
            self._peak = max(self._peak, self._in_use)
        return Lease(self, buffer)

    def _new(self) -> T:
        buffer = self._make()
        self._created += 1
        return buffer

    def _give_back(self, buffer: T) -> None:
        with self._returned:
            self._in_use -= 1
            if not self._closed:
                self._free.append(buffer)
            self._returned.notify()

    @property
    def statistics(self) -> PoolStatistics:
        """Counters, consistent with each other."""
        with self._returned:
            return PoolStatistics(
                self._created, self._leased, self._in_use, self._peak, self._waited
            )

    def close(self) -> None:
        """Let go of free buffers and wake whoever waits; leases end as they are closed."""
        with self._returned:
            self._closed = True
            self._free.clear()
            self._returned.notify_all()
