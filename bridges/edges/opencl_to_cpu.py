"""OpenCL > CPU: a buffer as an array, in place where the device shares host memory."""

from typing import Any

import numpy as np
import pyopencl as cl

from bridges.backends.cpu import CPUTensor
from bridges.backends.opencl import (
    OpenCLContext,
    OpenCLTensor,
    host_bytes,
    opencl_errors,
)
from bridges.context import Context
from bridges.routes import Copied, edge
from bridges.tensor import AccessMode, MemoryType, Tensor, TensorInfo


def _has_own_memory(source: Context, target: Context) -> str:
    return "" if source.shares_host_memory else f"{source.name} has memory of its own"


def _samples(memory: Any, info: TensorInfo, access: AccessMode) -> Any:
    array = np.ndarray(info.shape, info.dtype, buffer=memory, strides=info.strides)
    array.flags.writeable = bool(access & AccessMode.WRITE)
    return array


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
    queue, memory = device.handle("cl_queue"), host_bytes(source.address, info.span)
    # The array holds the buffer, so that ``source`` may be closed before it.
    memory.owner = source.keep

    def wait() -> None:
        with opencl_errors(f"finish the kernels on {device.name}"):
            queue.finish()

    return CPUTensor(
        _samples(memoryview(memory), info, access), context=context, parent=source, on_open=wait
    )


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

    def fetch() -> None:
        with opencl_errors(f"copy {info.span} bytes from {device.name}"):
            cl.enqueue_copy(queue, memory, buffer)
        copied(info.span)

    def upload() -> None:
        with opencl_errors(f"copy {info.span} bytes to {device.name}"):
            cl.enqueue_copy(queue, buffer, memory)
        copied(info.span)

    return CPUTensor(
        _samples(memory, info, access),
        context=context,
        parent=source,
        # What lies between rows goes back with them, so that it too has to be fetched first.
        on_open=fetch if access & AccessMode.READ or not info.is_contiguous else None,
        on_close=upload if access & AccessMode.WRITE else None,
    )
