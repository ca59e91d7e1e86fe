"""The OpenCL loader that pyopencl itself uses, for calls that pyopencl does not offer."""

import ctypes as c
import functools
from typing import Any

from bridges.errors import DeviceError

__all__ = ["create_buffer_from_dma_buf", "hand_over", "library"]

_EXTERNAL_MEMORY_HANDLE_DMA_BUF = 0x2067
"""``CL_EXTERNAL_MEMORY_HANDLE_DMA_BUF_KHR`` of cl_khr_external_memory_dma_buf (``cl_ext.h``)."""
_MEM_READ_WRITE, _MEM_READ_ONLY = 1 << 0, 1 << 2
"""``CL_MEM_READ_WRITE`` and ``CL_MEM_READ_ONLY`` of ``cl.h``."""

_HandOver = c.CFUNCTYPE(
    c.c_int, c.c_void_p, c.c_uint, c.POINTER(c.c_void_p), c.c_uint, c.c_void_p, c.c_void_p
)


@functools.cache
def library() -> c.CDLL:
    """Return the loader, with prototypes set."""
    import pyopencl._cl

    # A symbol of a library is looked for in those that it is linked with, too.
    lib = c.CDLL(pyopencl._cl.__file__)
    lib.clCreateBufferWithProperties.restype = c.c_void_p
    lib.clCreateBufferWithProperties.argtypes = [
        c.c_void_p,
        c.POINTER(c.c_uint64),
        c.c_uint64,
        c.c_size_t,
        c.c_void_p,
        c.POINTER(c.c_int),
    ]
    lib.clGetExtensionFunctionAddressForPlatform.restype = c.c_void_p
    lib.clGetExtensionFunctionAddressForPlatform.argtypes = [c.c_void_p, c.c_char_p]
    return lib


def create_buffer_from_dma_buf(context: int, fd: int, nbytes: int, *, is_written: bool) -> int:
    """Return a ``cl_mem`` over a dma-buf, which must stay open as long.

    Parameters
    ----------
    context : int
        ``cl_context``.
    fd : int
        The dma-buf.
    nbytes : int
        How much of it, from its start.
    is_written : bool
        Whether kernels may write to it.

    Raises
    ------
    DeviceError
        The runtime cannot import it.
    """
    properties = (c.c_uint64 * 3)(_EXTERNAL_MEMORY_HANDLE_DMA_BUF, fd, 0)
    flags = _MEM_READ_WRITE if is_written else _MEM_READ_ONLY
    code = c.c_int()
    memory = library().clCreateBufferWithProperties(
        context, properties, flags, nbytes, None, c.byref(code)
    )
    if code.value or not memory:
        raise DeviceError(
            f"OpenCL cannot import {nbytes} bytes of a dma-buf: clCreateBufferWithProperties "
            f"returned {code.value}; map it through host memory instead"
        )
    return int(memory)


def hand_over(name: str, platform: int, queue: int, memory: int) -> None:
    """Call ``clEnqueueAcquireExternalMemObjectsKHR`` or its counterpart for one object.

    Parameters
    ----------
    name : str
        ``"Acquire"`` before OpenCL uses the memory, ``"Release"`` before others do.
    platform, queue, memory : int
        ``cl_platform_id``, ``cl_command_queue`` and ``cl_mem``.

    Raises
    ------
    DeviceError
        The runtime has no such call, or failed.
    """
    called = f"clEnqueue{name}ExternalMemObjectsKHR"
    address = library().clGetExtensionFunctionAddressForPlatform(platform, called.encode())
    if not address:
        raise DeviceError(
            f"this OpenCL runtime has no {called} (cl_khr_external_memory); map the memory "
            "through host memory instead"
        )
    code: Any = _HandOver(address)(queue, 1, c.byref(c.c_void_p(memory)), 0, None, None)
    if code:
        raise DeviceError(f"{called} returned {code}")
