"""Encoders as objects that take frames and give packets, with the return codes of XMA."""

from __future__ import annotations

import os
from fractions import Fraction
from typing import TYPE_CHECKING, Any, cast

import av
from av.codec.codec import Codec
from av.codec.context import Flags

from bridges.backends.ffmpeg_hardware import open_encoder_for
from bridges.backends.ffmpeg_log import captured_log
from bridges.backends.ffmpeg_properties import (
    BOTTOM_FIELD_FIRST,
    chroma_location,
    field_order,
    sample_aspect_ratio,
)
from bridges.backends.ffmpeg_scheduling import kept_scheduling
from bridges.backends.vaapi_pyav import BUILD
from bridges.formats import PIXEL_FORMATS
from bridges.native.libavformat import set_stream_aspect_ratio
from transcode.errors import EncodeError
from transcode.hardware import is_surface
from transcode.hdr import PARAMETER_OPTIONS, hdr_parameters
from transcode.timing import rescale
from xma_plugins.builtin.libav_frame import from_av
from xma_plugins.errors import PluginError
from xma_plugins.properties import EncoderProperties
from xma_plugins.sessions import EncoderSession

if TYPE_CHECKING:
    from collections.abc import Mapping

    from av.audio.frame import AudioFrame
    from av.audio.stream import AudioStream
    from av.container import OutputContainer
    from av.packet import Packet
    from av.video.codeccontext import VideoCodecContext
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream

    from transcode.job import AudioOptions, VideoOptions
    from transcode.notices import Notices
    from xma_plugins.status import Status

__all__ = ["AudioEncoder", "VideoEncoder", "find_encoder"]

_MPEG_RATES = 120

_COARSE_CLOCKS = {
    "mpeg4": 65535,
    "msmpeg4": 65535,
    "msmpeg4v2": 65535,
    "h263": 65535,
    "h263p": 65535,
    "flv": 65535,
    "mpeg1video": _MPEG_RATES,
    "mpeg2video": _MPEG_RATES,
}
"""Largest denominator of the time base that an encoder's bit stream can hold.

MPEG-4 part 2 writes ``vop_time_increment_resolution`` in 16 bits (ISO/IEC 14496-2, 6.3.3); MPEG-1
and MPEG-2 know a list of frame rates only (ISO/IEC 13818-2, table 6-4).
"""

_FIXED_RATE = frozenset(("avi", "dv", "yuv4mpegpipe"))
"""Containers that store one rate instead of times."""

_INTERLACED = frozenset(("libx264", "mpeg2video", "prores", "prores_ks", "ffv1", "dnxhd"))
"""Encoders that write interlaced frames as such when asked to."""


_NVENC = (
    "; it needs a GPU with NVENC, which some for data centres lack (A100, H100, H200), and a new "
    "enough driver: where there is none, name an encoder in software, such as libx264"
)


def find_encoder(name: str, kind: str) -> Codec:
    """Return an encoder by name.

    Raises
    ------
    EncodeError
        There is no such encoder, or it encodes something else than ``kind``.
    """
    try:
        codec = Codec(name, "w")
    except ValueError as error:
        how = f"; {BUILD}" if name.endswith("_vaapi") else ""
        raise EncodeError(
            f"unknown {kind} encoder {name!r} in PyAV {av.__version__}{how}"
        ) from error
    if codec.type != kind:
        raise EncodeError(f"{name} encodes {codec.type}, not {kind}")
    return codec


def _open(
    stream: VideoStream | AudioStream,
    options: Mapping[str, str],
    surface: VideoFrame | None = None,
) -> None:
    """Open an encoder, for surfaces like one where that is given; it must take every option."""
    context = stream.codec_context
    context.options = dict(options)
    with captured_log() as log, kept_scheduling():
        try:
            if surface is None:
                context.open()
            else:
                open_encoder_for(cast("VideoCodecContext", context), surface)
        except (av.FFmpegError, ValueError, TypeError) as error:
            hint = _NVENC if context.name.endswith("_nvenc") else ""
            raise EncodeError(f"{context.name} was refused: {log.text or error}{hint}") from error
    if context.options:
        unknown = ", ".join(context.options)
        raise EncodeError(f"{context.name} has no option {unknown}")


