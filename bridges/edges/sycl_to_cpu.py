"""SYCL > CPU: USM as an array, in place where the host can reach it."""

import numpy as np

from bridges.backends.cpu import CPUTensor
from bridges.backends.sycl import SyclContext, SyclTensor, sycl_errors
from bridges.context import Context
from bridges.routes import Copied, edge
from bridges.tensor import AccessMode, MemoryType, Tensor


def _is_out_of_reach(source: Context, target: Context) -> str:
    assert isinstance(source, SyclContext)
    return f"the host cannot reach {source.name}" if source.usm_type == "device" else ""


@edge(MemoryType.SYCL, MemoryType.CPU, copies=False, refusal=_is_out_of_reach)
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
    host = np.empty(info.span, np.uint8)

    def fetch() -> None:
        with sycl_errors(f"copy {info.span} bytes from {device.name}"):
            queue.memcpy(host, memory, info.span)
        copied(info.span)

    def upload() -> None:
        with sycl_errors(f"copy {info.span} bytes to {device.name}"):
            queue.memcpy(memory, host, info.span)
        copied(info.span)

    array = np.ndarray(info.shape, info.dtype, host, strides=info.strides)
    array.flags.writeable = bool(access & AccessMode.WRITE)
    return CPUTensor(
        array,
        context=context,
        parent=source,
        # What lies between rows goes back with them, so that it too has to be fetched first.
        on_open=fetch if access & AccessMode.READ or not info.is_contiguous else None,
        on_close=upload if access & AccessMode.WRITE else None,
    )
