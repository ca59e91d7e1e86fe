"""DMA > USM: a linear dma-buf as device memory of Level Zero, which imports it."""

from bridges.backends.dma import DMATensor
from bridges.backends.layout import check_linear, check_samples
from bridges.backends.level_zero import LevelZeroContext, USMTensor
from bridges.context import Context
from bridges.errors import FormatError
from bridges.routes import Copied, edge
from bridges.tensor import AccessMode, MemoryType, Tensor


def _is_not_device_memory(source: Context, target: Context) -> str:
    assert isinstance(target, LevelZeroContext)
    if target.usm_type == "device":
        return ""
    return f"dma-bufs become device memory, and {target.name} was opened for {target.usm_type}"


@edge(MemoryType.DMA, MemoryType.USM, copies=False, refusal=_is_not_device_memory)
def dma_to_usm(source: Tensor, context: Context, access: AccessMode, copied: Copied) -> USMTensor:
    """Map one plane in place; nothing but a kernel's good will keeps a READ mapping unwritten.

    Raises
    ------
    FormatError
        The memory is tiled, or the layout is empty, runs backward or does not fit.
    DeviceError
        The device cannot reach the memory.
    """
    assert isinstance(source, DMATensor)
    assert isinstance(context, LevelZeroContext)
    check_linear(source.modifier, "imported by Level Zero")
    info, offset, descriptor = source.info, source.offset, source.descriptor
    check_samples("USM", info, offset=offset)
    if offset + info.span > descriptor.nbytes:
        raise FormatError(
            f"{info.span} bytes from byte {offset} on do not fit into a dma-buf of "
            f"{descriptor.nbytes} bytes; check shape, strides and offset"
        )
    return USMTensor(
        context.import_fd(descriptor.fd, descriptor.nbytes),
        info,
        usm_type="device",
        offset=offset,
        # The source may be closed first: what keeps the samples as they are stays alive.
        keep=(descriptor, source.keep, source.parent),
        context=context,
        parent=source,
    )
