"""DMA > CPU: linear memory behind a file descriptor as an array over the same memory."""

from bridges.backends.cpu import CPUTensor
from bridges.backends.dma import DMATensor, samples, synchronisation
from bridges.context import Context
from bridges.routes import Copied, edge
from bridges.tensor import AccessMode, MemoryType, Tensor


@edge(MemoryType.DMA, MemoryType.CPU, copies=False)
def dma_to_cpu(source: Tensor, context: Context, access: AccessMode, copied: Copied) -> CPUTensor:
    """Map one plane; a dma-buf is the CPU's from opening to ``close()``.

    The memory is unmapped when neither the tensor nor a view of its array needs it; a view that
    outlives ``close()`` is not synchronised any more.

    Raises
    ------
    FormatError
        The memory is tiled, or the layout is empty or runs backward.
    DeviceError
        The kernel cannot map or synchronise the memory.
    """
    assert isinstance(source, DMATensor)
    array = samples(source, access)
    begin, end = synchronisation(source, access)
    return CPUTensor(array, context=context, parent=source, on_open=begin, on_close=end)
