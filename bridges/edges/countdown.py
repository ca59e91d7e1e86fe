"""The end of a mapping of several planes: what is done once, when the last of them is let go."""

import threading
from collections.abc import Callable

__all__ = ["Countdown"]


class Countdown:
    """Calls ``done`` at the n-th call of itself, from whichever thread that comes."""

    def __init__(self, count: int, done: Callable[[], object]) -> None:
        self._left = count
        self._done = done
        self._lock = threading.Lock()

    def __call__(self) -> None:
        """Count one down."""
        with self._lock:
            self._left -= 1
            finished = self._left == 0
        if finished:
            self._done()
