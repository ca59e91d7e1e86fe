"""GStreamer > OpenCL: a plane of a Gst.Buffer as a buffer over the same memory."""

from bridges.backends.gstreamer import GStreamerTensor
from bridges.context import Context
from bridges.edges.cpu_to_opencl import share
from bridges.edges.gstreamer_to_cpu import gstreamer_to_cpu
from bridges.edges.refusals import target_has_own_memory
from bridges.routes import Copied, edge
from bridges.tensor import AccessMode, MemoryType, Tensor


def _has_own_memory(source: Context, target: Context) -> str:
    if not source.shares_host_memory:
        return "GStreamer copies VA memory to map it"
    return target_has_own_memory(source, target)


# Each mapping of device memory may lie elsewhere, so that none can be opened again.
@edge(
    MemoryType.GSTREAMER,
    MemoryType.OPENCL,
    copies=False,
    refusal=_has_own_memory,
    reusable=False,
)
def gstreamer_to_opencl(
    source: Tensor, context: Context, access: AccessMode, copied: Copied
) -> Tensor:
    """Map one plane in place; ``close()`` waits for the kernels that use it, and unmaps it.

    Raises
    ------
    DeviceError
        GStreamer does not allow this access now, or a kernel that used the memory failed.
    FormatError
        GStreamer may copy this memory to map it, such as a GPU's.
    """
    assert isinstance(source, GStreamerTensor)
    view = gstreamer_to_cpu(source, context, access, copied)
    tensor = share(view, context, access, copied)
    finish = tensor.on_close

    def finish_and_unmap() -> None:
        try:
            if finish is not None:
                finish()
        finally:
            view.close()

    tensor.on_close, tensor.parent = finish_and_unmap, source
    return tensor
