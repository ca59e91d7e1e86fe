"""FFmpeg > CUDA: the planes of a frame that NVDEC decoded, in place on the GPU."""

import sys
from typing import cast

from av.video.frame import VideoFrame

from bridges.backends.cuda import CUDAContext, CUDATensor, Lent
from bridges.backends.cuda_driver import LEGACY_STREAM
from bridges.backends.ffmpeg import FFmpegContext, FFmpegTensor
from bridges.context import Context
from bridges.errors import FormatError
from bridges.frame import Frame
from bridges.routes import Copied, frame_edge
from bridges.tensor import AccessMode, MemoryType

__all__ = ["LentSurface", "ffmpeg_to_cuda"]

_ADVICE = (
    "open the file in a block of `with context.current:`, with hwaccel=HWAccel('cuda', "
    "is_hw_owned=True, options={'primary_ctx': '0', 'current_ctx': '1'})"
)
"""PyAV's own default, primary_ctx, works only where FFmpeg is the first in the process to use CUDA:
later the primary context is there, and FFmpeg refuses its flags (ENOTSUP)."""


class LentSurface(Lent):
    """A frame of FFmpeg whose planes are seen on the context's stream.

    Once nobody refers to it FFmpeg has the frame back, whose stream then waits for ours: it uses
    the surface again at once.
    """

    __slots__ = ("_context", "_frame", "_stream")

    def __init__(self, frame: VideoFrame, context: CUDAContext, stream: int) -> None:
        super().__init__()
        self._frame, self._context, self._stream = frame, context, stream

    def __del__(self) -> None:
        if not sys.is_finalizing():
            self._context.join(self._stream, self._context.stream_handle)
            if self.is_lent:
                self._context.join(self._stream, LEGACY_STREAM)


def _differs(source: Context, target: Context) -> str:
    """Return why a GPU's frames are not the other context's; empty where that is open yet."""
    assert isinstance(source, FFmpegContext)
    assert isinstance(target, CUDAContext)
    if source.hardware != "cuda":
        return f"FFmpeg's frames are in {source.hardware or 'host'} memory; {_ADVICE}"
    try:
        cuda_context, _ = source.cuda
    except KeyError:  # No frame has told the device yet: each one is checked.
        return ""
    if cuda_context != target.handle("cuda_context"):
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
    source = frame.tensors[0].context
    assert isinstance(source, FFmpegContext)
    try:
        cuda_context, stream = source.cuda
    except KeyError:
        cuda_context = stream = 0
    planes = cast("tuple[FFmpegTensor, ...]", frame.tensors)
    if not planes[0].device_address or cuda_context != context.cuda_handle:
        name = planes[0].handle("av_frame").format.name
        raise FormatError(
            f"{context.name} maps frames in the primary CUDA context of that device, and this one "
            f"({name}) is not; {_ADVICE}"
        )
    ours, theirs = context.stream_handle, stream or LEGACY_STREAM
    surface = LentSurface(planes[0].handle("av_frame"), context, theirs)
    writeable = bool(access & AccessMode.WRITE)
    mapped = [
        CUDATensor(
            tensor.device_address,
            tensor.info,
            owner=surface,
            writeable=writeable,
            context=context,
            parent=tensor,
        )
        for tensor in planes
    ]
    mapped[0].on_open = lambda: context.join(ours, theirs)
    return frame.over(mapped)
