"""The values of a manifest: texts, what is made of them, and what JSON Schema says of them.

A validator sees types where the reader sees texts: a schema has to take both.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from bridges.device import DEVICE_KINDS, DeviceName
from transcode.errors import JobError
from transcode.job import parse_audio, parse_bit_rate, parse_rate, parse_size, parse_time
from transcode.manifest_tree import advice

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from transcode.manifest_tree import Node

__all__ = [
    "Schema",
    "Value",
    "audio",
    "bit_rate",
    "cards",
    "choice",
    "count",
    "device",
    "duration",
    "flag",
    "folder",
    "kernel",
    "memory",
    "number",
    "parse_bytes",
    "parse_target",
    "profile_name",
    "rate",
    "seconds",
    "size",
    "source",
    "target",
    "text",
    "time",
    "whole",
]

Schema = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Value:
    """One text.

    Attributes
    ----------
    about : str
        What it is, in a sentence.
    parse : callable
        Makes the value, or raises an error of this project.
    types : tuple of str
        What JSON Schema calls the types that YAML makes of the text, beside ``string``.
    pattern : str
        The regular expression that the whole text matches, if there is one.
    enum : tuple of str
        All texts, if there are few.
    limits : mapping
        What JSON Schema says of the number, if YAML makes one of the text.
    """

    about: str
    parse: Callable[[str], object] = str
    types: tuple[str, ...] = ()
    pattern: str = ""
    enum: tuple[str, ...] = ()
    limits: Mapping[str, object] = field(default_factory=dict)

    def read(self, node: Node, what: str) -> Any:
        """Return the parsed text."""
        text = node.text(what)
        with node.located(what):
            return self.parse(text)

    def check(self, node: Node, what: str) -> None:
        """Parse the text."""
        self.read(node, what)

    def schema(self) -> Schema:
        """Return the schema."""
        if self.enum:
            return {"enum": list(self.enum)}
        types = ["string", *self.types]
        found: Schema = {"type": types if self.types else "string", **self.limits}
        return found | ({"pattern": f"^(?:{self.pattern})$"} if self.pattern else {})


# What YAML makes of an unquoted 5, 2.5 or no, where a text is wanted.
_ANY = ("number", "boolean")


def text(about: str) -> Value:
    """Return the shape of any text."""
    return Value(about=about, types=_ANY)


def source(about: str) -> Value:
    """Return the shape of what is read, or a pattern of it."""
    return Value(about=about, parse=_source, types=_ANY, pattern=_FILE)


def target(about: str) -> Value:
    """Return the shape of what is written, or its template."""
    return Value(about=about, parse=parse_target, types=_ANY, pattern=_FILE)


def folder(about: str) -> Value:
    """Return the shape of a folder's name."""
    return Value(about=about, parse=_path, types=_ANY, pattern=r"[^\x00]+")


def profile_name(about: str) -> Value:
    """Return the shape of a profile's name."""
    return Value(about=about, parse=_profile_name, types=_ANY, pattern=r"[^/\x00]+")


def kernel(about: str) -> Value:
    """Return the shape of a kernel with its parameters."""
    return Value(about=about, parse=_filled, types=_ANY, pattern=r"[\s\S]*\S[\s\S]*")


def audio(about: str) -> Value:
    """Return the shape of `AudioOptions` in one text."""
    return Value(about=about, parse=parse_audio, types=_ANY)


def device(about: str) -> Value:
    """Return the shape of a device's name."""
    return Value(about=about, parse=_device, pattern=_DEVICE)


def size(about: str) -> Value:
    """Return the shape of a picture's size."""
    return Value(about=about, parse=parse_size, pattern=_SIZE)


def flag(about: str) -> Value:
    """Return the shape of true and false."""
    return Value(about=about, parse=_flag, types=("boolean",), pattern=_FLAG)


def number(about: str) -> Value:
    """Return the shape of any number."""
    return _numeric(about, _number, _NUMBER)


def rate(about: str) -> Value:
    """Return the shape of frames per second."""
    return _numeric(about, parse_rate, _RATE, exclusiveMinimum=0, maximum=100_000)


def bit_rate(about: str) -> Value:
    """Return the shape of bits per second."""
    return _numeric(about, parse_bit_rate, _BIT_RATE, minimum=1)


def memory(about: str) -> Value:
    """Return the shape of a number of bytes."""
    return _numeric(about, parse_bytes, rf"\s*(?:{_BYTES})\s*", minimum=1)


def cards(about: str) -> Value:
    """Return the shape of how many cards a device is worth."""
    return _numeric(about, _cards, _CARDS, exclusiveMinimum=0, maximum=1_000_000)


def time(about: str) -> Value:
    """Return the shape of a time, in exact seconds."""
    return _numeric(about, parse_time, _TIME, minimum=0)


def duration(about: str) -> Value:
    """Return the shape of a time above 0, in exact seconds."""
    return _numeric(about, _duration, _TIME, exclusiveMinimum=0)


def seconds(about: str) -> Value:
    """Return the shape of a time above 0, in seconds as a float."""
    return _numeric(about, _seconds, _TIME, exclusiveMinimum=0)


def count(about: str) -> Value:
    """Return the shape of a whole number above 0."""
    limits = {"minimum": 1}
    return Value(about=about, parse=_above_0, types=("integer",), pattern=_ABOVE_0, limits=limits)


def whole(about: str, maximum: int) -> Value:
    """Return the shape of a whole number up to a largest."""
    limits = {"minimum": 0, "maximum": maximum}
    return Value(about=about, parse=_whole, types=("integer",), pattern=_WHOLE, limits=limits)


