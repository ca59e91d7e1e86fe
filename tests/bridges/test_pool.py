"""Pools are bounded, hand out nothing twice, and wake whoever waits."""

from __future__ import annotations

import threading

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from bridges.errors import ClosedError, PoolTimeoutError
from bridges.pool import BufferPool, PoolStatistics


def make_pool(capacity):
    return BufferPool(bytearray, capacity)


def start(work):
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    return thread


class TestLeases:
    def test_buffers_are_used_again(self):
        pool = make_pool(2)
        with pool.acquire() as lease:
            first = lease.buffer
        with pool.acquire() as lease:
            assert lease.buffer is first
        assert pool.statistics.created == 1

    def test_no_buffer_twice(self):
        pool = make_pool(3)
        leases = [pool.acquire() for _ in range(3)]
        assert len({id(lease.buffer) for lease in leases}) == 3

    def test_made_when_first_needed(self):
        made = []
        pool = BufferPool(lambda: made.append(1) or len(made), 4)
        assert made == []
        assert pool.acquire().buffer == 1
        assert pool.acquire().buffer == 2

    def test_close_is_idempotent(self):
        pool = make_pool(2)
        lease, other = pool.acquire(), pool.acquire()
        for _ in range(3):
            lease.close()
        assert pool.statistics.in_use == 1
        assert pool.acquire().buffer is not other.buffer
        with pytest.raises(PoolTimeoutError):
            pool.acquire(timeout=0)

    def test_buffer_after_close(self):
        lease = make_pool(1).acquire()
        lease.close()
        with pytest.raises(ClosedError, match="was returned to its pool"):
            _ = lease.buffer

    def test_an_error_returns_the_buffer(self):
        pool = make_pool(1)
        with pytest.raises(ZeroDivisionError), pool.acquire():
            raise ZeroDivisionError
        assert pool.statistics.in_use == 0

    def test_maker_that_fails_takes_nothing(self):
        broken = [True]

        def make():
            if broken:
                raise MemoryError("no room")
            return object()

        pool = BufferPool(make, 1)
        with pytest.raises(MemoryError, match="no room"):
            pool.acquire()
        broken.clear()
        with pool.acquire(timeout=0):
            assert pool.statistics == PoolStatistics(1, 1, 1, 1, 0.0)

    @pytest.mark.parametrize("capacity", [0, -1])
    def test_capacity(self, capacity):
        with pytest.raises(ValueError, match=f"capacity of at least 1, got {capacity}"):
            make_pool(capacity)


