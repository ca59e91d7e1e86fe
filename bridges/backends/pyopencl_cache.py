"""Importing pyopencl where there may be no place for its cache."""

import contextlib
import importlib
import os
from pathlib import Path
from typing import Any

__all__ = ["load_pyopencl"]


def load_pyopencl() -> Any:
    """Return pyopencl, told to keep no cache where no folder can hold one.

    It reads the variable when it is imported, and otherwise fails at the first kernel of a process
    without a home, such as a service.
    """
    if not _has_place():
        os.environ.setdefault("PYOPENCL_NO_CACHE", "true")
    return importlib.import_module("pyopencl")


def _has_place() -> bool:
    try:
        folder = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser()
    except RuntimeError:
        return False
    # Whether a folder can be made is only known once it was: root may write to /proc, in theory.
    with contextlib.suppress(OSError):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return folder.is_dir() and os.access(folder, os.W_OK)
