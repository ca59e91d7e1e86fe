"""Elements: the parts that chains are made of. A source reads, transforms process, a sink writes.

An element has a description, which says what it is called, what it takes and which parameters it
has; parameters are checked against it when the element is made. Then ``open()``, any number of
frames, ``finish()`` where all went well, and ``close()`` in any case.
"""

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from bridges.closable import Closable
from bridges.context import Context
from bridges.errors import ElementError
from bridges.frame import MediaFrame
from bridges.media import MediaType
from bridges.tensor import MemoryType

__all__ = [
    "Element",
    "ElementDescription",
    "ParameterDescription",
    "Sink",
    "Source",
    "Transform",
    "TransformInplace",
    "Value",
]

Value = bool | int | float | str


@dataclass(frozen=True, slots=True)
class ParameterDescription:
    """One parameter of an element.

    Attributes
    ----------
    name : str
        As it is given.
    type : type
        ``bool``, ``int``, ``float`` or ``str``.
    summary : str
        What it is.
    default : bool, int, float or str, optional
        Taken where it is left out; None has it required.
    low, high : float or None
        The range of a number, both ends in it.
    choices : tuple of str
        The texts there are; empty where any will do.
    """

    name: str
    type: type[Value]
    summary: str
    default: Value | None = None
    low: float | None = None
    high: float | None = None
    choices: tuple[str, ...] = ()

    @property
    def required(self) -> bool:
        """Whether it has to be given."""
        return self.default is None

    def check(self, value: object) -> Value:
        """Return ``value`` in the parameter's own type.

        Raises
        ------
        ElementError
            It has another type, is out of range or none of the choices.
        """
        if self.type is float and type(value) is int:
            value = float(value)
        if type(value) is not self.type:
            raise ElementError(f"parameter {self.name!r} is {self.form}, got {value!r}")
        if isinstance(value, str):
            within = not self.choices or value in self.choices
        else:
            # Written so that it refuses a NaN too.
            within = (self.low is None or value >= self.low) and (
                self.high is None or value <= self.high
            )
        if not within or value != value:
            raise ElementError(f"parameter {self.name!r} is {self.form}, got {value!r}")
        return value

    @property
    def form(self) -> str:
        """What it takes, in words, such as ``"a whole number from 0 to 8"``."""
        if self.choices:
            return f"one of {', '.join(self.choices)}"
        words = {float: "a number", int: "a whole number", bool: "true or false", str: "a text"}
        low = "" if self.low is None else f" from {self.low:g}"
        return words[self.type] + low + ("" if self.high is None else f" to {self.high:g}")


@dataclass(frozen=True, slots=True)
class ElementDescription:
    """What an element is, known without making one.

    Attributes
    ----------
    name : str
        As `create_element` is asked for it.
    summary : str
        What it does, in one line.
    parameters : tuple of ParameterDescription
        In the order in which people should read them.
    inputs, outputs : tuple of MemoryType
        The kinds of memory that its frames may lie in; empty for a source's input and a sink's
        output.
    media : tuple of MediaType
        What its frames may hold.
    """

    name: str
    summary: str
    parameters: tuple[ParameterDescription, ...] = ()
    inputs: tuple[MemoryType, ...] = ()
    outputs: tuple[MemoryType, ...] = ()
    media: tuple[MediaType, ...] = (MediaType.IMAGE,)

    def check(self, parameters: dict[str, object]) -> dict[str, Value]:
        """Return all parameters, with defaults where ``parameters`` has none.

        Raises
        ------
        ElementError
            A parameter is unknown, missing, or has a wrong value.
        """
        known = {parameter.name: parameter for parameter in self.parameters}
        there = ", ".join(known) or "no parameters"
        for name in parameters:
            if name not in known:
                raise ElementError(f"{self.name} has no parameter {name!r}; it has {there}")
        checked: dict[str, Value] = {}
        for name, parameter in known.items():
            if name not in parameters and parameter.required:
                raise ElementError(
                    f"{self.name} needs the parameter {name!r}, {parameter.form}: "
                    f"{parameter.summary}"
                )
            try:
                checked[name] = parameter.check(parameters.get(name, parameter.default))
            except ElementError as error:
                raise ElementError(f"{self.name}: {error}") from None
        return checked


class Element(Closable):
    """Part of a chain.

    Parameters
    ----------
    contexts : sequence of Context
        Devices that it may use; they stay the caller's.
    **parameters
        As the description says.

    Attributes
    ----------
    description : ElementDescription
        One of each class.
    contexts : tuple of Context
        As given.
    parameters : dict
        All of them, checked.

    Raises
    ------
    ElementError
        A parameter is unknown, missing, or has a wrong value.
    """

    description: ClassVar[ElementDescription]

    def __init__(self, contexts: Sequence[Context] = (), **parameters: object) -> None:
        self.contexts = tuple(contexts)
        self.parameters: dict[str, Any] = self.description.check(parameters)

    def open(self) -> None:
        """Take what it needs to work: files, devices, memory. Called once, before any frame."""

    def finish(self) -> None:
        """Complete the work: all frames came through. Not called where something failed."""

    def close(self) -> None:
        """Let go of everything; may be repeated, and without ``open()``."""

    def check_frame(self, frame: MediaFrame, memory_types: Sequence[MemoryType]) -> None:
        """Refuse a frame of another medium than the description says, or in other memory.

        Raises
        ------
        ElementError
            It is; the message says what to do.
        """
        name = self.description.name
        if frame.media_type not in self.description.media:
            takes = ", ".join(map(str, self.description.media))
            raise ElementError(f"{name} takes {takes}, got {frame.media_type}")
        if frame.memory_type not in memory_types:
            takes = " or ".join(map(str, memory_types))
            raise ElementError(
                f"{name} takes frames in {takes} memory, got {frame.memory_type}; put the element "
                f"map before it, with to='{memory_types[0]}'"
            )


class Source(Element):
    """Where frames come from."""

    @abstractmethod
    def read(self) -> MediaFrame | None:
        """Return the next frame, which the caller closes; None at the end, and ever after."""


class Transform(Element):
    """Makes frames of frames."""

    @abstractmethod
    def process(self, frame: MediaFrame) -> MediaFrame | None:
        """Return what becomes of a frame, which the caller closes; None where nothing does.

        The caller closes ``frame`` too, after the result.
        """


class TransformInplace(Element):
    """Changes frames, or only looks at them, and passes them on."""

    @abstractmethod
    def process(self, frame: MediaFrame) -> bool:
        """Work on a frame, which stays the caller's; return whether it goes on."""


class Sink(Element):
    """Where frames end."""

    @abstractmethod
    def write(self, frame: MediaFrame) -> None:
        """Take in a frame, which stays the caller's."""
