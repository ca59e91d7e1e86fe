"""XRT > DMA: a buffer as a dma-buf, which other devices can import."""

from bridges.backends.dma import DMATensor, FileDescriptor
from bridges.backends.xrt import XRTContext, XRTTensor
from bridges.context import Context
from bridges.routes import Copied, edge
from bridges.tensor import AccessMode, MemoryType, Tensor


def _exports_nothing(source: Context, target: Context) -> str:
    assert isinstance(source, XRTContext)
    return source.export_refusal


@edge(MemoryType.XRT, MemoryType.DMA, copies=False, refusal=_exports_nothing)
def xrt_to_dma(source: Tensor, context: Context, access: AccessMode, copied: Copied) -> DMATensor:
    """Export one buffer, with the device's memory behind it.

    XRT's commands on a device are complete when they are waited for, so that there is nothing to
    synchronise; a fence of the dma-buf there is none.

    Raises
    ------
    DeviceError
        The device's driver exports no file descriptor of this buffer.
    """
    assert isinstance(source, XRTTensor)
    bo = source.bo
    # XRT closes the descriptor that it gave when it frees the buffer.
    return DMATensor(
        FileDescriptor.duplicate(bo.exported),
        source.info,
        offset=source.offset,
        keep=bo,
        context=context,
        parent=source,
    )
