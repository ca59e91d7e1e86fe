"""Head comments of the portable sources, which declare kernels and their parameters.

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

import fnmatch
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from bridges.errors import KernelError
from bridges.formats import PIXEL_FORMATS

__all__ = ["Declaration", "Parameter", "Value", "declarations", "place"]

Value = bool | int | float | str

_TYPES: dict[str, type[Value]] = {"float": float, "int": int, "bool": bool, "str": str}
_HEAD = re.compile(
    r"^/\*[ \t]+(?P<name>[a-z]\w*):[ \t]+(?P<rest>\S.*?)\*/", re.DOTALL | re.MULTILINE
)
_FIELDS = "param", "reads", "writes", "previous", "kind", "prepare"
_FIELD = re.compile(rf"(?P<field>{'|'.join(_FIELDS)})\s+(?P<rest>\S.*)")
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


@dataclass(frozen=True, slots=True)
class Declaration:
    """One head comment.

    Attributes
    ----------
    name, summary : str
        Of the kernel.
    line : int
        Where it begins in its source, from 1.
    parameters : tuple of Parameter
        In their order.
    fields : dict of str to list of str
        The words of all lines, by what leads them; none where there is no such line.
    """

    name: str
    summary: str
    line: int
    parameters: tuple[Parameter, ...]
    fields: dict[str, list[str]]


def declarations(text: str, file: str = "") -> Iterator[Declaration]:
    """Yield what the head comments of a portable source declare, in their order.

    Parameters
    ----------
    text : str
        The source.
    file : str
        Its name, for messages.

    Raises
    ------
    KernelError
        A declaration is malformed.
    """
    for head in _HEAD.finditer(text):
        yield _declaration(head, text.count("\n", 0, head.start()) + 1, file)


def place(file: str, line: int) -> str:
    """Return what begins a message about a line of a file, if it is known."""
    return f"{file}:{line}: " if file else ""


def _declaration(head: re.Match[str], first: int, file: str) -> Declaration:
    name = head["name"]
    summary, *lines = head["rest"].splitlines()
    fields: dict[str, list[str]] = {key: [] for key in _FIELDS}
    parameters = []
    for number, line in enumerate(lines, first + 1):
        # Only what leads a line: a pattern of formats may end in an asterisk.
        content = line.lstrip(" *").rstrip()
        if not content:
            break
        found = _FIELD.fullmatch(content)
        if found is None:
            raise KernelError(
                f"{place(file, number)}kernel {name}: cannot read the declaration {content!r}"
            )
        try:
            if found["field"] == "param":
                parameters.append(_parameter(found["rest"]))
            elif found["field"] in ("reads", "writes"):
                _check_patterns(found["rest"].split())
        except KernelError as error:
            raise KernelError(f"{place(file, number)}kernel {name}: {error}") from error
        fields[found["field"]] += found["rest"].split()
    return Declaration(name, summary.strip(), first, tuple(parameters), fields)


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
