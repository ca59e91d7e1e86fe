"""Calls of kernels as people write them: ``rgb_to_grayscale``, ``name(amount=0.5)``.

A kernel of a file of one's own is called by both: ``my.cl:name(amount=0.5)``, or by the file alone
where it holds no other: ``my.cl(amount=0.5)``.
"""

import os
import re

from bridges.errors import KernelError
from bridges.kernels.kernel import Kernel, Value, get
from bridges.kernels.load import load

__all__ = ["parse_call", "parse_given"]

_CALL = re.compile(r"\s*(?P<name>\w*)\s*(?:\((?P<arguments>.*)\)\s*)?", re.DOTALL)
_FILE = re.compile(r"\.cl(?=\s*$|[:(]):?")
_ARGUMENT = re.compile(
    r"""\s*(?P<name>[A-Za-z_]\w*)\s*=\s*(?P<value>"[^"]*"|'[^']*'|[^\s,"'()]+)\s*(?:,|$)"""
)


def parse_call(text: str) -> tuple[Kernel, dict[str, Value]]:
    """Return the kernel that a text calls, and all of its parameters.

    Values are numbers, ``true``, ``false`` and texts, with or without quotes; nothing is evaluated.

    Raises
    ------
    KernelError
        The text is no call, the kernel or a parameter is unknown, or a value is wrong.
    """
    kernel, given = parse_given(text)
    try:
        return kernel, kernel.check(given)
    except KernelError as error:
        raise KernelError(f"{kernel.name}: {error}") from error


def parse_given(text: str) -> tuple[Kernel, dict[str, Value]]:
    """Return the kernel that a text calls, and the parameters that it gives; as `parse_call`."""
    file, call = _split(text)
    if call is None or not (file or call["name"]):
        raise KernelError(f"cannot read the kernel call {text!r}; write name or name(key=value)")
    kernel = load(file, call["name"] or None) if file else get(call["name"])
    known = {parameter.name: parameter for parameter in kernel.parameters}
    values: dict[str, Value] = {}
    rest = (call["arguments"] or "").strip()
    while rest:
        argument = _ARGUMENT.match(rest)
        if argument is None:
            raise KernelError(f"cannot read {rest!r} in {text!r}; write {kernel.name}(key=value)")
        name = argument["name"]
        if name in values:
            raise KernelError(f"{text!r} gives {name!r} twice")
        if name not in known:
            kernel.check({name: argument["value"]})
        try:
            values[name] = known[name].read(argument["value"])
        except KernelError as error:
            raise KernelError(f"{kernel.name}: {error}") from error
        rest = rest[argument.end() :].lstrip()
    return kernel, values


def _split(text: str) -> tuple[str, re.Match[str] | None]:
    """Return the file that a call names, if it does, and the rest of the call.

    Names of files may hold colons and parentheses, and so may values: of all ways to read it, the
    first whose file is there is taken, else that with the shortest name.
    """
    ways = []
    for end in _FILE.finditer(text):
        file = text[: end.start() + len(".cl")].lstrip()
        call = _CALL.fullmatch(text, end.end())
        if call is not None:
            ways.append((file, call))
    for way in ways:
        if os.path.exists(way[0]):
            return way
    return ways[0] if ways else ("", _CALL.fullmatch(text))
