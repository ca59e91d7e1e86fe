"""Variables that are in the process's environment for one call only.

Some libraries take a setting from nowhere else, and read it once. A variable that is gone again is
inherited by no child process and names nothing that has been removed. A thread that reads the
environment in C at that very moment is the one danger, as with every change of ``os.environ``: a
program that cannot have it sets the variables before it starts.
"""

import os
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

__all__ = ["LOCK", "added"]

LOCK = threading.RLock()
"""Held by whoever decides by the environment, and then changes it; one for the whole process."""


@contextmanager
def added(variables: Mapping[str, str]) -> Iterator[None]:
    """Add variables for the length of a ``with`` block; those that a user has set stay."""
    with LOCK:
        names = [name for name in variables if name not in os.environ]
        for name in names:
            os.environ[name] = variables[name]
        try:
            yield
        finally:
            for name in names:
                del os.environ[name]
