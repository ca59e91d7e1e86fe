"""Which job of a batch is next: the longest that may start now."""

from __future__ import annotations

import heapq
import itertools
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Order"]


class Order:
    """Jobs that wait, by their length, their kind of slot, and the time before which they may not.

    Parameters
    ----------
    slots : mapping of str to int
        How many jobs of a kind may run at once; kinds that are not named are not limited.
    """

    def __init__(self, slots: Mapping[str, int]) -> None:
        self._free = dict(slots)
        self._ready: dict[str, list[tuple[float, int]]] = {}
        self._later: list[tuple[float, int, float, int, str]] = []
        self._serial = itertools.count()

    def __len__(self) -> int:
        return len(self._later) + sum(map(len, self._ready.values()))

    def add(self, number: int, *, length: float, slot: str = "", at: float = 0.0) -> None:
        """Have a job wait.

        Parameters
        ----------
        number : int
            The job.
        length : float
            The longer, the sooner it starts; only the order counts.
        slot : str
            The kind of slot that it takes; empty where it takes none.
        at : float
            When it may start, in the seconds that `next` is asked with.
        """
        heapq.heappush(self._later, (at, next(self._serial), length, number, slot))

    def next(self, now: float) -> int | None:
        """Take the next job, and its slot; None where none may start now."""
        while self._later and self._later[0][0] <= now:
            _, _, length, number, slot = heapq.heappop(self._later)
            heapq.heappush(self._ready.setdefault(slot, []), (-length, number))
        open_slots = [
            slot for slot, jobs in self._ready.items() if jobs and self._free.get(slot, 1) > 0
        ]
        if not open_slots:
            return None
        slot = min(open_slots, key=lambda slot: self._ready[slot][0])
        _, number = heapq.heappop(self._ready[slot])
        if slot in self._free:
            self._free[slot] -= 1
        return number

    def give_back(self, slot: str) -> None:
        """Free the slot of a job that ended."""
        if slot in self._free:
            self._free[slot] += 1
