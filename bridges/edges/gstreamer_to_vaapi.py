"""GStreamer > VAAPI: the surface that a Gst.Buffer of GStreamer's VA elements is."""

from bridges.backends.gstreamer import GStreamerContext, GStreamerTensor
from bridges.backends.vaapi import VAAPIContext
from bridges.context import Context
from bridges.errors import FormatError
from bridges.frame import Frame
from bridges.native.libgstreamer import library
from bridges.native.libva import INVALID_SURFACE
from bridges.routes import Copied, frame_edge
from bridges.tensor import AccessMode, MemoryType


def _is_elsewhere(source: Context, target: Context) -> str:
    assert isinstance(source, GStreamerContext)
    if source.memory != "va":
        return f"its buffers are in {source.memory} memory, create('va') is for VA surfaces"
    try:
        library("gstva")
    except OSError as error:
        return f"{error}; try: apt install gstreamer1.0-plugins-bad"
    return ""


# A pool gives a surface's name to the next picture, which only the buffer tells apart.
@frame_edge(
    MemoryType.GSTREAMER,
    MemoryType.VAAPI,
    copies=False,
    refusal=_is_elsewhere,
    reusable=False,
)
def gstreamer_to_vaapi(frame: Frame, context: Context, access: AccessMode, copied: Copied) -> Frame:
    """Map a whole frame; the surface is the buffer's, which is kept.

    It has to be a surface of the context's own display: open that with `VAAPIContext.borrow`.

    Raises
    ------
    FormatError
        The buffer is no VA surface, or one of another display.
    """
    assert isinstance(context, VAAPIContext)
    tensor = frame.tensors[0]
    assert isinstance(tensor, GStreamerTensor)
    lib = library("gstva")
    surface = lib.gst_va_memory_get_surface(tensor.pointer)
    owner = lib.gst_va_memory_peek_display(tensor.pointer)
    if surface == INVALID_SURFACE or not owner:
        raise FormatError(
            "this buffer is no VA surface; take it from an element of GStreamer's va plugin"
        )
    display = lib.gst_va_display_get_va_dpy(owner)
    if display != context.display.native:
        raise FormatError(
            f"this surface is of the VA display {display:#x}, the context has another one; map it "
            f"with VAAPIContext.borrow({display:#x}, owner=buffer)"
        )
    mapped = context.wrap(surface, frame.info, owner=tensor.buffer)
    mapped.parent = frame
    return mapped
