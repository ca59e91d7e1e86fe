"""OpenCL > OpenVINO: a buffer as a tensor of Intel's GPU; its kernels finish first.

Written by openvino's headers and run on no GPU yet: elsewhere the edge is refused, and the route is
OpenCL > CPU > OpenVINO, which copies nothing on a device that shares host memory.
"""

from bridges.backends.opencl import OpenCLContext
from bridges.backends.openvino import OpenVINORemoteTensor
from bridges.backends.openvino_opencl import OpenVINOOpenCLContext
from bridges.context import Context
from bridges.routes import Copied, edge
from bridges.tensor import AccessMode, MemoryType, Tensor


def _no_shared_gpu(source: Context, target: Context) -> str:
    if not isinstance(target, OpenVINOOpenCLContext):
        return f"{target.name} shares no OpenCL context; an OpenVINOOpenCLContext on a GPU does"
    if target.handle("cl_context") != source.handle("cl_context"):
        return f"{target.name} shares another OpenCL context"
    return ""


@edge(MemoryType.OPENCL, MemoryType.OPENVINO, copies=False, refusal=_no_shared_gpu)
def share(
    source: Tensor, context: Context, access: AccessMode, copied: Copied
) -> OpenVINORemoteTensor:
    """Map one buffer in place; requests that use it are to be finished before ``close()``.

    Raises
    ------
    FormatError
        The samples are not dense, or openvino has no such type.
    DeviceError
        The plugin does not take the buffer, or a kernel that wrote to it failed.
    """
    device = source.context
    assert isinstance(context, OpenVINOOpenCLContext)
    assert isinstance(device, OpenCLContext)
    mapped = context.over(source)
    # openvino runs on a queue of its own.
    mapped.on_open = device.finish
    return mapped
