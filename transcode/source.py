"""The source of a run: demux, decode, trim; times start at zero where the source starts later."""

from __future__ import annotations

import os
import stat
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import av
from av.packet import Packet
from av.stream import Disposition, Stream
from av.video.frame import VideoFrame

from bridges.backends.ffmpeg_properties import is_damaged, set_sample_aspect_ratio
from transcode.colour import matrix_name
from transcode.container import error_text, open_input
from transcode.damage import Damage, missing_end
from transcode.errors import SourceError
from transcode.hardware import is_surface
from transcode.report import StreamSummary
from transcode.timing import FrameClock, to_ticks
from xma_plugins.builtin.libav_frame import to_av
from xma_plugins.errors import DataError
from xma_plugins.frames import XmaDataBuffer
from xma_plugins.properties import DecoderProperties
from xma_plugins.sessions import DecoderSession
from xma_plugins.status import Status

if TYPE_CHECKING:
    from collections.abc import Iterator

    from av.video.codeccontext import VideoCodecContext
    from av.video.stream import VideoStream

    from transcode.hardware import Hardware
    from transcode.notices import Notices

__all__ = ["Source"]

_SEEK_MARGINS = (1, 10, 60)
"""Seconds before the start to seek to, tried in turn until a frame at or before it is decoded.

Even the shortest is longer than frames are reordered, so that the frames which an open GOP shows
before its key frame, and which cannot be decoded from there, lie before the start.
"""

_PRIMING_SECONDS = Fraction(1, 10)
"""More than any audio codec's priming samples last; what lies before that was cut away."""

_INTERLEAVE_SECONDS = 2
"""How far other streams may lag behind the video in a file, when reading a part of it."""


