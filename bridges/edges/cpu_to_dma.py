"""CPU > DMA: an array copied into new memory that devices can share by its file descriptor.

Not zero-copy, for nothing turns any host memory into a dma-buf: /dev/udmabuf takes the pages of a
sealed memfd only. Who wants that allocates with ``DMAContext.allocate`` and maps it to the CPU.
"""

import numpy as np

from bridges.backends.dma import DMAContext, DMATensor, cpu_access, samples
from bridges.context import Context
from bridges.routes import Copied, edge
from bridges.tensor import AccessMode, MemoryType, Tensor, TensorInfo


@edge(MemoryType.CPU, MemoryType.DMA, copies=True)
def cpu_to_dma(source: Tensor, context: Context, access: AccessMode, copied: Copied) -> DMATensor:
    """Copy one plane into new memory for READ, and back at ``close()`` for WRITE.

    Raises
    ------
    FormatError
        The array is empty.
    DeviceError
        There is too little memory.
    """
    assert isinstance(context, DMAContext)
    array = source.handle("array")
    dense = TensorInfo(source.info.shape, source.info.dtype)
    tensor = context.allocate(dense)
    memory = samples(tensor, AccessMode.READ_WRITE)

    def upload() -> None:
        with cpu_access(tensor, AccessMode.WRITE):
            np.copyto(memory, array)
        copied(dense.nbytes)

    def download() -> None:
        with cpu_access(tensor, AccessMode.READ):
            np.copyto(array, memory)
        copied(dense.nbytes)

    # The array holds what it is mapped from, so that the source may be closed first.
    return DMATensor(
        tensor.descriptor,
        dense,
        keep=(array, source.parent),
        context=context,
        parent=source,
        on_open=upload if access & AccessMode.READ else None,
        on_close=download if access & AccessMode.WRITE else None,
    )
