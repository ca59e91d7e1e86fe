"""Programs and their entry points: built once, and entered by each thread for itself."""

import threading
from collections.abc import Callable
from typing import Any, Generic, TypeVar

from bridges.kernels.kernel import Kernel
from bridges.kernels.launch import Launch
from bridges.kernels.plan import ENTRIES

__all__ = ["EntryPoints"]

Program = TypeVar("Program")
Entry = TypeVar("Entry")


class EntryPoints(Generic[Program, Entry]):
    """The entry points of kernels, for frameworks whose kernel objects keep their arguments.

    Parameters
    ----------
    build : callable
        Compiles a kernel for one set of macros; called once for each, by one thread at a time.
    enter : callable
        Makes an entry point of a program and its name; called once in each thread.
    """

    def __init__(
        self, build: Callable[[Kernel, Launch], Program], enter: Callable[[Program, str], Entry]
    ) -> None:
        self._build, self._enter = build, enter
        self._programs: dict[Any, Program] = {}
        self._lock = threading.Lock()
        self._thread = threading.local()

    def find(self, kernel: Kernel, launch: Launch) -> tuple[Entry, ...]:
        """Return this thread's own entry points, in the order of `ENTRIES`."""
        key = kernel.name, launch.macros
        mine = self._mine()
        entries = mine.get(key)
        if entries is None:
            with self._lock:
                program = self._programs.get(key)
                if program is None:
                    program = self._programs[key] = self._build(kernel, launch)
            names = (f"{kernel.name}_{name}" for name in ENTRIES)
            entries = mine[key] = tuple(self._enter(program, name) for name in names)
        return entries

    def _mine(self) -> dict[Any, tuple[Entry, ...]]:
        if not hasattr(self._thread, "entries"):
            self._thread.entries = {}
        mine: dict[Any, tuple[Entry, ...]] = self._thread.entries
        return mine
