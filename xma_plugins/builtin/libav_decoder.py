"""A decoder session over FFmpeg's decoders, those in hardware too, through PyAV."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any

import av
from av.codec.codec import Codec
from av.codec.context import CodecContext
from av.codec.hwaccel import HWAccel
from av.packet import Packet
from av.video.codeccontext import VideoCodecContext

from bridges.formats import PIXEL_FORMATS
from bridges.frame import Colour, ColourRange, FrameInfo, Matrix
from xma_plugins.builtin.libav_frame import from_av
from xma_plugins.errors import DataError, InvalidError
from xma_plugins.plugin import DecoderPlugin
from xma_plugins.properties import DecoderProperties, DecoderType
from xma_plugins.status import Status
from xma_plugins.uploads import Uploads

if TYPE_CHECKING:
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream

    from xma_plugins.frames import XmaDataBuffer, XmaFrame
    from xma_plugins.session import Session

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

    Parameters of the session:

    ``stream``
        An ``av.VideoStream`` of an opened container, whose decoder is used as it is set up.
    ``codec``
        Where there is no stream, the name of a decoder; by default the session's ``type`` tells.
    ``extradata``
        What containers keep of a stream beside its packets; bytes.
    ``threads``
        Of the decoder; 0 for its own choice, which is the default.
    ``hwaccel``
        A kind of hardware that decodes, such as ``"cuda"``; it does not fall back on software.
    ``zerocopy``
        Whether pictures are given in device-only buffers of the session's device; otherwise they
        stay where the decoder put them.

    Data is an ``av.Packet``, or bytes that hold one whole coded picture or more.
    """

    vendor = "FFmpeg"
    summary = "every video decoder of FFmpeg"
    xma_version = (2020, 1)
    uses_device = False

    def init(self, session: Session[DecoderProperties]) -> None:
        """Open the decoder."""
        self._context = _context(session)
        self._ready: deque[VideoFrame] = deque()
        self._is_flushed = False
        self._to_device: Uploads | None = None
        if session.params.get("zerocopy"):
            self._to_device = Uploads(session)

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
            packet = Packet(bytes(packet))
            packet.pts = data.pts
        self._decode(packet)
        return (Status.SUCCESS if self._ready else Status.SEND_MORE_DATA), packet.size

    def _decode(self, packet: Packet[Any] | None) -> None:
        try:
            self._ready.extend(self._context.decode(packet))
        except av.FFmpegError as error:
            raise DataError(f"{self._context.name} cannot decode a packet: {error}") from error

    def get_properties(self, session: Session[DecoderProperties]) -> FrameInfo | None:
        """Return what the stream says; None before a picture's head was read."""
        context = self._context
        pixels = PIXEL_FORMATS.get(context.pix_fmt or "")
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
        made = from_av(self._ready[0])
        if self._to_device is not None:
            on_device = self._to_device.take(made)
            if on_device is None:
                return Status.TRY_AGAIN
            made = on_device
        self._ready.popleft()
        if frame.is_dummy:
            frame.take(made)
        else:
            with made:
                frame.copy_from(made)
        return Status.SUCCESS

    def close(self, session: Session[DecoderProperties]) -> None:
        """Let go of the decoder's pictures."""
        self._ready.clear()
        if self._to_device is not None:
            self._to_device.close()


def _context(session: Session[DecoderProperties]) -> VideoCodecContext:
    """Return the stream's decoder, or a new one."""
    properties, params = session.properties, session.params
    stream: VideoStream | None = params.get("stream")
    if stream is not None:
        return stream.codec_context
    name = params.get("codec") or _CODECS.get(properties.type)
    if name is None:
        raise InvalidError(
            f"{session.name} is not told what to decode; give the property type, or a stream or a "
            "codec among params"
        )
    hardware = params.get("hwaccel")
    try:
        accel = HWAccel(hardware, allow_software_fallback=False) if hardware else None
        context = CodecContext.create(Codec(name, "r"), "r", hwaccel=accel)
    except (av.FFmpegError, ValueError, RuntimeError) as error:
        raise InvalidError(f"decoder {name} cannot be opened: {error}") from error
    if not isinstance(context, VideoCodecContext):
        raise InvalidError(f"decoder {name} decodes {context.type}, not video")
    if params.get("extradata"):
        context.extradata = params["extradata"]
    context.thread_count = params.get("threads", 0)
    context.thread_type = "SLICE" if properties.intra_only else "AUTO"
    return context