class Source:
    """An opened input: its first video stream decoded, every other stream as packets.

    Parameters
    ----------
    path : str
        A file, a URL that libav opens, or ``"-"`` for standard input.
    start, duration : Fraction or None
        The part to read, in seconds from the first time stamp.
    keep_damaged : bool
        Whether to go on after a packet that cannot be decoded, or where the source breaks off.
    threads : int
        Decoder threads.
    hardware : Hardware or None
        What decodes, and keeps the frames; by default software does, in host memory.
    software_fallback : bool
        Whether software decodes what the hardware cannot.
    notices : Notices
        Where dropped, mended and assumed things are said.

    Attributes
    ----------
    damage : Damage
        What was found damaged, and what is done about it.
    covers : dict of int to bytes
        Attached pictures by stream index; libav hands them out before anything else.

    Raises
    ------
    SourceError
        The input cannot be opened or holds no video.
    """

    def __init__(
        self,
        path: str,
        *,
        start: Fraction | None,
        duration: Fraction | None,
        keep_damaged: bool,
        threads: int,
        hardware: Hardware | None = None,
        software_fallback: bool = False,
        notices: Notices,
    ) -> None:
        self.path = path
        self._hardware, self._fallback = hardware, software_fallback
        self._keeps_damaged = keep_damaged
        self._notices = notices
        self._decoder: VideoCodecContext | None = None
        self.damage = Damage(path, keep=keep_damaged, notices=notices)
        self.container = open_input(path, hardware=hardware, software_fallback=software_fallback)
        try:
            self.video = self._choose_video()
            self._configure_decoder(threads)
            self._place(start, duration)
        except BaseException:
            self.container.close()
            raise
        self.frames_decoded = 0
        self._session: DecoderSession | None = None
        self.covers: dict[int, bytes] = {}
        self._past_key_frame = False
        self._packets = 0
        self._reached = Fraction(0)

    def _choose_video(self) -> VideoStream:
        pictures = Disposition.attached_pic
        streams = [s for s in self.container.streams.video if not s.disposition & pictures]
        if not streams:
            raise SourceError(f"{self.path}: no video stream")
        default = [s for s in streams if s.disposition & Disposition.default]
        chosen = (default or streams)[0]
        if chosen.codec_context is None:
            raise SourceError(
                f"{self.path}: stream {chosen.index} has a video codec that this FFmpeg "
                "cannot decode"
            )
        return chosen

    def _configure_decoder(self, threads: int) -> None:
        self._set_threads(threads)
        if self._hardware is not None:
            self._prepare(self._hardware, threads)
        self.time_base = self.video.time_base or Fraction(1, 90000)
        self.rate = self.video.average_rate or self.video.guessed_rate
        self.sample_aspect_ratio = self.video.sample_aspect_ratio

    def _set_threads(self, count: int) -> None:
        self.video.thread_type = "FRAME" if count > 1 else "SLICE"
        self.video.thread_count = count

    def _open_again(self, threads: int, why: Exception) -> None:
        """Open the input for software alone.

        Raises
        ------
        SourceError
            It is a pipe, of which some was read.
        """
        if not self._can_seek():
            raise SourceError(f"{self.path}: {why}; leave the device out") from why
        self.container.close()
        self.container = open_input(self.path)
        self.video = self._choose_video()
        self._set_threads(threads)

    def _prepare(self, hardware: Hardware, threads: int) -> None:
        """Refuse a codec that FFmpeg decodes on no such device, unless software may."""
        try:
            self._decoder = hardware.decoder(self.video, fallback=self._fallback)
        except LookupError as why:
            if not self._fallback:
                raise SourceError(f"{self.path}: {why}; say --software-fallback") from why
            self._notices.add(f"decoded in software: {why}")
            if self.video.codec_context.is_hwaccel:
                self._open_again(threads, why)
            self._hardware = None  # It has no part in what follows.

    def _place(self, start: Fraction | None, duration: Fraction | None) -> None:
        """Fix which times are kept, and by how much they are shifted."""
        starts = [
            stream.start_time * stream.time_base
            for stream in self.container.streams
            if stream.type in ("video", "audio")
            and stream.start_time is not None
            and stream.time_base
            and not stream.disposition & Disposition.attached_pic
        ]
        self.duration = duration
        self._origin = min(starts, default=Fraction(0))
        self._start = None if start is None else self._origin + start
        if start is None and duration is None:
            # Audio that starts before zero holds the encoder's priming samples, and containers
            # mark it as such; video there would be lost, for MP4 shows nothing before zero.
            video = (self.video.start_time or 0) * self.time_base
            shift = video if video < 0 else max(self._origin, Fraction(0))
        else:
            shift = self._origin + (start or 0)
        self._end = None if duration is None else shift + duration
        # A multiple of the video's tick, so that the video's own times stay exact.
        self.shift = to_ticks(shift, self.time_base) * self.time_base
        if self.shift and start is None:
            self._notices.add(f"times moved by {-float(self.shift):+.3f} s, to start at 0")

    @property
    def others(self) -> list[Stream]:
        """Every stream but the one that is decoded."""
        return [s for s in self.container.streams if s.index != self.video.index]

    @property
    def seconds(self) -> Fraction | None:
        """Length of the part to read, in seconds, where the source tells."""
        if self.video.duration is not None:
            whole = self.video.duration * self.time_base
        elif self.container.duration is not None:
            whole = Fraction(self.container.duration, av.time_base)
        else:
            return None if self._end is None else self._end - self.shift
        last = self._origin + whole
        if self._end is not None:
            last = min(last, self._end)
        return max(last - (self._origin if self._start is None else self._start), Fraction(0))

    @property
    def total_frames(self) -> int | None:
        """How many frames `read` will probably yield; for a progress bar only."""
        if self.video.frames and self._start is None and self._end is None:
            return self.video.frames
        seconds = self.seconds
        return None if seconds is None or not self.rate else round(seconds * self.rate)

    def summary(self) -> StreamSummary:
        """Describe the video that is read."""
        context = self.video.codec_context
        return StreamSummary(
            path=self.path,
            container=self.container.format.name,
            codec=context.codec.canonical_name,
            pix_fmt=context.pix_fmt or "unknown",
            width=context.width,
            height=context.height,
            rate=self.rate,
            matrix=matrix_name(context.colorspace),
            nbytes=os.path.getsize(self.path) if os.path.isfile(self.path) else None,
        )

    def read(self) -> Iterator[VideoFrame | Packet[Stream]]:
        """Yield decoded frames and the packets of every other stream, trimmed and shifted.

        Frames come in presentation order, with strictly increasing time stamps in `time_base`.

        Raises
        ------
        SourceError
            Nothing could be decoded; or a packet could not be read or decoded, or the source
            breaks off, and damage is not to be kept.
        """
        step = max(1, round(1 / (self.rate * self.time_base))) if self.rate else 1
        clock = FrameClock(step)
        first = None if self._start is None else to_ticks(self._start, self.time_base)
        end = None if self._end is None else to_ticks(self._end, self.time_base)
        shift = to_ticks(self.shift, self.time_base)
        for item in self._from_start():
            if isinstance(item, Packet):
                if self._moved(item):
                    yield item
                continue
            pts = clock.next(item.pts)
            if (first is not None and pts < first) or (end is not None and pts >= end):
                continue
            item.pts = pts - shift
            item.time_base = self.time_base
            # Without a duration, filters that re-time take the last frame for over at once.
            item.duration = item.duration or step
            if self.sample_aspect_ratio:
                set_sample_aspect_ratio(item, self.sample_aspect_ratio)
            yield item
        self._report(clock)

    def _moved(self, packet: Packet[Stream]) -> bool:
        """Shift a packet's times; return whether it lies in the part to read."""
        time_base = packet.time_base
        time = packet.pts if packet.pts is not None else packet.dts
        if time is not None and not packet.stream.disposition & Disposition.attached_pic:
            seconds = time * time_base
            if self._start is not None and seconds < self._start:
                return self._begins_before(packet)
            if self._end is not None and seconds >= self._end:
                return False
            if packet.is_discard and seconds < -_PRIMING_SECONDS:
                return False  # Hidden by an edit list: more than a codec's own priming.
        shift = to_ticks(self.shift, time_base)
        packet.pts = None if packet.pts is None else packet.pts - shift
        packet.dts = None if packet.dts is None else packet.dts - shift
        return True

    def _begins_before(self, packet: Packet[Stream]) -> bool:
        """Cut what a subtitle shows before the start; return whether anything is left of it."""
        assert self._start is not None
        start = to_ticks(self._start, packet.time_base)
        if packet.stream.type != "subtitle" or packet.pts is None or not packet.duration:
            return False
        left = packet.pts + packet.duration - start
        if left <= 0:
            return False
        packet.pts = packet.dts = start - to_ticks(self.shift, packet.time_base)
        packet.duration = left
        return True

    def _from_start(self) -> Iterator[VideoFrame | Packet[Stream]]:
        """Yield what is decoded from a key frame at or before the start."""
        if self._start is not None:
            yield from self._covers()
        margins = _SEEK_MARGINS if self._start is not None and self._can_seek() else ()
        for margin in (*margins, None):
            if not self._seek(margin):
                continue
            items = self._decode()
            held: list[VideoFrame | Packet[Stream]] = []
            for item in items:
                held.append(item)
                if isinstance(item, VideoFrame):
                    break
            if margin is None or self._landed(held):
                yield from held
                yield from items
                return

    def _covers(self) -> Iterator[Packet[Stream]]:
        """Yield the attached pictures, which libav hands out first, and never after a seek."""
        pictures = Disposition.attached_pic
        count = sum(bool(stream.disposition & pictures) for stream in self.container.streams)
        for _, packet in zip(range(count), self._demux(), strict=False):
            if packet.stream.disposition & pictures and packet.size:
                yield packet

    def _seek(self, margin: int | None) -> bool:
        """Go to a key frame ``margin`` seconds before the start, or to the beginning for None."""
        if margin is None and (self._start is None or not self._can_seek()):
            return True
        # Transport streams are searched by the time of any packet, so the beginning is well before.
        target = self._origin - _SEEK_MARGINS[-1]
        if margin is not None and self._start is not None:
            target = self._start - margin
            if target <= self._origin:
                return False
        try:
            self.container.seek(to_ticks(target, self.time_base), stream=self.video)
        except av.FFmpegError as error:
            if margin is None and self._packets:
                raise SourceError(
                    f"{self.path}: cannot go back to the beginning: {error_text(self.path, error)}"
                ) from error
            return margin is None
        self._past_key_frame = False
        return True

    def _can_seek(self) -> bool:
        """Whether the source is no pipe: libav tries there too, and loses what it reads."""
        try:
            mode = os.fstat(0).st_mode if self.path == "-" else os.stat(self.path).st_mode
        except OSError:
            return True  # A URL.
        return stat.S_ISREG(mode) or stat.S_ISBLK(mode)

    def _landed(self, held: list[VideoFrame | Packet[Stream]]) -> bool:
        last = held[-1] if held else None
        return (
            isinstance(last, VideoFrame)
            and last.pts is not None
            and self._start is not None
            and last.pts * self.time_base <= self._start
        )

    def _decode(self) -> Iterator[VideoFrame | Packet[Stream]]:
        """Yield frames and packets from where the container stands to the end of the part."""
        self._open_session()
        done = False
        for packet in self._demux():
            # The packets that end a stream have no index of their own; their stream tells.
            if packet.stream.index != self.video.index:
                if packet.size:
                    yield packet
                continue
            if done:
                if self._is_past(packet, _INTERLEAVE_SECONDS):
                    return
                continue
            for frame in self._decode_packet(packet):
                self.frames_decoded += 1
                self._check_picture(frame)
                yield frame
                done = self._end is not None and (frame.pts or 0) * self.time_base >= self._end
            if done and not self.others:
                return
        if self._start is None:
            missing = missing_end(self.container, self.video, self._packets, self._reached)
            if missing:
                self.damage.found(missing, at_all=self.frames_decoded > 0)

    def _open_session(self) -> None:
        """Begin to decode, or begin again after a seek."""
        if self._session is not None:
            self._session.close()
        self._session = DecoderSession(
            DecoderProperties(
                plugin="libav_decoder",
                params={"stream": self.video, "context": self._decoder},
            )
        )

    def _is_past(self, packet: Packet[Stream], seconds: int) -> bool:
        time = packet.dts if packet.dts is not None else packet.pts
        return time is None or time * packet.time_base > (self._end or 0) + seconds

    def _demux(self) -> Iterator[Packet[Stream]]:
        packets = self.container.demux()
        while True:
            try:
                packet = next(packets, None)
            except av.FFmpegError as error:
                what = f"reading breaks off: {error_text(self.path, error)}"
                self.damage.found(what, error, at_all=self.frames_decoded > 0)
                return
            if packet is None:
                return
            if packet.size and packet.pts is not None and packet.time_base:
                end = (packet.pts + (packet.duration or 0)) * packet.time_base
                self._reached = max(self._reached, end)
            if packet.size and packet.stream.disposition & Disposition.attached_pic:
                self.covers[packet.stream.index] = bytes(packet)
            if packet.stream.index == self.video.index:
                self._packets += packet.size > 0
                if packet.is_corrupt and self._past_key_frame:
                    self.damage.found(f"a packet{_place(packet)} is corrupt")
            yield packet

    def _decode_packet(self, packet: Packet[Stream]) -> Iterator[VideoFrame]:
        session = self._session
        assert session is not None
        # An empty packet ends the stream.
        data = XmaDataBuffer(packet, pts=packet.pts) if packet.size else None
        try:
            status, _ = session.send_data(data)
        except DataError as error:
            if not self._past_key_frame and not packet.is_keyframe:
                self.damage.count += 1  # A capture may begin between two key frames.
                return
            said = self._fallback or self._keeps_damaged
            if self._hardware is not None and not said and not self.frames_decoded:
                raise SourceError(self._cannot_decode(self._hardware, error)) from error
            what = f"a packet{_place(packet)} cannot be decoded"
            self.damage.found(what, error, at_all=self.frames_decoded > 0)
            return
        while status is Status.SUCCESS:
            status, picture = session.recv_frame()
            if picture is not None:
                with picture:
                    yield to_av(picture)

    def _cannot_decode(self, hardware: Hardware, error: DataError) -> str:
        context = self.video.codec_context
        what = " ".join(filter(None, (context.name, context.profile)))
        return (
            f"{self.path}: {hardware.name} cannot decode {what} of {context.width}x"
            f"{context.height}, which --software-fallback decodes in software; or the file is "
            f"damaged, and --damaged keep goes on ({error})"
        )

    def _check_picture(self, frame: VideoFrame) -> None:
        """Find a picture that the decoder mended; before the first key frame that is no damage."""
        if self._hardware is not None:
            if not is_surface(frame):
                self._notices.add(f"decoded in software: {self._hardware.name} cannot")
            elif self._decoder is not None:
                self._hardware.trim(frame, self._decoder)
        self._past_key_frame = self._past_key_frame or bool(frame.key_frame)
        if self._past_key_frame and is_damaged(frame):
            time = "" if frame.pts is None else f" at {float(frame.pts * self.time_base):.3f} s"
            self.damage.found(f"the picture{time} is damaged")

    def _report(self, clock: FrameClock) -> None:
        if self.frames_decoded == 0:
            words = f"{self.path}: no frame could be decoded"
            if self._hardware is not None and not self._fallback:
                words += f"; or {self._hardware.name} cannot, then say --software-fallback"
            raise SourceError(words)
        if clock.missing:
            self._notices.add(f"{clock.missing} frames had no time; it was made from the rate")
        if clock.repaired:
            self._notices.add(f"{clock.repaired} frames had times that did not increase; moved on")
        self.damage.report()

    def close(self) -> None:
        """Close the input; may be repeated."""
        if self._session is not None:
            self._session.close()
        self.container.close()
        if self._hardware is not None and self._decoder is not None:
            # The stream's own is behind it: who asked it for anything would crash the process.
            self._hardware.free(self._decoder, has_decoded=self.frames_decoded > 0)
            self._decoder = None
            del self.video


def _place(packet: Packet[Any]) -> str:
    time = packet.pts if packet.pts is not None else packet.dts
    return "" if time is None else f" at {float(time * packet.time_base):.3f} s"
