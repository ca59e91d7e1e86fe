"""What ctypes has to know of libraries: which are in the process, and their functions' types."""

import ctypes as c
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

__all__ = ["Prototype", "declare", "linked_library", "loaded_library"]

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


def linked_library(
    path: str, *, quick: Mapping[str, Prototype], slow: Mapping[str, Prototype]
) -> c.CDLL:
    """Return functions of the libraries that an extension module in this process is linked with.

    The linker looks for a symbol in the module's own dependencies. A search by name could find
    another copy of a library in the process, such as the FFmpeg in OpenCV's wheel.

    Parameters
    ----------
    path : str
        The extension module's file.
    quick : mapping
        Functions that return at once, and keep the GIL: to give it away and take it again while
        other threads are at work takes a hundred times as long.
    slow : mapping
        Functions that may wait; other threads go on meanwhile.

    Raises
    ------
    OSError
        The module is not loaded.
    AttributeError
        There is no such function.
    """
    mode = os.RTLD_NOLOAD | os.RTLD_NOW
    library, releasing = c.PyDLL(path, mode=mode), c.CDLL(path, mode=mode)
    declare(library, quick)
    declare(releasing, slow)
    for name in slow:
        setattr(library, name, getattr(releasing, name))
    return library


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
