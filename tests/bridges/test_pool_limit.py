"""A bounded pool: never more than its capacity in use, and whoever waits is woken."""

from __future__ import annotations

import threading
import time

import pytest

from bridges.errors import ClosedError, PoolTimeoutError
from bridges.pools import BufferPool, Lease, LimitPool, Pool, StatisticsPool
from tests.helpers.threads import run_together


def make_pool(capacity):
    return LimitPool(BufferPool(bytearray), capacity)


def start(work):
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    return thread


def wait_for_waiters(pool, count):
    """Return once ``count`` threads wait for a buffer; the time limit is only for a failure."""
    until = time.monotonic() + 10
    while len(pool._returned._waiters) < count:
        assert time.monotonic() < until, "nobody waits"
        threading.Event().wait(0.001)


@pytest.mark.parametrize("capacity", [0, -1])
def test_capacity(capacity):
    with pytest.raises(ValueError, match=f"capacity of at least 1, got {capacity}"):
        make_pool(capacity)


@pytest.mark.parametrize("timeout", [0, 0.05, -1])
def test_timeout(timeout):
    pool = make_pool(1)
    with pool.acquire():
        started = time.monotonic()
        with pytest.raises(PoolTimeoutError, match=f"all 1 buffers .* {timeout} s"):
            pool.acquire(timeout=timeout)
        assert time.monotonic() - started >= timeout
    assert not pool.acquire(timeout=0).closed


def test_timeout_is_a_built_in_timeout():
    pool = make_pool(1)
    with pool.acquire(), pytest.raises(TimeoutError):
        pool.acquire(timeout=0)


def test_the_rest_of_the_time_is_the_next_pool_s():
    class Patient(Pool):
        asked = "nothing"

        def acquire(self, timeout=None):
            self.asked = timeout
            raise PoolTimeoutError("later")

        def close(self):
            pass

    patient = Patient()
    for timeout in (None, 0, 5.0):
        with pytest.raises(PoolTimeoutError, match="later"):
            LimitPool(patient, 1).acquire(timeout)
        if timeout is None:
            assert patient.asked is None
        else:
            assert 0 <= patient.asked <= timeout


def test_what_fails_behind_takes_no_place():
    broken = [True]

    def make():
        if broken:
            raise MemoryError("no room")
        return object()

    pool = LimitPool(BufferPool(make), 1)
    with pytest.raises(MemoryError, match="no room"):
        pool.acquire(timeout=0)
    broken.clear()
    assert not pool.acquire(timeout=0).closed


def test_double_close_frees_one_place():
    pool = make_pool(2)
    lease, other = pool.acquire(), pool.acquire()
    for _ in range(3):
        lease.close()
    third = pool.acquire(timeout=0)
    assert third.buffer is not other.buffer
    with pytest.raises(PoolTimeoutError):
        pool.acquire(timeout=0)


@pytest.mark.parametrize("returned", [True, False])
def test_a_place_is_free_once_its_buffer_is(returned):
    class Watched(Pool):
        """Asks for another lease just before the buffer is back."""

        def acquire(self, timeout=None):
            return Lease(object(), self.come_back)

        def come_back(self, returned):
            if not seen:
                seen.append(returned)
                with pytest.raises(PoolTimeoutError):
                    pool.acquire(timeout=0)

        def close(self):
            pass

    seen = []
    pool = LimitPool(Watched(), 1)
    lease = pool.acquire()
    if returned:
        lease.close()
    else:
        lease.forget()
    assert seen == [returned]
    assert not pool.acquire(timeout=0).closed


def test_a_forgotten_lease_frees_its_place():
    buffers = BufferPool(bytearray)
    pool = LimitPool(buffers, 1)
    kept = pool.acquire().buffer
    assert pool.acquire(timeout=0).buffer is not kept
    assert buffers.created == 2


class TestWaiting:
    def test_gets_the_buffer_that_came_back(self):
        pool, taken = make_pool(1), []
        lease = pool.acquire()
        buffer = lease.buffer
        thread = start(lambda: taken.append(pool.acquire().buffer))
        wait_for_waiters(pool, 1)
        assert taken == []
        lease.close()
        thread.join(timeout=10)
        assert taken[0] is buffer

    def test_every_waiter_is_served(self):
        buffers = BufferPool(bytearray)
        pool = LimitPool(buffers, 2)
        counted = StatisticsPool(pool)
        held = [counted.acquire(), counted.acquire()]
        served = []

        def take():
            with counted.acquire(timeout=10) as lease:
                served.append(id(lease.buffer))

        threads = [start(take) for _ in range(8)]
        wait_for_waiters(pool, 8)
        for lease in held:
            lease.close()
        for thread in threads:
            thread.join(timeout=10)
        assert len(served) == 8
        assert buffers.created == 2
        assert counted.statistics.peak_in_use == 2

    def test_close_wakes_all(self):
        pool, woken = make_pool(1), []
        lease = pool.acquire()

        def wait():
            try:
                pool.acquire()
            except ClosedError as error:
                woken.append(str(error))

        threads = [start(wait) for _ in range(4)]
        wait_for_waiters(pool, 4)
        pool.close()
        for thread in threads:
            thread.join(timeout=10)
        assert woken == ["the pool was closed"] * 4
        assert isinstance(lease.buffer, bytearray)
        lease.close()
        with pytest.raises(ClosedError):
            pool.acquire()

    def test_many_threads(self):
        buffers = BufferPool(lambda: [0])
        pool = StatisticsPool(LimitPool(buffers, 3))
        shared = []

        def work(_):
            for _ in range(300):
                with pool.acquire() as lease:
                    lease.buffer[0] += 1
                    if lease.buffer[0] != 1:
                        shared.append(lease)
                    lease.buffer[0] -= 1

        run_together(work, range(6))
        assert shared == []
        found = pool.statistics
        assert (found.leased, found.in_use) == (1800, 0)
        assert found.peak_in_use <= 3
        assert buffers.created <= 3


def test_returned_from_a_destructor_inside_the_pool():
    # The last reference to a lease can go while this very thread is in the pool: the collector
    # runs where it likes. Comparing the limit is made to be such a place.
    class Limit(int):
        leases: list = []  # noqa: RUF012

        def __gt__(self, other):
            while self.leases:
                self.leases.pop().close()
            return int(self) > other

    pool = LimitPool(BufferPool(object), 1)
    pool._capacity = Limit(1)
    Limit.leases.append(pool.acquire())
    assert pool.acquire(timeout=0).buffer is not None


def test_returned_while_a_buffer_is_made():
    leases = []

    def make():
        while leases:
            leases.pop().close()
        return object()

    pool = StatisticsPool(LimitPool(BufferPool(make), 3))
    leases.append(pool.acquire())
    lease = pool.acquire()
    assert pool.statistics.in_use == 1
    assert lease.buffer is not None


def test_a_timeout_that_is_no_number():
    pool = LimitPool(BufferPool(object), 1)
    with pytest.raises(ValueError, match="nan"):
        pool.acquire(timeout=float("nan"))
    with pool.acquire(timeout=float("inf")) as lease:
        assert lease.buffer is not None
