"""OpenCV_UMat > CPU: a UMat as an array, in place where OpenCV's device shares host memory."""

import numpy as np

from bridges.backends.cpu import CPUTensor
from bridges.backends.host_array import array_at
from bridges.backends.opencv_umat import OpenCVUMatContext, OpenCVUMatTensor
from bridges.context import Context
from bridges.edges.refusals import source_has_own_memory
from bridges.routes import Copied, edge
from bridges.tensor import AccessMode, MemoryType, Tensor


def _is_out_of_reach(source: Context, target: Context) -> str:
    assert isinstance(source, OpenCVUMatContext)
    if source.opencl is None:
        return "without OpenCL, OpenCV does not tell where a UMat is"
    return source_has_own_memory(source, target)


@edge(MemoryType.OPENCV_UMAT, MemoryType.CPU, copies=False, refusal=_is_out_of_reach)
def view(source: Tensor, context: Context, access: AccessMode, copied: Copied) -> CPUTensor:
    """Show one UMat in place, once OpenCV's work on it is done.

    Raises
    ------
    FormatError
        The UMat was made while OpenCV's use of OpenCL was off.
    DeviceError
        The runtime could not map the buffer, or a kernel failed.
    """
    assert isinstance(source, OpenCVUMatTensor)
    whole, writeable = source.whole, bool(access & AccessMode.WRITE)
    # The array holds the UMat, so that ``source`` may be closed before it.
    address = whole.address + source.native.offset
    array = array_at(address, source.info, owner=whole.keep, writeable=writeable)
    settle = source.lend().settle
    return CPUTensor(array, context=context, parent=source, on_open=lambda: settle(access))


@edge(MemoryType.OPENCV_UMAT, MemoryType.CPU, copies=True)
def download(source: Tensor, context: Context, access: AccessMode, copied: Copied) -> CPUTensor:
    """Copy one UMat to the host for READ, and back at ``close()`` for WRITE.

    Raises
    ------
    DeviceError
        A transfer failed.
    """
    assert isinstance(source, OpenCVUMatTensor)
    umat = source.lend()
    memory = np.empty(source.info.shape, source.info.dtype)
    array = memory.view()
    array.flags.writeable = bool(access & AccessMode.WRITE)
    return CPUTensor(
        array,
        context=context,
        parent=source,
        on_open=(lambda: copied(umat.fetch(memory))) if access & AccessMode.READ else None,
        on_close=(lambda: copied(umat.store(memory))) if access & AccessMode.WRITE else None,
    )
