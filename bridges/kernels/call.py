"""Calls of kernels as people write them: ``rgb_to_grayscale``, ``name(amount=0.5)``.

A kernel of a file of one's own is called by both: ``my.cl:name(amount=0.5)``, or by the file alone
where it holds no other: ``my.cl(amount=0.5)``.
"""

import re

from bridges.errors import KernelError
from bridges.kernels.kernel import Kernel, Value, get
from bridges.kernels.load import load

__all__ = ["parse_call"]

_CALL = re.compile(
    r"\s*(?:(?P<file>[^()]*\.cl)(?=\s*$|[:(]):?)?(?P<name>\w*)\s*(?:\((?P<arguments>.*)\)\s*)?",
    re.DOTALL,
)
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
    call = _CALL.fullmatch(text)
    if call is None or not (call["file"] or call["name"]):
        raise KernelError(f"cannot read the kernel call {text!r}; write name or name(key=value)")
    kernel = load(call["file"], call["name"] or None) if call["file"] else get(call["name"])
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
        values[name] = known[name].read(argument["value"])
        rest = rest[argument.end() :].lstrip()
    return kernel, kernel.check(values)
