"""Programs and their entry points: built once, and entered by each thread for itself."""

import threading
import weakref
from collections.abc import Callable
from typing import Any, Generic, TypeVar

from bridges.kernels.kernel import Kernel
from bridges.kernels.launch import Launch
from bridges.kernels.plan import Step

__all__ = ["EntryPoints"]

Program = TypeVar("Program")
Entry = TypeVar("Entry")


class EntryPoints(Generic[Program, Entry]):
    """The entry points of kernels, for frameworks whose kernel objects keep their arguments.

    Parameters
    ----------
    build : callable
        Compiles a kernel for one launch; called once for each text and set of macros, by one
        thread at a time.
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

    def find(self, kernel: Kernel, step: Step) -> Entry:
        """Return this thread's own entry point for one step of a plan."""
        mine = self._mine()
        entry = mine.get(step)
        if entry is None:
            key = step.launch.source, step.launch.macros
            with self._lock:
                program = self._programs.get(key)
                if program is None:
                    program = self._programs[key] = self._build(kernel, step.launch)
            entry = mine[step] = self._enter(program, step.launch.entry)
        return entry

    def _mine(self) -> "weakref.WeakKeyDictionary[Step, Entry]":
        if not hasattr(self._thread, "entries"):
            self._thread.entries = weakref.WeakKeyDictionary()
        mine: weakref.WeakKeyDictionary[Step, Entry] = self._thread.entries
        return mine
