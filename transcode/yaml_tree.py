"""A YAML document as a tree of texts that know where they stand.

No scalar is given a type: ``1:30``, ``no`` and ``010`` stay as they were written until somebody
knows what they are to be. YAML 1.1 would make 90, False and 8 of them.
"""

from __future__ import annotations

import contextlib
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bridges.errors import XTranscodeError
from transcode.errors import JobError, SourceError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from os import PathLike

__all__ = ["Node", "PlacedError", "read_yaml"]

_NULLS = ("", "~", "null", "Null", "NULL")
_PLAIN_TAGS = tuple(f"tag:yaml.org,2002:{name}" for name in ("str", "seq", "map"))


class PlacedError(JobError):
    """A job that cannot be run as it is written; the message begins with file, line and column."""


@dataclass(frozen=True)
class Node:
    """A value of the document.

    Attributes
    ----------
    value : str, list of Node, dict of str to Node, or None
        None where nothing, ``~`` or ``null`` stands, without quotes.
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


def read_yaml(path: str | PathLike[str]) -> Node:
    """Read a file with one YAML document, or JSON, which YAML contains.

    Parameters
    ----------
    path : str or path-like
        ``"-"`` is standard input.

    Raises
    ------
    SourceError
        The file cannot be read.
    JobError
        It is no YAML; has a key twice, a tag, or an alias inside of what it stands for; or PyYAML
        is not installed.
    """
    name = "standard input" if str(path) == "-" else str(path)
    try:
        data = sys.stdin.buffer.read() if str(path) == "-" else Path(path).read_bytes()
    except (OSError, ValueError) as error:
        reason = (error.strerror or str(error)) if isinstance(error, OSError) else str(error)
        words = "no such file" if isinstance(error, FileNotFoundError) else reason.lower()
        raise SourceError(f"{name}: {words}") from error
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise JobError(f"{name}: no text in UTF-8 (byte {error.start})") from error
    return _Tree(name).root(text)


class _Tree:
    """Makes nodes of PyYAML's, each once however many aliases it has."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._made: dict[int, Node] = {}
        self._open: set[int] = set()

    def root(self, text: str) -> Node:
        try:
            import yaml
        except ImportError as error:
            raise JobError(
                f"{self._name}: reading it needs PyYAML, which is not installed; try: "
                "pip install 'xtranscode[batch]'"
            ) from error
        try:
            # libyaml's own loader is faster, and crashes on documents that are nested deep.
            composed = yaml.compose(text, Loader=yaml.BaseLoader)
            return Node(None, self._place()) if composed is None else self._node(composed)
        except yaml.MarkedYAMLError as error:
            what = ", ".join(filter(None, (error.context, error.problem)))
            raise PlacedError(f"{self._place(error.problem_mark)}: {what}") from error
        except yaml.reader.ReaderError as error:
            *lines, line = text[: error.position].split("\n")
            place = f"{self._name}:{len(lines) + 1}:{len(line) + 1}"
            code = f"U+{ord(text[error.position]):04X}"
            raise PlacedError(f"{place}: the character {code} is not allowed") from error
        except RecursionError as error:
            raise JobError(f"{self._name}: nested too deep") from error

    def _place(self, mark: Any = None) -> str:
        line, column = (mark.line, mark.column) if mark is not None else (0, 0)
        return f"{self._name}:{line + 1}:{column + 1}"

    def _node(self, composed: Any) -> Node:
        key = id(composed)
        place = self._place(composed.start_mark)
        if key in self._open:
            raise PlacedError(f"{place}: an alias stands inside of what it stands for")
        if composed.tag not in _PLAIN_TAGS:
            raise PlacedError(f"{place}: tags such as {composed.tag} are not taken")
        if key not in self._made:
            self._open.add(key)
            self._made[key] = self._convert(composed, place)
            self._open.remove(key)
        return self._made[key]

    def _convert(self, composed: Any, place: str) -> Node:
        kind = composed.tag.rpartition(":")[2]
        if kind == "map":
            return self._mapping(composed, place)
        if kind == "seq":
            return Node([self._node(item) for item in composed.value], place)
        if composed.style is None and composed.value in _NULLS:
            return Node(None, place)
        # JSON writes a character beyond U+FFFF as two.
        text = composed.value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
        return Node(text, place)

    def _mapping(self, composed: Any, place: str) -> Node:
        values: dict[str, Node] = {}
        places: dict[str, str] = {}
        for key_node, value_node in composed.value:
            key = self._node(key_node)
            name = key.text("a key")
            if name in values:
                raise key.error(f"{name!r} is here twice, first at {places[name]}")
            values[name] = self._node(value_node)
            places[name] = key.place
        return Node(values, place, places)
