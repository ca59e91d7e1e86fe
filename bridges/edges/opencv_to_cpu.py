"""OpenCV > CPU: a Mat as an array over the same memory."""

from bridges.backends.cpu import CPUTensor
from bridges.backends.opencv import seen_for
from bridges.context import Context
from bridges.routes import Copied, edge
from bridges.tensor import AccessMode, MemoryType, Tensor


@edge(MemoryType.OPENCV, MemoryType.CPU, copies=False)
def opencv_to_cpu(
    source: Tensor, context: Context, access: AccessMode, copied: Copied
) -> CPUTensor:
    """Map one plane; a READ mapping cannot be written to.

    Raises
    ------
    FormatError
        WRITE is asked of a Mat that is read-only.
    """
    array = seen_for(access, source.handle("cv_mat"))
    return CPUTensor(array, context=context, parent=source)
