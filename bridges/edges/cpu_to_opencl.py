"""CPU > OpenCL: an array as a buffer over the same memory, or as a copy on the device."""

from typing import Any

import numpy.typing as npt
import pyopencl as cl

from bridges.backends.layout import check_samples
from bridges.backends.opencl import (
    SHARED,
    OpenCLContext,
    OpenCLTensor,
    host_bytes,
    opencl_errors,
)
from bridges.context import Context
from bridges.edges.host_copies import upload_hooks
from bridges.edges.refusals import target_has_own_memory
from bridges.routes import Copied, edge
from bridges.tensor import AccessMode, MemoryType, Tensor, TensorInfo


@edge(MemoryType.CPU, MemoryType.OPENCL, copies=False, refusal=target_has_own_memory)
def share(source: Tensor, context: Context, access: AccessMode, copied: Copied) -> OpenCLTensor:
    """Map one plane in place; ``close()`` waits for the kernels that use it.

    Raises
    ------
    FormatError
        The array is empty or has a negative stride.
    DeviceError
        A kernel that used the memory failed.
    """
    assert isinstance(context, OpenCLContext)
    info, array = source.info, source.handle("array")
    nbytes = info.span
    check_samples("an OpenCL buffer", info)
    address, native, finish = source.handle("data"), context.native, context.finish
    buffer: cl.Buffer | None = None

    def make() -> cl.Buffer:
        nonlocal buffer
        if buffer is not None:
            return buffer
        with opencl_errors(f"share {nbytes} bytes of host memory with {context.name}"):
            buffer = cl.Buffer(native, SHARED, hostbuf=host_bytes(address, nbytes))
        return buffer

    def synchronise() -> None:
        # Where nobody asked for the buffer, nothing was run on it.
        if buffer is not None:
            finish()

    return OpenCLTensor(
        make,
        info,
        address=address,
        # The source may be closed first: its array and what that was mapped from stay alive.
        keep=(array, source.parent),
        context=context,
        parent=source,
        on_close=synchronise,
    )


@edge(MemoryType.CPU, MemoryType.OPENCL, copies=True)
def transfer(source: Tensor, context: Context, access: AccessMode, copied: Copied) -> OpenCLTensor:
    """Copy one plane to the device for READ, and back at ``close()`` for WRITE.

    Raises
    ------
    FormatError
        The array is empty.
    DeviceError
        The device has too little memory, or a transfer failed.
    """
    assert isinstance(context, OpenCLContext)
    array = source.handle("array")
    dense = TensorInfo(source.info.shape, source.info.dtype)
    tensor = context.allocate(dense)
    buffer, queue = tensor.native, context.queue

    def send(rows: npt.NDArray[Any]) -> None:
        with opencl_errors(f"copy {dense.nbytes} bytes to {context.name}"):
            cl.enqueue_copy(queue, buffer, rows)

    def fetch(rows: npt.NDArray[Any]) -> None:
        with opencl_errors(f"copy {dense.nbytes} bytes from {context.name}"):
            cl.enqueue_copy(queue, rows, buffer)

    on_open, on_close = upload_hooks(array, access, copied, send=send, fetch=fetch)
    return OpenCLTensor(
        buffer,
        dense,
        context=context,
        parent=source,
        keep=(array, source.parent),
        on_open=on_open,
        on_close=on_close,
    )
