"""The remote tensors of openvino's C API, which its Python bindings cannot make.

A ``cl_context`` and a ``cl_mem`` are ``void *`` to openvino, and no Python object becomes one in
its bindings: an int, a capsule or a ``c_void_p`` in the properties of ``create_context`` is refused
("Bad as from ... to: Pv"). The library is the one in openvino's wheel, or else the system's.
"""

import ctypes as c
import functools
from collections.abc import Mapping
from pathlib import Path

from bridges.backends.openvino_library import load_openvino, without_places
from bridges.errors import DeviceError
from bridges.native.loading import Prototype, declare

__all__ = ["ELEMENT_TYPES", "Property", "Shape", "check", "library", "properties"]

ELEMENT_TYPES = {
    "boolean": 1,
    "f16": 3,
    "f32": 4,
    "f64": 5,
    "i8": 7,
    "i16": 8,
    "i32": 9,
    "i64": 10,
    "u8": 16,
    "u16": 17,
    "u32": 18,
    "u64": 19,
}
"""``ov_element_type_e`` (openvino/c/ov_common.h), by the name of the ``ov.Type``."""

_NAMES = ("libopenvino_c.so", "libopenvino_c.so.*")


class Property(c.Structure):
    """``ov_property_t`` (openvino/c/ov_property.h): text for text, a handle for a handle."""

    _fields_ = (("key", c.c_char_p), ("value", c.c_void_p))


class Shape(c.Structure):
    """``ov_shape_t`` (openvino/c/ov_shape.h)."""

    _fields_ = (("rank", c.c_int64), ("dims", c.POINTER(c.c_int64)))


_PROTOTYPES: dict[str, Prototype] = {
    "ov_core_create": (c.c_int, [c.POINTER(c.c_void_p)]),
    "ov_core_free": (None, [c.c_void_p]),
    "ov_core_create_context_props": (
        c.c_int,
        [c.c_void_p, c.c_char_p, c.c_size_t, c.POINTER(Property), c.POINTER(c.c_void_p)],
    ),
    "ov_free": (None, [c.c_void_p]),
    "ov_get_error_info": (c.c_char_p, [c.c_int]),
    "ov_get_last_err_msg": (c.c_void_p, []),
    "ov_remote_context_create_tensor_props": (
        c.c_int,
        [
            c.c_void_p,
            c.c_int,
            Shape,
            c.c_size_t,
            c.POINTER(Property),
            c.POINTER(c.c_void_p),
        ],
    ),
    "ov_remote_context_free": (None, [c.c_void_p]),
    "ov_tensor_free": (None, [c.c_void_p]),
}


@functools.cache
def library() -> c.CDLL:
    """Return openvino's C library, with prototypes set.

    Raises
    ------
    DeviceError
        openvino came without it, or it is older than 2026.
    """
    folder = Path(load_openvino().__file__).parent / "libs"
    found = sorted(path for name in _NAMES for path in folder.glob(name))
    try:
        lib = c.CDLL(str(found[0]) if found else _NAMES[0])
        declare(lib, _PROTOTYPES)
    except (OSError, AttributeError) as error:
        raise DeviceError(
            f"openvino's C library cannot be used: {error}; pip install 'openvino>=2026.1'"
        ) from error
    return lib


def properties(values: Mapping[str, str | int]) -> "c.Array[Property]":
    """Return properties as the C API takes them; text stays text, an int is a handle."""
    entries = (Property * len(values))()
    texts = []
    for entry, (key, value) in zip(entries, values.items(), strict=True):
        entry.key = key.encode()
        if isinstance(value, str):
            texts.append(c.create_string_buffer(value.encode()))
            entry.value = c.addressof(texts[-1])
        else:
            entry.value = value
    # A structure holds no reference to what it points to.
    entries.texts = texts  # type: ignore[attr-defined]
    return entries


def check(status: int, action: str) -> None:
    """Translate a status; ``action`` completes "OpenVINO cannot ...".

    Raises
    ------
    DeviceError
        The call failed.
    """
    if status == 0:
        return
    lib = library()
    message = lib.ov_get_last_err_msg()
    said = c.string_at(message).decode(errors="replace") if message else ""
    lib.ov_free(message)
    told = without_places(said) or lib.ov_get_error_info(status).decode()
    raise DeviceError(f"OpenVINO cannot {action}: {told}")
