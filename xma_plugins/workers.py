"""The threads that work on commands, or wait for a device to be done with them."""

import queue
import threading
import weakref
from collections.abc import Callable
from typing import Any

from bridges.closable import Closable

__all__ = ["Workers"]

_TICK_SECONDS = 0.2

_Calls = queue.SimpleQueue[tuple[Callable[..., object], tuple[Any, ...]] | None]


class Workers(Closable):
    """Some threads, which take calls in the order in which they are given.

    A thread that has nothing to do wakes now and then. Before version 2.41 glibc can lose the
    wake-up of a thread that waits on a condition variable (its bug 25847). Whoever gave a call may
    be such a thread, just when it handed on the interpreter's lock: it goes on as soon as another
    thread takes that lock.

    Parameters
    ----------
    count : int
        How many threads there are at most; they are started as they are needed.
    name : str
        What they are called.
    """

    def __init__(self, count: int, name: str) -> None:
        self._count, self._name = count, name
        self._threads: list[threading.Thread] = []
        self._lock = threading.Lock()
        self._calls: _Calls = queue.SimpleQueue()
        # Threads hold the queue alone, and end with it where nobody closed it.
        self._finalize = weakref.finalize(self, _end, self._calls, count)
        self._finalize.atexit = False

    def submit(self, call: Callable[..., object], *arguments: Any) -> None:
        """Have one of the threads make a call, which must not raise."""
        self._calls.put((call, arguments))
        if len(self._threads) < self._count:
            with self._lock:
                if len(self._threads) < self._count:
                    # What is forgotten must not keep the process from its end.
                    thread = threading.Thread(
                        target=_work, args=(self._calls,), name=self._name, daemon=True
                    )
                    thread.start()
                    self._threads.append(thread)

    def close(self) -> None:
        """Wait until all calls are made; may be repeated."""
        # At the end of the process a finalizer does nothing when it is called.
        if self._finalize.detach() is not None:
            _end(self._calls, self._count)
        for thread in self._threads:
            thread.join()
        self._threads = []


def _end(calls: _Calls, count: int) -> None:
    for _ in range(count):
        calls.put(None)


def _work(calls: _Calls) -> None:
    while True:
        try:
            given = calls.get(timeout=_TICK_SECONDS)
        except queue.Empty:
            continue
        if given is None:
            return
        call, arguments = given
        call(*arguments)
        # What is done holds no frames until the next call comes.
        del given, call, arguments
