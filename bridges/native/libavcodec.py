"""Decoders of PyAV freed at a time of one's own choice, while other threads go on."""

import ctypes as c
import functools
import os

import av.codec.context
from av.codec.context import CodecContext

from bridges.native.loading import declare

__all__ = ["free_decoder"]

_POINTER_OFFSET = object.__basicsize__ + c.sizeof(c.c_void_p)
"""Of ``AVCodecContext *`` in PyAV's object: behind the table of its methods."""


@functools.cache
def _library() -> c.CDLL:
    # The very libavcodec that PyAV loaded; see `bridges.native.libavutil.library`.
    library = c.CDLL(av.codec.context.__file__, mode=os.RTLD_NOLOAD | os.RTLD_NOW)
    prototypes = {
        "avcodec_free_context": (None, [c.c_void_p]),
        "avcodec_get_class": (c.c_void_p, []),
    }
    declare(library, prototypes)
    return library


def _methods(kind: type) -> int:
    """Return the table of methods that an object of PyAV points to, in front of its fields."""
    pointer = c.PYFUNCTYPE(c.c_void_p, c.py_object, c.c_char_p)
    get = pointer(("PyCapsule_GetPointer", c.pythonapi))
    return int(get(kind.__pyx_vtable__, None))  # type: ignore[attr-defined]


def free_decoder(context: CodecContext) -> bool:
    """Free the decoder behind an object of PyAV, which must not be used any more.

    PyAV frees it once nobody refers to the object, with the interpreter's lock. On a GPU that takes
    a tenth of a second, in which no other thread goes on.

    Returns
    -------
    bool
        Whether it was freed; PyAV lays its objects out in another way where not, and frees it.
    """
    library = _library()
    table = c.c_void_p.from_address(id(context) + object.__basicsize__).value
    if table != _methods(type(context)):
        return False
    field = c.c_void_p.from_address(id(context) + _POINTER_OFFSET)
    # The first thing in any AVCodecContext is the class of all of them.
    if not field.value:
        return False
    found = c.c_void_p.from_address(field.value).value
    if found != library.avcodec_get_class():
        return False
    library.avcodec_free_context(c.addressof(field))
    return True
