"""CPU > CUDA: an array copied to a GPU, in the order of the context's stream."""

from typing import Any

from cuda.bindings import driver

from bridges.backends.cuda import CUDAContext, CUDATensor
from bridges.backends.cuda_driver import (
    DEVICE_MEMORY,
    HOST_MEMORY,
    check,
    copy_rows,
    cuda_errors,
    rows_of,
)
from bridges.context import Context
from bridges.routes import Copied, edge
from bridges.tensor import AccessMode, MemoryType, Tensor, TensorInfo


@edge(MemoryType.CPU, MemoryType.CUDA, copies=True)
def cpu_to_cuda(source: Tensor, context: Context, access: AccessMode, copied: Copied) -> CUDATensor:
    """Copy one plane to the device for READ, and back at ``close()`` for WRITE.

    Raises
    ------
    FormatError
        The array is empty, or the samples of a row are not side by side.
    DeviceError
        The device has too little memory, or a transfer failed.
    """
    assert isinstance(context, CUDAContext)
    rows, row, pitch = rows_of(source.info)
    # The source may be closed first: its array and what that was mapped from stay alive.
    keep = (source.handle("array"), source.parent)
    tensor = context.allocate(TensorInfo(source.info.shape, source.info.dtype))
    nbytes, stream = tensor.info.nbytes, context.stream_handle
    host = HOST_MEMORY, source.handle("data"), pitch
    there = DEVICE_MEMORY, tensor.handle("data"), row
    uploaded: Any = None

    def upload() -> None:
        nonlocal uploaded
        action, copy = f"copy {nbytes} bytes to {context.name}", copy_rows(host, there, rows, row)
        with cuda_errors(action), context.current:
            check(driver.cuMemcpy2DAsync(copy, stream), action)
            # From page-locked memory the copy is still to come: the array must wait for it.
            uploaded = context.stream.record(uploaded)
        copied(nbytes)

    def finish() -> None:
        assert keep
        if uploaded is not None:
            with cuda_errors(f"copy {nbytes} bytes to {context.name}"):
                uploaded.sync()

    def download() -> None:
        assert keep
        action, copy = f"copy {nbytes} bytes from {context.name}", copy_rows(there, host, rows, row)
        with context.current:
            check(driver.cuMemcpy2DAsync(copy, stream), action)
            check(driver.cuStreamSynchronize(stream), action)
        copied(nbytes)

    tensor.parent = source
    tensor.writeable = bool(access & AccessMode.WRITE)
    tensor.on_open = upload if access & AccessMode.READ else None
    tensor.on_close = download if tensor.writeable else finish
    return tensor
