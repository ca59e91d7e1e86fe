"""Threads that run one piece of work together."""

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor, wait
from typing import Any

__all__ = ["run_together"]

_TICK_SECONDS = 0.2


def run_together(work: Callable[[Any], object], arguments: Iterable[Any]) -> None:
    """Call ``work`` with each argument, each in a thread of its own; raise the first failure.

    The caller wakes now and then, as the product's own main thread does. Before version 2.41 glibc
    can lose the wake-up of a thread that waits on a condition variable (its bug 25847), and a
    thread of CPython that handed on the interpreter's lock waits on one without a time limit: all
    threads can end up there, and any other thread that takes the lock sets them going again.
    """
    given = list(arguments)
    with ThreadPoolExecutor(len(given)) as pool:
        futures = [pool.submit(work, argument) for argument in given]
        while wait(futures, _TICK_SECONDS).not_done:
            pass
        for future in futures:
            future.result()