class VideoEncoder:
    """A video encoder and its stream in an output container: a session of libav_encoder.

    Parameters
    ----------
    container : av.container.OutputContainer
        Where the stream is added; its header must not have been written.
    first : av.VideoFrame
        The first frame that will be sent: size, pixel format, colour, aspect and time base are
        taken from it.
    options : VideoOptions
        Codec and quality.
    rate : Fraction or None
        Frames per second, for rate control; times come from the frames.
    threads : int
        Encoder threads, 0 for the encoder's own choice.
    notices : Notices
        Told of what the codec cannot carry.

    Raises
    ------
    EncodeError
        The container cannot hold the codec, or the encoder refused its options.

    Attributes
    ----------
    stream : av.VideoStream
        In the container.
    session : EncoderSession
        What encodes.
    """

    def __init__(
        self,
        container: OutputContainer,
        first: VideoFrame,
        options: VideoOptions,
        *,
        rate: Fraction | None,
        threads: int,
        notices: Notices,
    ) -> None:
        codec = find_encoder(options.codec, "video")
        finest = 0 if container.format.name in _FIXED_RATE else _COARSE_CLOCKS.get(codec.name)
        self._clock = _clock(codec.name, first, rate, finest, notices)
        self.stream = _add_stream(container, codec.name, rate)
        context = self.stream.codec_context
        context.width, context.height = first.width, first.height
        context.pix_fmt = first.format.name
        context.time_base = self.stream.time_base = self._clock
        if aspect := sample_aspect_ratio(first):
            context.sample_aspect_ratio = aspect
            set_stream_aspect_ratio(self.stream, aspect)
        context.color_range, context.colorspace = first.color_range, first.colorspace
        context.color_primaries, context.color_trc = first.color_primaries, first.color_trc
        # PyAV asks for slices by default, which costs libx264 a tenth of its speed, and quality.
        context.thread_type = "AUTO"
        context.thread_count = threads
        if options.bit_rate is not None:
            context.bit_rate = options.bit_rate
        if options.gop_size is not None:
            context.gop_size = options.gop_size
        context.flags |= Flags.frame_duration
        self._set_field_order(first, notices)
        given = self._private_options(first, options, notices)
        _open(self.stream, given, first if is_surface(first) else None)
        self._last: int | None = None
        self.session = EncoderSession(
            EncoderProperties(
                plugin="libav_encoder",
                format=PIXEL_FORMATS.get(first.format.name),
                width=first.width,
                height=first.height,
                params={"stream": self.stream},
            )
        )

    def _set_field_order(self, first: VideoFrame, notices: Notices) -> None:
        order = field_order(first)
        if order is None:
            return
        context = self.stream.codec_context
        if context.name not in _INTERLACED:
            notices.add(f"{context.name} writes interlaced frames as progressive")
            return
        context.field_order = order
        context.flags |= Flags.interlaced_dct | Flags.interlaced_me

    def _private_options(
        self, first: VideoFrame, options: VideoOptions, notices: Notices
    ) -> dict[str, str]:
        name = self.stream.codec_context.name
        hdr = hdr_parameters(name, first)
        if hdr is None:
            notices.add(f"HDR metadata dropped, which {name} cannot take")
        parameters = dict(hdr or {})
        given = {"preset": options.preset, "profile": options.profile}
        result = {key: value for key, value in given.items() if value is not None}
        if options.crf is not None:
            result["crf"] = f"{options.crf:g}"
        if location := chroma_location(first):
            result["chroma_sample_location"] = str(location)
        result.update(options.options)
        if name == "libx264" and self.stream.codec_context.field_order == BOTTOM_FIELD_FIRST:
            parameters["bff"] = "1"
        if name == "libsvtav1":
            os.environ.setdefault("SVT_LOG", "1")  # Errors only; it reads no option for that.
        if name == "libx265":
            parameters["log-level"] = "error"  # Else it writes to the terminal on its own.
        if parameters:
            # What the user says comes last and wins.
            option = PARAMETER_OPTIONS[name]
            pairs = [f"{key}={value}" for key, value in parameters.items()]
            result[option] = ":".join([*pairs, *filter(None, [result.get(option)])])
        return result

    def send_frame(self, frame: VideoFrame | None) -> Status:
        """Encode a frame, or flush at None.

        Returns
        -------
        Status
            SUCCESS: receive; SEND_MORE_DATA: the encoder still looks ahead.

        Raises
        ------
        EncodeError
            The encoder failed; or two frames fall on one tick of a coarse clock.
        """
        try:
            if frame is None:
                return self.session.send_frame(None)
            self._place(frame)
            with from_av(frame) as picture:
                return self.session.send_frame(picture)
        except PluginError as error:
            raise EncodeError(str(error)) from error

    def recv_data(self) -> tuple[Status, Packet[Any] | None]:
        """Return one packet.

        Returns
        -------
        Status
            SUCCESS with a packet; TRY_AGAIN without one: send more; EOS once all was flushed.
        av.Packet or None
            Its times are in the encoder's time base.
        """
        status, data = self.session.recv_data()
        return status, None if data is None else data.data

    def close(self) -> None:
        """Destroy the session; may be repeated."""
        self.session.close()

    def _place(self, frame: VideoFrame) -> None:
        """Give a frame its time in the encoder's clock; times must increase from zero on."""
        if frame.pts is None or frame.time_base is None:
            raise EncodeError("a frame has no time; look at the filters of --vf")
        ticks = frame.pts
        if frame.time_base != self._clock:
            ticks = rescale(frame.pts, frame.time_base, self._clock)
            frame.duration = max(1, rescale(frame.duration, frame.time_base, self._clock))
        if ticks < 0 or (self._last is not None and ticks <= self._last):
            why = "do not increase from zero on; look at the filters of --vf"
            if frame.time_base != self._clock:
                why = (
                    f"are finer than the {self._clock} s that the output counts; say --fps, or "
                    "take another codec or container"
                )
            raise EncodeError(f"frame times {why}")
        frame.pts, frame.time_base, self._last = ticks, self._clock, ticks


