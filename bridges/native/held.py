"""What Python keeps for a C library, until that says by a callback that it needs it no more."""

import ctypes
import itertools
from collections.abc import Callable
from typing import Any

__all__ = ["Held", "immortal"]


def immortal(callback: Any) -> Any:
    """Return a ctypes callback that is never freed.

    A library may call it when the interpreter has ended: an AVFrame in a reference cycle is let go
    after this package's own objects.
    """
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(callback))
    return callback


class Held:
    """Callbacks by key, each called once: C holds the key, and may let go in any of its threads."""

    def __init__(self) -> None:
        self._keys = itertools.count(1)
        self._callbacks: dict[int, Callable[[], object]] = {}

    def __len__(self) -> int:
        return len(self._callbacks)

    def hold(self, callback: Callable[[], object]) -> int:
        """Return a key under which `let_go` will call ``callback``."""
        key = next(self._keys)
        self._callbacks[key] = callback
        return key

    def let_go(self, key: int, *_: object) -> None:
        """Call what is held under a key; for the library to call, with what it passes beside."""
        self._callbacks.pop(key)()
