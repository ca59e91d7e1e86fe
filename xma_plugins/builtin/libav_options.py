"""An encoder of FFmpeg, opened as the properties of a session ask for it."""

import os
from collections.abc import Mapping
from fractions import Fraction
from types import SimpleNamespace

import av
from av.codec.codec import Codec
from av.codec.context import CodecContext
from av.video.codeccontext import VideoCodecContext

from bridges.backends.ffmpeg_log import captured_log
from bridges.backends.ffmpeg_scheduling import kept_scheduling
from bridges.frame import Colour
from xma_plugins.builtin.libav_codec import find_codec
from xma_plugins.errors import InvalidError
from xma_plugins.kinds import EncoderType
from xma_plugins.properties import EncoderProperties
from xma_plugins.session import Session

__all__ = ["UNSET", "open_encoder"]

_CODECS = {
    EncoderType.H264: "libx264",
    EncoderType.HEVC: "libx265",
    EncoderType.VP9: "libvpx-vp9",
    EncoderType.AV1: "libsvtav1",
    EncoderType.COPY: "rawvideo",
    EncoderType.JPEG: "mjpeg",
}

UNSET = {
    "bitrate": 0,
    "gop_size": 0,
    "idr_interval": 0,
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
}
"""Properties that not all encoders know, with the value that asks for nothing."""

_OF_LOSSY = ("bitrate", "min_qp")
_OF_PREDICTING = ("gop_size", "idr_interval")
"""Properties that libavcodec has a field for; what is lossless, or intra only, has no use."""

_OPTIONS: Mapping[str, Mapping[str, str]] = {
    "libx264": {"qp": "qp", "lookahead_depth": "rc-lookahead", "aq_mode": "aq-mode"},
    "libx265": {
        "qp": "qp",
        "lookahead_depth": "x265-params:rc-lookahead",
        "aq_mode": "x265-params:aq-mode",
    },
    "libsvtav1": {
        "qp": "qp",
        "lookahead_depth": "svtav1-params:lookahead",
        "aq_mode": "svtav1-params:aq-mode",
    },
    "libvpx-vp9": {"qp": "crf", "lookahead_depth": "lag-in-frames", "aq_mode": "aq-mode"},
    "mjpeg": {"qp": ""},
    "mpeg4": {"qp": ""},
    "mpeg2video": {"qp": ""},
}
"""What encoders call properties that libavcodec has no field for: an option, or a key of an option
that takes several; nothing where the smallest and the largest quantiser say it all."""

_BOUNDED = ("libvpx-vp9", "mjpeg", "mpeg4", "mpeg2video")
"""Encoders whose quantiser is constant where its bounds leave no choice."""

_QUIET = {"libx265": {"x265-params": "log-level=error"}}
"""Options for what would write to the terminal on its own."""


def open_encoder(session: Session[EncoderProperties], given: SimpleNamespace) -> VideoCodecContext:
    """Return an opened encoder, as the session's properties have it.

    Parameters
    ----------
    session : Session
        Of an encoder.
    given : SimpleNamespace
        Its parameters ``codec``, ``colour``, ``options`` and ``threads``; see `LibavEncoder`.

    Raises
    ------
    InvalidError
        There is no such encoder, or it does not take what was asked for; the message says what.
    """
    properties = session.properties
    context = _create(session, given.codec or _CODECS.get(properties.type, ""))
    name = context.name
    _check_properties(session, context.codec)
    if properties.format is None:
        raise InvalidError(f"{session.name} is not told the pixel format; give the property format")
    rate = properties.frame_rate or Fraction(25)
    context.width, context.height = properties.width, properties.height
    context.pix_fmt = properties.format.name
    context.time_base = properties.time_base or 1 / rate
    context.framerate = rate
    context.thread_type, context.thread_count = "AUTO", given.threads
    _set_colour(session, context, given.colour)
    _set_rate(context, properties)
    private = {option.name for option in context.supported_options.private}
    options = {} if "forced-idr" not in private else {"forced-idr": "1"}
    for more in (_QUIET.get(name, {}), _options(properties, name), given.options):
        _join(options, more)
    context.options = options
    if name == "libsvtav1":
        os.environ.setdefault("SVT_LOG", "1")  # Errors only; it reads no option for that.
    with captured_log() as log, kept_scheduling():
        try:
            context.open()
        except (av.FFmpegError, ValueError, TypeError) as error:
            raise InvalidError(f"{session.name}: {name} refused: {log.text or error}") from error
    if context.options:
        raise InvalidError(f"{session.name}: {name} has no option {', '.join(context.options)}")
    return context


