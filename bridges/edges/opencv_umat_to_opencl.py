"""OpenCV_UMat > OpenCL: a UMat's own buffer, in OpenCV's own OpenCL context."""

from bridges.backends.opencl import OpenCLContext, OpenCLTensor
from bridges.backends.opencv_umat import NO_OPENCL, OpenCVUMatContext, OpenCVUMatTensor
from bridges.context import Context
from bridges.routes import Copied, edge
from bridges.tensor import AccessMode, MemoryType, Tensor


def _is_another_context(source: Context, target: Context) -> str:
    assert isinstance(source, OpenCVUMatContext)
    assert isinstance(target, OpenCLContext)
    if source.opencl is None:
        return NO_OPENCL
    if source.handle("cl_context") == target.native:
        return ""
    return f"{target.name} is not in OpenCV's own cl_context; derive it from the UMat context"


@edge(MemoryType.OPENCV_UMAT, MemoryType.OPENCL, copies=False, refusal=_is_another_context)
def opencv_umat_to_opencl(
    source: Tensor, context: Context, access: AccessMode, copied: Copied
) -> OpenCLTensor:
    """Map one plane in place; ``close()`` waits for the kernels that use it.

    Raises
    ------
    FormatError
        The UMat is in host memory, or is a part that begins where no buffer can.
    DeviceError
        A kernel that used the memory failed.
    """
    assert isinstance(source, OpenCVUMatTensor)
    assert isinstance(context, OpenCLContext)
    whole, info = source.whole, source.info
    offset = source.native.offset
    part = whole[offset : offset + info.span] if offset else whole
    assert isinstance(part, OpenCLTensor)
    # By itself, so that ``source`` may be closed first.
    settle = source.lend().settle
    return OpenCLTensor(
        part.native,
        info,
        keep=part.keep,
        context=context,
        parent=source,
        on_open=lambda: settle(access),
        on_close=context.finish,
    )
