"""A document as a tree of texts that know where they stand, whatever format it is written in.

No scalar is given a type: ``1:30``, ``no`` and ``010`` stay as they were written until somebody
knows what they are to be.
"""

from __future__ import annotations

import bisect
import contextlib
import difflib
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from bridges.errors import XTranscodeError
from transcode.errors import JobError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

__all__ = ["Node", "PlacedError", "Places", "advice", "layered", "whole_characters"]

_LAYERS = 3
"""How deep mappings are merged: a job, its video, the options of that."""


class PlacedError(JobError):
    """A job that cannot be run as it is written; the message begins with file, line and column."""


@dataclass(frozen=True)
class Node:
    """A value of the document.

    Attributes
    ----------
    value : str, list of Node, dict of str to Node, or None
        None where nothing stands, or a null of the format.
    place : str
        ``"jobs.yaml:12:5"``: file, line and column, counted from 1.
    key_places : dict of str to str
        Where the keys of a mapping stand.
    """

    value: str | list[Node] | dict[str, Node] | None
    place: str
    key_places: dict[str, str] = field(default_factory=dict)

    def error(self, message: str) -> PlacedError:
        """Return the error that says where it is."""
        return PlacedError(f"{self.place}: {message}")

    @contextlib.contextmanager
    def located(self, what: str = "") -> Iterator[None]:
        """Say of an error where it is, and in what, unless it says so itself.

        Raises
        ------
        PlacedError
            Anything that this project raises was raised within.
        """
        try:
            yield
        except PlacedError:
            raise
        except XTranscodeError as error:
            raise self.error(f"{what}: {error}" if what else str(error)) from error

    def mapping(self, what: str) -> dict[str, Node]:
        """Return the mapping that this must be.

        Raises
        ------
        PlacedError
            It is something else.
        """
        if not isinstance(self.value, dict):
            raise self.error(f"{what} takes keys and values, {self._found()}")
        return self.value

    def known(self, what: str, names: Iterable[str]) -> dict[str, Node]:
        """Return the mapping that this must be, with no keys but these.

        Raises
        ------
        PlacedError
            It is something else, or has others.
        """
        fields = self.mapping(what)
        if not fields.keys() <= (allowed := set(names)):
            name = next(name for name in fields if name not in allowed)
            message = f"{what} has no {name!r}; {advice(name, sorted(allowed))}"
            raise Node(name, self.key_places.get(name, self.place)).error(message)
        return fields

    def items(self, what: str) -> list[Node]:
        """Return the items of the list that this must be.

        Raises
        ------
        PlacedError
            It is something else.
        """
        if not isinstance(self.value, list):
            raise self.error(f"{what} takes a list, {self._found()}")
        return self.value

    def text(self, what: str) -> str:
        """Return the text, or the number as text, that this must be.

        Raises
        ------
        PlacedError
            It is something else.
        """
        if not isinstance(self.value, str):
            raise self.error(f"{what} takes one value, {self._found()}")
        return self.value

    def _found(self) -> str:
        kinds = {dict: "found keys and values", list: "found a list", type(None): "found nothing"}
        return kinds.get(type(self.value), f"found {self.value!r}")


class Places:
    """Tells where the characters of a text stand.

    Parameters
    ----------
    name : str
        What messages call the file.
    text : str
        All of it.
    """

    def __init__(self, name: str, text: str) -> None:
        self._name = name
        self._starts = [0, *(match.end() for match in re.finditer("\n", text))]

    def at(self, position: int) -> str:
        """Return file, line and column of a character."""
        line = bisect.bisect_right(self._starts, position)
        return f"{self._name}:{line}:{position - self._starts[line - 1] + 1}"


def advice(found: str, allowed: Iterable[str]) -> str:
    """Say what there is instead of something that there is not."""
    names = list(allowed)
    close = difflib.get_close_matches(found, names, n=1)
    if close:
        return f"did you mean {close[0]!r}?"
    return f"there is {', '.join(names)}" if names else "there is none"


def layered(under: Node, over: Node, depth: int = _LAYERS) -> Node:
    """Lay one mapping over another; mappings inside of them are merged likewise.

    The depth has an end, because an alias of YAML lets a small file have countless mappings.
    """
    if not (isinstance(under.value, dict) and isinstance(over.value, dict) and depth):
        return over
    if not under.value:
        return over
    values = {
        name: layered(under.value[name], node, depth - 1) if name in under.value else node
        for name, node in over.value.items()
    }
    return Node(under.value | values, over.place, under.key_places | over.key_places)


def whole_characters(text: str) -> str:
    """Join the two halves in which JSON writes a character beyond U+FFFF; mark a lone half."""
    if text.isascii():
        return text
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
