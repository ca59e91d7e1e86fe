"""Kernels of people's own, from their files."""

import os
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from bridges.errors import KernelError
from bridges.kernels.complaint import AFTER
from bridges.kernels.kernel import Kernel, Parameter, parse

__all__ = ["load"]

_LARGEST = 1 << 20
"""Bytes; a source that is larger is something else."""

_COMMENT = re.compile(r"//[^\n]*|/\*.*?\*/", re.DOTALL)
_WRONG_TYPE = re.compile(
    r"\b(?:float|double|half|bool|u?char|u?short|u?long|uint|unsigned|[ui](?:8|16|64)|u32)\b|\*"
)
"""What C would turn an i32 into without a word, or a pointer; names of one's own may be an i32."""

_NUMBER = r"[-+]?\.?\d[\d.]*"
_RANGE = re.compile(rf"in\s*[\[({{]|\[\s*{_NUMBER}|in\s+{_NUMBER}\s*(?:to|\.\.|-|,|;)\s*{_NUMBER}")
"""How an explanation begins that was meant as a range: not as "in 8-bit codes" does."""


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
        There is no such file, it is no kernel source, it has no kernel of that name, or its
        function does not fit its declaration. The message names the line.
    """
    file = _shown(os.fspath(path))
    text = _read(path, file)
    # What leads a declaration's line may be tabs.
    kernels = parse(text.expandtabs(), file)
    if name is None and len(kernels) > 1:
        raise KernelError(
            f"{file} holds {', '.join(kernels)}; say which: {file}:{next(iter(kernels))}"
        )
    kernel = kernels.get(name or next(iter(kernels)))
    if kernel is None:
        raise KernelError(f"{file} holds no kernel {name!r}; it holds {', '.join(kernels)}")
    kernel = replace(kernel, source=f'{text}\n#line 1 "{AFTER}"\n', reference=reference)
    _check(kernel)
    return kernel


def _shown(path: str) -> str:
    """Return a path as compilers are told it: they name the file in what they say of it."""
    plain = path.replace('"', "'").replace("\\", "/")
    return "".join(each if each.isprintable() else "?" for each in plain)


def _read(path: str | os.PathLike[str], file: str) -> str:
    try:
        with Path(path).open("rb") as stream:
            content = stream.read(_LARGEST + 1)
        if len(content) > _LARGEST:
            raise KernelError(f"{file} is larger than {_LARGEST} bytes; it is no kernel source")
        text = content.decode("utf-8-sig")
    except OSError as error:
        raise KernelError(f"{file}: {(error.strerror or str(error)).lower()}") from error
    except UnicodeDecodeError as error:
        raise KernelError(f"{file} is no text; a kernel source is OpenCL C in UTF-8") from error
    if "\0" in text:
        raise KernelError(f"{file} is no text; a kernel source is OpenCL C in UTF-8")
    return text


def _check(kernel: Kernel) -> None:
    """Refuse what only a kernel of the package can be, and a function that does not fit."""
    wrong = {
        "kind": kernel.kind != "point",
        "prepare": bool(kernel.prepare),
        "previous": kernel.takes_previous,
    }
    for field, is_wrong in wrong.items():
        if is_wrong:
            raise KernelError(
                f"{_at(kernel, field)} kernels of a file are point kernels; leave {field} out"
            )
    for parameter in kernel.parameters:
        complaint = _complaint(parameter)
        if complaint:
            raise KernelError(f"{_at(kernel, f'param {parameter.name}')} {parameter} {complaint}")
    _check_function(kernel)


def _at(kernel: Kernel, field: str) -> str:
    """Return where the line of a declaration is."""
    lines = kernel.source.split("\n")[kernel.line - 1 :]
    pattern = re.compile(r"[ \t*]*" + field.replace(" ", r"\s+") + r"\b")
    # One of the lines: the declaration was read from them.
    offset = next(index for index, line in enumerate(lines) if pattern.match(line))
    return f"{kernel.file}:{kernel.line + offset}: kernel {kernel.name}:"


def _complaint(parameter: Parameter) -> str:
    """Return what keeps a parameter from being handed to a function as an i32; often nothing."""
    if parameter.type is str:
        return "is a text, which no device takes; use an int"
    low, high = parameter.low, parameter.high
    limit = 32767 if parameter.type is float else 2**31 - 1
    bounds = [each for each in (low, high, parameter.default) if each is not None]
    # Written so that it refuses a NaN too.
    if any(not -limit <= float(bound) <= limit for bound in bounds):
        return f"goes beyond {limit}, the largest that it can be"
    if _RANGE.match(parameter.summary):
        return f"has a range that cannot be read, {parameter.summary!r}; write 'in [low, high]'"
    if low is not None and high is not None and low > high:
        return f"has the range [{low:g}, {high:g}], whose ends are the wrong way round"
    return ""


def _check_function(kernel: Kernel) -> None:
    """Refuse a function whose parameters are not those of the declaration.

    C itself would take some of them: a ``float amount`` would get 32768 for 0.5.
    """
    names = ["x", "y", *(each.name for each in kernel.parameters)]
    expected = f"DEVICE pixel {kernel.name}(pixel p, {', '.join(f'i32 {each}' for each in names)})"
    where = f"{kernel.file}:{kernel.line}: kernel {kernel.name}"
    for found in _functions(kernel):
        line = kernel.source.count("\n", 0, found.start("name")) + 1
        where = f"{kernel.file}:{line}: the function {kernel.name}"
        first, *others = found["parameters"].split(",")
        if (
            found["device"]
            and found["made"] == "pixel"
            and re.fullmatch(r"\s*(const\s+)?pixel(\s+\w+)?\s*", first)
            and len(others) == len(names)
            and not any(map(_WRONG_TYPE.search, others))
        ):
            return
        found_text = " ".join(found[0].partition(")")[0].split())
        raise KernelError(f"{where} is '{found_text})'; its declaration asks for '{expected}'")
    raise KernelError(f"{where} has no function of its name; write '{expected} {{ ... }}'")


def _functions(kernel: Kernel) -> Iterator[re.Match[str]]:
    """Yield the definitions of the kernel's function, at their places in the source."""
    blank = _COMMENT.sub(lambda comment: re.sub(r"[^\n]", " ", comment[0]), kernel.source)
    pattern = (
        rf"(?P<device>\bDEVICE\s+)?(?:\b(?:static|inline|const)\s+)*\b(?P<made>[A-Za-z_]\w*)\s+"
        rf"(?P<name>{kernel.name})\s*\((?P<parameters>[^()]*)\)\s*\{{"
    )
    yield from re.finditer(pattern, blank)
