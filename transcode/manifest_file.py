"""The file of a manifest, in any of its formats, as one tree."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Literal, get_args

from transcode.errors import JobError, SourceError
from transcode.manifest_csv import read_csv
from transcode.manifest_json import read_json, read_json_lines
from transcode.manifest_tree import Node
from transcode.manifest_yaml import read_yaml

if TYPE_CHECKING:
    from collections.abc import Collection
    from os import PathLike

__all__ = ["ManifestFormat", "read_tree"]

ManifestFormat = Literal["yaml", "json", "jsonl", "csv"]

_ENDINGS: dict[str, ManifestFormat] = {
    ".json": "json",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".csv": "csv",
}


def read_tree(
    path: str | PathLike[str], format: ManifestFormat | None, lists: Collection[str]
) -> Node:
    """Read a file; where its format has only rows, they are the list ``jobs`` of a mapping.

    Parameters
    ----------
    path : str or path-like
        ``"-"`` is standard input.
    format : {"yaml", "json", "jsonl", "csv"} or None
        By default what the file's ending says, and otherwise YAML, which contains JSON.
    lists : collection of str
        Columns of CSV that hold lists.

    Raises
    ------
    SourceError
        The file cannot be read.
    JobError
        It is nothing of its format, or there is no such format.
    """
    if format is None:
        format = _ENDINGS.get(Path(path).suffix.lower(), "yaml")
    elif format not in get_args(ManifestFormat):
        formats = ", ".join(get_args(ManifestFormat))
        raise JobError(f"unknown format {format!r}; a manifest is one of {formats}")
    name = "standard input" if str(path) == "-" else str(path)
    text = _text(path, name)
    if format == "yaml":
        return read_yaml(text, name)
    if format == "json":
        return read_json(text, name)
    rows = read_json_lines(text, name) if format == "jsonl" else read_csv(text, name, lists)
    place = f"{name}:1:1"
    return Node({"jobs": Node(rows, place)}, place, {"jobs": place})


def _text(path: str | PathLike[str], name: str) -> str:
    try:
        data = sys.stdin.buffer.read() if str(path) == "-" else Path(path).read_bytes()
    except (OSError, ValueError) as error:
        reason = (error.strerror or str(error)) if isinstance(error, OSError) else str(error)
        words = "no such file" if isinstance(error, FileNotFoundError) else reason.lower()
        raise SourceError(f"{name}: {words}") from error
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise JobError(f"{name}: no text in UTF-8 (byte {error.start})") from error
