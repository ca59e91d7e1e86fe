"""DMA > GStreamer: planes in DMA memory as a Gst.Buffer of memory with file descriptors."""

import os

from bridges.backends.dma import DMATensor, dma_errors
from bridges.backends.gstreamer import GStreamerTensor
from bridges.backends.gstreamer_buffer import RELEASE, check_picture, fd_memory, hold, new_buffer
from bridges.backends.layout import check_linear
from bridges.context import Context
from bridges.frame import Frame
from bridges.native.libgstreamer import MEMORY_READ_ONLY, GstMiniObject, keep_with, library
from bridges.routes import Copied, frame_edge
from bridges.tensor import AccessMode, MemoryType


def _is_video_memory(source: Context, target: Context) -> str:
    return "" if target.shares_host_memory else "it takes buffers in va memory"


# A buffer carries the time of its picture.
@frame_edge(
    MemoryType.DMA,
    MemoryType.GSTREAMER,
    copies=False,
    refusal=_is_video_memory,
    reusable=False,
)
def dma_to_gstreamer(frame: Frame, context: Context, access: AccessMode, copied: Copied) -> Frame:
    """Map a whole frame; GStreamer has its own descriptors, and synchronises when it maps them.

    Raises
    ------
    FormatError
        A plane is not linear, or GStreamer has no such format or time.
    DeviceError
        The process has too many open files.
    """
    planes = [tensor.info for tensor in frame.tensors]
    check_picture(frame.info, planes)
    memories: list[int] = []
    try:
        for tensor in frame.tensors:
            assert isinstance(tensor, DMATensor)
            check_linear(tensor.modifier, "given to GStreamer")
            memories.append(_memory(tensor, access))
    except BaseException:
        for memory in memories:
            library().gst_mini_object_unref(memory)
        raise
    buffer = new_buffer(frame.info, planes, memories)
    tensors = [
        GStreamerTensor(buffer, buffer.peek_memory(index), 0, plane, context=context)
        for index, plane in enumerate(planes)
    ]
    return Frame(frame.info, tensors, parent=frame)


def _memory(tensor: DMATensor, access: AccessMode) -> int:
    """Return one plane as memory of its own, which is as long as the plane."""
    descriptor, span = tensor.descriptor, tensor.info.span
    is_dma_buf = descriptor.is_dma_buf
    with dma_errors("duplicate a file descriptor for GStreamer"):
        fd = os.dup(descriptor.fd)
    memory = fd_memory(fd, tensor.offset + span, is_dma_buf=is_dma_buf)
    library().gst_memory_resize(memory, tensor.offset, span)
    if not access & AccessMode.WRITE:
        GstMiniObject.from_address(memory).flags |= MEMORY_READ_ONLY
    if tensor.keep is not None:
        kept = [tensor.keep]
        keep_with(memory, hold(kept.clear), RELEASE)
    return memory
