"""FFmpeg > DMA: a plane of a DRM_PRIME frame as its file descriptor, offset and layout."""

from bridges.backends.dma import DMATensor, FileDescriptor
from bridges.backends.ffmpeg import FFmpegContext
from bridges.context import Context
from bridges.native.libavutil import AVFrame, frame_pointer
from bridges.native.libavutil_drm import AVDRMFrameDescriptor
from bridges.routes import Copied, edge
from bridges.tensor import AccessMode, MemoryType, Tensor


def _is_not_drm_prime(source: Context, target: Context) -> str:
    assert isinstance(source, FFmpegContext)
    if source.hardware == "drm_prime":
        return ""
    return f"its frames are in {source.hardware or 'host'} memory and have no file descriptor"


# It holds the decoder's frame, which a kept mapping would take from the decoder's pool.
@edge(
    MemoryType.FFMPEG,
    MemoryType.DMA,
    copies=False,
    refusal=_is_not_drm_prime,
    reusable=False,
)
def ffmpeg_to_dma(
    source: Tensor, context: Context, access: AccessMode, copied: Copied
) -> DMATensor:
    """Return one plane with a file descriptor of its own; tiled ones keep their modifier.

    Raises
    ------
    DeviceError
        The process has too many open files.
    """
    frame = source.handle("av_frame")
    native = AVFrame.from_address(frame_pointer(frame))
    descriptor = AVDRMFrameDescriptor.from_address(native.data[0])
    plane = descriptor.flat_planes()[source.handle("plane_index")]
    dma = descriptor.objects[plane.object_index]
    return DMATensor(
        FileDescriptor.duplicate(dma.fd),
        source.info,
        offset=plane.offset,
        modifier=dma.format_modifier,
        keep=frame,
        context=context,
        parent=source,
    )
