"""USM > CPU: Level Zero's memory as an array, in place where the host can reach it."""

import numpy as np

from bridges.backends.cpu import CPUTensor
from bridges.backends.level_zero import LevelZeroContext, USMTensor, level_zero_errors
from bridges.context import Context
from bridges.routes import Copied, edge
from bridges.tensor import AccessMode, MemoryType, Tensor


def _is_out_of_reach(source: Context, target: Context) -> str:
    assert isinstance(source, LevelZeroContext)
    return f"the host cannot reach {source.name}" if source.usm_type == "device" else ""


@edge(MemoryType.USM, MemoryType.CPU, copies=False, refusal=_is_out_of_reach)
def view(source: Tensor, context: Context, access: AccessMode, copied: Copied) -> CPUTensor:
    """Map one block in place; work of other frameworks on it has to be finished.

    Raises
    ------
    FormatError
        This block is device memory, though the context's own is not.
    """
    assert isinstance(source, USMTensor)
    array = source.host_array(writeable=bool(access & AccessMode.WRITE))
    return CPUTensor(array, context=context, parent=source)


@edge(MemoryType.USM, MemoryType.CPU, copies=True)
def download(source: Tensor, context: Context, access: AccessMode, copied: Copied) -> CPUTensor:
    """Copy one block to the host for READ, and back at ``close()`` for WRITE.

    Raises
    ------
    DeviceError
        A transfer failed.
    """
    assert isinstance(source, USMTensor)
    # The allocation and what it was mapped from stay alive, where the source is closed first.
    owners = (source.allocation, source.keep, source.parent)
    address, info = source.handle("data"), source.info
    host = np.empty(info.span, np.uint8)
    there = host.ctypes.data

    def fetch() -> None:
        with level_zero_errors(f"copy {info.span} bytes from the device"):
            owners[0].native.copy(there, address, info.span)
        copied(info.span)

    def upload() -> None:
        with level_zero_errors(f"copy {info.span} bytes to the device"):
            owners[0].native.copy(address, there, info.span)
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
