"""GStreamer's C calls that its Python binding copies samples in, or cannot make.

PyGObject's ``map`` and ``new_wrapped`` copy, and its ``Gst.Buffer`` hides its address. Structures
are those of gstminiobject.h, gstbuffer.h, gstmemory.h and gstvideometa.h of GStreamer 1.x, whose
binary interface is frozen.
"""

import ctypes as c
import functools
from typing import Any

from bridges.native.loading import Prototype, declare

__all__ = [
    "CLOCK_TIME_NONE",
    "MAP_READ",
    "MAP_WRITE",
    "MAX_PLANES",
    "MEMORY_READ_ONLY",
    "DestroyNotify",
    "GstBuffer",
    "GstMapInfo",
    "GstMiniObject",
    "GstVideoMeta",
    "boxed_pointer",
    "keep_with",
    "library",
]

CLOCK_TIME_NONE = (1 << 64) - 1
"""``GST_CLOCK_TIME_NONE`` of gstclock.h: no time is known."""

MAP_READ, MAP_WRITE = 1, 2
"""``GST_MAP_READ`` and ``GST_MAP_WRITE`` of gstmemory.h."""

MEMORY_READ_ONLY = 1 << 1
"""``GST_MEMORY_FLAG_READONLY`` of gstmemory.h."""

MAX_PLANES = 4
"""``GST_VIDEO_MAX_PLANES`` of video-format.h."""


class GstMiniObject(c.Structure):
    """``GstMiniObject``: what memory and buffers begin with."""

    _fields_ = (
        ("type", c.c_size_t),
        ("refcount", c.c_int),
        ("lockstate", c.c_int),
        ("flags", c.c_uint),
        ("copy", c.c_void_p),
        ("dispose", c.c_void_p),
        ("free", c.c_void_p),
        ("priv_uint", c.c_uint),
        ("priv_pointer", c.c_void_p),
    )


class GstBuffer(c.Structure):
    """``GstBuffer``, whose times are in nanoseconds."""

    _fields_ = (
        ("mini_object", GstMiniObject),
        ("pool", c.c_void_p),
        ("pts", c.c_uint64),
        ("dts", c.c_uint64),
        ("duration", c.c_uint64),
        ("offset", c.c_uint64),
        ("offset_end", c.c_uint64),
    )


class GstMapInfo(c.Structure):
    """``GstMapInfo``: one mapping of one memory."""

    _fields_ = (
        ("memory", c.c_void_p),
        ("flags", c.c_int),
        ("data", c.c_void_p),
        ("size", c.c_size_t),
        ("maxsize", c.c_size_t),
        ("user_data", c.c_void_p * 4),
        ("reserved", c.c_void_p * 4),
    )


class GstVideoMeta(c.Structure):
    """The head of ``GstVideoMeta``: where the planes of a picture lie in a buffer."""

    _fields_ = (
        ("meta_flags", c.c_uint),
        ("meta_info", c.c_void_p),
        ("buffer", c.c_void_p),
        ("flags", c.c_int),
        ("format", c.c_int),
        ("id", c.c_int),
        ("width", c.c_uint),
        ("height", c.c_uint),
        ("n_planes", c.c_uint),
        ("offset", c.c_size_t * MAX_PLANES),
        ("stride", c.c_int * MAX_PLANES),
    )


DestroyNotify = c.CFUNCTYPE(None, c.c_void_p)
"""``GDestroyNotify``: called from whichever thread drops the last reference."""

_P, _U, _N = c.c_void_p, c.c_uint, c.c_size_t

_PROTOTYPES: dict[str, dict[str, Prototype]] = {
    "gstreamer": {
        "gst_buffer_append_memory": (None, [_P, _P]),
        "gst_buffer_find_memory": (c.c_int, [_P, _N, _N, *[c.POINTER(_U)] * 2, c.POINTER(_N)]),
        "gst_memory_is_type": (c.c_int, [_P, c.c_char_p]),
        "gst_memory_resize": (None, [_P, c.c_ssize_t, _N]),
        "gst_memory_map": (c.c_int, [_P, c.POINTER(GstMapInfo), c.c_int]),
        "gst_memory_new_wrapped": (_P, [c.c_int, _P, _N, _N, _N, _P, DestroyNotify]),
        "gst_memory_unmap": (None, [_P, c.POINTER(GstMapInfo)]),
        "gst_mini_object_set_qdata": (None, [_P, c.c_uint32, _P, DestroyNotify]),
        "gst_mini_object_unref": (None, [_P]),
    },
    "gstvideo": {
        "gst_buffer_add_video_meta_full": (
            _P,
            [_P, c.c_int, c.c_int, _U, _U, _U, c.POINTER(_N), c.POINTER(c.c_int)],
        ),
        "gst_buffer_get_video_meta": (c.POINTER(GstVideoMeta), [_P]),
    },
    "gstallocators": {
        "gst_dmabuf_allocator_new": (_P, []),
        "gst_fd_allocator_alloc": (_P, [_P, c.c_int, _N, c.c_int]),
        "gst_fd_allocator_new": (_P, []),
        "gst_fd_memory_get_fd": (c.c_int, [_P]),
        "gst_is_fd_memory": (c.c_int, [_P]),
    },
    "glib": {"g_quark_from_string": (c.c_uint32, [c.c_char_p])},
    # Not in every installation: it came with GStreamer 1.22's "bad" plugins.
    "gstva": {
        "gst_va_display_get_va_dpy": (_P, [_P]),
        "gst_va_memory_get_surface": (_U, [_P]),
        "gst_va_memory_peek_display": (_P, [_P]),
    },
}


@functools.cache
def library(name: str = "gstreamer") -> c.CDLL:
    """Return a library of GStreamer, or ``"glib"``, with prototypes set.

    Raises
    ------
    OSError
        It is not installed.
    """
    lib = c.CDLL("libglib-2.0.so.0" if name == "glib" else f"lib{name}-1.0.so.0")
    declare(lib, _PROTOTYPES[name])
    return lib


def keep_with(mini_object: int, key: int, release: Any) -> None:
    """Have ``release`` called with ``key`` when a memory or buffer is gone."""
    quark = library("glib").g_quark_from_string(b"xtranscode-kept")
    library().gst_mini_object_set_qdata(mini_object, quark, key, release)


_POINTER_OFFSET = object.__basicsize__
_TYPE_OFFSET = _POINTER_OFFSET + c.sizeof(c.c_void_p)


def boxed_pointer(boxed: Any) -> int:
    """Return the C object in a PyGObject boxed value such as ``Gst.Buffer``.

    ``PyGBoxed`` of pygobject.h holds it right after the object's head, and then its GType.

    Raises
    ------
    TypeError
        ``boxed`` is no such value.
    """
    kind = getattr(type(boxed), "__gtype__", None)
    address = id(boxed)
    if kind is None or c.c_size_t.from_address(address + _TYPE_OFFSET).value != hash(kind):
        raise TypeError(f"expected a value of GStreamer's own types, got {type(boxed).__name__}")
    pointer = c.c_void_p.from_address(address + _POINTER_OFFSET).value
    assert pointer is not None
    return pointer
