"""GStreamer > CPU: a plane of a Gst.Buffer as a NumPy array over the same memory."""

from bridges.backends.cpu import CPUTensor
from bridges.backends.gstreamer import GStreamerTensor
from bridges.backends.gstreamer_map import Mapping
from bridges.context import Context
from bridges.routes import Copied, edge
from bridges.tensor import AccessMode, MemoryType, Tensor

__all__ = ["gstreamer_to_cpu"]


def _is_copied(source: Context, target: Context) -> str:
    return "" if source.shares_host_memory else "GStreamer copies VA memory to map it"


# Each mapping of device memory may lie elsewhere, so that none can be opened again.
@edge(
    MemoryType.GSTREAMER,
    MemoryType.CPU,
    copies=False,
    refusal=_is_copied,
    reusable=False,
)
def gstreamer_to_cpu(
    source: Tensor, context: Context, access: AccessMode, copied: Copied
) -> CPUTensor:
    """Map one plane; ``close()`` unmaps it, and its array must not be used after that.

    Raises
    ------
    DeviceError
        GStreamer does not allow this access now.
    FormatError
        GStreamer may copy this memory to map it, such as a GPU's.
    """
    assert isinstance(source, GStreamerTensor)
    mapping = Mapping(source, access)
    return CPUTensor(mapping.array, context=context, parent=source, on_close=mapping.close)
