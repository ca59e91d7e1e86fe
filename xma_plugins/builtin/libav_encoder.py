"""An encoder session over FFmpeg's encoders, those in hardware too, through PyAV."""

from __future__ import annotations

import logging
from collections import deque
from typing import TYPE_CHECKING, Any

import av
from av.video.codeccontext import VideoCodecContext
from av.video.frame import PictureType, VideoFrame

from bridges.backends.ffmpeg_hardware import HARDWARE
from xma_plugins.builtin.libav_frame import let_go, new_reference, refer, to_av
from xma_plugins.builtin.libav_options import UNSET, open_encoder
from xma_plugins.builtin.libav_regions import set_regions
from xma_plugins.errors import InvalidError, PluginError
from xma_plugins.params import read_params
from xma_plugins.plugin import EncoderPlugin
from xma_plugins.side_data import SideDataType
from xma_plugins.status import Status

if TYPE_CHECKING:
    from fractions import Fraction
    from types import SimpleNamespace

    from av.packet import Packet
    from av.video.stream import VideoStream

    from xma_plugins.frames import XmaDataBuffer, XmaFrame
    from xma_plugins.properties import EncoderProperties
    from xma_plugins.session import Session

__all__ = ["LibavEncoder"]

_log = logging.getLogger("xma_plugins")

_TAKE_REGIONS = ("libx264", "libx265", "libvpx")
"""Encoders that take regions of interest begin so."""


