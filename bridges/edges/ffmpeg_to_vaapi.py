"""FFmpeg > VAAPI: the surface of a frame that FFmpeg has decoded or filtered on a VA device."""

import weakref
from collections.abc import Callable

from av.codec.hwaccel import hwdevices_available

from bridges.backends.ffmpeg import FFmpegContext
from bridges.backends.ffmpeg_hardware import device_reference
from bridges.backends.vaapi import VAAPIContext, VAAPITensor
from bridges.backends.vaapi_ffmpeg import display_of, frames_pool, surface_number
from bridges.backends.vaapi_surface import Surface
from bridges.context import Context
from bridges.errors import FormatError
from bridges.frame import Frame
from bridges.routes import Copied, frame_edge
from bridges.tensor import AccessMode, MemoryType


def _has_no_surfaces(source: Context, target: Context) -> str:
    assert isinstance(source, FFmpegContext)
    if source.hardware != "vaapi":
        return f"its frames are in {source.hardware or 'host'} memory"
    if "vaapi" not in hwdevices_available():
        return "the FFmpeg that PyAV carries is built without VA-API; build PyAV with one that has"
    return ""


@frame_edge(MemoryType.FFMPEG, MemoryType.VAAPI, copies=False, refusal=_has_no_surfaces)
def ffmpeg_to_vaapi(frame: Frame, context: Context, access: AccessMode, copied: Copied) -> Frame:
    """Map a whole frame; its surface goes back to FFmpeg's pool when nothing uses it any more.

    Raises
    ------
    FormatError
        The frame is on another display than the context's.
    """
    assert isinstance(context, VAAPIContext)
    av_frame = frame.tensors[0].handle("av_frame")
    display = display_of(device_reference(av_frame))
    if display != context.display.native:
        raise FormatError(
            f"this frame is on the VA display {display:#x}, and {context.name} is "
            f"{context.display.native:#x}; use borrow_device of the frame's own device"
        )
    pool = frames_pool(av_frame)
    info = frame.info
    surface = Surface(
        context.display,
        surface_number(av_frame),
        info.format,
        info.width,
        info.height,
        keep=pool,
        layout=pool.layout,
    )
    pool.layout = surface.layout
    mapped = []
    for index, (plane, tensor) in enumerate(zip(surface.planes, frame.tensors, strict=True)):
        one = VAAPITensor(
            surface, index, plane, owner=av_frame, pool=pool, context=context, parent=tensor
        )
        one.on_close = _let_go(weakref.ref(one))
        mapped.append(one)
    return frame.over(mapped)


def _let_go(reference: "weakref.ref[VAAPITensor]") -> Callable[[], None]:
    """Return what lets go of the frame: a cache keeps the mapping, and must not keep the frame."""

    def let_go() -> None:
        tensor = reference()
        if tensor is not None:
            tensor.owner = None

    return let_go
