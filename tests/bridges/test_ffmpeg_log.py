"""FFmpeg's log: captured by one thread at a time, and never while frames of a device are taken."""

from __future__ import annotations

import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import av
import pytest

from bridges.backends.ffmpeg_log import captured_log, uncaptured_log
from tests.helpers.threads import run_together

SECONDS = 10
"""More than anything here takes, unless it hangs."""
SHORT = 0.1


class Elsewhere:
    """A thread that goes into a block, and out again when it is told."""

    def __init__(self, block):
        self._block = block
        self.inside, self.out, self._leave = (threading.Event() for _ in range(3))
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self):
        with self._block():
            self.inside.set()
            self._leave.wait(SECONDS)
        self.out.set()

    def leave(self):
        self._leave.set()
        assert self.out.wait(SECONDS)
        self._thread.join()


def refused():
    with pytest.raises((av.FFmpegError, ValueError)):
        av.filter.Graph().add("scale", "nosuch=1")


def test_errors_are_collected_with_who_said_them():
    with captured_log() as log:
        refused()
        assert log.messages == [("scale", "No such option: nosuch.")]
    refused()
    assert log.text == "No such option: nosuch."


def test_what_is_said_again_is_collected_again():
    for _ in range(3):
        with captured_log() as log:
            refused()
        assert log.text == "No such option: nosuch."
    assert av.logging.get_skip_repeated()


def test_several_threads_may_be_uncaptured_at_once():
    first, second = Elsewhere(uncaptured_log), Elsewhere(uncaptured_log)
    assert first.inside.wait(SECONDS)
    assert second.inside.wait(SECONDS)
    with uncaptured_log():
        pass
    first.leave()
    second.leave()


def test_capturing_waits_until_all_of_them_are_out():
    first, second = Elsewhere(uncaptured_log), Elsewhere(uncaptured_log)
    assert first.inside.wait(SECONDS)
    assert second.inside.wait(SECONDS)
    capturing = Elsewhere(captured_log)
    assert not capturing.inside.wait(SHORT)
    first.leave()
    assert not capturing.inside.wait(SHORT)
    second.leave()
    assert capturing.inside.wait(SECONDS)
    capturing.leave()


def test_they_are_kept_out_meanwhile_and_while_it_waits():
    early = Elsewhere(uncaptured_log)
    assert early.inside.wait(SECONDS)
    capturing = Elsewhere(captured_log)
    assert not capturing.inside.wait(SHORT)
    late = Elsewhere(uncaptured_log)
    assert not late.inside.wait(SHORT)
    early.leave()
    assert capturing.inside.wait(SECONDS)
    assert not late.inside.wait(SHORT)
    capturing.leave()
    assert late.inside.wait(SECONDS)
    late.leave()


def assert_free():
    """Nobody is in either block, and neither is closed."""
    for block in (uncaptured_log, captured_log, uncaptured_log):
        elsewhere = Elsewhere(block)
        assert elsewhere.inside.wait(SECONDS)
        elsewhere.leave()


@pytest.mark.parametrize("block", [captured_log, uncaptured_log])
def test_what_is_raised_inside_leaves_it_free(block):
    with pytest.raises(ZeroDivisionError), block():
        raise ZeroDivisionError
    assert_free()


@pytest.mark.parametrize(
    ("waiting", "holding"), [(captured_log, uncaptured_log), (uncaptured_log, captured_log)]
)
def test_a_signal_that_ends_the_wait_leaves_it_free(waiting, holding):
    def interrupt(number, frame):
        raise InterruptedError

    holder = Elsewhere(holding)
    assert holder.inside.wait(SECONDS)
    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        signal.setitimer(signal.ITIMER_REAL, SHORT)
        with pytest.raises(InterruptedError), waiting():
            pytest.fail("the other thread is inside")
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    holder.leave()
    assert_free()


def test_many_threads_hang_neither_each_other_nor_the_log():
    inside = {"captured": 0, "uncaptured": 0}
    lock = threading.Lock()

    def count(name, step):
        with lock:
            inside[name] += step
            assert inside["captured"] <= 1
            assert not (inside["captured"] and inside["uncaptured"])

    def work(number):
        end = time.monotonic() + 1.0
        turns = 0
        while time.monotonic() < end:
            name, block = ("captured", captured_log), ("uncaptured", uncaptured_log)
            name, block = (name, block)[(number + turns) % 4 != 0]
            with block() as log:
                count(name, 1)
                if name == "captured":
                    refused()
                    assert log.text
                count(name, -1)
            turns += 1
        assert turns

    run_together(work, range(8))
    with ThreadPoolExecutor(1) as pool:
        pool.submit(assert_free).result(SECONDS)
