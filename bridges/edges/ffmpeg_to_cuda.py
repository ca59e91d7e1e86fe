"""FFmpeg > CUDA: the planes of a frame that NVDEC decoded, in place on the GPU."""

from bridges.backends.cuda import CUDAContext, CUDATensor
from bridges.backends.cuda_driver import LEGACY_STREAM
from bridges.backends.ffmpeg import FFmpegContext
from bridges.backends.ffmpeg_hardware import device_reference
from bridges.context import Context
from bridges.errors import FormatError
from bridges.native.libavutil import AVFrame, frame_pointer
from bridges.native.libavutil_cuda import cuda_device
from bridges.routes import Copied, edge
from bridges.tensor import AccessMode, MemoryType, Tensor

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


@edge(MemoryType.FFMPEG, MemoryType.CUDA, copies=False, refusal=_differs)
def ffmpeg_to_cuda(
    source: Tensor, context: Context, access: AccessMode, copied: Copied
) -> CUDATensor:
    """Map one plane; the context's stream waits for FFmpeg's, and FFmpeg's for it at ``close()``.

    Raises
    ------
    FormatError
        The frame is on another device, or in another CUDA context than the device's primary one.
    DeviceError
        A stream failed.
    """
    assert isinstance(context, CUDAContext)
    frame = source.handle("av_frame")
    address = AVFrame.from_address(frame_pointer(frame)).data[source.handle("plane_index")]
    reference = device_reference(frame)
    device = cuda_device(reference) if reference else None
    ours = context.stream_handle
    if device is None or not address or device.cuda_ctx != context.handle("cuda_context"):
        raise FormatError(
            f"{context.name} maps frames in the primary CUDA context of that device, and this one "
            f"({frame.format.name}) is not; {_ADVICE}"
        )
    theirs = device.stream or LEGACY_STREAM
    return CUDATensor(
        address,
        source.info,
        owner=frame,
        writeable=bool(access & AccessMode.WRITE),
        context=context,
        parent=source,
        on_open=lambda: context.join(ours, theirs),
        # FFmpeg uses the surface again as soon as it has the frame back.
        on_close=lambda: context.join(theirs, ours),
    )
