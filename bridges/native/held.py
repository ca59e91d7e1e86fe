"""What Python keeps for a C library, until that says by a callback that it needs it no more."""

import itertools
from collections.abc import Callable

__all__ = ["Held"]


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