def _clock(
    name: str, first: VideoFrame, rate: Fraction | None, finest: int | None, notices: Notices
) -> Fraction:
    """Return the time base to encode in: the frames' own, or one frame where that is too fine."""
    assert first.time_base is not None
    if finest is None or (first.time_base.denominator <= finest and finest > _MPEG_RATES):
        return first.time_base
    if rate is None:
        raise EncodeError(f"{name} needs a frame rate; say --fps")
    clock = 1 / rate
    if clock != first.time_base:
        notices.add(f"times in {clock} s, one frame each, as the output counts them")
    return clock


def _add_stream(container: OutputContainer, name: str, rate: Fraction | None) -> VideoStream:
    try:
        return cast("VideoStream", container.add_stream(name, rate=rate))
    except ValueError as error:
        raise EncodeError(
            f"{container.format.name} cannot hold {name}: {_hint(container)}"
        ) from error


def _hint(container: OutputContainer) -> str:
    fitting = container.default_video_codec
    return f"its usual video codec is {fitting}" if fitting != "none" else "it holds no video"


class AudioEncoder:
    """An audio encoder and its stream in an output container.

    Parameters
    ----------
    container : av.container.OutputContainer
        Where the stream is added; its header must not have been written.
    source : av.AudioStream
        What will be decoded and sent: sample rate and channel layout are taken from it.
    options : AudioOptions
        Codec and bit rate.

    Raises
    ------
    EncodeError
        The container cannot hold the codec, or the encoder refused its options.
    """

    def __init__(
        self, container: OutputContainer, source: AudioStream, options: AudioOptions
    ) -> None:
        codec = find_encoder(options.codec, "audio")
        rate = _nearest_rate(codec, source.rate)
        layout = source.layout.name
        if layout.endswith(" channels"):  # Nothing says which; FFmpeg's own command guesses too.
            layout = _USUAL_LAYOUTS.get(source.layout.nb_channels, layout)
        try:
            added = container.add_stream(codec.name, rate=rate, layout=layout)
        except ValueError as error:
            raise EncodeError(f"{container.format.name} cannot hold {codec.name}") from error
        stream = self.stream = cast("AudioStream", added)
        stream.time_base = Fraction(1, rate)
        if options.bit_rate is not None:
            stream.codec_context.bit_rate = options.bit_rate
        _open(stream, {})
        self._next: int | None = None

    def encode(self, frame: AudioFrame | None) -> list[Packet[Any]]:
        """Encode a frame of any format and rate, or flush at None; return the packets of it.

        Raises
        ------
        EncodeError
            The encoder failed.
        """
        if frame is not None:
            self._place(frame)
        try:
            return list(self.stream.encode(frame))
        except (av.FFmpegError, ValueError) as error:
            raise EncodeError(f"{self.stream.codec_context.name}: {error}") from error

    def _place(self, frame: AudioFrame) -> None:
        """Count samples for the time, and follow the source's own only where it jumps ahead.

        Containers that store no audio times (AVI) give times that waver, even backwards.
        """
        clock = Fraction(1, frame.sample_rate)
        given = self._next
        if frame.pts is not None and frame.time_base:
            given = rescale(frame.pts, frame.time_base, clock)
        if self._next is None or given is None or given - self._next > _AUDIO_GAP / clock:
            self._next = given or 0
        frame.pts, frame.time_base = self._next, clock
        self._next += frame.samples


_USUAL_LAYOUTS = {
    1: "mono",
    2: "stereo",
    3: "2.1",
    4: "4.0",
    5: "5.0",
    6: "5.1",
    7: "6.1",
    8: "7.1",
}
"""Layouts by number of channels, as libav's ``av_channel_layout_default`` has them."""

_AUDIO_GAP = Fraction(1, 10)
"""Seconds by which audio must jump ahead to count as a gap."""


def _nearest_rate(codec: Codec, rate: int) -> int:
    supported = codec.audio_rates
    return min(supported, key=lambda other: abs(other - rate)) if supported else rate
