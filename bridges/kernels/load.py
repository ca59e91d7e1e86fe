"""Kernels of people's own, from their files."""

import os
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from bridges.errors import KernelError
from bridges.kernels.kernel import Kernel, parse

__all__ = ["load"]

_LARGEST = 1 << 20
"""Bytes; a source that is larger is something else."""


def load(
    path: str | os.PathLike[str],
    name: str | None = None,
    *,
    reference: Callable[..., Any] | None = None,
) -> Kernel:
    """Return a kernel of a file.

    Parameters
    ----------
    path : str or path-like
        A portable source; see docs/kernels.md.
    name : str, optional
        Which of its kernels; may be left out where there is one.
    reference : callable, optional
        What it computes, in NumPy, with the arguments of the source's function: `Pixels` of int64,
        the columns and rows as arrays that broadcast, and the parameters as the function takes
        them. Without it, the kernel does not run on NumPy.

    Raises
    ------
    KernelError
        There is no such file, it is no kernel source, or it has no kernel of that name.
    """
    file = os.fspath(path)
    kernels = parse(_read(file), file)
    if name is None and len(kernels) > 1:
        raise KernelError(
            f"{file} holds {', '.join(kernels)}; say which: {file}:{next(iter(kernels))}"
        )
    kernel = kernels.get(name or next(iter(kernels)))
    if kernel is None:
        raise KernelError(f"{file} holds no kernel {name!r}; it holds {', '.join(kernels)}")
    _check(kernel)
    return replace(kernel, reference=reference)


def _read(file: str) -> str:
    try:
        with Path(file).open("rb") as stream:
            content = stream.read(_LARGEST + 1)
        if len(content) > _LARGEST:
            raise KernelError(f"{file} is larger than {_LARGEST} bytes; it is no kernel source")
        return content.decode("utf-8")
    except OSError as error:
        raise KernelError(f"{file}: {(error.strerror or str(error)).lower()}") from error
    except UnicodeDecodeError as error:
        raise KernelError(f"{file} is no text; a kernel source is OpenCL C in UTF-8") from error


def _check(kernel: Kernel) -> None:
    """Refuse what only a kernel of the package can be."""
    at = f"{kernel.file}:{kernel.line}: kernel {kernel.name}"
    if kernel.kind != "point" or kernel.prepare or kernel.takes_previous:
        raise KernelError(
            f"{at}: kernels of a file are point kernels; leave kind, prepare and previous out"
        )
    for parameter in kernel.parameters:
        if parameter.type is str:
            raise KernelError(f"{at}: {parameter} is a text, which no device takes; use an int")
        bounds = [
            each for each in (parameter.low, parameter.high, parameter.default) if each is not None
        ]
        limit = 32767 if parameter.type is float else 2**31 - 1
        if any(not -limit <= float(bound) <= limit for bound in bounds):
            raise KernelError(f"{at}: {parameter} goes beyond {limit}, the largest that it can be")
    if not re.search(rf"\bpixel\s+{kernel.name}\s*\(", kernel.source):
        raise KernelError(
            f"{at} has no function 'DEVICE pixel {kernel.name}(pixel p, i32 x, i32 y, ...)'"
        )
