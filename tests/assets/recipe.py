"""Short ways to describe tracks and clips, for the table in catalogue.py."""

from __future__ import annotations

from dataclasses import fields
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from tests.assets.truth import AudioTrack, Clip, Encoding, VideoTrack

if TYPE_CHECKING:
    from collections.abc import Mapping

WIDTH, HEIGHT = 128, 96
PAL = Fraction(25)
NTSC = Fraction(30000, 1001)

# The clock of each container. MP4 and MOV keep any that is fast enough; Matroska counts
# milliseconds; MPEG-TS has its 90 kHz; NUT doubles the denominator until it is 48000 at least.
CLOCKS = {
    "mp4": Fraction(1, 12800),
    "mov": Fraction(1, 12800),
    "matroska": Fraction(1, 1000),
    "webm": Fraction(1, 1000),
    "mpegts": Fraction(1, 90000),
    "nut": Fraction(1, 51200),
}
TS_START = 10 * 90000
TS_WRAP = 1 << 33  # the clock has 33 bits (ISO/IEC 13818-1, 2.4.3.7)
# Without this option the muxer shifts all times so that the first decoding time is 0.
TS_OPTIONS = {"mpegts_copyts": "1"}

_SUFFIXES = {"matroska": ".mkv", "mpegts": ".ts"}
_CODECS = {
    "libx264": "h264",
    "libx264rgb": "h264",
    "libx265": "hevc",
    "libvpx-vp9": "vp9",
    "libsvtav1": "av1",
    "prores_ks": "prores",
}
_CLIP_FIELDS = {field.name for field in fields(Clip)}


def x264(
    options: Mapping[str, str] | None = None,
    *,
    b_frames: int = 2,
    source_format: str | None = None,
    shift: int = 0,
) -> Encoding:
    """Describe a quick x264 encoding."""
    return Encoding(
        encoder="libx264",
        options={"preset": "ultrafast", "crf": "18", "bf": str(b_frames), **(options or {})},
        source_format=source_format,
        shift=shift,
    )


def x265(parameters: str) -> Encoding:
    """Describe a quick x265 encoding; `parameters` are x265's own."""
    # No thread pool: the number of cores must not change what the encoder decides.
    fixed = "log-level=none:pools=none:frame-threads=1"
    return Encoding(
        encoder="libx265",
        options={"preset": "ultrafast", "crf": "18", "x265-params": f"{fixed}:{parameters}"},
    )


X264 = x264()
X264_RGB = Encoding(
    encoder="libx264rgb", options={"preset": "ultrafast", "qp": "0"}, source_format="rgb24"
)
VP9 = Encoding(encoder="libvpx-vp9", options={"deadline": "realtime", "cpu-used": "8", "crf": "20"})
# From preset 10 on SVT-AV1 blends frames at this size, and barcodes no longer read.
AV1 = Encoding(encoder="libsvtav1", options={"preset": "8", "crf": "20", "svtav1-params": "lp=1"})
MPEG4 = Encoding(encoder="mpeg4", options={"qscale": "3"})
# MPEG-2 knows but a few frame rates, and its encoder wants the clock to be one of them.
MPEG2 = Encoding(
    encoder="mpeg2video", options={"bf": "2", "qscale": "3"}, time_base=Fraction(1, 25)
)
FFV1 = Encoding(encoder="ffv1")
PRORES = Encoding(encoder="prores_ks")
MJPEG = Encoding(encoder="mjpeg", options={"qmin": "2", "qmax": "3"})
RAW = Encoding(encoder="rawvideo")


def even(count: int, clock: Fraction, rate: Fraction = PAL, start: int = 0) -> tuple[int, ...]:
    """Return evenly spaced times, each rounded to the clock by itself."""
    return tuple(start + round(n / (rate * clock)) for n in range(count))


def video(encoding: Encoding, container: str, **changes: Any) -> VideoTrack:
    """Describe a short track at 25 frames a second, but for the changes.

    Parameters
    ----------
    encoding : Encoding
        How it is made; says the codec too.
    container : str
        FFmpeg's muxer; says the time base.
    **changes
        Fields of VideoTrack; `count` and `start` instead of `pts` for even times.
    """
    values: dict[str, Any] = {
        "codec": _CODECS.get(encoding.encoder, encoding.encoder),
        "pix_fmt": "yuv420p",
        "width": WIDTH,
        "height": HEIGHT,
        "time_base": CLOCKS[container],
        "rate": PAL,
        **changes,
    }
    count, start = values.pop("count", 12), values.pop("start", 0)
    if "pts" not in values:
        values["pts"] = even(count, values["time_base"], values["rate"], start)
    return VideoTrack(encoding=encoding, **values)


def clip(name: str, container: str, *tracks: VideoTrack, **rest: Any) -> Clip:
    """Describe a clip; `rest` are fields of Clip."""
    suffix = _SUFFIXES.get(container, f".{container}")
    return Clip(name=name, suffix=suffix, container=container, video=tracks, **rest)


def mp4(name: str, encoding: Encoding = X264, **changes: Any) -> Clip:
    """Describe an MP4 with one video track; `changes` are fields of Clip or VideoTrack."""
    return _one_video(name, "mp4", encoding, changes)


def mov(name: str, encoding: Encoding = X264, **changes: Any) -> Clip:
    """Describe a MOV with one video track, like `mp4`."""
    return _one_video(name, "mov", encoding, changes)


def mkv(name: str, encoding: Encoding = X264, **changes: Any) -> Clip:
    """Describe a Matroska file with one video track, like `mp4`."""
    return _one_video(name, "matroska", encoding, changes)


def ts(name: str, encoding: Encoding = X264, **changes: Any) -> Clip:
    """Describe an MPEG transport stream with one video track, which starts at 10 s."""
    # It has no place for a disposition.
    defaults = {"start": TS_START, "disposition": 0, "mux_options": TS_OPTIONS}
    return _one_video(name, "mpegts", encoding, {**defaults, **changes})


def raw(pix_fmt: str, container: str = "nut", **changes: Any) -> Clip:
    """Describe an uncompressed clip."""
    track = video(RAW, container, pix_fmt=pix_fmt, count=4, **changes)
    return clip(f"raw_{pix_fmt}", container, track)


def _one_video(name: str, container: str, encoding: Encoding, changes: dict[str, Any]) -> Clip:
    of_clip = {key: value for key, value in changes.items() if key in _CLIP_FIELDS}
    of_track = {key: value for key, value in changes.items() if key not in _CLIP_FIELDS}
    return clip(name, container, video(encoding, container, **of_track), **of_clip)


def aac(language: str, tone_hz: int, **changes: Any) -> AudioTrack:
    """Describe an AAC track."""
    values: dict[str, Any] = {"codec": "aac", "encoder": "aac", "sample_format": "fltp"}
    return AudioTrack(**{**values, "language": language, "tone_hz": tone_hz, **changes})


def flac(language: str, tone_hz: int, **changes: Any) -> AudioTrack:
    """Describe a FLAC track."""
    values: dict[str, Any] = {"codec": "flac", "encoder": "flac", "sample_format": "s16"}
    return AudioTrack(
        **{**values, "exact": True, "language": language, "tone_hz": tone_hz, **changes}
    )
