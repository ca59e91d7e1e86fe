"""DMA > FFmpeg: planes as a DRM_PRIME frame, which holds their descriptors until FFmpeg lets go."""

import ctypes as c

from av.video.frame import VideoFrame

from bridges.backends.dma import DMATensor
from bridges.backends.ffmpeg import FFmpegContext, FFmpegTensor
from bridges.backends.ffmpeg_properties import set_info
from bridges.backends.layout import check_plane
from bridges.context import Context
from bridges.errors import FormatError
from bridges.frame import Frame, FrameInfo
from bridges.native.drm import fourcc
from bridges.native.held import Held, immortal
from bridges.native.libavutil import BUFFER_READ_ONLY, AVFrame, BufferFree, frame_pointer, library
from bridges.native.libavutil_drm import (
    AVDRMFrameDescriptor,
    AVDRMObjectDescriptor,
    AVDRMPlaneDescriptor,
)
from bridges.routes import Copied, frame_edge
from bridges.tensor import AccessMode, MemoryType, TensorInfo

__all__ = ["dma_to_ffmpeg", "held_frames"]

_PLANE_CODES = {(1, 1): "R8  ", (2, 1): "GR88", (1, 2): "R16 ", (2, 2): "GR32"}
"""``DRM_FORMAT_R8``, ``GR88``, ``R16``, ``GR1616`` of drm_fourcc.h by channels and bytes of each:
the layers of a picture whose format has no code of its own."""

_held = Held()
_let_go = immortal(BufferFree(_held.let_go))


def held_frames() -> int:
    """Return how many frames FFmpeg still holds; zero once every one is gone."""
    return len(_held)


def _is_not_drm_prime(source: Context, target: Context) -> str:
    assert isinstance(target, FFmpegContext)
    if target.hardware == "drm_prime":
        return ""
    return f"its frames are in {target.hardware or 'host'} memory"


# An AVFrame carries the time of its picture.
@frame_edge(
    MemoryType.DMA,
    MemoryType.FFMPEG,
    copies=False,
    refusal=_is_not_drm_prime,
    reusable=False,
)
def dma_to_ffmpeg(frame: Frame, context: Context, access: AccessMode, copied: Copied) -> Frame:
    """Map a whole frame; FFmpeg synchronises when it maps the frame itself.

    Raises
    ------
    FormatError
        DRM has no code for the format, samples of a row are not side by side, or rows are closer
        than a row is wide.
    DeviceError
        FFmpeg has too little memory.
    """
    assert isinstance(context, FFmpegContext)
    for index, (tensor, dense) in enumerate(zip(frame.tensors, frame.info.planes, strict=True)):
        check_plane("FFmpeg", index, tensor.info, dense)
    planes = [tensor for tensor in frame.tensors if isinstance(tensor, DMATensor)]
    descriptor = _describe(frame.info, planes)
    frames = context.frames_context(frame.info)
    av_frame = VideoFrame(0, 0, "drm_prime")
    native = AVFrame.from_address(frame_pointer(av_frame))
    native.width, native.height = frame.info.width, frame.info.height
    kept: list[object] = [descriptor, *((plane.descriptor, plane.keep) for plane in planes)]
    flags = 0 if access & AccessMode.WRITE else BUFFER_READ_ONLY
    address = c.addressof(descriptor)
    native.data[0] = address
    native.buf[0] = library().av_buffer_create(
        address, c.sizeof(descriptor), _let_go, _held.hold(kept.clear), flags
    )
    native.hw_frames_ctx = library().av_buffer_ref(frames)
    set_info(av_frame, frame.info)
    return frame.over(
        [
            FFmpegTensor(av_frame, index, 0, plane.info, context=context)
            for index, plane in enumerate(planes)
        ]
    )


def _describe(info: FrameInfo, planes: list[DMATensor]) -> AVDRMFrameDescriptor:
    """Return a descriptor: an object for each memory, and the format's layers."""
    descriptor = AVDRMFrameDescriptor()
    objects: dict[object, int] = {}
    places = []
    for plane in planes:
        owner = plane.descriptor
        # Drivers import a picture in one object, and refuse the same memory under several names.
        index = objects.setdefault((owner.identity or id(owner), plane.modifier), len(objects))
        descriptor.objects[index] = AVDRMObjectDescriptor(owner.fd, owner.nbytes, plane.modifier)
        places.append(AVDRMPlaneDescriptor(index, plane.offset, plane.info.strides[0]))
    descriptor.nb_objects = len(objects)
    if info.format.drm:
        descriptor.nb_layers = 1
        _set_layer(descriptor, 0, info.format.drm, places)
        return descriptor
    descriptor.nb_layers = len(places)
    for index, (layout, place) in enumerate(zip(info.planes, places, strict=True)):
        _set_layer(descriptor, index, _plane_code(info, layout), [place])
    return descriptor


def _set_layer(
    descriptor: AVDRMFrameDescriptor, index: int, code: str, places: list[AVDRMPlaneDescriptor]
) -> None:
    layer = descriptor.layers[index]
    layer.format, layer.nb_planes = fourcc(code), len(places)
    for position, place in enumerate(places):
        layer.planes[position] = place


def _plane_code(info: FrameInfo, layout: TensorInfo) -> str:
    channels = layout.shape[2] if len(layout.shape) == 3 else 1
    try:
        return _PLANE_CODES[channels, layout.dtype.itemsize]
    except KeyError:
        raise FormatError(
            f"DRM has no code for {info.format.name}, nor for a plane of {channels} channels of "
            f"{layout.dtype}; convert it to another format first"
        ) from None
