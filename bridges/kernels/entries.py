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
        # Programs live as long as a plan has an entry of theirs.
        self._programs: weakref.WeakValueDictionary[Any, _Shared[Program]]
        self._programs = weakref.WeakValueDictionary()
        self._lock = threading.Lock()
        self._thread = threading.local()

    def find(self, kernel: Kernel, step: Step) -> Entry:
        """Return this thread's own entry point for one step of a plan."""
        mine = self._mine()
        found = mine.get(step)
        if found is None:
            key = step.launch.source, step.launch.macros
            with self._lock:
                shared = self._programs.get(key)
                if shared is None:
                    shared = _Shared(self._build(kernel, step.launch))
                    self._programs[key] = shared
            found = mine[step] = self._enter(shared.program, step.launch.entry), shared
        return found[0]

    def _mine(self) -> "weakref.WeakKeyDictionary[Step, tuple[Entry, _Shared[Program]]]":
        if not hasattr(self._thread, "entries"):
            self._thread.entries = weakref.WeakKeyDictionary()
        mine: weakref.WeakKeyDictionary[Step, tuple[Entry, _Shared[Program]]]
        mine = self._thread.entries
        return mine


class _Shared(Generic[Program]):
    """A program that entries of several threads hold; frameworks' own cannot be held weakly."""

    def __init__(self, program: Program) -> None:
        self.program = program
