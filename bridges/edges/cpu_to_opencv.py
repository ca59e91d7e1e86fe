"""CPU > OpenCV: an array as a Mat over the same memory."""

from bridges.backends.opencv import OpenCVTensor, check_mat, seen_for
from bridges.context import Context
from bridges.routes import Copied, edge
from bridges.tensor import AccessMode, MemoryType, Tensor


@edge(MemoryType.CPU, MemoryType.OPENCV, copies=False)
def cpu_to_opencv(
    source: Tensor, context: Context, access: AccessMode, copied: Copied
) -> OpenCVTensor:
    """Map one plane; OpenCV refuses a READ mapping as an output.

    Raises
    ------
    FormatError
        A Mat cannot describe the array, or WRITE is asked of an array that is read-only.
    """
    check_mat(source.info)
    mat = seen_for(access, source.handle("array"))
    return OpenCVTensor(mat, source.info, context=context, parent=source)
