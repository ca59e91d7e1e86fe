"""A tracked pool says who holds its buffers, who returned them, and what leaked."""

from __future__ import annotations

import contextlib
import gc
import sys
import threading
import warnings
from pathlib import Path

import pytest

from bridges.errors import ClosedError, PoolLeakWarning, PoolTimeoutError
from bridges.pools import BufferPool, LimitPool, StatisticsPool, TrackingPool
from tests.helpers.threads import run_together


def make_pool(capacity=4):
    return TrackingPool(LimitPool(BufferPool(bytearray), capacity), "the frames")


def here():
    """Return the line that calls."""
    return sys._getframe(1).f_lineno


def in_thread(name, work):
    result = []
    thread = threading.Thread(target=lambda: result.append(work()), name=name)
    thread.start()
    thread.join(timeout=10)
    return result[0]


def test_holders_are_named():
    pool = make_pool()

    def decode():
        return pool.acquire(), here()

    first, line = in_thread("decode", decode)
    second, own_line = pool.acquire(), here()
    holders = pool.holders()
    assert [(holder.thread, holder.line) for holder in holders] == [
        ("decode", line),
        (threading.current_thread().name, own_line),
    ]
    assert {Path(holder.file).name for holder in holders} == {Path(__file__).name}
    assert holders[0].function.endswith("decode")
    assert holders[1].function == "test_holders_are_named"
    assert str(holders[0]).startswith(f"decode at {__file__}:{line} ")
    first.close()
    assert pool.holders() == holders[1:]
    second.close()
    assert pool.holders() == ()


def test_pools_in_front_are_not_the_holder():
    tracked = make_pool()
    pool = StatisticsPool(LimitPool(tracked, 4))
    with contextlib.ExitStack() as stack:
        stack.enter_context(pool.acquire())
        assert tracked.holders()[0].function == "test_pools_in_front_are_not_the_holder"
    assert tracked.holders() == ()


@pytest.mark.parametrize("how", ["close", "with", "stack"])
def test_use_after_return_names_who_returned_it(how):
    pool = make_pool()
    lease, taken = pool.acquire(), here()

    def encode():
        if how == "close":
            lease.close()
            return here() - 1
        with lease if how == "with" else contextlib.ExitStack() as stack:
            if how == "stack":
                stack.push(lease)
        return None

    line = in_thread("encode", encode)
    with pytest.raises(ClosedError) as caught:
        _ = lease.buffer
    message = str(caught.value)
    assert f"this buffer of the frames was returned by encode at {__file__}:{line or ''}" in message
    assert "encode, and had been acquired by" in message
    assert f"{__file__}:{taken} test_use_after_return" in message


def test_a_second_close_is_harmless_and_keeps_the_first_s_name():
    pool = make_pool()
    lease = pool.acquire()
    in_thread("encode", lease.close)
    lease.close()
    lease.forget()
    with pytest.raises(ClosedError, match=r"returned by encode at"):
        _ = lease.buffer
    first, second = pool.acquire(), pool.acquire()
    assert first.buffer is not second.buffer
    first.close()
    second.close()


def test_close_warns_of_each_holder():
    pool = make_pool()
    first, line = in_thread("decode", lambda: (pool.acquire(), here()))
    second, own = pool.acquire(), here()
    with pytest.warns(PoolLeakWarning) as caught:
        pool.close()
    (warning,) = caught
    message = str(warning.message)
    assert message.startswith("the frames was closed while 2 of its buffers were lent, to ")
    assert f"decode at {__file__}:{line} " in message
    assert f"{__file__}:{own} test_close_warns_of_each_holder" in message
    assert warning.filename == __file__
    assert isinstance(first.buffer, bytearray)
    first.close()
    second.close()
    assert pool.holders() == ()
    pool.close()


def test_close_without_leaks_is_silent():
    pool = make_pool()
    pool.acquire().close()
    pool.close()
    with pytest.raises(ClosedError):
        pool.acquire()


def test_a_warning_that_is_an_error_still_closes():
    pool = make_pool()
    lease = pool.acquire()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(PoolLeakWarning):
            pool.close()
    with pytest.raises(ClosedError):
        pool.acquire()
    lease.close()


def test_a_lease_that_is_collected_open_is_a_leak():
    pool = make_pool(capacity=1)
    lease, line = pool.acquire(), here()
    with pytest.warns(PoolLeakWarning, match=rf"the frames was never closed; .*:{line} test_a"):
        del lease
    gc.collect()
    assert pool.holders() == ()
    pool.acquire(timeout=0).close()


def test_what_fails_is_not_held():
    pool = make_pool(capacity=1)
    with pool.acquire(), pytest.raises(PoolTimeoutError):
        pool.acquire(timeout=0)
    assert pool.holders() == ()


def test_many_threads():
    pool = make_pool(capacity=3)
    seen = []

    def work(_):
        for _ in range(200):
            with pool.acquire():
                seen.append(len(pool.holders()))

    run_together(work, range(6))
    assert max(seen) <= 3
    assert min(seen) >= 1
    assert pool.holders() == ()
