"""GStreamer > DMA: a plane of a Gst.Buffer in dma-buf memory, by its file descriptor."""

from bridges.backends.dma import DMATensor, FileDescriptor
from bridges.backends.gstreamer import GStreamerContext, GStreamerTensor
from bridges.context import Context
from bridges.errors import FormatError
from bridges.native.libgstreamer import library
from bridges.routes import Copied, edge
from bridges.tensor import AccessMode, MemoryType, Tensor


def _is_elsewhere(source: Context, target: Context) -> str:
    assert isinstance(source, GStreamerContext)
    if source.memory == "dmabuf":
        return ""
    return f"its buffers are in {source.memory} memory, create('dmabuf') is for those with fds"


@edge(MemoryType.GSTREAMER, MemoryType.DMA, copies=False, refusal=_is_elsewhere)
def gstreamer_to_dma(
    source: Tensor, context: Context, access: AccessMode, copied: Copied
) -> DMATensor:
    """Export one plane; the file descriptor is a duplicate, and the tensor's own.

    Raises
    ------
    FormatError
        The buffer is not in memory that has a file descriptor.
    DeviceError
        The process has too many open files.
    """
    assert isinstance(source, GStreamerTensor)
    allocators = library("gstallocators")
    if not allocators.gst_is_fd_memory(source.pointer):
        raise FormatError(
            "this buffer is not in memory that has a file descriptor; ask the element before for "
            "caps with memory:DMABuf, or map it to the CPU"
        )
    _, start, _ = source.memory.get_sizes()
    return DMATensor(
        FileDescriptor.duplicate(allocators.gst_fd_memory_get_fd(source.pointer)),
        source.info,
        offset=start + source.offset,
        # The pool must not hand the memory out again.
        keep=source.buffer,
        context=context,
        parent=source,
    )
