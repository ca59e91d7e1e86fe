"""A decoder session over FFmpeg's decoders, those in hardware too, through PyAV."""

from __future__ import annotations

import weakref
from collections import deque
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

import av
import numpy as np
from av.codec.context import CodecContext
from av.codec.hwaccel import HWAccel
from av.packet import Packet
from av.video.codeccontext import VideoCodecContext

from bridges.backends.ffmpeg_log import captured_log, uncaptured_log
from bridges.formats import PIXEL_FORMATS
from bridges.frame import Colour, ColourRange, FrameInfo, Matrix
from xma_plugins.buffers import BufferType
from xma_plugins.builtin.flow import pool_timeout
from xma_plugins.builtin.libav_codec import find_codec
from xma_plugins.builtin.libav_frame import forget_samples, from_av
from xma_plugins.errors import DataError, InvalidError
from xma_plugins.kinds import DecoderType
from xma_plugins.params import read_params
from xma_plugins.plugin import DecoderPlugin
from xma_plugins.status import Status

if TYPE_CHECKING:
    from fractions import Fraction
    from types import SimpleNamespace

    from av.codec.codec import Codec
    from av.video.frame import VideoFrame

    from xma_plugins.frames import XmaDataBuffer, XmaFrame
    from xma_plugins.properties import DecoderProperties
    from xma_plugins.session import Session
    from xma_plugins.uploads import Uploads

__all__ = ["LibavDecoder"]

_CODECS = {
    DecoderType.H264: "h264",
    DecoderType.HEVC: "hevc",
    DecoderType.VP9: "vp9",
    DecoderType.AV1: "av1",
    DecoderType.JPEG: "mjpeg",
}


class LibavDecoder(DecoderPlugin):
    """Decodes with any video decoder of FFmpeg.

    Its ``params``:

    ============== =========================================================================
    ``stream``     an ``av.VideoStream`` of an opened container, whose decoder is used as it
                   is set up
    ``context``    a decoder that is set up, to be used instead of the stream's own
    ``codec``      where there is no stream, the name of a decoder; by default the session's
                   ``type`` tells
    ``extradata``  what containers keep of a stream beside its packets; bytes
    ``time_base``  of ``pts``, in seconds a unit, where data is bytes; a fraction
    ``threads``    of the decoder; 0 for its own choice, which is the default
    ``hwaccel``    a kind of hardware that decodes, such as ``"cuda"``, and never falls back
                   on software; its pictures are fetched to the host
    ``zerocopy``   whether pictures are given in device-only buffers of the session's device
                   (false); otherwise they stay in host memory, where the decoder put them
    ``pool``       pictures that are held in such buffers at most, on a device that does not
                   work in host memory (16)
    ``timeout``    seconds to wait for one of them that is held (10)
    ============== =========================================================================

    Data is an ``av.Packet``, or bytes that hold one whole coded picture. What is damaged raises
    `DataError`, and the next packet may be sent. A frame that is received into needs the stream's
    format and size. The session's ``width`` and ``height`` are for codecs whose data does not tell,
    such as FFV1.
    """

    vendor = "FFmpeg"
    summary = "every video decoder of FFmpeg"
    xma_version = (2020, 1)
    uses_device = False

    def init(self, session: Session[DecoderProperties]) -> None:
        """Open the decoder."""
        self._ready: deque[VideoFrame] = deque()
        self._is_flushed = False
        self._clock: Fraction | None = None
        self._settle: weakref.finalize[Any, Any] | None = None
        """Has a decoder wait for its threads without the interpreter's lock, which they need to let
        go of packets made of bytes, and to log; once it is freed it would wait with that lock."""
        self._to_device: Uploads | None = None
        self._given = given = read_params(
            session,
            stream=None,
            context=None,
            codec="",
            extradata=None,
            time_base=None,
            threads=0,
            hwaccel="",
            zerocopy=False,
            pool=16,
            timeout=10.0,
        )
        self._context: VideoCodecContext | None
        self._context = _opened(session, given) if given.stream is None else _used(session, given)
        # A session that is forgotten must not hang the process at its end.
        self._settle = weakref.finalize(self, self._context.flush_buffers)
        self._rate = session.properties.frame_rate or getattr(given.stream, "average_rate", None)
        if given.zerocopy:
            from xma_plugins.uploads import Uploads

            self._to_device = Uploads(session, given.pool)

    def send_data(
        self, session: Session[DecoderProperties], data: XmaDataBuffer
    ) -> tuple[Status, int]:
        """Decode what a packet holds."""
        if data.is_eof:
            if not self._is_flushed:
                self._is_flushed = True
                self._decode(None)
            return Status.SUCCESS, 0
        packet = data.data
        if not isinstance(packet, Packet):
            packet = Packet(_bytes_of(data))
            packet.pts = data.pts
            if self._given.time_base is not None:
                packet.time_base = self._given.time_base
        if not packet.size:
            # To FFmpeg it would be the end.
            raise DataError(f"{session.name} was sent data of no bytes; send None at the end")
        self._decode(packet)
        return (Status.SUCCESS if self._ready else Status.SEND_MORE_DATA), packet.size

    def _decode(self, packet: Packet[Any] | None) -> None:
        context = self._context
        assert context is not None
        if packet is not None:
            self._clock = packet.time_base or self._clock
        try:
            with uncaptured_log() if context.is_hwaccel else nullcontext():
                pictures = context.decode(packet)
        except av.FFmpegError as error:
            raise DataError(f"{context.name} cannot decode a packet: {error}") from error
        for picture in pictures:
            # Those that come at the end come without a packet.
            if picture.time_base is None and self._clock is not None:
                picture.time_base = self._clock
        self._ready.extend(pictures)

    def get_properties(self, session: Session[DecoderProperties]) -> FrameInfo | None:
        """Return what the stream says; None before a picture's head was read."""
        context = self._context
        assert context is not None
        in_software = context.sw_format
        known = (context.pix_fmt, None if in_software is None else in_software.name)
        pixels = next((PIXEL_FORMATS[name] for name in known if name in PIXEL_FORMATS), None)
        if pixels is None or not context.width:
            return None
        colour = Colour(
            Matrix(context.colorspace),
            ColourRange(context.color_range),
            context.color_primaries,
            context.color_trc,
        )
        return FrameInfo(pixels, context.width, context.height, colour)

    def recv_frame(self, session: Session[DecoderProperties], frame: XmaFrame) -> Status:
        """Give the next picture, in the order in which they are shown."""
        if not self._ready:
            return Status.EOS if self._is_flushed else Status.TRY_AGAIN
        with from_av(self._ready[0]) as made:
            made.frame_rate = self._rate
            if not frame.is_dummy:
                frame.copy_from(made)
            elif self._to_device is None:
                frame.take(made)
            else:
                frame.take(self._on_device(session, made))
        self._ready.popleft()
        return Status.SUCCESS

    def _on_device(self, session: Session[DecoderProperties], made: XmaFrame) -> XmaFrame:
        assert self._to_device is not None
        on_device = self._to_device.take(made, self._given.timeout)
        if on_device is None:
            raise pool_timeout(session, self._given.timeout)
        if not session.device.driver.shares_host_memory:
            forget_samples(on_device)
        return on_device

    def close(self, session: Session[DecoderProperties]) -> None:
        """Let go of the decoder and its pictures."""
        self._ready.clear()
        self._context = None
        if self._settle is not None:
            self._settle()
        if self._to_device is not None:
            self._to_device.close()


