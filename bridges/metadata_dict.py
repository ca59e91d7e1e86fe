"""Metadata as plain dictionaries, which JSON can hold, and back.

A ``type`` says which of `METADATA_TYPES` a dictionary is of. Enumerations are
written by name, bytes in base 64.
"""

import base64
import dataclasses
import functools
import numbers
import types
import typing
from collections.abc import Mapping
from typing import Any

from bridges.errors import MetadataError
from bridges.metadata import (
    AffineTransform,
    Classification,
    Detection,
    InferenceResult,
    ModelInfo,
    ObjectId,
    SourceIdentifier,
)
from bridges.named import Named

__all__ = ["METADATA_TYPES", "from_dict", "to_dict"]

METADATA_TYPES: tuple[type, ...] = (
    AffineTransform,
    Classification,
    Detection,
    InferenceResult,
    ModelInfo,
    ObjectId,
    SourceIdentifier,
)
"""What a frame's ``metadata`` may hold, and a dictionary be of."""

_TYPES = {kind.__name__: kind for kind in METADATA_TYPES}


def to_dict(metadata: object) -> dict[str, Any]:
    """Return a piece of metadata as a dictionary of texts, numbers, lists and dictionaries.

    Raises
    ------
    MetadataError
        It is none of `METADATA_TYPES`.
    """
    name = type(metadata).__name__
    if _TYPES.get(name) is not type(metadata):
        raise MetadataError(f"no type of metadata {name!r}; there is {', '.join(_TYPES)}")
    return {"type": name, **_encode(metadata)}


def _encode(value: Any) -> Any:
    if dataclasses.is_dataclass(value):
        return {
            field.name: _encode(getattr(value, field.name)) for field in dataclasses.fields(value)
        }
    if isinstance(value, tuple):
        return [_encode(item) for item in value]
    if isinstance(value, Named):
        return str(value)
    if isinstance(value, bytes):
        return base64.b64encode(value).decode("ascii")
    # Models return numbers of NumPy's, which JSON does not know.
    if isinstance(value, numbers.Integral):
        return int(value)
    return float(value) if isinstance(value, numbers.Real) else value


def from_dict(values: Mapping[str, Any]) -> Any:
    """Return the metadata that `to_dict` wrote; what a class has defaults for may be missing.

    Raises
    ------
    MetadataError
        The type is missing or unknown, a field is unknown, missing or of the wrong type, or the
        values are impossible.
    """
    name = values.get("type")
    kind = _TYPES.get(name) if isinstance(name, str) else None
    if kind is None:
        raise MetadataError(f"no type of metadata {name!r}; there is {', '.join(_TYPES)}")
    fields = {key: value for key, value in values.items() if key != "type"}
    return _decode_fields(kind, fields, kind.__name__)


def _decode_fields(kind: Any, values: Any, where: str) -> Any:
    if not isinstance(values, Mapping):
        raise MetadataError(f"{where} is a dictionary, got {values!r}")
    fields = {field.name: field for field in dataclasses.fields(kind)}
    required = {name for name, field in fields.items() if field.default is dataclasses.MISSING}
    if unknown := [key for key in values if key not in fields]:
        raise MetadataError(f"{where} has no field {unknown[0]!r}; it has {', '.join(fields)}")
    if missing := sorted(required - values.keys()):
        raise MetadataError(f"{where} needs {', '.join(missing)}")
    hints = _hints(kind)
    decoded = {key: _decode(hints[key], values[key], f"{where}.{key}") for key in values}
    return kind(**decoded)


@functools.cache
def _hints(kind: type) -> dict[str, Any]:
    return typing.get_type_hints(kind)


def _decode(hint: Any, value: Any, where: str) -> Any:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is types.UnionType:
        return None if value is None else _decode(arguments[0], value, where)
    if origin is tuple:
        return _decode_tuple(arguments, value, where)
    if dataclasses.is_dataclass(hint):
        return _decode_fields(hint, value, where)
    if hint is float and type(value) is int:
        return float(value)
    # An enumeration and bytes are written as texts.
    written: Any = hint if hint in (float, int, str) else str
    if type(value) is not written:
        raise MetadataError(f"{where} is of type {written.__name__}, got {value!r}")
    try:
        if hint is bytes:
            return base64.b64decode(str(value), validate=True)
        return hint.parse(value) if issubclass(hint, Named) else value
    except ValueError as error:
        raise MetadataError(f"{where}: {error}") from error


def _decode_tuple(arguments: tuple[Any, ...], value: Any, where: str) -> tuple[Any, ...]:
    if not isinstance(value, list | tuple):
        raise MetadataError(f"{where} is a list, got {value!r}")
    if arguments[1:] == (Ellipsis,):
        arguments = arguments[:1] * len(value)
    if len(arguments) != len(value):
        raise MetadataError(f"{where} has {len(arguments)} items, got {value!r}")
    return tuple(
        _decode(hint, item, f"{where}[{index}]")
        for index, (hint, item) in enumerate(zip(arguments, value, strict=True))
    )
