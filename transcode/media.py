"""What is known about a media file: plain, frozen data."""

from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

from transcode.report import plain

__all__ = [
    "AttachmentInfo",
    "AudioInfo",
    "ChapterInfo",
    "HdrInfo",
    "MediaInfo",
    "StreamInfo",
    "VideoInfo",
]


@dataclass(frozen=True, kw_only=True)
class StreamInfo:
    """One stream of any kind.

    Attributes
    ----------
    index : int
        Number of the stream in its file.
    kind : str
        ``"video"``, ``"audio"``, ``"subtitle"``, ``"data"``, ``"attachment"`` or ``"unknown"``.
    codec : str
        libav's name of the codec; ``"unknown"`` where this FFmpeg has no decoder for it.
    profile, language : str or None
        Where the stream says.
    disposition : tuple of str
        libav's names of its flags, such as ``"default"``.
    start_seconds, duration_seconds : float or None
        Where the container says.
    bits_per_second : int or None
        Where the container says.
    metadata : dict of str to str
        Its tags.
    """

    index: int
    kind: str
    codec: str
    profile: str | None = None
    language: str | None = None
    disposition: tuple[str, ...] = ()
    start_seconds: float | None = None
    duration_seconds: float | None = None
    bits_per_second: int | None = None
    metadata: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class HdrInfo:
    """What the first frame says of its dynamic range.

    Attributes
    ----------
    min_luminance_nits, max_luminance_nits : float or None
        Of the display that the video was mastered on (SMPTE ST 2086), in cd/m².
    max_cll_nits, max_fall_nits : int or None
        Light level of the brightest sample and of the brightest frame (CTA-861.3), in cd/m².
    dynamic : tuple of str
        Metadata that changes from frame to frame: ``"HDR10+"``, ``"Dolby Vision"``.
    """

    min_luminance_nits: float | None = None
    max_luminance_nits: float | None = None
    max_cll_nits: int | None = None
    max_fall_nits: int | None = None
    dynamic: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class VideoInfo(StreamInfo):
    """A video stream, or a cover picture (whose disposition holds ``"attached_pic"``).

    Attributes
    ----------
    width, height : int
        In pixels, before rotation.
    pix_fmt : str
        libav's name.
    bits : int or None
        Bits of a sample.
    sample_aspect_ratio, display_aspect_ratio : Fraction or None
        Of a pixel and of the picture, before rotation.
    rate : Fraction or None
        Mean frames per second.
    is_rate_variable : bool or None
        Whether frames are unevenly spaced; None where only reading the whole file would tell.
    frames : int or None
        As the container says.
    rotation_degrees : int
        Counter-clockwise, 0 to 359, by which a player turns the picture.
    is_mirrored : bool
        Whether a player also flips it.
    field_order : str
        ``"progressive"``, ``"top field first"``, ``"bottom field first"``, ``"interlaced"`` or
        ``"unknown"``.
    matrix, primaries, transfer : str
        libav's names of the code points of ITU-T H.273; ``"unspecified"`` where untagged.
    range : str
        ``"limited"``, ``"full"`` or ``"unspecified"``.
    hdr : HdrInfo or None
        None where the first frame carries nothing of the kind.
    """

    width: int
    height: int
    pix_fmt: str
    bits: int | None
    sample_aspect_ratio: Fraction | None
    display_aspect_ratio: Fraction | None
    rate: Fraction | None
    is_rate_variable: bool | None
    frames: int | None
    rotation_degrees: int
    is_mirrored: bool
    field_order: str
    matrix: str
    range: str
    primaries: str
    transfer: str
    hdr: HdrInfo | None


@dataclass(frozen=True, kw_only=True)
class AudioInfo(StreamInfo):
    """An audio stream.

    Attributes
    ----------
    sample_rate_hz, channels : int
        As decoded.
    layout, sample_format : str
        libav's names: ``"5.1"``, ``"fltp"``.
    """

    sample_rate_hz: int
    channels: int
    layout: str
    sample_format: str


@dataclass(frozen=True, kw_only=True)
class AttachmentInfo(StreamInfo):
    """A file inside the container, such as a font."""

    name: str
    mimetype: str
    nbytes: int


@dataclass(frozen=True, kw_only=True)
class ChapterInfo:
    """A chapter; its title is empty where there is none."""

    start_seconds: float
    end_seconds: float
    title: str


@dataclass(frozen=True, kw_only=True)
class MediaInfo:
    """A media file.

    Attributes
    ----------
    path : str
        As it was asked for.
    container, container_long : str
        libav's names of the demuxer, and in words.
    nbytes : int or None
        None where the input is not a file.
    start_seconds, duration_seconds : float or None
        Where the container says.
    bits_per_second : int or None
        Of all streams together.
    streams : tuple of StreamInfo
        `VideoInfo`, `AudioInfo`, `AttachmentInfo`, or plain for the other kinds.
    chapters : tuple of ChapterInfo
        In the container's order.
    metadata : dict of str to str
        The container's tags.
    """

    path: str
    container: str
    container_long: str
    nbytes: int | None
    start_seconds: float | None
    duration_seconds: float | None
    bits_per_second: int | None
    streams: tuple[StreamInfo, ...]
    chapters: tuple[ChapterInfo, ...] = ()
    metadata: dict[str, str] = field(default_factory=dict)

    @property
    def video(self) -> tuple[VideoInfo, ...]:
        """The video streams, covers too."""
        return tuple(stream for stream in self.streams if isinstance(stream, VideoInfo))

    @property
    def audio(self) -> tuple[AudioInfo, ...]:
        """The audio streams."""
        return tuple(stream for stream in self.streams if isinstance(stream, AudioInfo))

    def as_dict(self) -> dict[str, Any]:
        """Return everything as plain values that JSON can hold; rates as ``"30000/1001"``."""
        return plain(self)  # type: ignore[no-any-return]
