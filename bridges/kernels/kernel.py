"""Kernels and their parameters, as the head comments of the portable sources declare them.

A source file holds one kernel or more. Each has a comment in the first column that reads::

    /* <name>: <one line that says what it does>
     * param <name>: <type> [= <default>] [in [<low>, <high>] | in {<text>, ...}]   <what it is>
     * reads <patterns of pixel formats; all of them if left out>
     * writes <patterns of pixel formats; as it reads if left out>
     * previous <why it takes the result of the picture before>
     * kind <module of bridges.kernels.families that makes it ready; point if left out>
     * prepare <module of bridges.kernels.families that makes what a point kernel takes>
     *
     * Anything else is prose.
     */

A type is float, int, bool or str. A parameter without a default has to be given.
"""

import difflib
import fnmatch
import functools
import importlib
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from fractions import Fraction
from functools import cached_property
from importlib import resources
from types import MappingProxyType
from typing import Any

from bridges.errors import KernelError
from bridges.formats import PIXEL_FORMATS
from bridges.frame import FrameInfo
from bridges.kernels.launch import Launch
from bridges.kernels.recipe import Info, Planes, Recipe

__all__ = ["Kernel", "Parameter", "Value", "get", "names", "parse"]

Value = bool | int | float | str

_TYPES: dict[str, type[Value]] = {"float": float, "int": int, "bool": bool, "str": str}
_HEAD = re.compile(
    r"^/\*[ \t]+(?P<name>[a-z]\w*):[ \t]+(?P<rest>\S.*?)\*/", re.DOTALL | re.MULTILINE
)
_FIELD = re.compile(r"(?P<field>param|reads|writes|previous|kind|prepare)\s+(?P<rest>\S.*)")
_PARAMETER = re.compile(
    r"(?P<name>[a-z]\w*):\s*(?P<type>\w+)(?:\s*=\s*(?P<default>\"[^\"]*\"|\S+))?"
    r"(?:\s+in\s+(?:\[(?P<low>[^,\]]+),(?P<high>[^\]]+)\]|\{(?P<choices>[^}]*)\}))?"
    r"(?:\s+(?P<summary>.*))?"
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
    default : bool, int, float, str or None
        Taken where a call leaves it out; None where it has to be given.
    low, high : float or None
        The range of a number, both ends in it.
    choices : tuple of str
        The texts that it takes; empty where it takes any.
    summary : str
        What it is.
    """

    name: str
    type: type[Value]
    default: Value | None
    low: float | None = None
    high: float | None = None
    choices: tuple[str, ...] = ()
    summary: str = ""

    def check(self, value: object) -> Value:
        """Return ``value`` in the parameter's own type.

        Raises
        ------
        KernelError
            It has another type, is not a finite number, is out of range or none of the choices.
        """
        if value is None:
            raise KernelError(f"{self} has to be given: {self.name}={self._example()}")
        if self.type is float and type(value) is int:
            value = float(value)
        if type(value) is not self.type:
            raise KernelError(f"{self} takes {self._article()}, got {value!r}")
        # Written so that it refuses a NaN too.
        low, high = self.low, self.high
        if low is not None and high is not None and not low <= float(value) <= high:
            raise KernelError(f"{self} lies between {low:g} and {high:g}, got {value!r}")
        if self.choices and value not in self.choices:
            raise KernelError(f"{self} is one of {', '.join(self.choices)}, got {value!r}")
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

    def _example(self) -> str:
        if self.choices:
            return self.choices[0]
        return {float: "0.5", int: "1", bool: "true", str: "..."}[self.type]

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
    source : str
        The text of the whole file, without the prelude.
    kind : str
        The family: ``point``, or the module of `bridges.kernels.families` that makes it ready.
    reads, writes : tuple of str
        Patterns of pixel formats.
    takes_previous : bool
        Whether it takes the result of the picture before as well.
    prepare : str
        The module of `bridges.kernels.families` that makes what a point kernel takes of its
        parameters; empty where it takes them as they are.
    file : str
        Where the source is from, for messages.
    line : int
        Of the declaration in it, from 1.
    reference : callable or None
        What a user's kernel computes, in NumPy; those of the package have theirs in
        `bridges.kernels.reference`.
    """

    name: str
    summary: str
    parameters: tuple[Parameter, ...]
    source: str
    kind: str = "point"
    reads: tuple[str, ...] = ("*",)
    writes: tuple[str, ...] = ("*",)
    takes_previous: bool = False
    prepare: str = ""
    file: str = ""
    line: int = 1
    reference: Callable[..., Any] | None = field(default=None, compare=False)

    @cached_property
    def formats_read(self) -> tuple[str, ...]:
        """Pixel formats (names of `bridges.formats.PIXEL_FORMATS`) that it takes directly."""
        return _formats(self.reads)

    @cached_property
    def formats_written(self) -> tuple[str, ...]:
        """Pixel formats that it makes directly."""
        return _formats(self.writes)

    def check(self, parameters: Mapping[str, object]) -> dict[str, Value]:
        """Return all parameters, with defaults where ``parameters`` has none.

        Raises
        ------
        KernelError
            A parameter is unknown, missing, has the wrong type or is out of range.
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

    def output(self, info: FrameInfo, /, **parameters: object) -> Info:
        """Return what the kernel makes of a picture by itself: format, size, range and matrix.

        Kernels that make numbers return a `bridges.media.TensorsInfo`.

        Raises
        ------
        KernelError
            A parameter is wrong, or the kernel does not read the picture's format.
        """
        values = self.check(parameters)
        self.check_source(info)
        return self.recipe.output(self, info, **values)

    def note(self, info: FrameInfo, /, **parameters: object) -> str:
        """Return what the kernel assumes of a picture that its user should know; often nothing."""
        return self.recipe.note(self, info, **self.check(parameters))

    def written(self, target: Info) -> tuple[int, ...]:
        """Return which planes of a target are written; the others are left alone."""
        return self.recipe.written(self, target)

    def in_place(self, source: FrameInfo, target: Info) -> bool:
        """Whether a picture may be its own target."""
        return self.recipe.in_place(self, source, target)

    def aspect(
        self,
        source: FrameInfo,
        target: FrameInfo,
        ratio: Fraction,
        values: Mapping[str, Value] = MappingProxyType({}),
    ) -> Fraction:
        """Return the width over height of the result's pixels, from that of the source's.

        It stays what it is, but where the kernel's family says otherwise.
        """
        change = getattr(self.recipe, "aspect", None)
        return ratio if change is None else Fraction(change(self, source, target, ratio, **values))

    def launches(
        self,
        source: FrameInfo,
        target: Info,
        values: Mapping[str, Value] = MappingProxyType({}),
        *,
        aligned: bool = True,
    ) -> tuple[Launch, ...]:
        """Return how the portable source is compiled and called for two frames.

        Parameters
        ----------
        source, target : FrameInfo
            What is read and written.
        values : mapping
            All parameters, as `check` returns them.
        aligned : bool
            Whether all rows of all planes start at multiples of `bridges.kernels.launch.WORD`.

        Raises
        ------
        FormatError
            The kernel cannot make the one of the other.
        """
        return self.recipe.launches(self, source, target, aligned, **values)

    def compute(
        self,
        planes: Planes,
        source: FrameInfo,
        target: Info,
        out: Planes,
        values: Mapping[str, Value] = MappingProxyType({}),
    ) -> None:
        """Fill the planes ``out`` of a target by the NumPy reference.

        Raises
        ------
        FormatError
            The kernel cannot make the one of the other.
        """
        self.recipe.compute(self, planes, source, target, out, **values)

    def check_source(self, info: FrameInfo) -> None:
        """Refuse a picture that the kernel does not read.

        Raises
        ------
        KernelError
            Its format is none of `formats_read`.
        """
        if info.format.name not in self.formats_read:
            where = f" ({self.file}:{self.line})" if self.file else ""
            raise KernelError(
                f"{self.name}{where} does not read {info.format.name}; convert first, for example "
                f"to {self.formats_read[0]}"
            )

    @cached_property
    def recipe(self) -> Recipe:
        """The family that makes it ready."""
        folder = "bridges.kernels" if self.kind == "point" else "bridges.kernels.families"
        made: Any = importlib.import_module(f"{folder}.{self.kind}")
        recipe: Recipe = made
        return recipe


def parse(text: str, file: str = "") -> dict[str, Kernel]:
    """Return the kernels that a portable source declares, by name.

    Parameters
    ----------
    text : str
        The source.
    file : str
        Its name, for messages.

    Raises
    ------
    KernelError
        There is no declaration, or one is malformed.
    """
    kernels = {}
    for head in _HEAD.finditer(text):
        kernel = _declared(head, text, file)
        if kernel.name in kernels:
            raise KernelError(f"{_at(file, kernel.line)}kernel {kernel.name} is declared twice")
        kernels[kernel.name] = kernel
    if not kernels:
        raise KernelError(
            f"{_at(file, 1)}a kernel source has a comment '/* name: what it does' in the first "
            "column"
        )
    return kernels


def _at(file: str, line: int) -> str:
    return f"{file}:{line}: " if file else ""


def _declared(head: re.Match[str], text: str, file: str) -> Kernel:
    first = text.count("\n", 0, head.start()) + 1
    name = head["name"]
    summary, *lines = head["rest"].splitlines()
    fields: dict[str, list[str]] = {
        key: [] for key in ("param", "reads", "writes", "previous", "kind", "prepare")
    }
    parameters = []
    for number, line in enumerate(lines, first + 1):
        # Only what leads a line: a pattern of formats may end in an asterisk.
        content = line.lstrip(" *").rstrip()
        if not content:
            break
        found = _FIELD.fullmatch(content)
        if found is None:
            raise KernelError(
                f"{_at(file, number)}kernel {name}: cannot read the declaration {content!r}"
            )
        try:
            if found["field"] == "param":
                parameters.append(_parameter(found["rest"]))
            elif found["field"] in ("reads", "writes"):
                _check_patterns(found["rest"].split())
        except KernelError as error:
            raise KernelError(f"{_at(file, number)}kernel {name}: {error}") from error
        fields[found["field"]] += found["rest"].split()
    reads = tuple(fields["reads"]) or ("*",)
    return Kernel(
        name=name,
        summary=summary.strip(),
        parameters=tuple(parameters),
        source=text,
        kind=fields["kind"][0] if fields["kind"] else "point",
        reads=reads,
        writes=tuple(fields["writes"]) or reads,
        takes_previous=bool(fields["previous"]),
        prepare=fields["prepare"][0] if fields["prepare"] else "",
        file=file,
        line=first,
    )


def _parameter(line: str) -> Parameter:
    found = _PARAMETER.fullmatch(line)
    numeric = found is not None and found["type"] in ("float", "int")
    if (
        found is None
        or found["type"] not in _TYPES
        or (found["low"] and not numeric)
        or (found["choices"] and found["type"] != "str")
    ):
        raise KernelError(
            f"cannot read the parameter {line!r}; write 'name: type = default in [low, high]', "
            f"where the type is one of {', '.join(_TYPES)}"
        )
    try:
        low, high = (float(found[end]) if found[end] else None for end in ("low", "high"))
    except ValueError:
        raise KernelError(f"the range of the parameter {line!r} is no two numbers") from None
    choices = tuple(text.strip() for text in (found["choices"] or "").split(",") if text.strip())
    bare = Parameter(
        found["name"],
        _TYPES[found["type"]],
        None,
        low,
        high,
        choices,
        (found["summary"] or "").strip(),
    )
    return bare if found["default"] is None else replace(bare, default=bare.read(found["default"]))


def _check_patterns(patterns: Iterable[str]) -> None:
    for pattern in patterns:
        if not fnmatch.filter(PIXEL_FORMATS, pattern):
            raise KernelError(f"no pixel format matches {pattern!r}")


def _formats(patterns: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(
        name for name in PIXEL_FORMATS if any(fnmatch.fnmatchcase(name, each) for each in patterns)
    )


def _sources() -> Any:
    return resources.files("bridges.kernels.families")


@functools.cache
def _built_in() -> dict[str, str]:
    """Return the file of each kernel of the package."""
    files = [file for file in _sources().iterdir() if file.name.endswith(".cl")]
    return {
        head["name"]: file.name
        for file in files
        for head in _HEAD.finditer(file.read_text("utf-8"))
    }


def names() -> tuple[str, ...]:
    """Return the names of all kernels of the package, in alphabetical order."""
    return tuple(sorted(_built_in()))


@functools.cache
def get(name: str) -> Kernel:
    """Return a kernel of the package by name.

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
    text = _sources().joinpath(_built_in()[name]).read_text("utf-8")
    return parse(text)[name]
