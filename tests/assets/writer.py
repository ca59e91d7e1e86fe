"""Writes one clip with PyAV, from its truth.

All packets are made first and muxed in the order of their decoding times, which keeps files
reproducible.
"""

from __future__ import annotations

import os
import random
from fractions import Fraction
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import av
import numpy as np
from av.audio.stream import AudioStream
from av.codec.context import Flags as CodecFlags
from av.stream import Disposition, Stream
from av.video.stream import VideoStream

from bridges.backends.ffmpeg_scheduling import kept_scheduling
from tests.assets import barcode
from tests.assets.picture import to_frame
from tests.assets.truth import (
    FIELD_ORDER_TOP_FIRST,
    AudioTrack,
    Clip,
    Damage,
    SubtitleTrack,
    VideoTrack,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from av.container import OutputContainer

COVER_SIZE = 96

_MS = Fraction(1, 1000)
_DEFAULT_AUDIO_FRAME = 1024
_NOISE_BYTES = 400


def write(clip: Clip, path: Path) -> None:
    """Write a clip to `path`, damage included.

    Parameters
    ----------
    clip : Clip
        What to write.
    path : Path
        Where to; an existing file is overwritten.
    """
    if clip.damage is not None and not (clip.video or clip.audio):
        path.write_bytes(b"" if clip.damage.kind == "empty" else b"This is not a video.\n" * 50)
        return
    # Read by SVT-AV1 when it starts: errors only, else it fills stderr with its settings.
    os.environ.setdefault("SVT_LOG", "1")
    # "bitexact" leaves out dates, random ids and version numbers.
    options = {"fflags": "+bitexact", **clip.mux_options}
    with (
        kept_scheduling(),
        av.open(str(path), "w", format=clip.container, container_options=options) as container,
    ):
        _mux(container, clip)
    if clip.damage is not None:
        _damage(path, clip.damage)


def _mux(container: OutputContainer, clip: Clip) -> None:
    container.metadata.update(clip.metadata)
    videos = [_add_video(container, track) for track in clip.video]
    audios = [_add_audio(container, track) for track in clip.audio]
    subtitles = [_add_subtitles(container, track) for track in clip.subtitles]
    for attachment in clip.attachments:
        container.add_attachment(attachment.name, attachment.mimetype, attachment.data)
    cover = _add_cover(container, clip)
    if clip.chapters:
        container.set_chapters(
            [
                {
                    "id": number,
                    "start": chapter.start,
                    "end": chapter.end,
                    "time_base": chapter.time_base,
                    "metadata": {"title": chapter.title},
                }
                for number, chapter in enumerate(clip.chapters, 1)
            ]
        )
    container.start_encoding()
    if clip.damage is not None and clip.damage.kind == "no packets":
        return
    packets: list[av.Packet[Any]] = list(cover)
    for video, video_track in zip(videos, clip.video, strict=True):
        packets += _video_packets(video, video_track)
    for audio, audio_track in zip(audios, clip.audio, strict=True):
        packets += _audio_packets(audio, audio_track)
    for stream, subtitle_track in zip(subtitles, clip.subtitles, strict=True):
        packets += _subtitle_packets(stream, subtitle_track, clip.container)
    if clip.damage is not None and clip.damage.kind == "noise":
        packets = [_noise_for(packet) for packet in packets]
    for packet in sorted(packets, key=_decoding_time):
        container.mux_one(packet)


def _add_video(container: OutputContainer, track: VideoTrack) -> VideoStream:
    how = track.encoding
    stream = container.add_stream(
        how.encoder, rate=track.rate or Fraction(25), options=dict(how.options)
    )
    assert isinstance(stream, VideoStream)
    context = stream.codec_context
    if track.rate is None:
        # A frame rate here would become a fixed "default duration" in Matroska.
        context.framerate = Fraction(0)
    context.width, context.height = track.width, track.height
    context.pix_fmt = how.source_format or track.pix_fmt
    context.time_base = how.time_base or track.time_base
    context.sample_aspect_ratio = track.sample_aspect_ratio
    context.color_range = track.colour.range
    context.colorspace = track.colour.matrix
    context.color_primaries = track.colour.primaries
    context.color_trc = track.colour.transfer
    # One thread: the number of cores must not change what the encoders decide.
    context.thread_count = 1
    context.flags |= CodecFlags.frame_duration
    if track.interlaced:
        context.flags |= CodecFlags.interlaced_dct | CodecFlags.interlaced_me
        context.field_order = track.field_order
    stream.time_base = track.time_base
    stream.disposition = Disposition(track.disposition)
    stream.metadata.update(track.metadata)
    if track.display_matrix is not None:
        stream.set_display_matrix(track.display_matrix)
    return stream


def _add_audio(container: OutputContainer, track: AudioTrack) -> AudioStream:
    stream = container.add_stream(track.encoder, rate=track.sample_rate)
    assert isinstance(stream, AudioStream)
    stream.codec_context.format = track.sample_format
    stream.codec_context.layout = "mono" if track.channels == 1 else "stereo"
    stream.codec_context.time_base = Fraction(1, track.sample_rate)
    stream.codec_context.thread_count = 1
    stream.disposition = Disposition(track.disposition)
    stream.metadata.update(track.metadata)
    if track.language is not None:
        stream.metadata["language"] = track.language
    return stream


def _add_subtitles(container: OutputContainer, track: SubtitleTrack) -> Stream:
    # No encoder: the packets are written by hand.
    stream = container.add_mux_stream(track.codec, time_base=_MS)
    stream.disposition = Disposition(track.disposition)
    stream.metadata["language"] = track.language
    return stream


def _add_cover(container: OutputContainer, clip: Clip) -> list[av.Packet[Any]]:
    if clip.cover_index is None:
        return []
    data = cover_jpeg(clip.cover_index)
    if "matroska" in clip.container:
        # An attached picture is an attachment there, known by its file name and type.
        container.add_attachment("cover.jpg", "image/jpeg", data)
        return []
    stream = container.add_mux_stream("mjpeg", width=COVER_SIZE, height=COVER_SIZE, time_base=_MS)
    stream.disposition = Disposition.attached_pic
    return [_packet(stream, data, 0, 0)]


def cover_jpeg(index: int) -> bytes:
    """Encode a cover picture that shows barcode number `index`, as a JPEG."""
    context = av.CodecContext.create("mjpeg", "w")
    assert isinstance(context, av.VideoCodecContext)
    context.width = context.height = COVER_SIZE
    context.pix_fmt = "yuvj420p"
    context.time_base = _MS
    context.thread_count = 1
    frame = av.VideoFrame.from_ndarray(barcode.draw(index, COVER_SIZE, COVER_SIZE))
    frame.pts = 0
    return b"".join(bytes(packet) for packet in [*context.encode(frame), *context.encode(None)])


def _video_packets(stream: VideoStream, track: VideoTrack) -> list[av.Packet[Any]]:
    packets: list[av.Packet[Any]] = []
    for frame in _frames(track):
        packets += stream.encode(frame)
    return packets + stream.encode(None)


def _frames(track: VideoTrack) -> Iterator[av.VideoFrame]:
    flag = _field_flagger(track)
    clock = track.encoding.time_base or track.time_base
    shown = (*track.hidden_pts, *track.pts)
    times = [(pts + track.encoding.shift) * track.time_base / clock for pts in shown]
    # The last frame lasts as long as the one before it.
    durations = [after - before for before, after in pairwise(times)]
    durations.append(durations[-1] if durations else 1 / (track.rate or Fraction(25)) / clock)
    for index, (time, duration) in enumerate(zip(times, durations, strict=True), track.first_index):
        if time.denominator != 1:
            raise ValueError(f"the encoder's clock {clock} does not hit {time * clock} s")
        frame = flag(_frame(track, index))
        frame.time_base = clock
        frame.pts = int(time)
        frame.duration = int(duration)
        yield frame


def _frame(track: VideoTrack, index: int) -> av.VideoFrame:
    size = track.width, track.height
    pix_fmt = track.encoding.source_format or track.pix_fmt
    if not track.interlaced:
        picture = barcode.draw(index, *size)
        return to_frame(picture, pix_fmt, track.colour, track.stored_matrix)
    early = barcode.draw(index, *size, moment=index)
    late = barcode.draw(index, *size, moment=index + 0.5)
    even, odd = (early, late) if track.field_order == FIELD_ORDER_TOP_FIRST else (late, early)
    return to_frame(even, pix_fmt, track.colour, track.stored_matrix, second_field=odd)


def _field_flagger(track: VideoTrack) -> Any:
    """Return a function that marks a frame as interlaced; PyAV has no setter for that."""
    if not track.interlaced:
        return lambda frame: frame
    graph = av.filter.Graph()
    source = graph.add_buffer(
        width=track.width,
        height=track.height,
        format=av.VideoFormat(track.encoding.source_format or track.pix_fmt),
        time_base=track.time_base,
    )
    top_first = track.field_order == FIELD_ORDER_TOP_FIRST
    setter = graph.add("setfield", "tff" if top_first else "bff")
    graph.link_nodes(source, setter, graph.add("buffersink")).configure()

    def flag(frame: av.VideoFrame) -> av.VideoFrame:
        graph.vpush(frame)
        return graph.vpull()

    return flag


def _audio_packets(stream: AudioStream, track: AudioTrack) -> list[av.Packet[Any]]:
    angle = np.arange(track.samples) * (2 * np.pi * track.tone_hz / track.sample_rate)
    tone = 0.5 * np.sin(angle)
    step = stream.codec_context.frame_size or _DEFAULT_AUDIO_FRAME
    start = track.start * track.sample_rate
    packets: list[av.Packet[Any]] = []
    for position in range(0, track.samples, step):
        frame = _audio_frame(tone[position : position + step], track)
        frame.sample_rate = track.sample_rate
        frame.time_base = Fraction(1, track.sample_rate)
        frame.pts = int(start) + position
        packets += stream.encode(frame)
    return packets + stream.encode(None)


def _audio_frame(tone: np.ndarray[Any, Any], track: AudioTrack) -> av.AudioFrame:
    samples = np.rint(tone * 32767).astype(np.int16)
    if track.sample_format.startswith("flt"):
        samples = tone.astype(np.float32)
    channels = np.repeat(samples[None], track.channels, axis=0)
    if not track.sample_format.endswith("p"):
        channels = np.ascontiguousarray(channels.T).reshape(1, -1)
    layout = "mono" if track.channels == 1 else "stereo"
    return av.AudioFrame.from_ndarray(channels, format=track.sample_format, layout=layout)


def _subtitle_packets(stream: Stream, track: SubtitleTrack, container: str) -> list[av.Packet[Any]]:
    packets = []
    for event in track.events:
        data = event.text.encode()
        if track.codec == "mov_text":
            # 3GPP TS 26.245, 5.17: the length in two bytes stands before the text.
            data = len(data).to_bytes(2, "big") + data
        packets.append(_packet(stream, data, event.start_ms, event.end_ms - event.start_ms))
    return packets


def _packet(stream: Stream, data: bytes, time_ms: int, duration_ms: int) -> av.Packet[Any]:
    packet: av.Packet[Any] = av.Packet(data)
    packet.stream = stream
    packet.time_base = _MS
    packet.pts = packet.dts = time_ms
    packet.duration = duration_ms
    packet.is_keyframe = True
    return packet


def _noise_for(packet: av.Packet[Any]) -> av.Packet[Any]:
    noise: av.Packet[Any] = av.Packet(random.Random(packet.pts).randbytes(_NOISE_BYTES))
    noise.stream = packet.stream
    noise.time_base = packet.time_base
    noise.pts, noise.dts, noise.duration = packet.pts, packet.dts, packet.duration
    noise.is_keyframe = packet.is_keyframe
    return noise


def _decoding_time(packet: av.Packet[Any]) -> Fraction:
    time = packet.pts if packet.dts is None else packet.dts
    return (time or 0) * packet.time_base


def _damage(path: Path, damage: Damage) -> None:
    data = path.read_bytes()
    if damage.kind == "cut":
        path.write_bytes(data[: len(data) * 6 // 10])
    elif damage.kind == "overwritten":
        start, end = len(data) * 4 // 10, len(data) * 5 // 10
        path.write_bytes(data[:start] + bytes(end - start) + data[end:])
