"""FFmpeg > CUDA: the planes of a frame that NVDEC decoded, in place on the GPU."""

from bridges.backends.cuda import CUDAContext, CUDATensor
from bridges.backends.cuda_driver import LEGACY_STREAM
from bridges.backends.ffmpeg import FFmpegContext
from bridges.backends.ffmpeg_hardware import device_reference
from bridges.context import Context
from bridges.edges.countdown import Countdown
from bridges.errors import FormatError
from bridges.frame import Frame
from bridges.native.libavutil import AVFrame, frame_pointer
from bridges.native.libavutil_cuda import cuda_device
from bridges.routes import Copied, frame_edge
from bridges.tensor import AccessMode, MemoryType

_ADVICE = (
    "open the file in a block of `with context.current:`, with hwaccel=HWAccel('cuda', "
    "is_hw_owned=True, options={'primary_ctx': '0', 'current_ctx': '1'})"
)
"""PyAV's own default, primary_ctx, works only where FFmpeg is the first in the process to use CUDA:
later the primary context is there, and FFmpeg refuses its flags (ENOTSUP)."""


def _differs(source: Context, target: Context) -> str:
    """Return why a GPU's frames are not the other context's; empty where that is open yet."""
    assert isinstance(source, FFmpegContext)
    assert isinstance(target, CUDAContext)
    if source.hardware != "cuda":
        return f"FFmpeg's frames are in {source.hardware or 'host'} memory; {_ADVICE}"
    try:
        reference = source.handle("ffmpeg.device_context")
    except KeyError:  # No frame has told the device yet: each one is checked.
        return ""
    if cuda_device(reference).cuda_ctx != target.handle("cuda_context"):
        return f"FFmpeg uses another CUDA context than {target.name}; {_ADVICE}"
    return ""


@frame_edge(MemoryType.FFMPEG, MemoryType.CUDA, copies=False, refusal=_differs)
def ffmpeg_to_cuda(frame: Frame, context: Context, access: AccessMode, copied: Copied) -> Frame:
    """Map a whole frame; the context's stream waits for FFmpeg's, and FFmpeg's for it at the end.

    Raises
    ------
    FormatError
        The frame is on another device, or in another CUDA context than the device's primary one.
    DeviceError
        A stream failed.
    """
    assert isinstance(context, CUDAContext)
    av_frame = frame.tensors[0].handle("av_frame")
    native = AVFrame.from_address(frame_pointer(av_frame))
    reference = device_reference(av_frame)
    device = cuda_device(reference) if reference else None
    ours = context.stream_handle
    if device is None or not native.data[0] or device.cuda_ctx != context.handle("cuda_context"):
        raise FormatError(
            f"{context.name} maps frames in the primary CUDA context of that device, and this one "
            f"({av_frame.format.name}) is not; {_ADVICE}"
        )
    theirs = device.stream or LEGACY_STREAM
    # FFmpeg uses the surface again as soon as it has the frame back.
    last = Countdown(len(frame.tensors), lambda: context.join(theirs, ours))
    mapped = [
        CUDATensor(
            native.data[index],
            tensor.info,
            owner=av_frame,
            writeable=bool(access & AccessMode.WRITE),
            context=context,
            parent=tensor,
            on_close=last,
        )
        for index, tensor in enumerate(frame.tensors)
    ]
    mapped[0].on_open = lambda: context.join(ours, theirs)
    return frame.over(mapped)
