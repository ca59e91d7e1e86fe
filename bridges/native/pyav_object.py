"""Where PyAV's objects have what they wrap: a pointer, behind the table of their methods."""

import ctypes as c

import av

from bridges.errors import ClosedError, DeviceError

__all__ = ["POINTER_OFFSET", "checked_pointer", "known_pointer", "pointer_field"]

POINTER_OFFSET = object.__basicsize__ + c.sizeof(c.c_void_p)
"""Of the pointer, in bytes from the object's address."""


def pointer_field(wrapper: object) -> c.c_void_p | None:
    """Return the field with an object's pointer; None where it is laid out in another way."""
    table = c.c_void_p.from_address(id(wrapper) + object.__basicsize__).value
    if table != _methods(type(wrapper)):
        return None
    return c.c_void_p.from_address(id(wrapper) + POINTER_OFFSET)


def checked_pointer(wrapper: object, av_class: int) -> c.c_void_p | None:
    """Return the field with an object's pointer, to what begins with an ``AVClass *``.

    None where it is null, and where the object or what it points to is laid out in another way.
    """
    field = pointer_field(wrapper)
    if not field:
        return None
    return field if c.c_void_p.from_address(field.value or 0).value == av_class else None


def known_pointer(wrapper: object, av_class: int, what: str) -> c.c_void_p:
    """Return what `checked_pointer` does, or say why there is none.

    Raises
    ------
    ClosedError
        The pointer is null.
    DeviceError
        Something is laid out in another way.
    """
    field = checked_pointer(wrapper, av_class)
    if field is not None:
        return field
    null = pointer_field(wrapper)
    if null is not None and not null:
        raise ClosedError(f"this {what} was closed; open it again")
    raise DeviceError(
        f"PyAV {av.__version__} lays out a {what} in a way unknown to this version; install av 18.1"
    )


def _methods(kind: type) -> int:
    """Return the address of the table that Cython made for a class."""
    get = c.PYFUNCTYPE(c.c_void_p, c.py_object, c.c_char_p)(("PyCapsule_GetPointer", c.pythonapi))
    return int(get(kind.__pyx_vtable__, None))  # type: ignore[attr-defined]
