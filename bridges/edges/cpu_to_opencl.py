"""CPU > OpenCL: an array as a buffer over the same memory, or as a copy on the device."""

import numpy as np
import pyopencl as cl

from bridges.backends.opencl import (
    SHARED,
    OpenCLContext,
    OpenCLTensor,
    host_bytes,
    opencl_errors,
)
from bridges.context import Context
from bridges.errors import FormatError
from bridges.routes import Copied, edge
from bridges.tensor import AccessMode, MemoryType, Tensor, TensorInfo


def _has_own_memory(source: Context, target: Context) -> str:
    return "" if target.shares_host_memory else f"{target.name} has memory of its own"


@edge(MemoryType.CPU, MemoryType.OPENCL, copies=False, refusal=_has_own_memory)
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
    if nbytes == 0 or min(info.strides) < 0:
        raise FormatError(
            f"OpenCL needs at least one sample and strides of 0 or more, got shape {info.shape} "
            f"with strides {info.strides}; copy the array first"
        )
    address, native, queue = source.handle("data"), context.native, context.queue
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
            with opencl_errors(f"finish the kernels on memory shared with {context.name}"):
                queue.finish()

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
    DeviceError
        The device has too little memory, or a transfer failed.
    """
    assert isinstance(context, OpenCLContext)
    array = source.handle("array")
    dense = TensorInfo(source.info.shape, source.info.dtype)
    tensor = context.allocate(dense)
    buffer, queue = tensor.native, context.queue

    def upload() -> None:
        with opencl_errors(f"copy {dense.nbytes} bytes to {context.name}"):
            cl.enqueue_copy(queue, buffer, np.ascontiguousarray(array))
        copied(dense.nbytes)

    def download() -> None:
        # Rows are placed one by one where padding lies between: it may be somebody else's.
        rows = array if array.flags.c_contiguous else np.empty(dense.shape, dense.dtype)
        with opencl_errors(f"copy {dense.nbytes} bytes from {context.name}"):
            cl.enqueue_copy(queue, rows, buffer)
        if rows is not array:
            np.copyto(array, rows)
        copied(dense.nbytes)

    return OpenCLTensor(
        buffer,
        dense,
        context=context,
        parent=source,
        keep=(array, source.parent),
        on_open=upload if access & AccessMode.READ else None,
        on_close=download if access & AccessMode.WRITE else None,
    )
