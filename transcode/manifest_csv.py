"""CSV as a tree of texts: a row is a mapping, its header names the keys."""

from __future__ import annotations

import re
from itertools import chain
from typing import TYPE_CHECKING, NamedTuple

from transcode.manifest_tree import Node, PlacedError, Places

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

__all__ = ["read_csv"]

_CELL = re.compile(
    r"""[ \t]* (?: "(?P<quoted>[^"]*(?:""[^"]*)*)" [ \t]* | (?P<plain>[^",\r\n]*) )
    (?P<end> , | \r?\n | \Z )""",
    re.VERBOSE,
)


class _Cell(NamedTuple):
    text: str
    position: int


class _Column(NamedTuple):
    keys: tuple[str, ...]
    is_list: bool
    place: str


def read_csv(text: str, name: str, lists: Collection[str]) -> list[Node]:
    """Read a text of comma-separated values, as RFC 4180 has them.

    A name such as ``video.crf`` is the key ``crf`` in the mapping ``video``; what follows
    ``matrix.`` is one key of the matrix. An empty cell gives no value, and an empty row is skipped.

    Parameters
    ----------
    text : str
        All of it.
    name : str
        What messages call the file.
    lists : collection of str
        Names of columns that hold lists, their items separated by ``;``; a matrix's do too.

    Raises
    ------
    JobError
        A quote is not closed, a row has more cells than the header, or a column's name is there
        twice or empty.
    """
    places = Places(name, text)
    rows = _rows(text, places)
    columns = _columns(next(rows, []), places, lists)
    found = []
    for cells in rows:
        row = Node({}, places.at(cells[0].position))
        for cell, column in zip(cells, columns, strict=False):
            if cell.text:
                _put(row, column, cell.text, places.at(cell.position))
        for cell in cells[len(columns) :]:
            if cell.text:
                raise PlacedError(
                    f"{places.at(cell.position)}: this row has {len(cells)} cells, the header "
                    f"has {len(columns)}; a cell with a comma in it stands in double quotes"
                )
        if row.value:
            found.append(row)
    return found


def _rows(text: str, places: Places) -> Iterator[list[_Cell]]:
    cells: list[_Cell] = []
    position = 0
    while position < len(text):
        match = _CELL.match(text, position)
        if match is None:
            raise PlacedError(
                f"{places.at(position)}: quotes enclose a whole cell, and are doubled inside of it"
            )
        quoted = match["quoted"]
        if quoted is None:
            cells.append(_Cell(match["plain"].strip(), match.start("plain")))
        else:
            cells.append(_Cell(quoted.replace('""', '"'), match.start("quoted") - 1))
        position = match.end()
        if match["end"] != ",":
            yield cells
            cells = []
    if cells:
        yield cells


def _columns(cells: list[_Cell], places: Places, lists: Collection[str]) -> list[_Column]:
    columns: list[_Column] = []
    known: dict[tuple[str, ...], str] = {}
    for name, position in cells:
        place = places.at(position)
        first, dot, rest = name.partition(".")
        keys = (first, rest) if dot and first == "matrix" else tuple(name.split("."))
        if not all(keys):
            raise PlacedError(f"{place}: {name!r} names no column")
        starts = [keys[:n] for n in range(1, len(keys) + 1)]
        within = (other for other in known if other[: len(keys)] == keys)
        other = next(chain((start for start in starts if start in known), within), None)
        if other is not None:
            raise PlacedError(f"{place}: {name!r} is here already, at {known[other]}")
        known[keys] = place
        columns.append(_Column(keys, first == "matrix" or name in lists, place))
    return columns


def _put(row: Node, column: _Column, text: str, place: str) -> None:
    """Put a cell where its column says, into mappings that are made on the way."""
    if column.is_list:
        value = Node([Node(item.strip(), place) for item in text.split(";")], place)
    else:
        value = Node(text, place)
    *outer, last = column.keys
    for key in outer:
        assert isinstance(row.value, dict)
        row.key_places.setdefault(key, column.place)
        row = row.value.setdefault(key, Node({}, place))
    assert isinstance(row.value, dict)
    row.key_places[last] = column.place
    row.value[last] = value
