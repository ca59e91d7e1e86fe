"""FFmpeg's own words about what it refuses."""

import contextlib
import threading
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

import av.logging

__all__ = ["CapturedLog", "captured_log", "show_warnings", "uncaptured_log"]


@dataclass
class CapturedLog:
    """What FFmpeg logged as errors: ``(component, message)`` pairs, in order."""

    entries: list[tuple[int, str, str]]

    @property
    def messages(self) -> list[tuple[str, str]]:
        """Component and message of each, in order; up to date inside the block too."""
        return [(name, text.strip()) for _, name, text in self.entries]

    @property
    def text(self) -> str:
        """All messages in one line; empty where nothing was said."""
        return "; ".join(dict.fromkeys(message for _, message in self.messages))


@contextlib.contextmanager
def captured_log() -> Iterator[CapturedLog]:
    """Collect the errors that FFmpeg logs on this thread inside the block.

    PyAV's log callback needs the GIL, so it is only switched on around short calls that set
    something up, never while frames flow.
    """
    # The level and the callback belong to the process: one block at a time.
    with _lock, _uncaptured.kept_out():
        av.logging.set_level(av.logging.ERROR)
        # What is said again, of the next attempt, is news in its block.
        skips = av.logging.get_skip_repeated()
        av.logging.set_skip_repeated(False)
        try:
            with av.logging.Capture(local=True) as entries:
                yield CapturedLog(entries)
        finally:
            av.logging.set_skip_repeated(skips)
            if _warnings_shown:
                show_warnings()
            else:
                av.logging.set_level(None)


class _Uncaptured:
    """The threads that must not log into Python: a block, entered once for each frame."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._inside: deque[None] = deque()  # An entry for each thread: it needs no lock.
        self._is_closed = False

    def __enter__(self) -> None:
        self._inside.append(None)
        while self._is_closed:  # Who closed may wait for this thread.
            self.__exit__()
            with self._changed:
                self._changed.wait_for(lambda: not self._is_closed)
            self._inside.append(None)

    def __exit__(self, *_: object) -> None:
        self._inside.pop()
        if self._is_closed:
            with self._changed:
                self._changed.notify_all()

    @contextlib.contextmanager
    def kept_out(self) -> Iterator[None]:
        try:
            with self._changed:
                self._is_closed = True
                self._changed.wait_for(lambda: not self._inside)
            yield
        finally:
            with self._changed:
                self._is_closed = False
                self._changed.notify_all()


_lock = threading.Lock()
_uncaptured = _Uncaptured()
_warnings_shown = False


def uncaptured_log() -> contextlib.AbstractContextManager[None]:
    """Return a block in which no thread captures what FFmpeg logs; several may be in it.

    For calls that take frames of a device from a pool. The pool logs each new one with its lock
    held; PyAV's callback then waits for the GIL, and whoever has that may be freeing a frame of
    the pool, and wait for its lock.
    """
    return _uncaptured


def show_warnings() -> None:
    """Have FFmpeg write its warnings to standard error from now on, by its own callback.

    PyAV's needs the GIL, and a decoder's threads that wait for it while they are being joined
    would wait for ever.
    """
    global _warnings_shown
    _warnings_shown = True
    av.logging.restore_default_callback()
    av.logging.set_libav_level(av.logging.WARNING)