def _bytes_of(data: XmaDataBuffer) -> bytes:
    """Return data as bytes; that of a device-only buffer is fetched."""
    if data.buffer_type is BufferType.DEVICE_ONLY:
        assert data.buffer is not None
        fetched = np.empty(data.buffer.size, np.uint8)
        data.buffer.get(fetched)
        return fetched.tobytes()
    try:
        return bytes(memoryview(data.data))
    except TypeError as error:
        raise DataError(f"data is an av.Packet or bytes, got {type(data.data).__name__}") from error


def _used(session: Session[DecoderProperties], given: SimpleNamespace) -> VideoCodecContext:
    """Return a stream's decoder, as it is set up."""
    said = [name for name in ("codec", "extradata", "threads", "hwaccel") if getattr(given, name)]
    if said:
        raise InvalidError(
            f"{session.name}: the decoder of a stream is used as it is; leave {', '.join(said)} out"
        )
    context = given.context or getattr(given.stream, "codec_context", None)
    if not isinstance(context, VideoCodecContext):
        raise InvalidError(f"{session.name} takes an av.VideoStream, got {given.stream!r}")
    _check_type(session, context.codec)
    return context


def _opened(session: Session[DecoderProperties], given: SimpleNamespace) -> VideoCodecContext:
    """Return a new decoder."""
    properties = session.properties
    name = given.codec or _CODECS.get(properties.type)
    if name is None:
        raise InvalidError(
            f"{session.name} is not told what to decode; give the property type, or a stream or a "
            "codec among params"
        )
    if name == "av1" and not given.hwaccel:
        name = "libdav1d"  # FFmpeg's own decoder of that name works in hardware alone.
    context = _created(session, name, given.hwaccel)
    _check_type(session, context.codec)
    if given.extradata is not None:
        context.extradata = given.extradata
    # The data of some codecs, such as FFV1, does not tell.
    context.width, context.height = properties.width, properties.height
    context.thread_count = given.threads
    # Decoders of frames at once give each of them later.
    context.thread_type = "SLICE" if properties.intra_only else "AUTO"
    with captured_log() as log:
        try:
            context.open()
        except (av.FFmpegError, ValueError) as error:
            raise InvalidError(
                f"{session.name}: decoder {name} cannot be opened: {log.text or error}"
            ) from error
    return context


def _created(session: Session[DecoderProperties], name: str, hardware: str) -> VideoCodecContext:
    codec = find_codec(session, name, "r")
    accel = HWAccel(hardware, allow_software_fallback=False) if hardware else None
    with captured_log() as log:
        try:
            context = CodecContext.create(codec, "r", hwaccel=accel)
        except (av.FFmpegError, ValueError, RuntimeError) as error:
            raise InvalidError(
                f"{session.name}: no {hardware} hardware to decode {name} with: {log.text or error}"
            ) from error
    assert isinstance(context, VideoCodecContext)
    if hardware and not context.is_hwaccel:
        raise InvalidError(
            f"{session.name}: {name} is not decoded in {hardware} hardware; leave hwaccel out"
        )
    return context


def _check_type(session: Session[DecoderProperties], codec: Codec) -> None:
    wanted = _CODECS.get(session.properties.type)
    if wanted not in (None, codec.canonical_name):
        raise InvalidError(
            f"{session.name} is of type {session.properties.type.name}, and is to decode "
            f"{codec.canonical_name}; leave one of the two out"
        )