def _numeric(about: str, parse: Callable[[str], object], pattern: str, **limits: int) -> Value:
    return Value(about=about, parse=parse, types=("number",), pattern=pattern, limits=limits)


def choice(about: str, names: Sequence[str]) -> Value:
    """Return the shape of a text that is one of a few."""

    def parse(text: str) -> str:
        if text not in names:
            hint = advice(text, names)
            more = f"; {hint}" if hint.startswith("did") else ""
            raise JobError(f"found {text!r}; one of {', '.join(names)}{more}")
        return text

    return Value(about=about, parse=parse, enum=tuple(names))


def _any_case(word: str) -> str:
    """Return the regular expression of a word in any mixture of cases, as ECMA 262 has them."""
    return "".join(f"[{c}{c.upper()}]" if c.isalpha() else re.escape(c) for c in word)


_NUMBER = r"[+-]?(?:[0-9]{1,15}(?:\.[0-9]{0,15})?|\.[0-9]{1,15})(?:[eE][+-]?[0-9]{1,2})?"
_WHOLE = "[0-9]{1,15}"
_ABOVE_0 = "0*[1-9][0-9]{0,14}"
_CARDS = r"[0-9]{1,9}(?:\.[0-9]{1,9})?|[0-9]{1,9}/[0-9]{1,9}"
_BYTES = r"([0-9]{1,15}(?:\.[0-9]{1,9})?)([kKmMgGtT]?)"
_TIME = r"\s*(?:(?:[0-9]{1,6}:)?[0-9]{1,6}:)?[0-9]{1,12}(?:\.[0-9]{1,12})?\s*"
_BIT_RATE = r"\s*[0-9]{1,12}(?:\.[0-9]{1,6})?[kKmM]?\s*"
_SIZE = r"\s*(?:-2|[0-9]{1,9})[xX:](?:-2|[0-9]{1,9})\s*"
_RATES = "|".join(_any_case(word) for word in ("ntsc", "pal", "film", "ntsc-film"))
_RATE = rf"\s*(?:{_RATES}|\+?[0-9_]*\.?[0-9_]*(?:[eE][+-]?[0-9_]+)?(?:/[0-9_]+)?)\s*"
_FLAGS = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}
_FLAG = "|".join(_any_case(word) for word in _FLAGS)
_DEVICE = rf"\s*(?:{'|'.join(_any_case(kind) for kind in DEVICE_KINDS)})(?:\s*|:[\s\S]+)"
_FILE = r"[^\x00-]|[^\x00]{2,}"  # Anything but nothing and "-".


def _number(text: str) -> float:
    if not re.fullmatch(_NUMBER, text):
        raise JobError(f"{text!r} is no number")
    return float(text)


def _whole(text: str) -> int:
    if not re.fullmatch(_WHOLE, text):
        raise JobError(f"{text!r} is no whole number")
    return int(text)


def _above_0(text: str) -> int:
    if not re.fullmatch(_ABOVE_0, text):
        raise JobError(f"{text!r} is no whole number above 0")
    return int(text)


def _cards(text: str) -> Fraction:
    match = re.fullmatch(_CARDS, text)
    cards = Fraction(0)
    if match and not re.search("/0+$", text):
        cards = Fraction(text)
    if not 0 < cards <= 1_000_000:
        raise JobError(f"{text!r} is no number of cards, such as 2.5")
    return cards


def _flag(text: str) -> bool:
    if text.lower() not in _FLAGS:
        raise JobError(f"{text!r} is neither true nor false")
    return _FLAGS[text.lower()]


def _device(text: str) -> str:
    return str(DeviceName.parse(text))


def _duration(text: str) -> Fraction:
    seconds = parse_time(text)
    if not seconds:
        raise JobError(f"{text!r} is no time above 0")
    return seconds


def _seconds(text: str) -> float:
    return float(_duration(text))


def parse_bytes(text: str) -> int:
    """Parse ``"4G"``, ``"512M"``, ``"1.5g"`` or ``"1000000"`` into bytes; a K is 1024 of them.

    Raises
    ------
    JobError
        The text has another form, or is less than a byte.
    """
    match = re.fullmatch(_BYTES, text.strip())
    count = int(Fraction(match[1]) * 1024 ** " kmgt".index(match[2].lower() or " ")) if match else 0
    if count <= 0:
        raise JobError(f"memory {text!r} has the form 4G, 512M or 1000000")
    return count


def _path(text: str) -> str:
    if not text:
        raise JobError("it has no name")
    if "\0" in text:
        raise JobError(f"{text!r} is no file name")
    return text


def _source(text: str) -> str:
    if text == "-":
        raise JobError("a manifest reads files and URLs, not standard input")
    return _path(text)


def parse_target(text: str) -> str:
    """Return the path of an output, or its template.

    Raises
    ------
    JobError
        It is standard output, a folder, or no name.
    """
    if text == "-":
        raise JobError("a manifest writes files, not to standard output")
    if not text:
        raise JobError("the output has no name")
    if text.rpartition("/")[2] in ("", ".", ".."):
        raise JobError(f"{text!r} is a folder; name a file in it")
    return _path(text)


def _profile_name(text: str) -> str:
    if "/" in text:
        raise JobError(f"{text!r}: the name of a profile becomes part of file names; leave '/' out")
    return _path(text)


def _filled(text: str) -> str:
    if not text.strip():
        raise JobError("it has no name")
    return text
