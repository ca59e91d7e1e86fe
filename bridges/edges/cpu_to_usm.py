"""CPU > USM: an array copied into Level Zero's memory."""

from typing import Any

import numpy.typing as npt

from bridges.backends.level_zero import LevelZeroContext, USMTensor, level_zero_errors
from bridges.context import Context
from bridges.edges.host_copies import upload_hooks
from bridges.routes import Copied, edge
from bridges.tensor import AccessMode, MemoryType, Tensor, TensorInfo


@edge(MemoryType.CPU, MemoryType.USM, copies=True)
def cpu_to_usm(source: Tensor, context: Context, access: AccessMode, copied: Copied) -> USMTensor:
    """Copy one plane to the device for READ, and back at ``close()`` for WRITE.

    Raises
    ------
    FormatError
        The array is empty.
    DeviceError
        The device has too little memory, or a transfer failed.
    """
    assert isinstance(context, LevelZeroContext)
    array = source.handle("array")
    dense = TensorInfo(source.info.shape, source.info.dtype)
    tensor = context.allocate(dense)
    allocation, nbytes = tensor.allocation, dense.nbytes

    def send(rows: npt.NDArray[Any]) -> None:
        with level_zero_errors(f"copy {nbytes} bytes to the device"):
            allocation.native.copy(allocation.address, rows.ctypes.data, nbytes)

    def fetch(rows: npt.NDArray[Any]) -> None:
        with level_zero_errors(f"copy {nbytes} bytes from the device"):
            allocation.native.copy(rows.ctypes.data, allocation.address, nbytes)

    on_open, on_close = upload_hooks(array, access, copied, send=send, fetch=fetch)
    return USMTensor(
        allocation,
        dense,
        usm_type=context.usm_type,
        keep=(array, source.parent),
        context=context,
        parent=source,
        on_open=on_open,
        on_close=on_close,
    )
