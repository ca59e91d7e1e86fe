"""CUDA > FFmpeg: planes on a GPU as a frame for FFmpeg's own CUDA: NVENC, filters of the device."""

import weakref

from av.video.frame import CudaContext, VideoFrame

from bridges.backends.cuda import CUDAContext, CUDATensor
from bridges.backends.cuda_driver import LEGACY_STREAM
from bridges.backends.ffmpeg import FFmpegContext, FFmpegTensor
from bridges.backends.ffmpeg_properties import set_info
from bridges.backends.layout import check_plane
from bridges.context import Context
from bridges.errors import FormatError
from bridges.frame import Frame
from bridges.routes import Copied, frame_edge
from bridges.tensor import AccessMode, MemoryType

__all__ = ["CUDA_FORMATS", "cuda_to_ffmpeg", "give_to_ffmpeg"]

CUDA_FORMATS = ("nv12", "p010le", "p016le")
"""What PyAV makes frames of a GPU of; their width and height are even."""

_devices: weakref.WeakKeyDictionary[CUDAContext, CudaContext] = weakref.WeakKeyDictionary()
"""What PyAV calls a CUDA context; frames of one form are of one pool, as an encoder needs it."""


def _is_not_cuda(source: Context, target: Context) -> str:
    assert isinstance(target, FFmpegContext)
    if target.hardware == "cuda":
        return ""
    return f"its frames are in {target.hardware or 'host'} memory"


# An AVFrame carries the time of its picture.
@frame_edge(MemoryType.CUDA, MemoryType.FFMPEG, copies=False, refusal=_is_not_cuda, reusable=False)
def cuda_to_ffmpeg(frame: Frame, context: Context, access: AccessMode, copied: Copied) -> Frame:
    """Map a whole frame; FFmpeg's stream waits for the context's, which waits for it at the end.

    Raises
    ------
    FormatError
        The format is none of `CUDA_FORMATS`, a size is odd, samples of a row are not side by side,
        or rows are closer than a row is wide.
    DeviceError
        A stream failed.
    """
    assert isinstance(context, FFmpegContext)
    av_frame = give_to_ffmpeg(frame)
    mapped = [
        FFmpegTensor(av_frame, index, 0, tensor.info, context=context)
        for index, tensor in enumerate(frame.tensors)
    ]
    if access & AccessMode.WRITE:
        device = frame.tensors[0].context
        assert isinstance(device, CUDAContext)
        mapped[0].on_close = lambda: device.join(device.stream_handle, LEGACY_STREAM)
    return frame.over(mapped)


def give_to_ffmpeg(frame: Frame) -> VideoFrame:
    """Give a frame on a GPU to FFmpeg, which holds its memory until nobody there reads it any more.

    FFmpeg's stream waits for what was put on the context's so far.

    Raises
    ------
    FormatError, DeviceError
        As for `cuda_to_ffmpeg`.
    """
    info = frame.info
    if info.format.name not in CUDA_FORMATS or info.width % 2 or info.height % 2:
        raise FormatError(
            f"FFmpeg takes frames on a GPU in {', '.join(CUDA_FORMATS)} and in even sizes, got "
            f"{info.format.name} of {info.width}x{info.height}; download it, or convert it first"
        )
    for index, (tensor, dense) in enumerate(zip(frame.tensors, info.planes, strict=True)):
        check_plane("FFmpeg", index, tensor.info, dense)
    device = frame.tensors[0].context
    assert isinstance(device, CUDAContext)
    planes = [tensor for tensor in frame.tensors if isinstance(tensor, CUDATensor)]
    with device.current:
        known = _devices.get(device)
        if known is None:
            known = CudaContext(device_id=device.ordinal, primary_ctx=False, current_ctx=True)
            _devices[device] = known
        av_frame = VideoFrame.from_dlpack(
            planes, info.format.name, info.width, info.height, cuda_context=known
        )
    set_info(av_frame, info)
    return av_frame
