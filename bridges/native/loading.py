"""What ctypes has to know of libraries: which are in the process, and their functions' types."""

import ctypes as c
from collections.abc import Mapping, Sequence
from pathlib import Path

__all__ = ["Prototype", "declare", "loaded_library"]

Prototype = tuple[object, Sequence[object]]
"""What a function returns, and its arguments."""


def declare(library: c.CDLL, prototypes: Mapping[str, Prototype]) -> None:
    """Tell ctypes the types of a library's functions.

    Raises
    ------
    AttributeError
        The library has no such function.
    """
    for name, (result, arguments) in prototypes.items():
        function = getattr(library, name)
        function.restype, function.argtypes = result, arguments


def loaded_library(prefix: str) -> str:
    """Return the path of a library that is mapped into this process; empty where there is none.

    Parameters
    ----------
    prefix : str
        What its file name begins with, such as ``"libOpenCL"``.
    """
    for line in Path("/proc/self/maps").read_text().splitlines():
        path = line.split(maxsplit=5)[-1]
        if Path(path).name.startswith(prefix):
            return path
    return ""
