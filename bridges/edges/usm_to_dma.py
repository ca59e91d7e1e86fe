"""USM > DMA: device memory of Level Zero as a dma-buf, which it exports."""

from bridges.backends.dma import DMATensor, FileDescriptor
from bridges.backends.level_zero import LevelZeroContext, USMTensor, level_zero_errors
from bridges.context import Context
from bridges.errors import DeviceError
from bridges.native import level_zero as ze
from bridges.routes import Copied, edge
from bridges.tensor import AccessMode, MemoryType, Tensor


def _is_not_device_memory(source: Context, target: Context) -> str:
    assert isinstance(source, LevelZeroContext)
    if source.usm_type == "device":
        return ""
    return f"device memory can be exported, and {source.name} was opened for {source.usm_type}"


@edge(MemoryType.USM, MemoryType.DMA, copies=False, refusal=_is_not_device_memory)
def usm_to_dma(source: Tensor, context: Context, access: AccessMode, copied: Copied) -> DMATensor:
    """Map one block in place; USM is linear, and so is the dma-buf.

    Raises
    ------
    DeviceError
        The memory was not allocated to be exported.
    """
    assert isinstance(source, USMTensor)
    allocation, address = source.allocation, source.handle("data")
    native = allocation.native
    with level_zero_errors("export memory as a dma-buf"):
        start, _ = ze.address_range(native.library, native.context, address)
        fd = ze.export(native.library, native.context, address)
    if fd < 0:
        raise DeviceError(
            "Level Zero cannot export this memory as a dma-buf; allocate it with a "
            "LevelZeroContext, which asks for that"
        )
    return DMATensor(
        FileDescriptor(fd),
        source.info,
        offset=address - start,
        # Kernels that write into the allocation keep writing into this memory.
        keep=(allocation, source.keep, source.parent),
        context=context,
        parent=source,
    )
