"""USM > CPU: Level Zero's memory as an array, in place where the host can reach it."""

from typing import Any

import numpy.typing as npt

from bridges.backends.cpu import CPUTensor
from bridges.backends.level_zero import USMTensor, level_zero_errors
from bridges.context import Context
from bridges.edges.host_copies import download_to_array
from bridges.edges.refusals import source_is_device_memory
from bridges.routes import Copied, edge
from bridges.tensor import AccessMode, MemoryType, Tensor


@edge(MemoryType.USM, MemoryType.CPU, copies=False, refusal=source_is_device_memory)
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

    def fetch(host: npt.NDArray[Any]) -> None:
        with level_zero_errors(f"copy {info.span} bytes from the device"):
            owners[0].native.copy(host.ctypes.data, address, info.span)

    def send(host: npt.NDArray[Any]) -> None:
        with level_zero_errors(f"copy {info.span} bytes to the device"):
            owners[0].native.copy(address, host.ctypes.data, info.span)

    return download_to_array(source, context, access, copied, fetch=fetch, send=send)
