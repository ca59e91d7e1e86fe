"""What a media file holds: container, streams, colour, chapters, tags."""

import contextlib
import os
import struct
from collections.abc import Iterable
from fractions import Fraction
from functools import partial
from typing import Any, cast

import av
from av.audio.stream import AudioStream
from av.codec.context import CodecContext
from av.container import InputContainer
from av.sidedata.sidedata import SideData
from av.sidedata.sidedata import Type as SideDataType
from av.stream import AttachmentStream, Disposition, Stream
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from transcode.colour import matrix_name
from transcode.container import interruptibly, open_input
from transcode.media import (
    AttachmentInfo,
    AudioInfo,
    ChapterInfo,
    HdrInfo,
    MediaInfo,
    StreamInfo,
    VideoInfo,
)

__all__ = ["probe"]

# Code points of ITU-T H.273 tables 2 and 3, by libav's names.
_PRIMARIES = {
    1: "bt709",
    4: "bt470m",
    5: "bt470bg",
    6: "smpte170m",
    7: "smpte240m",
    8: "film",
    9: "bt2020",
    10: "smpte428",
    11: "smpte431",
    12: "smpte432",
    22: "ebu3213",
}
_TRANSFERS = {
    1: "bt709",
    4: "gamma22",
    5: "gamma28",
    6: "smpte170m",
    7: "smpte240m",
    8: "linear",
    9: "log100",
    10: "log316",
    11: "iec61966-2-4",
    12: "bt1361e",
    13: "iec61966-2-1",
    14: "bt2020-10",
    15: "bt2020-12",
    16: "smpte2084",
    17: "smpte428",
    18: "arib-std-b67",
}
_RANGES = {1: "limited", 2: "full"}

_FIELD_ORDERS = {
    1: "progressive",
    2: "top field first",
    3: "bottom field first",
    4: "bottom field first",
    5: "top field first",
}
"""By libav's ``AVFieldOrder``; the last two are coded the other way round than shown."""

_DYNAMIC_HDR = {
    SideDataType.DOVI_METADATA: "Dolby Vision",
    SideDataType.DOVI_RPU_BUFFER: "Dolby Vision",
    SideDataType.DYNAMIC_HDR_PLUS: "HDR10+",
    SideDataType.DYNAMIC_HDR_VIVID: "HDR Vivid",
}

_MOST_PACKETS = 500
"""Packets to read in search of a first frame of each video stream."""

_EVEN_SECONDS = Fraction(3, 2000)
"""How far frames of a constant rate may stray from their grid: times rounded to milliseconds."""


def probe(path: str | os.PathLike[str]) -> MediaInfo:
    """Say what a media file holds, from its headers and the first frame of each video stream.

    Parameters
    ----------
    path : str or path-like
        A file, a URL that libav opens, or ``"-"`` for standard input.

    Raises
    ------
    SourceError
        The input is missing or cannot be read as media.
    """
    return interruptibly(partial(_probe, os.fspath(path)))


def _probe(path: str) -> MediaInfo:
    with open_input(path) as container:
        frames = _first_frames(container)
        unit = Fraction(1, av.time_base)
        return MediaInfo(
            path=path,
            container=container.format.name,
            container_long=container.format.long_name,
            nbytes=container.size if container.size > 0 else None,
            start_seconds=_seconds(container.start_time, unit),
            duration_seconds=_seconds(container.duration, unit),
            bits_per_second=container.bit_rate or None,
            streams=tuple(_stream(stream, frames) for stream in container.streams),
            chapters=_chapters(container),
            metadata=dict(container.metadata),
        )


def _seconds(ticks: int | None, unit: Fraction | None) -> float | None:
    return None if ticks is None or unit is None else float(ticks * unit)


def _first_frames(container: InputContainer) -> dict[int, VideoFrame]:
    """Decode until each video stream gave a frame, as far as that comes soon."""
    wanted = {s.index: s for s in container.streams.video if _decoder(s) is not None}
    found: dict[int, VideoFrame] = {}
    # A probe says what there is to say: damage is for the run to report.
    with contextlib.suppress(av.FFmpegError):
        for count, packet in enumerate(container.demux(tuple(wanted.values()))):
            if len(found) == len(wanted) or count > _MOST_PACKETS:
                break
            if packet.stream_index not in found:
                with contextlib.suppress(av.FFmpegError):
                    for frame in packet.decode():
                        found.setdefault(packet.stream_index, frame)
    return found


def _decoder(stream: Stream) -> CodecContext | None:
    """Return what PyAV's type hints say is always there: this FFmpeg may know no decoder."""
    return stream.codec_context


def _stream(stream: Stream, frames: dict[int, VideoFrame]) -> StreamInfo:
    common = _common(stream)
    if isinstance(stream, AttachmentStream):
        name, mimetype = stream.name or "", stream.mimetype or ""
        return AttachmentInfo(name=name, mimetype=mimetype, nbytes=len(stream.data), **common)
    if _decoder(stream) is None:
        return StreamInfo(**common)
    if isinstance(stream, VideoStream):
        return _video(stream, frames.get(stream.index), common)
    if isinstance(stream, AudioStream):
        context = stream.codec_context
        return AudioInfo(
            sample_rate_hz=context.sample_rate,
            channels=context.layout.nb_channels,
            layout=context.layout.name,
            sample_format=context.format.name if context.format else "unknown",
            **common,
        )
    return StreamInfo(**common)


