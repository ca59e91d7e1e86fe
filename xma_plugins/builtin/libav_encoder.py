"""An encoder session over FFmpeg's encoders, those in hardware too, through PyAV."""

from __future__ import annotations

from collections import deque
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import av
from av.codec.codec import Codec
from av.codec.context import CodecContext
from av.video.codeccontext import VideoCodecContext
from av.video.frame import PictureType

from bridges.backends.ffmpeg_log import captured_log
from bridges.backends.ffmpeg_scheduling import kept_scheduling
from xma_plugins.builtin.libav_frame import to_av
from xma_plugins.builtin.libav_regions import set_regions
from xma_plugins.errors import InvalidError, PluginError
from xma_plugins.plugin import EncoderPlugin
from xma_plugins.properties import EncoderProperties, EncoderType
from xma_plugins.side_data import SideDataType
from xma_plugins.status import Status

if TYPE_CHECKING:
    from av.packet import Packet
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream

    from xma_plugins.frames import XmaDataBuffer, XmaFrame
    from xma_plugins.session import Session

__all__ = ["LibavEncoder"]

_CODECS = {
    EncoderType.H264: "libx264",
    EncoderType.HEVC: "libx265",
    EncoderType.VP9: "libvpx-vp9",
    EncoderType.AV1: "libsvtav1",
    EncoderType.COPY: "rawvideo",
    EncoderType.JPEG: "mjpeg",
}

_OPTIONS = {
    "libx264": {"qp": "qp", "lookahead_depth": "rc-lookahead", "aq_mode": "aq-mode"},
    "libx265": {"qp": "qp"},
    "libsvtav1": {"qp": "qp"},
}
"""What encoders call properties that libavcodec has no field for."""

_UNSET = {
    "qp": -1,
    "min_qp": -1,
    "lookahead_depth": 0,
    "aq_mode": 0,
    "qp_offset_i": 0,
    "qp_offset_b0": 0,
    "qp_offset_b1": 0,
    "qp_offset_b2": 0,
    "temporal_aq_gain": 0,
    "spatial_aq_gain": 0,
    "rc_mode": 0,
    "idr_interval": 0,
}
"""Properties that few encoders know, with the value that asks for nothing."""

_OWN_FIELDS = ("min_qp", "idr_interval")


class LibavEncoder(EncoderPlugin):
    """Encodes with any video encoder of FFmpeg.

    Parameters of the session:

    ``stream``
        An ``av.VideoStream`` of an output container, whose encoder is used as it was opened; the
        session's other properties then say nothing.
    ``codec``
        Where there is no stream, the name of an encoder; by default the session's ``type`` tells.
    ``options``
        A mapping: what else the encoder takes, as FFmpeg calls it.
    ``threads``
        Of the encoder; 0 for its own choice, which is the default.

    Pictures may lie in host memory, which the encoder reads in place, or on a device, from which
    they are fetched. Coded data is an ``av.Packet``, whose times are in the encoder's time base.
    QP_MAP side data becomes regions of interest.
    """

    vendor = "FFmpeg"
    summary = "every video encoder of FFmpeg"
    xma_version = (2020, 1)
    uses_device = False

    def init(self, session: Session[EncoderProperties]) -> None:
        """Open the encoder."""
        self._ready: deque[Packet[Any]] = deque()
        self._is_flushed = False
        stream: VideoStream | None = session.params.get("stream")
        self._encoder: VideoStream | VideoCodecContext
        self._encoder = _open(session) if stream is None else stream
        self._name = (self._encoder if stream is None else stream.codec_context).name

    def send_frame(self, session: Session[EncoderProperties], frame: XmaFrame) -> Status:
        """Encode a picture."""
        if frame.is_last_frame:
            if not self._is_flushed:
                self._is_flushed = True
                self._encode(None)
            return Status.SUCCESS
        if not frame.do_not_encode:
            picture = to_av(frame)
            if frame.is_idr:
                picture.pict_type = PictureType.I
            quantisers = frame.side_data(SideDataType.QP_MAP)
            if quantisers is not None:
                set_regions(picture, quantisers.buffer)
            self._encode(picture)
        return Status.SUCCESS if self._ready else Status.SEND_MORE_DATA

    def _encode(self, picture: VideoFrame | None) -> None:
        try:
            self._ready.extend(self._encoder.encode(picture))
        except (av.FFmpegError, ValueError) as error:
            raise PluginError(f"{self._name} cannot encode a picture: {error}") from error

    def recv_data(self, session: Session[EncoderProperties], data: XmaDataBuffer) -> Status:
        """Give the next packet."""
        if not self._ready:
            return Status.EOS if self._is_flushed else Status.TRY_AGAIN
        packet = self._ready.popleft()
        data.data, data.pts = packet, packet.pts
        return Status.SUCCESS

    def close(self, session: Session[EncoderProperties]) -> None:
        """Let go of what was not received."""
        self._ready.clear()


def _open(session: Session[EncoderProperties]) -> VideoCodecContext:
    """Return an opened encoder, as the session's properties have it."""
    properties, params = session.properties, session.params
    name = params.get("codec") or _CODECS.get(properties.type)
    if name is None:
        raise InvalidError(
            f"{session.name} is not told how to encode; give the property type, or a codec or a "
            "stream among params"
        )
    try:
        context = CodecContext.create(Codec(name, "w"), "w")
    except ValueError as error:
        version = av.__version__
        raise InvalidError(f"{session.name}: no encoder {name!r} in PyAV {version}") from error
    if not isinstance(context, VideoCodecContext):
        raise InvalidError(f"{session.name}: {name} encodes {context.type}, not video")
    if properties.format is None:
        raise InvalidError(f"{session.name} is not told the pixel format; give the property format")
    rate = properties.frame_rate or Fraction(25)
    context.width, context.height = properties.width, properties.height
    context.pix_fmt = properties.format.name
    context.time_base = properties.time_base or 1 / rate
    context.framerate = rate
    context.thread_type, context.thread_count = "AUTO", params.get("threads", 0)
    if properties.bitrate:
        context.bit_rate = 1000 * properties.bitrate
    if properties.gop_size:
        context.gop_size = properties.gop_size
    if properties.min_qp >= 0:
        context.qmin = properties.min_qp
    context.options = {**_options(session, name), **params.get("options", {})}
    with captured_log() as log, kept_scheduling():
        try:
            context.open()
        except (av.FFmpegError, ValueError, TypeError) as error:
            raise InvalidError(f"{session.name}: {name} refused: {log.text or error}") from error
    if context.options:
        raise InvalidError(f"{session.name}: {name} has no option {', '.join(context.options)}")
    return context


def _options(session: Session[EncoderProperties], name: str) -> dict[str, str]:
    """Return the encoder's own options for properties; refuse those that it does not know."""
    known = _OPTIONS.get(name, {})
    options = {}
    for each, unset in _UNSET.items():
        value = getattr(session.properties, each)
        if value == unset or each in _OWN_FIELDS:
            continue
        if each not in known:
            raise InvalidError(
                f"{session.name}: {name} takes no {each}; say it in the encoder's own words, "
                "among the options of params"
            )
        options[known[each]] = str(value)
    if session.properties.idr_interval:
        gop = session.properties.gop_size or session.properties.idr_interval
        if session.properties.idr_interval != gop:
            raise InvalidError(
                f"{session.name}: FFmpeg's encoders make every key frame an IDR picture; let "
                f"idr_interval be gop_size, got {session.properties.idr_interval} and {gop}"
            )
        options["g"] = str(gop)
    return options
