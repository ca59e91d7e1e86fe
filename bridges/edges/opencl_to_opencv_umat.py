"""OpenCL > OpenCV_UMat: a copy on the device: OpenCV lets Python make no UMat of a buffer."""

import pyopencl as cl

from bridges.backends.opencl import OpenCLContext, opencl_errors
from bridges.backends.opencv import check_mat
from bridges.backends.opencv_umat import (
    NO_OPENCL,
    OpenCVUMatContext,
    OpenCVUMatTensor,
    row_pitch,
    row_region,
)
from bridges.context import Context
from bridges.routes import Copied, edge
from bridges.tensor import AccessMode, MemoryType, Tensor, TensorInfo


def _is_another_context(source: Context, target: Context) -> str:
    assert isinstance(source, OpenCLContext)
    assert isinstance(target, OpenCVUMatContext)
    if target.opencl is None:
        return NO_OPENCL
    if target.handle("cl_context") == source.native:
        return ""
    return f"{source.name} is not in OpenCV's own cl_context; derive it from the UMat context"


@edge(MemoryType.OPENCL, MemoryType.OPENCV_UMAT, copies=True, refusal=_is_another_context)
def opencl_to_opencv_umat(
    source: Tensor, context: Context, access: AccessMode, copied: Copied
) -> OpenCVUMatTensor:
    """Copy one plane on the device for READ, and back at ``close()`` for WRITE.

    To copy nothing, let the UMat own the memory: allocate it, and map it to OpenCL.

    Raises
    ------
    FormatError
        No UMat has this shape or sample type, or rows overlap.
    DeviceError
        The device has too little memory, or a copy failed.
    """
    assert isinstance(context, OpenCVUMatContext)
    info, buffer, queue = source.info, source.handle("cl_mem"), source.context.handle("cl_queue")
    check_mat(info)
    owned = context.allocate(TensorInfo(info.shape, info.dtype))
    umat, whole = owned.native, owned.whole.native
    theirs, ours = (buffer, row_pitch(info)), (whole, row_pitch(owned.info))

    def move(source: tuple[cl.Buffer, tuple[int]], target: tuple[cl.Buffer, tuple[int]]) -> None:
        with opencl_errors(f"copy {info.nbytes} bytes on {context.name}"):
            # Kernels on either buffer may be in either queue.
            context.finish()
            cl.enqueue_copy(
                queue,
                target[0],
                source[0],
                src_origin=(0, 0),
                dst_origin=(0, 0),
                region=row_region(info),
                src_pitches=source[1],
                dst_pitches=target[1],
            ).wait()
        copied(info.nbytes)

    return OpenCVUMatTensor(
        umat,
        owned.info,
        context=context,
        parent=source,
        on_open=(lambda: move(theirs, ours)) if access & AccessMode.READ else None,
        on_close=(lambda: move(ours, theirs)) if access & AccessMode.WRITE else None,
    )