class LibavEncoder(EncoderPlugin):
    """Encodes with any video encoder of FFmpeg.

    Its ``params``:

    ============== =========================================================================
    ``stream``     an ``av.VideoStream`` of an output container, whose encoder is used as it
                   was opened; format and size are to be its own, and no more is to be said
    ``codec``      where there is no stream, the name of an encoder; by default the session's
                   ``type`` tells
    ``colour``     what the data is to say of its colour, as a `bridges.frame.Colour`; by
                   default nothing
    ``options``    a mapping: what else the encoder takes, as FFmpeg calls it
    ``threads``    of the encoder; 0 for its own choice, which is the default
    ============== =========================================================================

    Pictures may lie in host memory, which the encoder reads in place, or on a device, from which
    they are fetched. They need the session's format and size. One without a time comes a frame
    after the one before; one without a time base counts in that of the session. ``is_idr`` makes a
    key frame. Coded data is an ``av.Packet``, whose times are in the encoder's time base.

    QP_MAP side data becomes regions of interest, which libx264 and libx265 obey where their
    adaptive quantisation is on: not with ``qp``, nor at their fastest presets. libvpx obeys in its
    realtime mode alone; other encoders do not, which the log ``xma_plugins`` tells once.
    """

    vendor = "FFmpeg"
    summary = "every video encoder of FFmpeg"
    xma_version = (2020, 1)
    uses_device = False

    def init(self, session: Session[EncoderProperties]) -> None:
        """Open the encoder."""
        self._ready: deque[Packet[Any]] = deque()
        self._is_flushed = self._is_told = False
        self._encoder: VideoStream | VideoCodecContext | None = None
        given = read_params(session, stream=None, codec="", colour=None, options={}, threads=0)
        if given.stream is None:
            self._encoder = self._context = open_encoder(session, given)
        else:
            self._encoder, self._context = given.stream, _used(session, given)
        self._name = self._context.name
        self._last: tuple[int, Fraction | None] | None = None
        self._reference: VideoFrame | None = None
        self._taken: tuple[str, int, int] | None = None
        """Format and size of pictures that the encoder was found to take."""

    def send_frame(self, session: Session[EncoderProperties], frame: XmaFrame) -> Status:
        """Encode a picture."""
        if frame.is_last_frame:
            if not self._is_flushed:
                self._is_flushed = True
                self._encode(None)
            return Status.SUCCESS
        if not frame.do_not_encode:
            try:
                self._encode(self._picture(session, frame))
            finally:
                if self._reference is not None:
                    let_go(self._reference)
        return Status.SUCCESS if self._ready else Status.SEND_MORE_DATA

    def _picture(self, session: Session[EncoderProperties], frame: XmaFrame) -> VideoFrame:
        """Return a picture whose times and tags the encoder may change."""
        source = frame.owner if isinstance(frame.owner, VideoFrame) else to_av(frame)
        form = source.format.name, source.width, source.height
        if form != self._taken:
            self._check(session, form)
        picture = self._referring(source, frame) if source is frame.owner else source
        # What was decoded says how it was coded before, which an encoder takes for an order.
        picture.pict_type = PictureType.I if frame.is_idr else PictureType.NONE
        if frame.pts is None:
            picture.pts, picture.time_base = self._following(session), self._context.time_base
            self._last = picture.pts, picture.time_base
        else:
            self._last = frame.pts, frame.time_base
        quantisers = frame.side_data(SideDataType.QP_MAP)
        if quantisers is not None:
            if not self._is_told and not self._name.startswith(_TAKE_REGIONS):
                self._is_told = True
                _log.warning("%s: %s takes no QP_MAP; it does nothing", session.name, self._name)
            set_regions(picture, quantisers.buffer)
        return picture

    def _check(self, session: Session[EncoderProperties], form: tuple[str, int, int]) -> None:
        """Refuse pictures of another format or size than the encoder's."""
        context = self._context
        names = (context.pix_fmt, context.sw_format and context.sw_format.name)
        if form[0] not in names or form[1:] != (context.width, context.height):
            raise InvalidError(
                f"{session.name} encodes {context.pix_fmt} of {context.width}x{context.height}, "
                "and is sent {} of {}x{}; scale or convert first".format(*form)
            )
        self._taken = form

    def _referring(self, picture: VideoFrame, frame: XmaFrame) -> VideoFrame:
        """Return another picture over the same samples; on the host one serves for all.

        To make one of PyAV, and to free it, gives the GIL away thrice: that is an encoder's time,
        which takes it again from the threads that make its pictures.
        """
        name, known = picture.format.name, self._reference
        if name in HARDWARE:
            return new_reference(picture, frame.pts, frame.time_base)
        if known is None or known.format.name != name:
            known = self._reference = new_reference(picture, frame.pts, frame.time_base)
        else:
            refer(known, picture, frame.pts, frame.time_base)
        return known

    def _following(self, session: Session[EncoderProperties]) -> int:
        """Return the time of a frame that has none: behind the last one, in the encoder's units."""
        if self._last is None:
            return 0
        pts, time_base = self._last
        clock = self._context.time_base
        rate = session.properties.frame_rate or self._context.framerate or 1 / clock
        return round((pts * (time_base or clock) + 1 / rate) / clock)

    def _encode(self, picture: VideoFrame | None) -> None:
        assert self._encoder is not None
        try:
            self._ready.extend(self._encoder.encode(picture))
        except (av.FFmpegError, ValueError) as error:
            raise PluginError(f"{self._name} cannot encode a picture: {error}") from error

    def recv_data(self, session: Session[EncoderProperties], data: XmaDataBuffer) -> Status:
        """Give the next packet."""
        if not self._ready:
            return Status.EOS if self._is_flushed else Status.TRY_AGAIN
        if data.buffer is not None:
            raise InvalidError(f"{session.name} gives packets of the host; receive into a dummy")
        packet = self._ready.popleft()
        data.data, data.pts = packet, packet.pts
        return Status.SUCCESS

    def close(self, session: Session[EncoderProperties]) -> None:
        """Let go of the encoder, of the pictures that it holds, and of what was not received."""
        self._ready.clear()
        self._encoder = self._reference = None
        if hasattr(self, "_context"):
            del self._context


def _used(session: Session[EncoderProperties], given: SimpleNamespace) -> VideoCodecContext:
    """Return the encoder of a stream, as it was opened."""
    context: VideoCodecContext | None = getattr(given.stream, "codec_context", None)
    if not isinstance(context, VideoCodecContext) or not context.is_encoder:
        raise InvalidError(f"{session.name} takes an output's av.VideoStream, got {given.stream!r}")
    properties = session.properties
    said = [name for name in ("codec", "colour", "options", "threads") if getattr(given, name)]
    said += [name for name, unset in UNSET.items() if getattr(properties, name) != unset]
    if said:
        raise InvalidError(
            f"{session.name}: the encoder of a stream is used as it is; leave {', '.join(said)} out"
        )
    declared = properties.format and properties.format.name, properties.width, properties.height
    found = context.pix_fmt, context.width, context.height
    if declared[1:] != found[1:] or declared[0] not in (None, found[0]):
        texts = ["{} of {}x{}".format(*form) for form in (declared, found)]
        raise InvalidError(
            f"{session.name} is declared to take {texts[0]}, and its stream takes {texts[1]}"
        )
    return context
