"""DLPack capsules of memory that is not the host's.

A capsule's destructor and its structure's deleter run wherever the consumer lets go of it: in any
thread, and while an exception is on its way, which no callback into Python survives. So the
capsules are NumPy's, whose callbacks are in C, over an array that is never read; the device is
written into them afterwards.

Names, numbers and layouts are those of ``dlpack.h`` (https://github.com/dmlc/dlpack), version 1.1.
"""

import ctypes as c
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = [
    "CPU",
    "CUDA",
    "ONE_API",
    "DLManagedTensor",
    "DLManagedTensorVersioned",
    "DLTensor",
    "capsule",
]

CPU, CUDA, ONE_API = 1, 2, 14
"""``kDLCPU``, ``kDLCUDA`` and ``kDLOneAPI`` of ``DLDeviceType``."""


class DLTensor(c.Structure):
    """``DLTensor``, with ``DLDevice`` and ``DLDataType`` written out."""

    _fields_ = (
        ("data", c.c_void_p),
        ("device_type", c.c_int32),
        ("device_id", c.c_int32),
        ("ndim", c.c_int32),
        ("code", c.c_uint8),
        ("bits", c.c_uint8),
        ("lanes", c.c_uint16),
        ("shape", c.POINTER(c.c_int64)),
        ("strides", c.POINTER(c.c_int64)),
        ("byte_offset", c.c_uint64),
    )


class DLManagedTensor(c.Structure):
    """``DLManagedTensor``, of consumers that know no version."""

    _fields_ = (("dl_tensor", DLTensor), ("manager_ctx", c.c_void_p), ("deleter", c.c_void_p))


class DLManagedTensorVersioned(c.Structure):
    """``DLManagedTensorVersioned``, since version 1.0."""

    _fields_ = (
        ("major", c.c_uint32),
        ("minor", c.c_uint32),
        ("manager_ctx", c.c_void_p),
        ("deleter", c.c_void_p),
        ("flags", c.c_uint64),
        ("dl_tensor", DLTensor),
    )


_STRUCTURES: tuple[tuple[bytes, type[c.Structure]], ...] = (
    (b"dltensor", DLManagedTensor),
    (b"dltensor_versioned", DLManagedTensorVersioned),
)

_is_valid = c.pythonapi.PyCapsule_IsValid
_is_valid.restype, _is_valid.argtypes = c.c_int, [c.py_object, c.c_char_p]
_get_pointer = c.pythonapi.PyCapsule_GetPointer
_get_pointer.restype, _get_pointer.argtypes = c.c_void_p, [c.py_object, c.c_char_p]


def capsule(
    array: npt.NDArray[Any],
    *,
    device: tuple[int, int],
    max_version: tuple[int, int] | None = None,
) -> Any:
    """Return a capsule for ``__dlpack__``.

    Parameters
    ----------
    array : numpy.ndarray
        Of the device's own addresses: never read here, and kept until the consumer lets go of it.
        The consumer must not write where it is read-only.
    device : tuple of int
        ``(device_type, device_id)``.
    max_version : tuple of int, optional
        As the consumer passed it: without it, or below 1.0, it gets the structure without version.

    Raises
    ------
    BufferError
        DLPack has no such sample type or strides, or cannot tell this consumer that it must not
        write.
    """
    # NumPy knows versions since its own version 2.1.
    versioned = max_version is not None and max_version[0] >= 1
    options: dict[str, Any] = {"max_version": max_version} if versioned else {}
    made = array.__dlpack__(**options)
    for name, structure in _STRUCTURES:
        if _is_valid(made, name):
            managed = structure.from_address(_get_pointer(made, name))
            managed.dl_tensor.device_type, managed.dl_tensor.device_id = device
            return made
    raise BufferError(f"NumPy {np.__version__} made a DLPack capsule of an unknown kind: {made}")
