"""Kernels and their parameters, as the head comments of the portable sources declare them.

A head comment reads::

    /* <name>: <one line that says what it does>
     * param <name>: <float|int|bool|str> = <default> [in [<low>, <high>]]   <what it is>
     * reads <patterns of pixel formats>
     * writes <patterns of pixel formats>
     * host <module of bridges.kernels that makes it ready; its own name if left out>
     *
     * Anything else is prose.
     */
"""

import difflib
import fnmatch
import functools
import importlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from typing import Any

from bridges.errors import KernelError
from bridges.formats import PIXEL_FORMATS
from bridges.frame import FrameInfo
from bridges.kernels.launch import Launch

__all__ = ["Kernel", "Parameter", "Value", "get", "names", "parse"]

Value = bool | int | float | str

_TYPES: dict[str, type[Value]] = {"float": float, "int": int, "bool": bool, "str": str}
_HEAD = re.compile(r"/\*(.*?)\*/", re.DOTALL)
_TITLE = re.compile(r"(?P<name>[a-z]\w*):\s+(?P<summary>\S.*)")
_FIELD = re.compile(r"(?P<field>param|reads|writes|host)\s+(?P<rest>\S.*)")
_PARAMETER = re.compile(
    r"(?P<name>[a-z]\w*):\s*(?P<type>\w+)\s*=\s*(?P<default>\S+)"
    r"(?:\s+in\s+\[(?P<low>[^,\]]+),(?P<high>[^\]]+)\])?(?:\s+(?P<summary>.*))?"
)


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter of a kernel.

    Attributes
    ----------
    name : str
        As it is written in a call.
    type : type
        ``float``, ``int``, ``bool`` or ``str``.
    default : bool, int, float or str
        Taken where a call leaves it out.
    low, high : float or None
        The range of a number, both ends in it.
    summary : str
        What it is.
    """

    name: str
    type: type[Value]
    default: Value
    low: float | None = None
    high: float | None = None
    summary: str = ""

    def check(self, value: object) -> Value:
        """Return ``value`` in the parameter's own type.

        Raises
        ------
        KernelError
            It has another type, is not a finite number or is out of range.
        """
        if self.type is float and type(value) is int:
            value = float(value)
        if type(value) is not self.type:
            raise KernelError(f"{self} takes {self._article()}, got {value!r}")
        # Written so that it refuses a NaN too.
        low, high = self.low, self.high
        if low is not None and high is not None and not low <= float(value) <= high:
            raise KernelError(f"{self} lies between {low:g} and {high:g}, got {value!r}")
        return value

    def read(self, text: str) -> Value:
        """Return the value that a call writes as ``text``.

        Raises
        ------
        KernelError
            The text is no value of this type, or is out of range.
        """
        quoted = len(text) >= 2 and text[0] == text[-1] and text[0] in "\"'"
        try:
            if self.type is str:
                return self.check(text[1:-1] if quoted else text)
            if self.type is bool:
                return {"true": True, "false": False}[text.lower()]
            return self.check(self.type(text))
        except (KeyError, ValueError) as error:
            if isinstance(error, KernelError):
                raise
            raise KernelError(f"{self} takes {self._article()}, got {text!r}") from None

    def _article(self) -> str:
        return {float: "a number", int: "a whole number", bool: "true or false", str: "a text"}[
            self.type
        ]

    def __str__(self) -> str:
        return f"parameter {self.name!r}"


@dataclass(frozen=True)
class Kernel:
    """A compute kernel: what it is called, what it takes, and its portable source.

    Attributes
    ----------
    name : str
        Also the name of its reference in `bridges.kernels.reference`.
    summary : str
        What it does, in one line.
    parameters : tuple of Parameter
        In the order of the declaration.
    formats_read, formats_written : tuple of str
        Pixel formats (names of `bridges.formats.PIXEL_FORMATS`) that it takes and makes directly.
    source : str
        The portable source, without the prelude.
    host : str
        The module of `bridges.kernels` that makes it ready.
    """

    name: str
    summary: str
    parameters: tuple[Parameter, ...]
    formats_read: tuple[str, ...]
    formats_written: tuple[str, ...]
    source: str
    host: str

    def check(self, parameters: Mapping[str, object]) -> dict[str, Value]:
        """Return all parameters, with defaults where ``parameters`` has none.

        Raises
        ------
        KernelError
            A parameter is unknown, has the wrong type or is out of range.
        """
        known = {parameter.name: parameter for parameter in self.parameters}
        for name in parameters:
            if name not in known:
                there = ", ".join(known) or "no parameters"
                raise KernelError(f"{self.name} has no parameter {name!r}; it has {there}")
        return {
            name: parameter.check(parameters.get(name, parameter.default))
            for name, parameter in known.items()
        }

    def output(self, info: FrameInfo, **parameters: object) -> FrameInfo:
        """Return the format, range and matrix of what the kernel makes of a picture by itself.

        Raises
        ------
        KernelError
            A parameter is wrong, or the kernel does not read the picture's format.
        """
        values = self.check(parameters)
        if info.format.name not in self.formats_read:
            raise KernelError(
                f"{self.name} does not read {info.format.name}; convert first, for example to "
                f"{self.formats_read[0]}"
            )
        result: FrameInfo = self._module().output(info, **values)
        return result

    def note(self, info: FrameInfo) -> str:
        """Return what the kernel assumes of a picture that its user should know; often nothing."""
        tell = getattr(self._module(), "note", None)
        return str(tell(info)) if tell is not None else ""

    def launch(self, source: FrameInfo, target: FrameInfo, **parameters: Value) -> Launch:
        """Return how the portable source is compiled and called for two pictures.

        Raises
        ------
        FormatError
            The kernel cannot make the one of the other.
        """
        made: Launch = self._module().launch(source, target, **parameters)
        return made

    def _module(self) -> Any:
        return importlib.import_module(f"bridges.kernels.{self.host}")


def parse(text: str) -> Kernel:
    """Return the kernel that a portable source declares in its head comment.

    Raises
    ------
    KernelError
        The head comment is missing or malformed.
    """
    head = _HEAD.match(text)
    # Only what leads a line: a pattern of formats may end in an asterisk.
    lines = [line.lstrip(" *").rstrip() for line in head[1].splitlines()] if head else []
    title = _TITLE.fullmatch(lines[0]) if lines else None
    if title is None:
        raise KernelError("a kernel source begins with a comment '/* name: what it does'")
    fields: dict[str, list[str]] = {"param": [], "reads": [], "writes": [], "host": []}
    for line in lines[1:]:
        if not line:
            break
        field = _FIELD.fullmatch(line)
        if field is None:
            raise KernelError(f"kernel {title['name']}: cannot read the declaration {line!r}")
        fields[field["field"]].append(field["rest"])
    return Kernel(
        name=title["name"],
        summary=title["summary"],
        parameters=tuple(_parameter(line) for line in fields["param"]),
        formats_read=_formats(fields["reads"]),
        formats_written=_formats(fields["writes"]),
        source=text,
        host=fields["host"][0] if fields["host"] else title["name"],
    )


def _parameter(line: str) -> Parameter:
    found = _PARAMETER.fullmatch(line)
    if found is None or found["type"] not in _TYPES or (found["low"] and found["type"] == "str"):
        raise KernelError(
            f"cannot read the parameter {line!r}; write 'name: type = default in [low, high]', "
            f"where the type is one of {', '.join(_TYPES)}"
        )
    low, high = (float(found[end]) if found[end] else None for end in ("low", "high"))
    kind = _TYPES[found["type"]]
    bare = Parameter(found["name"], kind, "", low, high, (found["summary"] or "").strip())
    default = bare.read(found["default"])
    return Parameter(bare.name, kind, default, low, high, bare.summary)


def _formats(lines: list[str]) -> tuple[str, ...]:
    patterns = " ".join(lines).split()
    matching = [name for name in PIXEL_FORMATS if any(fnmatch.fnmatch(name, p) for p in patterns)]
    for pattern in patterns:
        if not fnmatch.filter(PIXEL_FORMATS, pattern):
            raise KernelError(f"no pixel format matches {pattern!r}")
    return tuple(matching)


def names() -> tuple[str, ...]:
    """Return the names of all kernels, in alphabetical order."""
    files = resources.files("bridges.kernels").iterdir()
    return tuple(sorted(file.name[:-3] for file in files if file.name.endswith(".cl")))


@functools.cache
def get(name: str) -> Kernel:
    """Return a kernel by name.

    Raises
    ------
    KernelError
        There is none of that name; the message lists those there are.
    """
    there = names()
    if name not in there:
        close = difflib.get_close_matches(name, there, n=1)
        hint = f"did you mean {close[0]}? " if close else ""
        raise KernelError(f"no kernel {name!r}; {hint}there is {', '.join(there)}")
    source = resources.files("bridges.kernels").joinpath(f"{name}.cl").read_text("utf-8")
    return parse(source)
