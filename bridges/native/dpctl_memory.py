"""What dpctl's public C interface tells of its objects, for what its Python interface lacks.

A kernel of dpctl takes memory as one of dpctl's own objects, and none can be made in Python over
memory that SYCL did not allocate. Its layout is public: ``struct Py_MemoryObject`` of
``dpctl/memory/_memory.h``, as dpctl installs it.
"""

import ctypes as c
import functools
import os
from typing import Any

import dpctl
import dpctl.memory

from bridges.native.loading import loaded_library

__all__ = ["HostMemory", "host_memory", "layout_failure", "native_context", "native_device"]

_HEAD = object.__basicsize__ + c.sizeof(c.c_void_p)
"""Bytes before the first field: ``PyObject_HEAD`` and ``__pyx_vtab``."""
_POINTER = _HEAD
_NBYTES = _HEAD + 2 * c.sizeof(c.c_void_p)
"""Where ``_memory_ptr`` and ``nbytes`` are; ``_opaque_ptr`` lies between them."""

_address_at = c.c_size_t.from_address


class HostMemory(dpctl.memory.MemoryUSMShared):  # type: ignore[misc]
    """Host memory as an argument of kernels, copies and the buffer protocol; see `host_memory`."""

    owner: object


def host_memory(anchor: Any, address: int, nbytes: int, owner: object) -> HostMemory:
    """Return memory that is not SYCL's own as one of dpctl's objects.

    Parameters
    ----------
    anchor : dpctl.memory.MemoryUSMShared
        Some allocation on the queue that will use the memory. The result shares its ownership, and
        leaves its memory alone.
    address, nbytes : int
        Of the memory.
    owner : object
        Kept alive as long as the result.
    """
    memory = HostMemory(anchor)
    start = id(memory)
    _address_at(start + _POINTER).value = address
    _address_at(start + _NBYTES).value = nbytes
    memory.owner = owner
    return memory


def layout_failure(anchor: Any) -> str:
    """Return why `host_memory` cannot be used with this dpctl; empty where it can.

    ``anchor`` is any allocation of a size that is no likely value of another field.
    """
    memory = HostMemory(anchor)
    found = (
        _address_at(id(memory) + _POINTER).value,
        _address_at(id(memory) + _NBYTES).value,
    )
    if found == (anchor._pointer, anchor.nbytes):
        return ""
    return (
        f"dpctl {dpctl.__version__} lays out its memory objects in a way unknown to this version; "
        "install dpctl 0.22"
    )


@functools.cache
def _libsycl() -> c.CDLL:
    """Return the very libsycl that dpctl has loaded."""
    path = loaded_library("libsycl.so")
    if not path:
        raise OSError("dpctl is imported, yet no libsycl is mapped into this process")
    return c.CDLL(path, mode=os.RTLD_NOLOAD | os.RTLD_NOW)


def _native(mangled: str, reference: int) -> int:
    function = _libsycl()[mangled]
    function.restype, function.argtypes = c.c_size_t, [c.c_void_p]
    return int(function(reference))


def native_context(context: "dpctl.SyclContext") -> int:
    """Return ``sycl::context::getNative()``; on Level Zero the ``ze_context_handle_t``, borrowed.

    On OpenCL each call also retains the ``cl_context``.
    """
    return _native("_ZNK4sycl3_V17context9getNativeEv", context.addressof_ref())


def native_device(device: "dpctl.SyclDevice") -> int:
    """Return ``sycl::device::getNative()``; on Level Zero the ``ze_device_handle_t``, borrowed."""
    return _native("_ZNK4sycl3_V16device9getNativeEv", device.addressof_ref())
