"""What is known about a clip before it is made: plain data, no PyAV.

Every value is stated as a reader of the file sees it, not as it was handed to the encoder,
wherever the two differ (a decoder's name for a codec, a time base that a container imposes).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from fractions import Fraction
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

# AVFieldOrder of libavcodec (codec_par.h) and the AV_DISPOSITION_* bits of libavformat
# (avformat.h), as plain numbers.
FIELD_ORDER_UNKNOWN = 0
FIELD_ORDER_PROGRESSIVE = 1
FIELD_ORDER_TOP_FIRST = 2
FIELD_ORDER_BOTTOM_FIRST = 3

DEFAULT = 0x1
COMMENT = 0x8
FORCED = 0x40
HEARING_IMPAIRED = 0x80

_ONE = 1 << 16  # 1.0 in the 16.16 fixed point of a display matrix (ISO/IEC 14496-12, 8.3.2)


def display_matrix(a: int, b: int, c: int, d: int) -> tuple[int, ...]:
    """Return the nine numbers of a display matrix with no shift and no perspective."""
    return (a * _ONE, b * _ONE, 0, c * _ONE, d * _ONE, 0, 0, 0, 1 << 30)


@dataclass(frozen=True, slots=True)
class Colour:
    """Colour tags.

    Attributes
    ----------
    range : int
        0 not tagged, 1 limited, 2 full (AVColorRange).
    matrix, primaries, transfer : int
        Code points of ITU-T H.273; 2 is "unspecified", matrix 0 is RGB.
    """

    range: int
    matrix: int
    primaries: int
    transfer: int

    @property
    def full_range(self) -> bool:
        """Whether the samples are full range."""
        return self.range == 2


BT709 = Colour(1, 1, 1, 1)
BT709_FULL = Colour(2, 1, 1, 1)
BT601 = Colour(1, 6, 6, 6)
BT2020_PQ = Colour(1, 9, 9, 16)
UNTAGGED = Colour(0, 2, 2, 2)
UNTAGGED_FULL = Colour(2, 2, 2, 2)
TAGGED_RGB = Colour(2, 0, 2, 2)


@dataclass(frozen=True, slots=True, kw_only=True)
class Encoding:
    """How a video track is made.

    Attributes
    ----------
    encoder : str
        FFmpeg's encoder.
    options : Mapping
        Its options.
    source_format : str or None
        Pixel format of the frames that it gets; None if it is the track's own.
    time_base : Fraction or None
        The encoder's clock, where it cannot run on the container's.
    shift : int
        Added to the times on their way in, where the demuxer takes it off again.
    """

    encoder: str
    options: Mapping[str, str] = field(default_factory=dict)
    source_format: str | None = None
    time_base: Fraction | None = None
    shift: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class VideoTrack:
    """One video track.

    Attributes
    ----------
    codec : str
        The codec's name (not its decoder's): h264, av1.
    pix_fmt : str
        As it is decoded.
    width, height : int
        In pixels.
    pts : tuple of int
        Of every frame that a decoder gives, in ascending order.
    time_base : Fraction
        The unit of `pts`, as the demuxer states it.
    rate : Fraction or None
        Frame rate; None if it varies.
    hidden_pts : tuple of int
        Of the packets that the demuxer marks "discard" (before the start of an edit list); they
        have to be decoded but not shown.
    first_index : int
        Barcode number of the first packet's frame in order of presentation, hidden ones too.
    colour : Colour
        Tags that a decoded frame carries.
    display_matrix : tuple of nine int, or None
        Orientation.
    sample_aspect_ratio : Fraction
        1 where pixels are square or nothing is said.
    field_order : int
        One of FIELD_ORDER_*; both "unknown" and "progressive" mean progressive frames.
    key_indices : tuple of int or None
        Barcode numbers of the frames whose packets are marked as key; None where the encoder is
        free to choose.
    side_data : frozenset of str
        Names of side data that the first decoded frame carries at least.
    disposition : int
        AV_DISPOSITION_* bits.
    metadata : Mapping
        Tags that the stream carries at least.
    encoding : Encoding
        How it is made.
    """

    codec: str
    pix_fmt: str
    width: int
    height: int
    pts: tuple[int, ...]
    time_base: Fraction
    rate: Fraction | None
    encoding: Encoding
    hidden_pts: tuple[int, ...] = ()
    first_index: int = 0
    colour: Colour = BT709
    display_matrix: tuple[int, ...] | None = None
    sample_aspect_ratio: Fraction = Fraction(1)
    field_order: int = FIELD_ORDER_UNKNOWN
    key_indices: tuple[int, ...] | None = None
    side_data: frozenset[str] = frozenset()
    disposition: int = DEFAULT
    metadata: Mapping[str, str] = field(default_factory=dict)

    @property
    def frame_count(self) -> int:
        """Number of frames that a decoder gives."""
        return len(self.pts)

    @property
    def indices(self) -> tuple[int, ...]:
        """Barcode number of each frame of `pts`."""
        first = self.first_index + len(self.hidden_pts)
        return tuple(range(first, first + len(self.pts)))

    @property
    def last_index(self) -> int:
        """Barcode number of the last frame."""
        return self.first_index + len(self.hidden_pts) + len(self.pts) - 1

    @property
    def interlaced(self) -> bool:
        """Whether the frames hold two fields of different moments."""
        return self.field_order in (FIELD_ORDER_TOP_FIRST, FIELD_ORDER_BOTTOM_FIRST)

    @property
    def is_variable_rate(self) -> bool:
        """Whether the frames are unevenly spaced."""
        return self.rate is None

    @property
    def rotation(self) -> int:
        """Degrees counterclockwise, 0 to 359, by which a player turns the picture.

        It is what libavutil's av_display_rotation_get() says, modulo 360. A mirror image is not
        described by it: look at `mirrored` too.
        """
        if self.display_matrix is None:
            return 0
        a, b = self.display_matrix[:2]
        return round(-math.degrees(math.atan2(b, a))) % 360

    @property
    def mirrored(self) -> bool:
        """Whether the display matrix also flips the picture."""
        if self.display_matrix is None:
            return False
        a, b, _, c, d = self.display_matrix[:5]
        return a * d - b * c < 0

    @property
    def stored_matrix(self) -> int:
        """The H.273 matrix that the samples were made with, also where it is not tagged."""
        # FFmpeg's scaler takes BT.601 where nothing is said, and so do these clips.
        return 6 if self.colour.matrix == 2 else self.colour.matrix


@dataclass(frozen=True, slots=True, kw_only=True)
class AudioTrack:
    """One audio track: a sine tone from its first sample to its last.

    Attributes
    ----------
    codec : str
        The codec's name.
    encoder, sample_format : str
        How it is made.
    sample_rate, channels : int
        As decoded.
    samples : int
        Number of samples of a channel that went in.
    tone_hz : int
        Frequency of the tone, different in each track of a clip.
    start : Fraction
        When the first sample is to be heard, in seconds on the clip's own clock.
    exact : bool
        Whether start and number of samples come back exactly. A lossy codec adds priming and
        padding, up to two of its frames.
    language : str or None
        ISO 639-2 code.
    disposition : int
        AV_DISPOSITION_* bits.
    metadata : Mapping
        Tags that the stream carries at least.
    """

    codec: str
    encoder: str
    sample_format: str
    sample_rate: int = 48000
    channels: int = 2
    samples: int = 48000
    tone_hz: int = 440
    start: Fraction = Fraction(0)
    exact: bool = False
    language: str | None = None
    disposition: int = DEFAULT
    metadata: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class SubtitleEvent:
    """One line of text, shown from `start_ms` to `end_ms`."""

    start_ms: int
    end_ms: int
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SubtitleTrack:
    """One track of text subtitles; `codec` is the codec's name: subrip, mov_text, webvtt."""

    codec: str
    language: str
    events: tuple[SubtitleEvent, ...]
    disposition: int = 0


