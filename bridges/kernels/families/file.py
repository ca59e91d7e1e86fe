"""Files that kernels take: read once, and again when they change."""

import functools
import os
from collections.abc import Callable
from typing import TypeVar

__all__ = ["read_once"]

Content = TypeVar("Content")

_KEPT = 4
"""Files of a kind whose content is kept."""


def read_once(read: Callable[[str], Content]) -> Callable[[str], Content]:
    """Return ``read``, a function of a path, with what it made of the last files kept.

    A file is read anew where the time of its last change is another one.
    """

    @functools.lru_cache(_KEPT)
    def read_as_changed(path: str, _changed: int) -> Content:
        return read(path)

    @functools.wraps(read)
    def find(path: str) -> Content:
        try:
            changed = os.stat(path).st_mtime_ns
        except (OSError, ValueError):
            changed = 0  # Reading it says why.
        return read_as_changed(path, changed)

    return find
