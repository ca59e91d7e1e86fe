"""CPU > FFmpeg: arrays as the planes of an AVFrame, which holds them until FFmpeg lets go."""

from collections.abc import Callable

from av.video.frame import VideoFrame

from bridges.backends.ffmpeg import FFmpegContext, FFmpegTensor
from bridges.backends.ffmpeg_properties import set_info
from bridges.backends.layout import check_plane
from bridges.context import Context
from bridges.edges.countdown import Countdown
from bridges.frame import Frame, FrameInfo
from bridges.native.held import Held, immortal
from bridges.native.libavutil import BUFFER_READ_ONLY, AVFrame, BufferFree, frame_pointer, library
from bridges.routes import Copied, frame_edge
from bridges.tensor import AccessMode, MemoryType

__all__ = ["cpu_to_ffmpeg", "give_to_ffmpeg", "held_planes"]

_held = Held()
_let_go = immortal(BufferFree(_held.let_go))


def held_planes() -> int:
    """Return how many planes FFmpeg still holds; zero once every frame is gone."""
    return len(_held)


def _is_on_device(source: Context, target: Context) -> str:
    assert isinstance(target, FFmpegContext)
    return f"its frames are in {target.hardware} memory" if target.hardware else ""


# An AVFrame carries the time of its picture.
@frame_edge(MemoryType.CPU, MemoryType.FFMPEG, copies=False, refusal=_is_on_device, reusable=False)
def cpu_to_ffmpeg(frame: Frame, context: Context, access: AccessMode, copied: Copied) -> Frame:
    """Map a whole frame; the arrays stay alive until FFmpeg's last reference is dropped.

    Raises
    ------
    FormatError
        Samples of a row are not side by side, or rows are closer than a row is wide.
    """
    assert isinstance(context, FFmpegContext)
    arrays = [tensor.handle("array") for tensor in frame.tensors]
    av_frame = _av_frame(frame, access, arrays.clear)
    return frame.over(
        [
            FFmpegTensor(av_frame, index, tensor.handle("data"), tensor.info, context=context)
            for index, tensor in enumerate(frame.tensors)
        ]
    )


def give_to_ffmpeg(frame: Frame) -> VideoFrame:
    """Give a host frame to FFmpeg, which closes it once nobody there reads it any more.

    The samples are read-only to FFmpeg: a filter that would write in place makes its own copy.

    Raises
    ------
    FormatError
        As for `cpu_to_ffmpeg`.
    """
    return _av_frame(frame, AccessMode.READ, frame.close)


def _av_frame(frame: Frame, access: AccessMode, done: Callable[[], None]) -> VideoFrame:
    """Return an AVFrame over the planes; ``done`` is called when FFmpeg has dropped them all."""
    for index, (tensor, dense) in enumerate(zip(frame.tensors, frame.info.planes, strict=True)):
        check_plane("FFmpeg", index, tensor.info, dense)
    av_frame = _empty_frame(frame.info)
    native = AVFrame.from_address(frame_pointer(av_frame))
    flags = 0 if access & AccessMode.WRITE else BUFFER_READ_ONLY
    countdown = Countdown(len(frame.tensors), done)
    for index, tensor in enumerate(frame.tensors):
        address = tensor.handle("data")
        native.buf[index] = library().av_buffer_create(
            address, tensor.info.span, _let_go, _held.hold(countdown), flags
        )
        native.data[index] = address
        native.linesize[index] = tensor.info.strides[0]
    return av_frame


def _empty_frame(info: FrameInfo) -> VideoFrame:
    """Return a frame of the right format and size that has no buffers yet."""
    # PyAV fixes the sizes of its planes at construction, and only then allocates; the memory that
    # it takes is given back here untouched.
    frame = VideoFrame(info.width, info.height, info.format.name)
    pointer = frame_pointer(frame)
    native = AVFrame.from_address(pointer)
    number = native.format
    library().av_frame_unref(pointer)
    native.format, native.width, native.height = number, info.width, info.height
    set_info(frame, info)
    return frame
