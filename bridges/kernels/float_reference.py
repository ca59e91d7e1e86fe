"""References of people's own point kernels, on float64: ``def tint(r, g, b, a, x, y, amount)``.

A reference is a function of its kernel's name. It takes red, green, blue and alpha as arrays of
float64 from 0 to 1, the columns and rows of the pixels as arrays of the same shape, and each
parameter by its name, as it is written in a call. It returns red, green and blue, or those and
alpha; what lies outside 0 to 1 is clipped.
"""

import os
import runpy
import traceback
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from bridges.errors import KernelError
from bridges.kernels.colour import WHITE
from bridges.kernels.kernel import Value
from bridges.kernels.reference.pixels import Pixels

__all__ = ["float_reference", "load_function"]


def load_function(path: str | os.PathLike[str], name: str) -> Callable[..., Any]:
    """Run a Python file and return its function of a name.

    Raises
    ------
    KernelError
        There is no such file, it fails, or it has no such function.
    """
    file = os.fspath(path)
    try:
        found = runpy.run_path(file).get(name)
    except OSError as error:
        raise KernelError(f"{file}: {(error.strerror or str(error)).lower()}") from error
    except SyntaxError as error:
        raise KernelError(f"{file}:{error.lineno}: {error.msg}") from error
    except (Exception, SystemExit) as error:  # Any code of others runs here.
        raise KernelError(f"{_place(error, file)}: {type(error).__name__}: {error}") from error
    if not callable(found):
        raise KernelError(f"{file} has no function {name}; it is called as the kernel is")
    function: Callable[..., Any] = found
    return function


def _place(error: BaseException, file: str) -> str:
    """Return the line of a file that an error passed last."""
    lines = [
        frame.lineno
        for frame in traceback.extract_tb(error.__traceback__)
        if frame.filename == file
    ]
    return f"{file}:{lines[-1]}" if lines else file


def float_reference(
    function: Callable[..., Any], values: Mapping[str, Value]
) -> Callable[..., Pixels]:
    """Return a reference on codes of 0 to 65535, as point kernels have it, of one on float64.

    Parameters
    ----------
    function : callable
        Takes and returns signals of 0 to 1.
    values : mapping
        The kernel's parameters.
    """

    def compute(pixels: Pixels, columns: Any, rows: Any, *_given: Any) -> Pixels:
        signals = [part / WHITE for part in (pixels.r, pixels.g, pixels.b, pixels.a)]
        shape = signals[0].shape
        x, y = (np.broadcast_to(each, shape) for each in (columns, rows))
        made = _called(function, *signals, x, y, **values)
        if not isinstance(made, tuple) or len(made) not in (3, 4):
            raise KernelError(f"{_name(function)} has to return r, g, b or r, g, b, a")
        parts = [*made, *signals[len(made) :]]
        return Pixels(*(_codes(part, function, shape) for part in parts))

    return compute


def _name(function: Callable[..., Any]) -> str:
    code = getattr(function, "__code__", None)
    return f"{code.co_filename}:{code.co_firstlineno}: {code.co_name}" if code else repr(function)


def _called(function: Callable[..., Any], *signals: Any, **values: Any) -> Any:
    try:
        return function(*signals, **values)
    except Exception as error:  # Any code of others runs here.
        code = getattr(function, "__code__", None)
        where = _place(error, code.co_filename) if code else ""
        # Where it is called with the wrong parameters, none of its lines is passed.
        where = where if ":" in where else _name(function)
        raise KernelError(f"{where}: {type(error).__name__}: {error}") from error


def _codes(part: Any, function: Callable[..., Any], shape: tuple[int, ...]) -> Any:
    try:
        signal = np.broadcast_to(np.asarray(part, np.float64), shape)
    except (TypeError, ValueError) as error:
        raise KernelError(f"{_name(function)} has to return numbers: {error}") from error
    if np.isnan(signal).any():
        raise KernelError(f"{_name(function)} returns what is not a number")
    return np.floor(np.clip(signal, 0, 1) * WHITE + 0.5).astype(np.int64)