def _common(stream: Stream) -> dict[str, Any]:
    context = _decoder(stream)
    if context is not None:
        codec = context.codec.canonical_name
    else:
        codec = (stream.type == "data" and stream.name) or "unknown"
    return {
        "index": stream.index,
        "kind": stream.type,
        "codec": codec,
        "profile": stream.profile,
        "language": stream.language,
        "disposition": tuple(flag.name for flag in Disposition if flag & stream.disposition),
        "start_seconds": _seconds(stream.start_time, stream.time_base),
        "duration_seconds": _seconds(stream.duration, stream.time_base),
        "bits_per_second": (context.bit_rate or None) if context is not None else None,
        "metadata": dict(stream.metadata),
    }


def _video(stream: VideoStream, frame: VideoFrame | None, common: dict[str, Any]) -> VideoInfo:
    context = stream.codec_context
    # A frame knows more than the container's header; both have these four attributes.
    colour = context if frame is None else frame
    rotation, mirrored = _orientation(frame)
    ratio = stream.sample_aspect_ratio or None
    order = _FIELD_ORDERS.get(context.field_order, "unknown")
    if order == "unknown" and frame is not None and frame.interlaced_frame:
        order = "interlaced"
    return VideoInfo(
        width=context.width,
        height=context.height,
        pix_fmt=context.pix_fmt or "unknown",
        bits=context.format.components[0].bits if context.format is not None else None,
        sample_aspect_ratio=ratio,
        display_aspect_ratio=stream.display_aspect_ratio if ratio and context.format else None,
        rate=stream.average_rate or None,
        is_rate_variable=_is_rate_variable(stream),
        frames=stream.frames or None,
        rotation_degrees=rotation,
        is_mirrored=mirrored,
        field_order=order,
        matrix=matrix_name(colour.colorspace),
        range=_RANGES.get(colour.color_range, "unspecified"),
        primaries=_PRIMARIES.get(colour.color_primaries, "unspecified"),
        transfer=_TRANSFERS.get(colour.color_trc, "unspecified"),
        hdr=_hdr(frame),
        **common,
    )


def _is_rate_variable(stream: VideoStream) -> bool | None:
    """Look at the decoding times of all frames, where the container has them in an index."""
    times = [entry.timestamp for entry in stream.index_entries]
    last = len(times) - 1
    if last < 2 or len(times) != stream.frames or not stream.time_base:
        return None
    # Times last * (t - t0) against n * (tn - t0): whole numbers, no rounding of its own.
    stray = max(
        abs(last * (t - times[0]) - n * (times[-1] - times[0])) for n, t in enumerate(times)
    )
    return Fraction(stray, last) > max(_EVEN_SECONDS / stream.time_base, Fraction(3, 2))


def _side_data(frame: VideoFrame | None) -> dict[SideDataType, bytes]:
    if frame is None:
        return {}
    try:
        held = cast("Iterable[SideData]", frame.side_data)
        return {data.type: bytes(data) for data in held}
    except ValueError:  # A kind that this PyAV has no name for hides the others.
        return {}


def _orientation(frame: VideoFrame | None) -> tuple[int, bool]:
    matrix = _side_data(frame).get(SideDataType.DISPLAYMATRIX)
    if frame is None or matrix is None:
        return 0, False
    a, b, _, c, d = struct.unpack_from("=5i", matrix)
    return frame.rotation % 360, a * d - b * c < 0


def _hdr(frame: VideoFrame | None) -> HdrInfo | None:
    data = _side_data(frame)
    found: dict[str, Any] = {}
    # AVMasteringDisplayMetadata (mastering_display_metadata.h): eight rationals of primaries and
    # white point, then least and greatest luminance, then whether each of the two is there.
    mastering = data.get(SideDataType.MASTERING_DISPLAY_METADATA, b"")
    if len(mastering) >= 88:
        low, low_unit, high, high_unit, _, is_set = struct.unpack_from("=6i", mastering, 64)
        if is_set and low_unit and high_unit:
            found |= {
                "min_luminance_nits": low / low_unit,
                "max_luminance_nits": high / high_unit,
            }
    # AVContentLightMetadata (same header): MaxCLL, MaxFALL.
    light = data.get(SideDataType.CONTENT_LIGHT_LEVEL, b"")
    if len(light) >= 8:
        found["max_cll_nits"], found["max_fall_nits"] = struct.unpack_from("=2I", light)
    dynamic = tuple(dict.fromkeys(_names(data)))
    return HdrInfo(**found, dynamic=dynamic) if found or dynamic else None


def _names(data: Iterable[SideDataType]) -> list[str]:
    return [_DYNAMIC_HDR[kind] for kind in data if kind in _DYNAMIC_HDR]


def _chapters(container: InputContainer) -> tuple[ChapterInfo, ...]:
    return tuple(
        ChapterInfo(
            start_seconds=float(chapter["start"] * unit),
            end_seconds=float(chapter["end"] * unit),
            title=chapter["metadata"].get("title", ""),
        )
        for chapter in container.chapters()
        if (unit := chapter["time_base"]) is not None
    )
