"""OpenCL > CPU: a buffer as an array, in place where the device shares host memory."""

from typing import Any

import numpy.typing as npt
import pyopencl as cl

from bridges.backends.cpu import CPUTensor
from bridges.backends.host_array import array_at
from bridges.backends.opencl import (
    OpenCLContext,
    OpenCLTensor,
    opencl_errors,
)
from bridges.context import Context
from bridges.edges.host_copies import download_to_array
from bridges.edges.refusals import source_has_own_memory
from bridges.routes import Copied, edge
from bridges.tensor import AccessMode, MemoryType, Tensor


@edge(MemoryType.OPENCL, MemoryType.CPU, copies=False, refusal=source_has_own_memory)
def view(source: Tensor, context: Context, access: AccessMode, copied: Copied) -> CPUTensor:
    """Show one buffer in place, once the kernels that were enqueued before are done.

    Raises
    ------
    DeviceError
        The runtime could not map the buffer, or a kernel failed.
    """
    assert isinstance(source, OpenCLTensor)
    device, info = source.context, source.info
    assert isinstance(device, OpenCLContext)
    writeable = bool(access & AccessMode.WRITE)
    # The array holds the buffer, so that ``source`` may be closed before it.
    array = array_at(source.address, info, owner=source.keep, writeable=writeable)
    return CPUTensor(array, context=context, parent=source, on_open=device.finish)


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

    def fetch(memory: npt.NDArray[Any]) -> None:
        with opencl_errors(f"copy {info.span} bytes from {device.name}"):
            cl.enqueue_copy(queue, memory, buffer)

    def send(memory: npt.NDArray[Any]) -> None:
        with opencl_errors(f"copy {info.span} bytes to {device.name}"):
            cl.enqueue_copy(queue, buffer, memory)

    return download_to_array(source, context, access, copied, fetch=fetch, send=send)