class TestWaiting:
    @pytest.mark.parametrize("timeout", [0, 0.05])
    def test_timeout(self, timeout):
        pool = make_pool(1)
        with pool.acquire(), pytest.raises(PoolTimeoutError, match=f"all 1 buffers .* {timeout} s"):
            pool.acquire(timeout=timeout)
        assert pool.statistics.leased == 1
        assert pool.statistics.waited_seconds >= timeout

    def test_timeout_is_a_built_in_timeout(self):
        pool = make_pool(1)
        with pool.acquire(), pytest.raises(TimeoutError):
            pool.acquire(timeout=0)

    def test_waits_for_a_buffer(self):
        pool = make_pool(1)
        lease, taken = pool.acquire(), []
        buffer = lease.buffer
        thread = start(lambda: taken.append(pool.acquire().buffer))
        thread.join(timeout=0.05)
        assert thread.is_alive()
        lease.close()
        thread.join(timeout=5)
        assert taken[0] is buffer
        assert pool.statistics.waited_seconds > 0

    def test_every_waiter_is_served(self):
        pool = make_pool(2)
        held = [pool.acquire(), pool.acquire()]
        served = []

        def take():
            with pool.acquire(timeout=5) as lease:
                served.append(id(lease.buffer))

        threads = [start(take) for _ in range(8)]
        for lease in held:
            lease.close()
        for thread in threads:
            thread.join(timeout=5)
        assert len(served) == 8
        assert pool.statistics.created == 2
        assert pool.statistics.peak_in_use == 2

    def test_close_wakes_waiters(self):
        pool = make_pool(1)
        lease, woken = pool.acquire(), []

        def wait():
            try:
                pool.acquire()
            except ClosedError as error:
                woken.append(str(error))

        threads = [start(wait) for _ in range(4)]
        threads[0].join(timeout=0.05)
        assert all(thread.is_alive() for thread in threads)
        pool.close()
        for thread in threads:
            thread.join(timeout=5)
        assert woken == ["the pool was closed"] * 4
        lease.close()
        assert pool.statistics.in_use == 0

    def test_closed_pool(self):
        pool = make_pool(2)
        lease = pool.acquire()
        pool.close()
        pool.close()
        assert isinstance(lease.buffer, bytearray)
        with pytest.raises(ClosedError, match="the pool was closed"):
            pool.acquire()

    def test_a_closed_pool_keeps_no_buffer(self):
        alive = []

        class Buffer:
            def __init__(self):
                alive.append(self)

            def __del__(self):
                alive_count[0] -= 1

        alive_count = [2]
        pool = BufferPool(Buffer, 2)
        first, second = pool.acquire(), pool.acquire()
        alive.clear()
        first.close()
        pool.close()
        second.close()
        del first, second
        assert alive_count == [0]

    def test_returned_from_a_destructor_inside_the_pool(self):
        # The last reference to a lease can go while this very thread makes a new buffer.
        pool = None
        leases = []

        def make():
            while leases:
                leases.pop().close()
            return object()

        pool = BufferPool(make, 3)
        leases.append(pool.acquire())
        lease = pool.acquire()
        assert pool.statistics.in_use == 1
        assert lease.buffer is not None

    def test_many_threads(self):
        pool = BufferPool(lambda: [0], 3)
        together = []
        failed = []

        def work():
            for _ in range(300):
                with pool.acquire() as lease:
                    lease.buffer[0] += 1
                    if lease.buffer[0] != 1:
                        failed.append(lease)
                    together.append(pool.statistics.in_use)
                    lease.buffer[0] -= 1

        threads = [start(work) for _ in range(6)]
        for thread in threads:
            thread.join(timeout=20)
        assert failed == []
        assert max(together) <= 3
        statistics = pool.statistics
        assert (statistics.leased, statistics.in_use) == (1800, 0)
        assert statistics.created <= 3


class PoolMachine(RuleBasedStateMachine):
    """A pool, and what it must be like, whatever is done to it in whatever order."""

    CAPACITY = 3

    def __init__(self):
        super().__init__()
        self.pool = make_pool(self.CAPACITY)
        self.open, self.done = [], []
        self.created = self.leased = self.peak = 0
        self.free = 0
        self.closed = False

    @rule()
    def acquire(self):
        if self.closed:
            with pytest.raises(ClosedError):
                self.pool.acquire(timeout=0)
        elif len(self.open) == self.CAPACITY:
            with pytest.raises(PoolTimeoutError):
                self.pool.acquire(timeout=0)
        else:
            self.open.append(self.pool.acquire(timeout=0))
            self.leased += 1
            self.created += self.free == 0
            self.free = max(0, self.free - 1)
            self.peak = max(self.peak, len(self.open))

    @precondition(lambda self: self.open)
    @rule(data=st.data())
    def give_back(self, data):
        lease = self.open.pop(data.draw(st.integers(0, len(self.open) - 1)))
        lease.close()
        self.done.append(lease)
        self.free += not self.closed

    @precondition(lambda self: self.done)
    @rule(data=st.data())
    def give_back_again(self, data):
        data.draw(st.sampled_from(self.done)).close()

    @rule()
    def close(self):
        self.pool.close()
        self.closed, self.free = True, 0

    @invariant()
    def counts(self):
        found = self.pool.statistics
        assert found.created == self.created
        assert found.leased == self.leased
        assert found.in_use == len(self.open)
        assert found.peak_in_use == self.peak

    @invariant()
    def no_buffer_twice(self):
        assert len({id(lease.buffer) for lease in self.open}) == len(self.open)


PoolMachine.TestCase.settings = settings(max_examples=40, stateful_step_count=25, deadline=None)
TestPoolMachine = PoolMachine.TestCase
