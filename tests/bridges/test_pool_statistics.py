"""Counters of a pool, consistent whatever happens."""

from __future__ import annotations

import threading

import pytest

from bridges.errors import ClosedError, PoolTimeoutError
from bridges.pools import BufferPool, Lease, LimitPool, Pool, PoolStatistics, StatisticsPool
from tests.helpers.threads import run_together


def counts(pool):
    found = pool.statistics
    return found.leased, found.in_use, found.peak_in_use, found.refused


def test_start_at_zero():
    assert StatisticsPool(BufferPool(bytearray)).statistics == PoolStatistics()


def test_leases():
    pool = StatisticsPool(BufferPool(bytearray))
    first, second = pool.acquire(), pool.acquire()
    assert counts(pool) == (2, 2, 2, 0)
    first.close()
    first.close()
    assert counts(pool) == (2, 1, 2, 0)
    second.forget()
    assert counts(pool) == (2, 0, 2, 0)
    pool.acquire()
    assert counts(pool) == (3, 0, 2, 0)


def test_refusals_and_time():
    pool = StatisticsPool(LimitPool(BufferPool(bytearray), 1))
    with pool.acquire():
        before = pool.statistics.waited_seconds
        with pytest.raises(PoolTimeoutError):
            pool.acquire(timeout=0.05)
        assert pool.statistics.waited_seconds - before >= 0.05
    assert counts(pool) == (1, 0, 1, 1)
    pool.close()
    with pytest.raises(ClosedError):
        pool.acquire()
    assert counts(pool) == (1, 0, 1, 2)


def test_buffers_that_cannot_be_made():
    def make():
        raise MemoryError("no room")

    pool = StatisticsPool(BufferPool(make))
    with pytest.raises(MemoryError):
        pool.acquire()
    assert counts(pool) == (0, 0, 0, 1)


def test_leases_that_end_after_the_pool():
    pool = StatisticsPool(BufferPool(bytearray))
    lease = pool.acquire()
    pool.close()
    assert counts(pool) == (1, 1, 1, 0)
    lease.close()
    assert counts(pool) == (1, 0, 1, 0)


def test_a_buffer_that_is_free_again_is_not_in_use():
    class Watched(Pool):
        """Looks at the counters at the moment when the buffer is back."""

        def acquire(self, timeout=None):
            return Lease(object(), lambda returned: seen.append(pool.statistics.in_use))

        def close(self):
            pass

    seen = []
    pool = StatisticsPool(Watched())
    pool.acquire().close()
    assert seen == [0]


@pytest.mark.parametrize("behind", [True, False])
def test_never_more_in_use_than_the_limit(behind):
    buffers = BufferPool(bytearray)
    counted = StatisticsPool(LimitPool(buffers, 2) if behind else buffers)
    pool = counted if behind else LimitPool(counted, 2)
    together = threading.Barrier(4)

    def work(_):
        together.wait()
        for _ in range(500):
            pool.acquire().close()

    run_together(work, range(4))
    assert counted.statistics.peak_in_use <= 2
    assert counted.statistics.leased == 2000
    assert counted.statistics.in_use == 0
