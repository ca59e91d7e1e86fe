"""What an AVFrame says of itself beyond its samples, and that PyAV does not tell."""

import ctypes as c
from fractions import Fraction

from av.sidedata.sidedata import Type as SideDataType
from av.video.frame import VideoFrame

from bridges.frame import FrameInfo
from bridges.native.libavutil import AVFrame, AVFrameSideData, av_error, frame_pointer, library

__all__ = [
    "BOTTOM_FIELD_FIRST",
    "TOP_FIELD_FIRST",
    "buffer_references",
    "chroma_location",
    "copy_properties",
    "drop_hdr_side_data",
    "field_order",
    "is_damaged",
    "is_writable",
    "sample_aspect_ratio",
    "set_info",
    "set_sample_aspect_ratio",
    "set_time",
    "side_data",
]

_NO_TIME_BASE = Fraction(0)
"""What PyAV has for none."""


def copy_properties(source: VideoFrame, target: VideoFrame) -> None:
    """Copy all but the samples: times, colour, aspect, field flags, side data, metadata.

    Raises
    ------
    MemoryError
        FFmpeg could not allocate the copy of the side data.
    """
    code = library().av_frame_copy_props(frame_pointer(target), frame_pointer(source))
    if code < 0:
        raise MemoryError(f"av_frame_copy_props: {av_error(code)}")
    if source.time_base is not None:
        target.time_base = source.time_base


def set_info(frame: VideoFrame, info: FrameInfo) -> None:
    """Tag a frame with the colour and time of ``info``."""
    frame.colorspace, frame.color_range = info.colour.matrix, info.colour.range
    frame.color_primaries, frame.color_trc = info.colour.primaries, info.colour.transfer
    set_time(frame, info.pts, info.time_base)


def set_time(frame: VideoFrame, pts: int | None, time_base: Fraction | None) -> None:
    """Tag a frame with its time; None: it has none."""
    frame.pts = pts
    frame.time_base = _NO_TIME_BASE if time_base is None else time_base


def set_sample_aspect_ratio(frame: VideoFrame, ratio: Fraction) -> None:
    """Tag a frame with its pixels' width over height."""
    native = AVFrame.from_address(frame_pointer(frame))
    native.sample_aspect_ratio[:] = ratio.numerator, ratio.denominator


def sample_aspect_ratio(frame: VideoFrame) -> Fraction | None:
    """Return a frame's pixels' width over height; None where it is unknown."""
    width, height = AVFrame.from_address(frame_pointer(frame)).sample_aspect_ratio
    return Fraction(width, height) if width > 0 and height > 0 else None


def chroma_location(frame: VideoFrame) -> int:
    """Return where chroma samples lie, numbered as libav's ``AVChromaLocation``; 0 is unknown."""
    return int(AVFrame.from_address(frame_pointer(frame)).chroma_location)


def drop_hdr_side_data(frame: VideoFrame) -> None:
    """Remove what a frame says of its mastering display, its light levels and its tone curves."""
    for kind in _HDR:
        library().av_frame_remove_side_data(frame_pointer(frame), kind.value)


_HDR = (
    SideDataType.MASTERING_DISPLAY_METADATA,
    SideDataType.CONTENT_LIGHT_LEVEL,
    SideDataType.DYNAMIC_HDR_PLUS,
    SideDataType.DYNAMIC_HDR_VIVID,
    SideDataType.DOVI_RPU_BUFFER,
    SideDataType.DOVI_METADATA,
)


def side_data(frame: VideoFrame, kind: SideDataType) -> bytes | None:
    """Return one kind of a frame's side data, as the C structure that libavutil defines for it."""
    # Not through PyAV's own view of it, which keeps the frame alive in a reference cycle.
    native = AVFrame.from_address(frame_pointer(frame))
    if not native.nb_side_data:
        return None
    entries = (c.POINTER(AVFrameSideData) * native.nb_side_data).from_address(native.side_data)
    for entry in entries:
        if entry.contents.type == kind.value:
            return c.string_at(entry.contents.data, entry.contents.size)
    return None


_FLAG_INTERLACED, _FLAG_TOP_FIELD_FIRST = 1 << 3, 1 << 4
"""``AV_FRAME_FLAG_*`` of libavutil/frame.h."""
TOP_FIELD_FIRST, BOTTOM_FIELD_FIRST = 2, 3
"""``AV_FIELD_TT`` and ``AV_FIELD_BB`` of libavcodec/defs.h."""


def field_order(frame: VideoFrame) -> int | None:
    """Return libav's field order of an interlaced frame, or None for a progressive one."""
    flags = AVFrame.from_address(frame_pointer(frame)).flags
    if not flags & _FLAG_INTERLACED:
        return None
    return TOP_FIELD_FIRST if flags & _FLAG_TOP_FIELD_FIRST else BOTTOM_FIELD_FIRST


def is_damaged(frame: VideoFrame) -> bool:
    """Return whether the decoder had to make up a part of a picture, or thinks it corrupt."""
    native = AVFrame.from_address(frame_pointer(frame))
    return frame.is_corrupt or native.decode_error_flags != 0


def is_writable(frame: VideoFrame) -> bool:
    """Return whether nobody but ``frame`` itself still reads its samples (an encoder may)."""
    return bool(library().av_frame_is_writable(frame_pointer(frame)))


def buffer_references(frame: VideoFrame) -> int:
    """Return how many frames, with ``frame`` itself, hold the memory of its first plane."""
    buffer = AVFrame.from_address(frame_pointer(frame)).buf[0]
    return int(library().av_buffer_get_ref_count(buffer))
