"""CPU > USM: an array copied into Level Zero's memory."""

import numpy as np

from bridges.backends.level_zero import LevelZeroContext, USMTensor, level_zero_errors
from bridges.context import Context
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

    def upload() -> None:
        rows = np.ascontiguousarray(array)
        with level_zero_errors(f"copy {nbytes} bytes to the device"):
            allocation.native.copy(allocation.address, rows.ctypes.data, nbytes)
        copied(nbytes)

    def download() -> None:
        # Rows are placed one by one where padding lies between: it may be somebody else's.
        rows = array if array.flags.c_contiguous else np.empty(dense.shape, dense.dtype)
        with level_zero_errors(f"copy {nbytes} bytes from the device"):
            allocation.native.copy(rows.ctypes.data, allocation.address, nbytes)
        if rows is not array:
            np.copyto(array, rows)
        copied(nbytes)

    return USMTensor(
        allocation,
        dense,
        usm_type=context.usm_type,
        keep=(array, source.parent),
        context=context,
        parent=source,
        on_open=upload if access & AccessMode.READ else None,
        on_close=download if access & AccessMode.WRITE else None,
    )
