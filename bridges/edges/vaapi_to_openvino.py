"""VAAPI > OpenVINO: an NV12 surface as two tensors of the GPU that decoded it.

Written by openvino's headers and run on no GPU yet: where openvino has none, no context for the
display can be made (`OpenVINOContext.from_vaapi`) and the edge is refused.
"""

from bridges.backends.openvino import OpenVINOContext, OpenVINORemoteTensor, openvino_errors
from bridges.backends.vaapi import whole_surface
from bridges.context import Context
from bridges.errors import FormatError
from bridges.frame import Frame
from bridges.routes import Copied, frame_edge
from bridges.tensor import AccessMode, MemoryType


def _no_shared_display(source: Context, target: Context) -> str:
    try:
        display = target.handle("va_display")
    except KeyError:
        return f"{target.name} is no GPU of a VAAPI display; OpenVINOContext.from_vaapi opens one"
    if display != source.handle("va_display"):
        return f"{target.name} shares another VAAPI display"
    return ""


@frame_edge(MemoryType.VAAPI, MemoryType.OPENVINO, copies=False, refusal=_no_shared_display)
def share(frame: Frame, context: Context, access: AccessMode, copied: Copied) -> Frame:
    """Map a whole surface for READ, once the decoder has finished it.

    Requests that use it are to be finished before ``close()``.

    The native tensors have the shapes that the GPU plugin gives them, ``[1, height, width, 1]`` and
    ``[1, height / 2, width / 2, 2]``.

    Raises
    ------
    FormatError
        The frame is not NV12, has an odd size, does not start where its surface does, or is to be
        written to.
    DeviceError
        The plugin does not take the surface.
    """
    assert isinstance(context, OpenVINOContext)
    info = frame.info
    if AccessMode.WRITE in access:
        raise FormatError("OpenVINO only reads VAAPI's surfaces; map with READ")
    if info.format.name != "nv12" or info.width % 2 or info.height % 2:
        raise FormatError(
            f"OpenVINO takes NV12 surfaces of even size, got {info.format.name} of {info.width}x"
            f"{info.height}; convert it in VAAPI first"
        )
    surface, x, y = whole_surface(frame)
    if x or y:
        raise FormatError(
            f"OpenVINO takes surfaces from their first pixel on, got a part at ({x}, {y}); crop it "
            "in VAAPI first"
        )
    with openvino_errors(f"share {surface} with {context.name}"):
        natives = context.handle("ov_remote_context").create_tensor_nv12(
            info.height, info.width, surface.number
        )
    # The frame may be closed first: the surface lives on, and nobody draws into it.
    owner = frame.tensors[0].memory_owner()
    tensors = [
        OpenVINORemoteTensor(native, plane, keep=owner, context=context, parent=source)
        for native, plane, source in zip(natives, info.planes, frame.tensors, strict=True)
    ]
    tensors[0].on_open = surface.sync
    return frame.over(tensors)
