"""Where PyAV's objects have what they wrap: a pointer, behind the table of their methods."""

import ctypes as c

__all__ = ["POINTER_OFFSET", "pointer_field"]

POINTER_OFFSET = object.__basicsize__ + c.sizeof(c.c_void_p)
"""Of the pointer, in bytes from the object's address."""


def pointer_field(wrapper: object) -> c.c_void_p | None:
    """Return the field with an object's pointer; None where it is laid out in another way."""
    table = c.c_void_p.from_address(id(wrapper) + object.__basicsize__).value
    if table != _methods(type(wrapper)):
        return None
    return c.c_void_p.from_address(id(wrapper) + POINTER_OFFSET)


def _methods(kind: type) -> int:
    """Return the address of the table that Cython made for a class."""
    get = c.PYFUNCTYPE(c.c_void_p, c.py_object, c.c_char_p)(("PyCapsule_GetPointer", c.pythonapi))
    return int(get(kind.__pyx_vtable__, None))  # type: ignore[attr-defined]
