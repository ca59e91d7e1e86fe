"""YAML as a tree of texts.

YAML 1.1 would make 90, False and 8 of ``1:30``, ``no`` and ``010``; here they stay texts.
"""

from __future__ import annotations

from typing import Any

from transcode.errors import JobError
from transcode.manifest_tree import Node, PlacedError, whole_characters

__all__ = ["read_yaml"]

_NULLS = ("", "~", "null", "Null", "NULL")
_PLAIN_TAGS = tuple(f"tag:yaml.org,2002:{name}" for name in ("str", "seq", "map"))


def read_yaml(text: str, name: str) -> Node:
    """Read one YAML document.

    Parameters
    ----------
    text : str
        The document.
    name : str
        What messages call the file.

    Raises
    ------
    JobError
        It is no YAML; has a key twice, a tag, or an alias inside of what it stands for; or PyYAML
        is not installed.
    """
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
        return Node(whole_characters(composed.value), place)

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
