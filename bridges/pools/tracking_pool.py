"""Who holds the buffers of a pool, and since which line of code."""

import functools
import itertools
import sys
import threading
import warnings
from typing import NamedTuple, TypeVar

from bridges.errors import PoolLeakWarning
from bridges.pools.pool import Lease, Pool, end_lease

__all__ = ["Holder", "TrackingPool"]

T = TypeVar("T")

_PASSED_OVER = frozenset(
    {
        "bridges.closable",
        "bridges.pools.buffer_pool",
        "bridges.pools.limit_pool",
        "bridges.pools.pool",
        "bridges.pools.statistics_pool",
        "bridges.pools.tracking_pool",
        "contextlib",
    }
)
"""Modules that only pass a call on; the line that matters is in the code that called them."""


class Holder(NamedTuple):
    """Who did something, and where.

    Attributes
    ----------
    thread : str
        The thread's name; in a pipeline that of its stage.
    file : str
        Path of the source file.
    line : int
        Counted from 1.
    function : str
        Qualified name.
    """

    thread: str
    file: str
    line: int
    function: str

    def __str__(self) -> str:
        return f"{self.thread} at {self.file}:{self.line} {self.function}"


def _caller() -> Holder:
    """Return the innermost code outside of pools, and its thread."""
    frame = sys._getframe(2)
    while frame.f_globals.get("__name__") in _PASSED_OVER and frame.f_back is not None:
        frame = frame.f_back
    code = frame.f_code
    return Holder(
        threading.current_thread().name, code.co_filename, frame.f_lineno, code.co_qualname
    )


class _TrackedLease(Lease[T]):
    """A lease that knows who took it and who returned it."""

    def __init__(
        self, name: str, lease: Lease[T], held: dict[int, Holder], key: int, holder: Holder
    ) -> None:
        super().__init__(lease.buffer, functools.partial(_end, lease, held, key))
        self._name = name
        self._holder = holder
        self._ended_by: Holder | None = None

    def _end(self, returned: bool) -> bool:
        ended = super()._end(returned)
        if ended:
            self._ended_by = _caller()
        return ended

    def _reason(self) -> str:
        by = self._ended_by or "another thread"
        return (
            f"this buffer of {self._name} was returned by {by}, and had been acquired by "
            f"{self._holder}; acquire another"
        )

    def __del__(self) -> None:
        try:
            if not self.closed:
                warnings.warn(
                    f"a lease of {self._name} was never closed; it was acquired by {self._holder}",
                    PoolLeakWarning,
                    stacklevel=1,
                    source=self,
                )
        finally:
            super().__del__()


def _end(lease: Lease[T], held: dict[int, Holder], key: int, returned: bool) -> None:
    held.pop(key, None)
    end_lease(lease, returned)


class TrackingPool(Pool[T]):
    """Names who holds the buffers of another pool.

    Leaks are warned of with `PoolLeakWarning`, a ``ResourceWarning``: when a lease is collected
    that was never closed, and at ``close()`` for what is still lent. They are not raised, since a
    pool is often closed while another error is on its way; ``python -X dev`` and pytest show them,
    and ``-W error::ResourceWarning`` makes errors of them. A pool whose leases rightly outlive it
    asks `holders` instead, once they should have ended.

    Parameters
    ----------
    pool : Pool
        Lends the buffers; closed with this one.
    name : str
        What messages call it.
    """

    def __init__(self, pool: Pool[T], name: str = "a pool") -> None:
        self._pool = pool
        self._name = name
        self._keys = itertools.count()
        # Without a lock: each step on it is one of the interpreter's own, which leaves it whole.
        self._held: dict[int, Holder] = {}

    def acquire(self, timeout: float | None = None) -> Lease[T]:
        """Lease a buffer, noting who calls; see `Pool.acquire`.

        A lease that is used after its end says who ended it, and where.
        """
        lease = self._pool.acquire(timeout)
        key, holder = next(self._keys), _caller()
        self._held[key] = holder
        return _TrackedLease(self._name, lease, self._held, key, holder)

    def holders(self) -> tuple[Holder, ...]:
        """Return who holds a lease, the longest-held first."""
        return tuple(self._held.copy().values())

    def close(self) -> None:
        """Close the pool behind, and warn of every lease that did not end.

        Leases stay good until they end.
        """
        self._pool.close()
        held = self.holders()
        if held:
            warnings.warn(
                f"{self._name} was closed while {len(held)} of its buffers were lent, to "
                f"{'; '.join(map(str, held))}",
                PoolLeakWarning,
                stacklevel=2,
            )
