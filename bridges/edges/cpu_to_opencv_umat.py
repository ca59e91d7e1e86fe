"""CPU > OpenCV_UMat: a copy in a UMat: OpenCV lets Python make none over an array's memory."""

from bridges.backends.opencv import check_mat, seen_for
from bridges.backends.opencv_umat import OpenCVUMatContext, OpenCVUMatTensor
from bridges.context import Context
from bridges.routes import Copied, edge
from bridges.tensor import AccessMode, MemoryType, Tensor


@edge(MemoryType.CPU, MemoryType.OPENCV_UMAT, copies=True)
def cpu_to_opencv_umat(
    source: Tensor, context: Context, access: AccessMode, copied: Copied
) -> OpenCVUMatTensor:
    """Copy one plane into a UMat for READ, and back at ``close()`` for WRITE.

    Raises
    ------
    FormatError
        A Mat cannot describe the array, or WRITE is asked of an array that is read-only.
    DeviceError
        OpenCV's device has too little memory, or a transfer failed.
    """
    assert isinstance(context, OpenCVUMatContext)
    info, array = source.info, seen_for(access, source.handle("array"))
    check_mat(info)
    owned = context.allocate(info)
    return OpenCVUMatTensor(
        owned.native,
        owned.info,
        context=context,
        parent=source,
        on_open=(lambda: copied(owned.store(array))) if access & AccessMode.READ else None,
        on_close=(lambda: copied(owned.fetch(array))) if access & AccessMode.WRITE else None,
    )