def _create(session: Session[EncoderProperties], name: str) -> VideoCodecContext:
    if not name:
        raise InvalidError(
            f"{session.name} is not told how to encode; give the property type, or a codec or a "
            "stream among params"
        )
    codec = find_codec(session, name, "w")
    wanted = Codec(_CODECS.get(session.properties.type, name), "w").canonical_name
    if codec.canonical_name != wanted:
        raise InvalidError(
            f"{session.name} is of type {session.properties.type.name}, and {name} makes "
            f"{codec.canonical_name}; leave one of the two out"
        )
    context = CodecContext.create(codec, "w")
    assert isinstance(context, VideoCodecContext)
    return context


def _check_properties(session: Session[EncoderProperties], codec: Codec) -> None:
    """Refuse properties that an encoder does not know, by name."""
    properties = session.properties
    asked = {name for name, unset in UNSET.items() if getattr(properties, name) != unset}
    known = set(_OPTIONS.get(codec.name, ()))
    known.update(_OF_LOSSY if codec.lossy else ())
    known.update(() if codec.intra_only else _OF_PREDICTING)
    if unknown := sorted(asked - known):
        raise InvalidError(
            f"{session.name}: {codec.name} takes no {', '.join(unknown)}; say it in the encoder's "
            "own words, among the options of params"
        )
    if {"qp", "bitrate"} <= asked:
        raise InvalidError(
            f"{session.name}: qp is constant where bitrate controls it; leave one out"
        )
    gop = properties.gop_size or properties.idr_interval
    if properties.idr_interval not in (0, gop):
        raise InvalidError(
            f"{session.name}: FFmpeg's encoders make every key frame an IDR picture; let "
            f"idr_interval be gop_size, got {properties.idr_interval} and {gop}"
        )


def _set_colour(
    session: Session[EncoderProperties], context: VideoCodecContext, colour: object
) -> None:
    if colour is None:
        return
    if not isinstance(colour, Colour):
        raise InvalidError(f"{session.name}: colour is a bridges.frame.Colour, got {colour!r}")
    context.colorspace, context.color_range = colour.matrix, colour.range
    context.color_primaries, context.color_trc = colour.primaries, colour.transfer


def _set_rate(context: VideoCodecContext, properties: EncoderProperties) -> None:
    if properties.bitrate:
        context.bit_rate = 1000 * properties.bitrate
    if gop := properties.gop_size or properties.idr_interval:
        context.gop_size = gop
    if properties.min_qp >= 0:
        context.qmin = properties.min_qp
    if properties.qp >= 0 and context.name in _BOUNDED:
        context.qmin = context.qmax = properties.qp


def _options(properties: EncoderProperties, name: str) -> dict[str, str]:
    """Return the encoder's own options for properties."""
    options: dict[str, str] = {}
    for each, option in _OPTIONS.get(name, {}).items():
        value = getattr(properties, each)
        if value != UNSET[each] and option:
            outer, _, inner = option.partition(":")
            _join(options, {outer: f"{inner}={value}" if inner else str(value)})
    return options


def _join(options: dict[str, str], more: Mapping[str, str]) -> None:
    """Add options; those that take several are joined, the last one wins of all others."""
    for key, value in more.items():
        if key in options and key.endswith("-params"):
            value = f"{options[key]}:{value}"
        options[key] = str(value)
