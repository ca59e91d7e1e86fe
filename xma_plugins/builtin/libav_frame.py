"""PyAV's pictures as frames of sessions, and back: over the same memory wherever that can be."""

from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction

from av.video.frame import VideoFrame

from bridges.backends.cpu import CPUContext
from bridges.backends.ffmpeg import FFmpegContext, frame_form
from bridges.backends.ffmpeg_hardware import HARDWARE
from bridges.backends.ffmpeg_properties import copy_properties, set_info, set_time
from bridges.backends.host_array import array_at
from bridges.edges.cpu_to_ffmpeg import give_to_ffmpeg
from bridges.errors import FormatError
from bridges.frame import Frame, FrameInfo
from bridges.native.libavutil import av_error, frame_pointer, library
from xma_plugins.frames import BufferRef, XmaFrame
from xma_plugins.host_frames import to_host
from xma_plugins.side_data import SideDataType

__all__ = [
    "forget_samples",
    "from_av",
    "let_go",
    "new_reference",
    "origin",
    "refer",
    "to_av",
]

_FFMPEG = FFmpegContext()
_HOST = CPUContext()


def from_av(picture: VideoFrame) -> XmaFrame:
    """Return a frame over a picture of PyAV, which it holds; nothing is copied.

    The picture itself goes along as side data, for its tags. A pixel format that is not in
    `bridges.formats` has no planes that could be asked for; the picture can still be encoded.
    """
    form: FrameInfo | None
    try:
        form = frame_form(picture)
    except FormatError:
        form = None

    def planes() -> Sequence[BufferRef]:
        wrapped = _FFMPEG.wrap(picture)
        return [
            # Quicker than by NumPy's protocol, which has to be there for each picture.
            BufferRef(
                _HOST.wrap(
                    array_at(tensor.handle("data"), tensor.info, owner=tensor, writeable=True)
                )
            )
            for tensor in wrapped.tensors
        ]

    frame = XmaFrame(form, planes, pts=picture.pts, time_base=picture.time_base, owner=picture)
    frame.put_side_data(SideDataType.LIBAV_FRAME, picture)
    return frame


def forget_samples(frame: XmaFrame) -> None:
    """Let go of the picture of PyAV that a frame comes from, but for its tags.

    For a frame with samples of its own: the picture's would stay in memory beside them.
    """
    source = origin(frame)
    if source is not None:
        tags = VideoFrame()
        copy_properties(source, tags)
        frame.put_side_data(SideDataType.LIBAV_FRAME, tags)


def origin(frame: XmaFrame) -> VideoFrame | None:
    """Return the picture of PyAV that a frame comes from: its tags are the frame's too."""
    side_data = frame.side_data(SideDataType.LIBAV_FRAME)
    return None if side_data is None else side_data.buffer


def to_av(frame: XmaFrame) -> VideoFrame:
    """Return a frame as a picture of PyAV, with the frame's time.

    What came from PyAV goes back as it is, or as another reference where its time was changed.
    Other memory of the host is lent to FFmpeg, which holds the planes until it is done with them;
    that of a device is carried to the host first.

    Raises
    ------
    InvalidError
        The frame is a dummy.
    BufferUseError
        The frame was closed.
    """
    owner = frame.owner
    if isinstance(owner, VideoFrame):
        if (owner.pts, owner.time_base) != (frame.pts, frame.time_base):
            return new_reference(owner, frame.pts, frame.time_base)
        return owner
    on_host = to_host(frame)
    assert frame.info is not None  # Whatever has planes has a form.
    info = replace(frame.info, pts=frame.pts, time_base=frame.time_base)
    lent = Frame(info, [plane.tensor.lend() for plane in on_host.planes], parent=on_host)
    lent.closes_parent = True
    try:
        picture = give_to_ffmpeg(lent)
    except BaseException:
        lent.close()
        raise
    source = origin(frame)
    if source is not None:
        copy_properties(source, picture)
    # FFmpeg keeps the planes for as long as an encoder waits; a decoder's surface is not to wait.
    on_host.clear_side_data()
    set_info(picture, info)
    return picture


def new_reference(picture: VideoFrame, pts: int | None, time_base: Fraction | None) -> VideoFrame:
    """Return another picture over the same samples, with a time, and tags that are its own.

    Raises
    ------
    MemoryError
        FFmpeg could not allocate it.
    """
    # The memory that PyAV takes for samples is given back untouched; without a size it would take
    # none, but then the picture's planes would have none either. On a device there are none.
    is_on_device = picture.format.name in HARDWARE
    size = (0, 0) if is_on_device else (picture.width, picture.height)
    other = VideoFrame(*size, picture.format.name)
    refer(other, picture, pts, time_base)
    return other


def refer(
    other: VideoFrame, picture: VideoFrame, pts: int | None, time_base: Fraction | None
) -> None:
    """Have a picture of the same format and size be what `new_reference` returns.

    Its own samples, which may not be a device's, are let go of.

    Raises
    ------
    MemoryError
        As of `new_reference`.
    """
    pointer = frame_pointer(other)
    library().av_frame_unref(pointer)
    code = library().av_frame_ref(pointer, frame_pointer(picture))
    if code < 0:
        raise MemoryError(f"av_frame_ref: {av_error(code)}")
    set_time(other, pts, time_base)


def let_go(picture: VideoFrame) -> None:
    """Let go of the samples of a picture, which may not be a device's; only `refer` follows."""
    library().av_frame_unref(frame_pointer(picture))
