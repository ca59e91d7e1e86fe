"""SYCL > CPU: USM as an array, in place where the host can reach it."""

from typing import Any

import numpy.typing as npt

from bridges.backends.cpu import CPUTensor
from bridges.backends.sycl import SyclContext, SyclTensor, sycl_errors
from bridges.context import Context
from bridges.edges.host_copies import download_to_array
from bridges.edges.refusals import source_is_device_memory
from bridges.routes import Copied, edge
from bridges.tensor import AccessMode, MemoryType, Tensor


@edge(MemoryType.SYCL, MemoryType.CPU, copies=False, refusal=source_is_device_memory)
def view(source: Tensor, context: Context, access: AccessMode, copied: Copied) -> CPUTensor:
    """Map one block in place, after the kernels that are under way.

    Raises
    ------
    FormatError
        This block is device memory, though the context's own is not.
    """
    device = source.context
    assert isinstance(source, SyclTensor)
    assert isinstance(device, SyclContext)
    return CPUTensor(
        source.host_array(writeable=bool(access & AccessMode.WRITE)),
        context=context,
        parent=source,
        on_open=device.finish,
    )


@edge(MemoryType.SYCL, MemoryType.CPU, copies=True)
def download(source: Tensor, context: Context, access: AccessMode, copied: Copied) -> CPUTensor:
    """Copy one block to the host for READ, and back at ``close()`` for WRITE.

    Raises
    ------
    DeviceError
        A transfer failed.
    """
    device = source.context
    assert isinstance(device, SyclContext)
    queue, memory, info = device.queue, source.handle("usm_memory"), source.info

    def fetch(host: npt.NDArray[Any]) -> None:
        with sycl_errors(f"copy {info.span} bytes from {device.name}"):
            queue.memcpy(host, memory, info.span)

    def send(host: npt.NDArray[Any]) -> None:
        with sycl_errors(f"copy {info.span} bytes to {device.name}"):
            queue.memcpy(memory, host, info.span)

    return download_to_array(source, context, access, copied, fetch=fetch, send=send)
