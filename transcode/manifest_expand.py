"""What one entry of a manifest becomes: a job for each profile, combination and file."""

from __future__ import annotations

import glob
import itertools
import math
import os
import re
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from transcode.manifest_fields import JOB, MATRIX, VIDEO
from transcode.manifest_template import TEMPLATE_NAMES, is_url
from transcode.manifest_tree import Node, advice, layered

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

    from transcode.manifest_shape import Record

__all__ = ["MOST_JOBS", "Variant", "check_fields", "sources", "variants"]

MOST_JOBS = 100_000
"""How many jobs a manifest has at most; more are a slip, for matrices multiply."""

_INSTEAD = {name: other for one in JOB.either for name, other in (one, one[::-1])}
"""What a field takes the place of, where a layer below has that."""


@dataclass(frozen=True)
class Variant:
    """An entry with a profile, and one combination of its matrix.

    Attributes
    ----------
    fields : dict of str to Node
        All layers merged.
    profile : str
        Empty where there is none.
    matrix : dict of str to str
        The combination, by the names that templates have for it.
    """

    fields: dict[str, Node]
    profile: str
    matrix: dict[str, str]


def check_fields(node: Node, record: Record = JOB) -> Node:
    """Return a job, a profile or the defaults, if each of its fields is right for itself.

    So what is wrong is found where it stands, even where no job takes it.

    Raises
    ------
    PlacedError
        A field is unknown or wrong, or two exclude each other.
    """
    what = "a job" if record is JOB else "a profile"
    for name in node.mapping(what):
        if name in VIDEO.fields and name not in JOB.fields:
            message = f"{what} has no {name!r}; say video: {{{name}: ...}}"
            raise Node(name, node.key_places[name]).error(message)
    record.check(node, what)
    return node


def variants(entry: Node, defaults: Node, profiles: Mapping[str, Node]) -> Iterator[Variant]:
    """Merge an entry with the defaults, with each of its profiles, and with its matrix.

    Raises
    ------
    PlacedError
        There is no such profile; or a matrix has other fields than a job, or no values.
    """
    for name in _profile_names(_over(defaults, entry)):
        if name is None:
            merged = _over(defaults, entry)
        else:
            profile = name.text("profile")
            if profile not in profiles:
                raise name.error(f"there is no profile {profile!r}; {advice(profile, profiles)}")
            merged = _over(_over(defaults, profiles[profile]), entry)
        yield from _combinations(merged, "" if name is None else profile)


def _over(under: Node, over: Node) -> Node:
    """Lay one job over another; an output takes the place of outputs, and so on."""
    assert isinstance(under.value, dict)
    assert isinstance(over.value, dict)
    gone = {_INSTEAD[name] for name in over.value if name in _INSTEAD} - over.value.keys()
    if gone & under.value.keys():
        values = {name: node for name, node in under.value.items() if name not in gone}
        under = Node(values, under.place, under.key_places)
    return layered(under, over)


def _profile_names(merged: Node) -> list[Node] | list[None]:
    fields = merged.mapping("a job")
    one, many = (fields.get(name) for name in ("profile", "profiles"))
    if one is not None and one.value is not None:
        return [one]
    if many is not None and many.value is not None:
        JOB.fields["profiles"].read(many, "profiles")
        return many.items("profiles")
    return [None]


def _combinations(merged: Node, profile: str) -> Iterator[Variant]:
    node = merged.mapping("a job").get("matrix")
    if node is None or node.value is None:
        yield Variant(merged.mapping("a job"), profile, {})
        return
    lists = MATRIX.read(node, "matrix")
    count = math.prod(len(values) for values in lists.values())
    if count > MOST_JOBS:
        raise node.error(f"the matrix makes {count:,} jobs; a manifest has {MOST_JOBS:,} at most")
    names = _short_names(lists)
    for values in itertools.product(*lists.values()):
        fields = merged
        for key, value in zip(lists, values, strict=True):
            fields = _over(fields, _nested(key, value, merged.place))
        texts = {names[key]: _words(value) for key, value in zip(lists, values, strict=True)}
        yield Variant(fields.mapping("a job"), profile, texts)


def _short_names(keys: Mapping[str, object]) -> dict[str, str]:
    """Return the last part of each dotted name, or all of it where that is taken."""
    last = {key: key.rpartition(".")[2] for key in keys}
    taken = Counter([*last.values(), *TEMPLATE_NAMES])
    return {key: key if taken[short] > 1 else short for key, short in last.items()}


def _nested(key: str, value: Node, place: str) -> Node:
    """Return the mapping that has a value under a dotted name."""
    parts = key.split(".", 2)
    for part in reversed(parts):
        value = Node({part: value}, place, {part: value.place})
    return value


def _words(value: Node) -> str:
    """Return what a template puts in the place of a value."""
    if value.value is None:
        return "default"
    if isinstance(value.value, list):
        return "+".join(item.text("a value of the matrix") for item in value.value)
    return value.text("a value of the matrix")


def sources(node: Node, left_out: Collection[str] = ()) -> list[str]:
    """Return the files that a source names: itself, or those that fit the pattern, sorted.

    A file whose name looks like a pattern is that file. As in a shell, ``*`` finds no hidden files.
    Of what a pattern finds, absolute paths in ``left_out`` are left out.

    Raises
    ------
    PlacedError
        It is no name, or no file fits the pattern, or that has too many parts.
    """
    text = str(JOB.fields["source"].read(node, "source"))
    if not glob.has_magic(text) or is_url(text) or os.path.lexists(text):
        return [text]
    try:
        # A pattern such as **/a/**/x finds some of them twice.
        fitting = {path for path in _fitting(text) if os.path.isfile(path)}
    except RecursionError as error:
        raise node.error("source: the pattern has too many parts") from error
    found = sorted(path for path in fitting if os.path.abspath(path) not in left_out)
    if not found:
        raise node.error(f"source: no file fits the pattern {text!r}")
    return found


def _fitting(pattern: str) -> Iterator[str]:
    """Find what fits a pattern; ``**`` goes through no links, which may lead round in circles."""
    parts = re.sub(r"(?<![^/])(\*\*/+)+(?=\*\*(/|$))", "", pattern).split("/")
    if "**" not in parts:
        yield from glob.iglob(pattern)
        return
    where = parts.index("**")
    above, below = "/".join(parts[:where]), "/".join(parts[where + 1 :]) or "*"
    for start in glob.iglob(f"{above}/") if where else ["."]:
        for folder, inside, _ in os.walk(start):
            inside[:] = [name for name in inside if not name.startswith(".")]
            known = folder if where else folder[2:]
            yield from _fitting(os.path.join(glob.escape(known), below))
