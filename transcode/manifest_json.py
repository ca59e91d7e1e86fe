"""JSON, and JSON Lines, as a tree of texts."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

from transcode.errors import JobError
from transcode.manifest_tree import Node, PlacedError, Places, whole_characters

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["read_json", "read_json_lines"]

_DECODER = json.JSONDecoder()
_SPACE = re.compile(r"[ \t\r\n]*")
_SCALAR = re.compile(r"[^ \t\r\n,\]}]+")


def read_json(text: str, name: str) -> Node:
    """Read one JSON document.

    Parameters
    ----------
    text : str
        The document.
    name : str
        What messages call the file.

    Raises
    ------
    JobError
        It is no JSON, or an object has a key twice.
    """
    return _read(text, 0, Places(name, text), name)


def read_json_lines(text: str, name: str) -> list[Node]:
    """Read a text with a JSON document on each line; empty lines are skipped.

    Raises
    ------
    JobError
        A line is no JSON, or an object has a key twice.
    """
    places = Places(name, text)
    found = []
    start = 0
    # Not splitlines: JSON may have U+2028, which would end a line there.
    for line in text.split("\n"):
        if line.strip():
            found.append(_read(line, start, places, name))
        start += len(line) + 1
    return found


def _read(text: str, start: int, places: Places, name: str) -> Node:
    try:
        # Whatever passes here is JSON, so that what follows only has to find the places. Numbers
        # stay texts: they need not fit any type.
        json.loads(text, parse_int=str, parse_float=str)
        return _Document(text, start, places).node()
    except json.JSONDecodeError as error:
        message = error.msg[:1].lower() + error.msg[1:]
        raise PlacedError(f"{places.at(start + error.pos)}: {message}") from error
    except RecursionError as error:
        raise JobError(f"{name}: nested too deep") from error


class _Document:
    """Goes through a text that is JSON, and says where its values stand."""

    def __init__(self, text: str, start: int, places: Places) -> None:
        self._text = text
        self._start = start
        self._places = places
        self._at = 0

    def node(self) -> Node:
        """Return the value that comes next."""
        first = self._next()
        place = self._places.at(self._start + self._at)
        if first == "{":
            return self._object(place)
        if first == "[":
            self._at += 1
            return Node([self.node() for _ in self._items("]")], place)
        if first == '"':
            return Node(self._string(), place)
        match = _SCALAR.match(self._text, self._at)
        assert match is not None
        if match[0] in ("NaN", "Infinity", "-Infinity"):
            raise PlacedError(f"{place}: {match[0]} is no JSON")
        self._at = match.end()
        return Node(None if match[0] == "null" else match[0], place)

    def _object(self, place: str) -> Node:
        values: dict[str, Node] = {}
        places: dict[str, str] = {}
        self._at += 1
        for _ in self._items("}"):
            key_place = self._places.at(self._start + self._at)
            key = self._string()
            if key in values:
                message = f"{key!r} is here twice, first at {places[key]}"
                raise PlacedError(f"{key_place}: {message}")
            self._next()
            self._at += 1  # The colon.
            values[key] = self.node()
            places[key] = key_place
        return Node(values, place, places)

    def _items(self, end: str) -> Iterator[None]:
        """Go to each item of what has begun, and then behind its end."""
        while self._next() != end:
            if self._text[self._at] == ",":
                self._at += 1
                self._next()
            yield
        self._at += 1

    def _string(self) -> str:
        text, self._at = _DECODER.raw_decode(self._text, self._at)
        return whole_characters(str(text))

    def _next(self) -> str:
        """Go to the next character that is no space, and return it."""
        match = _SPACE.match(self._text, self._at)
        assert match is not None
        self._at = match.end()
        return self._text[self._at]
