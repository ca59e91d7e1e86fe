"""CPU > SYCL: an array as a kernel's argument over the same memory, or as a copy on the device."""

from typing import Any

import numpy.typing as npt

from bridges.backends.layout import check_samples
from bridges.backends.sycl import SyclContext, SyclTensor, sycl_errors
from bridges.context import Context
from bridges.edges.host_copies import upload_hooks
from bridges.edges.refusals import target_has_own_memory
from bridges.routes import Copied, edge
from bridges.tensor import AccessMode, MemoryType, Tensor, TensorInfo


def _has_own_memory(source: Context, target: Context) -> str:
    assert isinstance(target, SyclContext)
    return target_has_own_memory(source, target) or target.host_memory_refusal


@edge(MemoryType.CPU, MemoryType.SYCL, copies=False, refusal=_has_own_memory)
def share(source: Tensor, context: Context, access: AccessMode, copied: Copied) -> SyclTensor:
    """Map one plane in place; ``close()`` waits for the kernels that use it.

    A kernel that writes into a READ mapping breaks its promise: nothing stops it.

    Raises
    ------
    FormatError
        The array is empty or has a negative stride.
    """
    assert isinstance(context, SyclContext)
    info, array = source.info, source.handle("array")
    check_samples("USM", info)
    # The source may be closed first: its array and what that was mapped from stay alive.
    owner = (array, source.parent)
    memory = context.system_memory(source.handle("data"), info.span, owner)
    return SyclTensor(
        memory,
        info,
        usm_type="system",
        context=context,
        parent=source,
        on_close=context.finish,
    )


@edge(MemoryType.CPU, MemoryType.SYCL, copies=True)
def transfer(source: Tensor, context: Context, access: AccessMode, copied: Copied) -> SyclTensor:
    """Copy one plane to the device for READ, and back at ``close()`` for WRITE.

    Raises
    ------
    FormatError
        The array is empty or has a negative stride.
    DeviceError
        The device has too little memory, or a transfer failed.
    """
    assert isinstance(context, SyclContext)
    array = source.handle("array")
    check_samples("USM", source.info)
    dense = TensorInfo(source.info.shape, source.info.dtype)
    tensor = context.allocate(dense)
    memory, queue, usm_type = tensor.memory, context.queue, tensor.usm_type

    def send(rows: npt.NDArray[Any]) -> None:
        with sycl_errors(f"copy {dense.nbytes} bytes to {context.name}"):
            queue.memcpy(memory, rows, dense.nbytes)

    def fetch(rows: npt.NDArray[Any]) -> None:
        with sycl_errors(f"copy {dense.nbytes} bytes from {context.name}"):
            queue.memcpy(rows, memory, dense.nbytes)

    on_open, on_close = upload_hooks(array, access, copied, send=send, fetch=fetch)
    return SyclTensor(
        memory,
        dense,
        usm_type=usm_type,
        keep=(array, source.parent),
        context=context,
        parent=source,
        on_open=on_open,
        on_close=on_close or context.finish,
    )
