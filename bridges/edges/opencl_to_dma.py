"""OpenCL > DMA: a buffer copied into new memory that devices share by its file descriptor.

Not zero-copy: OpenCL's extensions import dma-bufs and export none. Who wants a kernel's result in
a dma-buf without a copy allocates it there first and maps it to OpenCL.
"""

from typing import Any

import numpy as np
import numpy.typing as npt
import pyopencl as cl

from bridges.backends.dma import DMAContext, DMATensor, cpu_access, samples
from bridges.backends.opencl import OpenCLContext, opencl_errors
from bridges.context import Context
from bridges.edges.host_copies import whole_span_hooks
from bridges.routes import Copied, edge
from bridges.tensor import AccessMode, MemoryType, Tensor, TensorInfo


@edge(MemoryType.OPENCL, MemoryType.DMA, copies=True)
def opencl_to_dma(
    source: Tensor, context: Context, access: AccessMode, copied: Copied
) -> DMATensor:
    """Copy one buffer into new memory for READ, and back at ``close()`` for WRITE.

    Raises
    ------
    DeviceError
        There is too little memory, or a transfer failed.
    """
    device = source.context
    assert isinstance(context, DMAContext)
    assert isinstance(device, OpenCLContext)
    queue, buffer, info = device.queue, source.handle("cl_mem"), source.info
    tensor = context.allocate(info)
    flat = DMATensor(tensor.descriptor, TensorInfo((info.span,), np.dtype("u1")), context=context)
    memory = samples(flat, AccessMode.READ_WRITE)

    def fetch(memory: npt.NDArray[Any]) -> None:
        action = f"copy {info.span} bytes from {device.name}"
        with cpu_access(tensor, AccessMode.WRITE), opencl_errors(action):
            cl.enqueue_copy(queue, memory, buffer)

    def send(memory: npt.NDArray[Any]) -> None:
        action = f"copy {info.span} bytes to {device.name}"
        with cpu_access(tensor, AccessMode.READ), opencl_errors(action):
            cl.enqueue_copy(queue, buffer, memory)

    on_open, on_close = whole_span_hooks(source, memory, access, copied, fetch=fetch, send=send)
    return DMATensor(
        tensor.descriptor,
        info,
        context=context,
        parent=source,
        on_open=on_open,
        on_close=on_close,
    )
