"""CUDA > CPU: samples copied from a GPU into a new array, and back."""

from typing import Any

from cuda.bindings import driver

from bridges.backends.cpu import CPUTensor
from bridges.backends.cuda import CUDATensor
from bridges.backends.cuda_driver import DEVICE_MEMORY, HOST_MEMORY, check, copy_rows, rows_of
from bridges.backends.host_array import array_over
from bridges.context import Context
from bridges.routes import Copied, edge
from bridges.tensor import AccessMode, MemoryType, Tensor, TensorInfo


@edge(MemoryType.CUDA, MemoryType.CPU, copies=True)
def cuda_to_cpu(source: Tensor, context: Context, access: AccessMode, copied: Copied) -> CPUTensor:
    """Copy one plane to page-locked memory for READ, and back at ``close()`` for WRITE.

    The copy comes after all work on the source's stream so far; ``close()`` waits for the way back.

    Raises
    ------
    FormatError
        The samples of a row are not side by side.
    DeviceError
        A transfer failed.
    """
    assert isinstance(source, CUDATensor)
    info, device, owner = source.info, source.context, source.owner
    stream, (rows, row, pitch) = device.stream_handle, rows_of(info)
    array = array_over(device.pinned(info.nbytes), TensorInfo(info.shape, info.dtype))
    host = HOST_MEMORY, array.ctypes.data, row
    there = DEVICE_MEMORY, source.handle("data"), pitch

    def move(copy: Any, action: str) -> None:
        assert owner is not None  # Held, for the source may be closed first.
        with device.current:
            check(driver.cuMemcpy2DAsync(copy, stream), action)
            check(driver.cuStreamSynchronize(stream), action)
        copied(info.nbytes)

    def fetch() -> None:
        move(copy_rows(there, host, rows, row), f"copy {info.nbytes} bytes from {device.name}")

    def store() -> None:
        move(copy_rows(host, there, rows, row), f"copy {info.nbytes} bytes to {device.name}")

    array.flags.writeable = bool(access & AccessMode.WRITE)
    return CPUTensor(
        array,
        context=context,
        parent=source,
        on_open=fetch if access & AccessMode.READ else None,
        on_close=store if access & AccessMode.WRITE else None,
    )
