"""Shapes of what a manifest says: each reads a tree, and describes itself as JSON Schema.

So what is read and what the schema says cannot differ. In the schema a value is a text or what YAML
makes of it, because a validator sees types where the reader sees texts; and any field may be null,
which takes its default.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from transcode.manifest_tree import Node

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from transcode.manifest_value import Schema, Value

__all__ = ["Either", "ListOf", "MapOf", "Matrix", "Record", "Shape", "read_fields"]


class Shape(Protocol):
    """What a value of the document looks like, and what becomes of it."""

    @property
    def about(self) -> str:
        """What it is, in a sentence."""

    def read(self, node: Node, what: str) -> Any:
        """Return what a value of the document stands for.

        Raises
        ------
        PlacedError
            It has another shape.
        """

    def check(self, node: Node, what: str) -> None:
        """Look at each value for itself: a part of a job, which something else may complete.

        Raises
        ------
        PlacedError
            It has another shape.
        """

    def schema(self) -> Schema:
        """Return the JSON Schema of what `read` takes."""


@dataclass(frozen=True, kw_only=True)
class ListOf:
    """A list; its items have one shape, and a name in messages."""

    about: str
    item: Shape
    name: str
    minimum: int = 0

    def read(self, node: Node, what: str) -> tuple[Any, ...]:
        """Return the items."""
        items = node.items(what)
        if len(items) < self.minimum:
            raise node.error(f"{what} is an empty list")
        return tuple(self.item.read(item, self.name) for item in items)

    def check(self, node: Node, what: str) -> None:
        """Look at each item."""
        for item in node.items(what):
            self.item.check(item, self.name)

    def schema(self) -> Schema:
        """Return the schema."""
        least = {"minItems": self.minimum} if self.minimum else {}
        return {"type": "array", "items": self.item.schema(), **least}


@dataclass(frozen=True, kw_only=True)
class MapOf:
    """Keys that are not known before, and values of one shape."""

    about: str
    value: Shape
    key: Value | None = None

    def read(self, node: Node, what: str) -> dict[str, Any]:
        """Return the values that are not null, by their keys."""
        found: dict[str, Any] = {}
        for name, value in node.mapping(what).items():
            key_node = Node(name, node.key_places[name])
            key = name if self.key is None else self.key.read(key_node, what)
            if key in found:
                raise key_node.error(f"{what}: {key} is here already")
            if value.value is not None:
                found[key] = self.value.read(value, name)
        return found

    def check(self, node: Node, what: str) -> None:
        """Read the values, which are texts."""
        self.read(node, what)

    def schema(self) -> Schema:
        """Return the schema."""
        names = {"propertyNames": self.key.schema()} if self.key is not None else {}
        return {"type": "object", "additionalProperties": _or_null(self.value.schema()), **names}


@dataclass(frozen=True, kw_only=True)
class Record:
    """Keys that are known, each with its shape; what they make together.

    Attributes
    ----------
    about : str
        What it is, in a sentence.
    fields : mapping of str to Shape
        By their keys.
    make : callable
        Takes what the fields stand for.
    required : sequence of str
        Fields that are never missing.
    either : sequence of tuple of str
        Pairs of fields of which one excludes the other.
    """

    about: str
    fields: Mapping[str, Shape]
    make: Callable[..., object] = dict
    required: Sequence[str] = ()
    either: Sequence[tuple[str, str]] = ()

    def read(self, node: Node, what: str) -> Any:
        """Return what is made of the fields; one that is null is left out."""
        values = read_fields(self.known(node, what), self.fields)
        with node.located(what):
            return self.make(**values)

    def known(self, node: Node, what: str) -> dict[str, Node]:
        """Return the fields, not read yet.

        Raises
        ------
        PlacedError
            There are others, or both of a pair.
        """
        fields = node.known(what, self.fields)
        for one, other in self.either:
            if one in fields and other in fields:
                raise node.error(f"{what} has either {one} or {other}, not both")
        return fields

    def check(self, node: Node, what: str) -> None:
        """Look at each field."""
        for name, value in self.known(node, what).items():
            if value.value is not None:
                self.fields[name].check(value, name)

    def schema(self) -> Schema:
        """Return the schema."""
        properties = {
            name: (shape.schema() if name in self.required else _or_null(shape.schema()))
            | {"description": shape.about}
            for name, shape in self.fields.items()
        }
        further: Schema = {"required": list(self.required)} if self.required else {}
        if self.either:
            further["allOf"] = [{"not": {"required": list(pair)}} for pair in self.either]
        return {
            "type": "object",
            "properties": properties,
            "additionalProperties": False,
            **further,
        }


@dataclass(frozen=True, kw_only=True)
class Either:
    """One text, or a mapping."""

    about: str
    value: Value
    record: Record

    def read(self, node: Node, what: str) -> Any:
        """Return what the text or the mapping stands for."""
        return self._shape(node).read(node, what)

    def check(self, node: Node, what: str) -> None:
        """Look at the text or the fields."""
        self._shape(node).check(node, what)

    def _shape(self, node: Node) -> Value | Record:
        return self.value if isinstance(node.value, str) else self.record

    def schema(self) -> Schema:
        """Return the schema."""
        return {"anyOf": [self.value.schema(), self.record.schema()]}


@dataclass(frozen=True, kw_only=True)
class Matrix:
    """Dotted names of fields, and lists of what each may be.

    Attributes
    ----------
    about : str
        What it is, in a sentence.
    fields : mapping of str to Shape
        By the dotted names that are known.
    prefix : str
        How the other names begin.
    prefixed : Shape
        What those hold.
    """

    about: str
    fields: Mapping[str, Shape]
    prefix: str
    prefixed: Shape

    def read(self, node: Node, what: str) -> dict[str, list[Node]]:
        """Return the values that each name has, not read yet."""
        prefixed = [name for name in node.mapping(what) if name.startswith(self.prefix)]
        for name in node.mapping(what).keys() - self.fields.keys():
            if (longer := f"video.{name}") in self.fields:
                message = f"{what} has no {name!r}; say {longer}"
                raise Node(name, node.key_places[name]).error(message)
        found = {}
        for name, values in node.known(what, [*self.fields, *prefixed]).items():
            if values.value is None:
                continue
            found[name] = values.items(name)
            if not found[name]:
                raise values.error(f"{name} is an empty list")
        return found

    def check(self, node: Node, what: str) -> None:
        """Look at each value of each name."""
        for name, values in self.read(node, what).items():
            for value in values:
                if value.value is not None:
                    self.fields.get(name, self.prefixed).check(value, name)

    def schema(self) -> Schema:
        """Return the schema."""

        def values(shape: Shape) -> Schema:
            items = {"type": "array", "items": _or_null(shape.schema()), "minItems": 1}
            return _or_null(items) | {"description": shape.about}

        return {
            "type": "object",
            "properties": {name: values(shape) for name, shape in self.fields.items()},
            "patternProperties": {f"^{re.escape(self.prefix)}": values(self.prefixed)},
            "additionalProperties": False,
        }


def read_fields(fields: Mapping[str, Node], shapes: Mapping[str, Shape]) -> dict[str, Any]:
    """Return what the fields with a shape stand for; one that is null is left out."""
    return {
        name: shape.read(fields[name], name)
        for name, shape in shapes.items()
        if name in fields and fields[name].value is not None
    }


def _or_null(schema: Schema) -> Schema:
    """Return the schema of what this is of, or null."""
    if "enum" in schema:
        return schema | {"enum": [*schema["enum"], None]}
    if "anyOf" in schema:
        return schema | {"anyOf": [*schema["anyOf"], {"type": "null"}]}
    types = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
    return schema | {"type": [*types, "null"]}
