"""CPU > XRT: an array carried to a device; by DMA alone where it begins at a page."""

import numpy as np

from bridges.backends.host_array import array_at
from bridges.backends.layout import check_samples
from bridges.backends.xrt import USER_ALIGNMENT, XRTContext, XRTTensor
from bridges.backends.xrt_buffer import BufferObject, uncounted
from bridges.context import Context
from bridges.edges.host_copies import Hook
from bridges.routes import Copied, edge
from bridges.tensor import AccessMode, MemoryType, Tensor, TensorInfo


@edge(MemoryType.CPU, MemoryType.XRT, copies=True)
def cpu_to_xrt(source: Tensor, context: Context, access: AccessMode, copied: Copied) -> XRTTensor:
    """Copy one plane to the device for READ, and back at ``close()`` for WRITE.

    A dense array at a multiple of 4096 bytes becomes the host side of the buffer itself; any other
    is copied to the host side first, and both copies count.

    Raises
    ------
    FormatError
        The array is empty.
    DeviceError
        The device has too little memory, or a transfer failed.
    """
    assert isinstance(context, XRTContext)
    array = source.handle("array")
    dense = TensorInfo(source.info.shape, source.info.dtype)
    check_samples("XRT memory", dense)
    keep = (array, source.parent)
    address = source.handle("data")
    in_place = (
        not context.shares_host_memory
        and address % USER_ALIGNMENT == 0
        and array.flags.c_contiguous
        and array.flags.writeable  # Drivers pin pages for writing.
    )
    if in_place:
        bo = context.use_host_memory(address, dense.nbytes, keep)
        upload, download = _by_dma(bo, dense.nbytes, copied)
    else:
        bo = context.allocate(dense).bo
        moved = uncounted if context.shares_host_memory else copied
        send, fetch = _by_dma(bo, dense.nbytes, moved)
        upload, download = _staged(bo, array, dense, (send, fetch), copied)
    return XRTTensor(
        bo,
        dense,
        context=context,
        parent=source,
        on_open=upload if access & AccessMode.READ else None,
        on_close=download if access & AccessMode.WRITE else None,
    )


def _by_dma(bo: BufferObject, nbytes: int, copied: Copied) -> tuple[Hook, Hook]:
    def upload() -> None:
        bo.to_device(0, nbytes)
        copied(nbytes)

    def download() -> None:
        bo.from_device(0, nbytes)
        copied(nbytes)

    return upload, download


def _staged(
    bo: BufferObject, array: "np.ndarray", info: TensorInfo, dma: tuple[Hook, Hook], copied: Copied
) -> tuple[Hook, Hook]:
    send, fetch = dma
    stage = array_at(bo.address, info, owner=bo, writeable=True)

    def upload() -> None:
        np.copyto(stage, array)
        copied(info.nbytes)
        send()

    def download() -> None:
        fetch()
        np.copyto(array, stage)
        copied(info.nbytes)

    return upload, download
