"""A plain pool: buffers are made when needed, used again, lent once at a time, and let go."""

from __future__ import annotations

import gc
import weakref

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from bridges.closable import Closable
from bridges.errors import ClosedError
from bridges.pools import BufferPool
from tests.helpers.threads import run_together


class Buffer(Closable):
    closes = 0

    def close(self):
        self.closes += 1


class TestBuffers:
    def test_are_used_again(self):
        pool = BufferPool(bytearray)
        with pool.acquire() as lease:
            first = lease.buffer
        with pool.acquire() as lease:
            assert lease.buffer is first
        assert pool.created == 1

    def test_are_lent_once_at_a_time(self):
        pool = BufferPool(bytearray)
        leases = [pool.acquire() for _ in range(100)]
        assert len({id(lease.buffer) for lease in leases}) == pool.created == 100

    def test_are_made_when_first_needed(self):
        made = []
        pool = BufferPool(lambda: made.append(1) or len(made))
        assert made == []
        assert pool.acquire().buffer == 1
        assert pool.acquire().buffer == 2

    def test_a_maker_that_fails_takes_nothing(self):
        broken = [True]

        def make():
            if broken:
                raise MemoryError("no room")
            return object()

        pool = BufferPool(make)
        with pytest.raises(MemoryError, match="no room"):
            pool.acquire()
        assert pool.created == 0
        broken.clear()
        with pool.acquire() as lease:
            assert lease.buffer is not None
        assert pool.created == 1

    def test_many_threads(self):
        pool = BufferPool(lambda: [0])
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
        assert 1 <= pool.created <= 6


class TestLeases:
    def test_closing_again_is_harmless(self):
        pool = BufferPool(bytearray)
        lease = pool.acquire()
        for _ in range(3):
            lease.close()
        assert lease.closed
        assert pool.acquire().buffer is not pool.acquire().buffer

    def test_threads_that_close_at_once_return_the_buffer_once(self):
        for _ in range(200):
            pool = BufferPool(object)
            lease = pool.acquire()
            run_together(lambda _, lease=lease: lease.close(), range(2))
            one, two = pool.acquire(), pool.acquire()
            assert one.buffer is not two.buffer

    def test_use_after_the_end(self):
        lease = BufferPool(bytearray).acquire()
        lease.close()
        with pytest.raises(ClosedError, match="was returned to its pool; acquire another"):
            _ = lease.buffer

    def test_an_error_returns_the_buffer(self):
        pool = BufferPool(bytearray)
        with pytest.raises(ZeroDivisionError), pool.acquire():
            raise ZeroDivisionError
        with pool.acquire():
            assert pool.created == 1

    @pytest.mark.parametrize("how", ["forget", "collect"])
    def test_a_forgotten_buffer_is_not_lent_again(self, how):
        pool = BufferPool(Buffer)
        lease = pool.acquire()
        kept = lease.buffer
        if how == "forget":
            lease.forget()
        del lease
        with pool.acquire() as other:
            assert other.buffer is not kept
        assert pool.created == 2
        assert kept.closes == 0

    def test_an_ended_lease_keeps_no_buffer(self):
        pool = BufferPool(Buffer)
        lease = pool.acquire()
        buffer = weakref.ref(lease.buffer)
        lease.forget()
        assert buffer() is None

    def test_leases_need_no_collector(self):
        pool = BufferPool(Buffer)
        gc.disable()
        try:
            lease = weakref.ref(pool.acquire())
            assert lease() is None
        finally:
            gc.enable()


class TestClose:
    def test_nothing_is_lent_any_more(self):
        pool = BufferPool(bytearray)
        lease = pool.acquire()
        pool.close()
        pool.close()
        assert isinstance(lease.buffer, bytearray)
        with pytest.raises(ClosedError, match="the pool was closed"):
            pool.acquire()

    def test_free_buffers_are_closed_and_the_others_as_they_return(self):
        pool = BufferPool(Buffer)
        first, second = pool.acquire(), pool.acquire()
        buffers = first.buffer, second.buffer
        first.close()
        pool.close()
        assert [buffer.closes for buffer in buffers] == [1, 0]
        second.close()
        pool.close()
        assert [buffer.closes for buffer in buffers] == [1, 1]

    def test_a_buffer_that_fails_to_close_does_not_keep_others_open(self):
        class Stubborn(Buffer):
            def close(self):
                super().close()
                raise OSError("stuck")

        pool = BufferPool(Stubborn)
        leases = [pool.acquire() for _ in range(3)]
        buffers = [lease.buffer for lease in leases]
        for lease in leases:
            lease.close()
        with pytest.raises(OSError, match="stuck"):
            pool.close()
        assert [buffer.closes for buffer in buffers] == [1, 1, 1]

    def test_closed_while_a_buffer_is_made(self):
        made = []

        def make():
            pool.close()
            made.append(Buffer())
            return made[0]

        pool = BufferPool(make)
        with pytest.raises(ClosedError):
            pool.acquire()
        assert made[0].closes == 1

    def test_keeps_no_buffer(self):
        pool = BufferPool(Buffer)
        first, second = pool.acquire(), pool.acquire()
        alive = [weakref.ref(first.buffer), weakref.ref(second.buffer)]
        first.close()
        pool.close()
        second.close()
        assert [buffer() for buffer in alive] == [None, None]


class PoolMachine(RuleBasedStateMachine):
    """A pool, and what it must be like, whatever is done to it in whatever order."""

    def __init__(self):
        super().__init__()
        self.pool = BufferPool(bytearray)
        self.open, self.done = [], []
        self.created = self.free = 0
        self.closed = False

    @rule()
    def acquire(self):
        if self.closed:
            with pytest.raises(ClosedError):
                self.pool.acquire()
            return
        self.open.append(self.pool.acquire())
        self.created += self.free == 0
        self.free = max(0, self.free - 1)

    @precondition(lambda self: self.open)
    @rule(data=st.data(), returned=st.booleans())
    def end(self, data, returned):
        lease = self.open.pop(data.draw(st.integers(0, len(self.open) - 1)))
        if returned:
            lease.close()
        else:
            lease.forget()
        self.done.append(lease)
        self.free += returned and not self.closed

    @precondition(lambda self: self.done)
    @rule(data=st.data())
    def end_again(self, data):
        data.draw(st.sampled_from(self.done)).close()

    @rule()
    def close(self):
        self.pool.close()
        self.closed, self.free = True, 0

    @invariant()
    def counts(self):
        assert self.pool.created == self.created

    @invariant()
    def no_buffer_twice(self):
        assert len({id(lease.buffer) for lease in self.open}) == len(self.open)


PoolMachine.TestCase.settings = settings(max_examples=40, stateful_step_count=25, deadline=None)
TestPoolMachine = PoolMachine.TestCase
