"""OpenCL > CPU: a buffer as an array, in place where the device shares host memory."""

import numpy as np
import pyopencl as cl

from bridges.backends.cpu import CPUTensor
from bridges.backends.host_array import array_at
from bridges.backends.opencl import (
    OpenCLContext,
    OpenCLTensor,
    opencl_errors,
)
from bridges.context import Context
from bridges.routes import Copied, edge
from bridges.tensor import AccessMode, MemoryType, Tensor


def _has_own_memory(source: Context, target: Context) -> str:
    return "" if source.shares_host_memory else f"{source.name} has memory of its own"


@edge(MemoryType.OPENCL, MemoryType.CPU, copies=False, refusal=_has_own_memory)
def view(source: Tensor, context: Context, access: AccessMode, copied: Copied) -> CPUTensor:
    """Show one buffer in place, once the kernels that were enqueued before are done.

    Raises
    ------
    DeviceError
        The runtime could not map the buffer, or a kernel failed.
    """
    assert isinstance(source, OpenCLTensor)
    device, info = source.context, source.info
    queue, writeable = device.handle("cl_queue"), bool(access & AccessMode.WRITE)
    # The array holds the buffer, so that ``source`` may be closed before it.
    array = array_at(source.address, info, owner=source.keep, writeable=writeable)

    def wait() -> None:
        with opencl_errors(f"finish the kernels on {device.name}"):
            queue.finish()

    return CPUTensor(array, context=context, parent=source, on_open=wait)


@edge(MemoryType.OPENCL, MemoryType.CPU, copies=True)
def download(source: Tensor, context: Context, access: AccessMode, copied: Copied) -> CPUTensor:
    """Copy one buffer to the host for READ, and back at ``close()`` for WRITE.

    Raises
    ------
    DeviceError
        A transfer failed.
    """
    device = source.context
    assert isinstance(device, OpenCLContext)
    queue, buffer, info = device.queue, source.handle("cl_mem"), source.info
    memory = np.empty(info.span, np.uint8)
    array = np.ndarray(info.shape, info.dtype, memory, strides=info.strides)
    array.flags.writeable = bool(access & AccessMode.WRITE)

    def fetch() -> None:
        with opencl_errors(f"copy {info.span} bytes from {device.name}"):
            cl.enqueue_copy(queue, memory, buffer)
        copied(info.span)

    def upload() -> None:
        with opencl_errors(f"copy {info.span} bytes to {device.name}"):
            cl.enqueue_copy(queue, buffer, memory)
        copied(info.span)

    return CPUTensor(
        array,
        context=context,
        parent=source,
        # What lies between rows goes back with them, so that it too has to be fetched first.
        on_open=fetch if access & AccessMode.READ or not info.is_contiguous else None,
        on_close=upload if access & AccessMode.WRITE else None,
    )
