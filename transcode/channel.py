"""Bounded queues between the stages of a pipeline, which all stop together."""

import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Generic, TypeVar

__all__ = ["Channel", "Stop", "Stopped"]

T = TypeVar("T")


class Stopped(BaseException):
    """Raised in a stage that waits on a channel when the pipeline stops."""


class Stop:
    """The one switch that stops every stage of a pipeline."""

    def __init__(self) -> None:
        self._channels: list[Channel[object]] = []
        self.is_set = False

    def set(self) -> None:
        """Wake every stage that waits; each of them raises `Stopped`."""
        self.is_set = True
        for channel in self._channels:
            channel.wake()

    def release(self) -> None:
        """Let go of every channel and what is left in them, once all stages have left."""
        for channel in self._channels:
            channel.clear()
        self._channels.clear()

    def attach(self, channel: "Channel[object]") -> None:
        """Have ``set`` wake the stages that wait on ``channel``."""
        self._channels.append(channel)


class Channel(Generic[T]):
    """A bounded first-in, first-out queue that knows when its producers are done.

    Parameters
    ----------
    capacity : int
        Items held before ``put`` waits.
    stop : Stop
        What makes waiting stages leave.
    producers : int
        How many stages will call ``close``.
    """

    def __init__(self, capacity: int, stop: Stop, producers: int = 1) -> None:
        self._items: deque[T] = deque()
        self._capacity = capacity
        self._producers = producers
        self._stop = stop
        lock = threading.Lock()
        self._not_empty = threading.Condition(lock)
        self._not_full = threading.Condition(lock)
        stop.attach(self)  # type: ignore[arg-type]

    def put(self, item: T) -> float:
        """Add an item, waiting while the queue is full; return the seconds waited.

        Raises
        ------
        Stopped
            The pipeline stops.
        """
        with self._not_full:
            waited = self._wait(self._not_full, lambda: len(self._items) >= self._capacity)
            self._items.append(item)
            self._not_empty.notify()
        return waited

    def get(self) -> tuple[T | None, float]:
        """Take the oldest item, or None once every producer is done; and the seconds waited.

        Raises
        ------
        Stopped
            The pipeline stops.
        """
        with self._not_empty:
            waited = self._wait(self._not_empty, lambda: not self._items and self._producers > 0)
            item = self._items.popleft() if self._items else None
            self._not_full.notify()
        return item, waited

    def close(self) -> None:
        """Say that one producer will put nothing more."""
        with self._not_empty:
            self._producers -= 1
            self._not_empty.notify_all()

    def clear(self) -> None:
        """Let go of the items that nobody took."""
        self._items.clear()

    def wake(self) -> None:
        """Wake everyone who waits, so that they see that the pipeline stops."""
        with self._not_empty:
            self._not_empty.notify_all()
            self._not_full.notify_all()

    def _wait(self, condition: threading.Condition, blocked: Callable[[], bool]) -> float:
        started = 0.0
        while not self._stop.is_set:
            if not blocked():
                return time.perf_counter() - started if started else 0.0
            started = started or time.perf_counter()
            condition.wait()
        raise Stopped
