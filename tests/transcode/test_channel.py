"""Channels keep order, hold back producers, end once, and stop together."""

from __future__ import annotations

import threading

import pytest

from transcode.channel import Channel, Stop, Stopped


@pytest.fixture
def background():
    """Run functions in threads; hold that every one of them ends."""
    threads = []

    def start(work, *arguments):
        results = []

        def call():
            try:
                results.append(work(*arguments))
            except Stopped as stopped:
                results.append(stopped)

        thread = threading.Thread(target=call, daemon=True)
        threads.append(thread)
        thread.start()
        return thread, results

    yield start
    for thread in threads:
        thread.join(timeout=5)
    assert not any(thread.is_alive() for thread in threads)


def blocks(thread):
    thread.join(timeout=0.05)
    return thread.is_alive()


def test_first_in_first_out():
    channel = Channel(3, Stop())
    for item in "abc":
        assert channel.put(item) == 0.0
    assert [channel.get()[0] for _ in range(3)] == ["a", "b", "c"]


def test_items_that_are_false_are_items():
    channel = Channel(3, Stop())
    for item in (0, "", ()):
        channel.put(item)
    channel.close()
    assert [channel.get()[0] for _ in range(4)] == [0, "", (), None]


def test_put_waits_for_room(background):
    channel = Channel(2, Stop())
    channel.put(1)
    channel.put(2)
    thread, waited = background(channel.put, 3)
    assert blocks(thread)
    assert channel.get()[0] == 1
    thread.join(timeout=5)
    assert waited[0] >= 0.04
    assert [channel.get()[0], channel.get()[0]] == [2, 3]


def test_get_waits_for_an_item(background):
    channel = Channel(1, Stop())
    thread, results = background(channel.get)
    assert blocks(thread)
    channel.put("late")
    thread.join(timeout=5)
    item, waited = results[0]
    assert item == "late"
    assert waited >= 0.04


def test_items_put_before_the_end_are_given_out():
    channel = Channel(2, Stop())
    channel.put(1)
    channel.close()
    assert channel.get()[0] == 1
    assert channel.get() == (None, 0.0)
    assert channel.get() == (None, 0.0)


def test_end_wakes_a_consumer(background):
    channel = Channel(1, Stop())
    thread, results = background(channel.get)
    assert blocks(thread)
    channel.close()
    thread.join(timeout=5)
    assert results[0][0] is None


def test_end_wakes_every_consumer(background):
    channel = Channel(1, Stop())
    started = [background(channel.get) for _ in range(4)]
    assert all(blocks(thread) for thread, _ in started)
    channel.close()
    for thread, results in started:
        thread.join(timeout=5)
        assert results[0][0] is None


def test_ends_with_its_last_producer(background):
    channel = Channel(4, Stop(), producers=2)
    channel.close()
    thread, results = background(channel.get)
    assert blocks(thread)
    channel.put("of the other")
    thread.join(timeout=5)
    assert results[0][0] == "of the other"
    channel.close()
    assert channel.get()[0] is None


def test_stop_wakes_everyone_on_every_channel(background):
    stop = Stop()
    full, empty = Channel(1, stop), Channel(1, stop)
    full.put(1)
    started = [background(full.put, 2), background(full.put, 3)]
    started += [background(empty.get), background(empty.get)]
    assert all(blocks(thread) for thread, _ in started)
    stop.set()
    for thread, results in started:
        thread.join(timeout=5)
        assert isinstance(results[0], Stopped)


def test_nothing_goes_on_after_a_stop():
    stop = Stop()
    channel = Channel(4, stop)
    channel.put(1)
    stop.set()
    stop.set()
    with pytest.raises(Stopped):
        channel.get()
    with pytest.raises(Stopped):
        channel.put(2)


def test_a_stopped_stage_is_no_error_that_somebody_catches():
    assert not issubclass(Stopped, Exception)


def test_two_producers_and_two_consumers_lose_nothing(background):
    stop = Stop()
    channel = Channel(3, stop, producers=2)

    def produce(first):
        for item in range(first, 2000, 2):
            channel.put(item)
        channel.close()

    def consume():
        items = []
        while (item := channel.get()[0]) is not None:
            items.append(item)
        return items

    consumers = [background(consume), background(consume)]
    for first in (0, 1):
        background(produce, first)
    for thread, _ in consumers:
        thread.join(timeout=10)
    taken = [results[0] for _, results in consumers]
    assert sorted(taken[0] + taken[1]) == list(range(2000))
    for items in taken:  # Each producer's items come in order.
        assert [i for i in items if i % 2 == 0] == sorted(i for i in items if i % 2 == 0)
        assert [i for i in items if i % 2] == sorted(i for i in items if i % 2)


def test_never_holds_more_than_its_capacity(background):
    channel = Channel(3, Stop())
    put = []

    def produce():
        for item in range(10):
            channel.put(item)
            put.append(item)
        channel.close()

    thread, _ = background(produce)
    taken = 0
    while True:
        blocks(thread)
        assert len(put) - taken <= 3
        if channel.get()[0] is None:
            break
        taken += 1
    assert taken == 10