@dataclass(frozen=True, slots=True)
class Chapter:
    """One chapter, in the time base in which a demuxer states it."""

    start: int
    end: int
    time_base: Fraction
    title: str


@dataclass(frozen=True, slots=True)
class Attachment:
    """A file inside the container."""

    name: str
    mimetype: str
    data: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Damage:
    """What is wrong with a clip.

    Attributes
    ----------
    kind : str
        "cut" (the file ends early), "overwritten" (zeros in the middle), "no packets" (a header
        only), "noise" (packets of random bytes), "text" or "empty" (no media at all).
    opens : bool
        Whether a demuxer recognises the file.
    decodable : tuple of two int
        The least and the greatest number of frames that a decoder may give.
    """

    kind: str
    opens: bool
    decodable: tuple[int, int] = (0, 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Clip:
    """One file and everything in it.

    The streams stand in the order video, audio, subtitles, attachments, cover. MP4 and MOV put
    one more data stream after the subtitles if there are chapters.

    Attributes
    ----------
    name : str
        Key in the table.
    suffix : str
        File name extension with its dot.
    container : str
        FFmpeg's muxer.
    metadata : Mapping
        Tags that the container carries at least.
    cover_index : int or None
        Barcode number on the cover picture, if there is one.
    mux_options : Mapping
        Options of the muxer.
    damage : Damage or None
        None for a sound file. The tracks of a damaged clip say what was there before.
    """

    name: str
    suffix: str
    container: str
    video: tuple[VideoTrack, ...] = ()
    audio: tuple[AudioTrack, ...] = ()
    subtitles: tuple[SubtitleTrack, ...] = ()
    chapters: tuple[Chapter, ...] = ()
    attachments: tuple[Attachment, ...] = ()
    cover_index: int | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)
    mux_options: Mapping[str, str] = field(default_factory=dict)
    damage: Damage | None = None

    @property
    def file_name(self) -> str:
        """Name of the file."""
        return self.name + self.suffix

    @property
    def main(self) -> VideoTrack:
        """The first video track.

        Raises
        ------
        ValueError
            If the clip has none.
        """
        if not self.video:
            raise ValueError(f"clip {self.name!r} has no video track")
        return self.video[0]
