"""The table of clips."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

from tests.assets.recipe import (
    AV1,
    FFV1,
    MJPEG,
    MPEG2,
    MPEG4,
    NTSC,
    PRORES,
    TS_WRAP,
    VP9,
    X264_RGB,
    aac,
    clip,
    flac,
    mkv,
    mov,
    mp4,
    raw,
    ts,
    video,
    x264,
    x265,
)
from tests.assets.truth import (
    BT601,
    BT709_FULL,
    BT2020_PQ,
    COMMENT,
    DEFAULT,
    FIELD_ORDER_BOTTOM_FIRST,
    FIELD_ORDER_TOP_FIRST,
    FORCED,
    HEARING_IMPAIRED,
    TAGGED_RGB,
    UNTAGGED,
    UNTAGGED_FULL,
    Attachment,
    AudioTrack,
    Chapter,
    Colour,
    Damage,
    SubtitleEvent,
    SubtitleTrack,
    display_matrix,
)

CODECS = (
    mp4("h264"),
    mov("h264_mov"),
    mkv("h264_mkv"),
    ts("h264_ts"),
    mp4("bframes", x264({"b-pyramid": "normal"}, b_frames=4), count=20),
    mp4("no_bframes", x264(b_frames=0)),
    # There is no edit list in it that could take off the delay of B-frames.
    mp4(
        "fragmented",
        x264(b_frames=0),
        mux_options={"movflags": "+frag_keyframe+empty_moov"},
    ),
    mp4("hevc", x265("bframes=3")),
    clip("vp9", "webm", video(VP9, "webm")),
    mp4("av1", AV1),
    mkv("av1_mkv", AV1),
    mp4("mpeg4", MPEG4),
    mkv("ffv1", FFV1),
    mov("prores", PRORES, pix_fmt="yuv422p10le"),
    # JFIF knows BT.601 only.
    mov("mjpeg", MJPEG, pix_fmt="yuvj420p", colour=Colour(2, 5, 1, 1)),
)

_UNEVEN_MS = (0, 33, 100, 110, 250, 300, 301, 400, 700, 1000)
_KEYS_20 = {"g": "20", "keyint_min": "20", "sc_threshold": "0"}
_KEYS_25 = {"g": "25", "keyint_min": "25", "sc_threshold": "0"}
_KEEP_NEGATIVE = {"avoid_negative_ts": "disabled"}

TIMES = (
    mp4(
        "vfr_mp4",
        time_base=Fraction(1, 16000),
        pts=tuple(16 * time for time in _UNEVEN_MS),
        rate=None,
    ),
    mkv("vfr_mkv", pts=_UNEVEN_MS, rate=None),
    mp4("ntsc_mp4", time_base=Fraction(1, 30000), rate=NTSC),
    mkv("ntsc_mkv", rate=NTSC),
    mkv("negative_pts", FFV1, start=-120, mux_options=_KEEP_NEGATIVE),
    mp4("edit_list", count=9, hidden_pts=(-1536, -1024, -512), mux_options=_KEEP_NEGATIVE),
    # The demuxer makes the times before the wrap of the 33-bit clock negative.
    ts("ts_wrap", x264(shift=TS_WRAP), start=-18000),
    mp4("one_frame", count=1),
    mp4("long_gop", x264(_KEYS_25), count=100, key_indices=(0, 25, 50, 75)),
    # Open: the key frames are no multiple of the B-frames' pattern, so that B-frames lead them.
    mp4(
        "open_gop",
        x264({**_KEYS_20, "x264-params": "open-gop=1"}),
        count=100,
        key_indices=(0, 20, 40, 60, 80),
    ),
    mkv(
        "open_gop_hevc",
        x265("keyint=18:min-keyint=18:scenecut=0:open-gop=1:bframes=3"),
        count=60,
        key_indices=(0, 18, 36, 54),
    ),
)

_ODD: dict[str, Any] = {"width": 127, "height": 95}

SHAPES = (
    mp4("rotated_90", display_matrix=display_matrix(0, -1, 1, 0)),
    mov("rotated_180", display_matrix=display_matrix(-1, 0, 0, -1)),
    mkv("rotated_270", display_matrix=display_matrix(0, 1, -1, 0)),
    mp4("mirrored", display_matrix=display_matrix(-1, 0, 0, 1)),
    mp4("anamorphic", sample_aspect_ratio=Fraction(4, 3)),
    mkv("anamorphic_mkv", sample_aspect_ratio=Fraction(4, 3)),
    mkv("odd_yuv444p", pix_fmt="yuv444p", **_ODD),
    mkv("odd_yuv420p", FFV1, **_ODD),
    mkv("odd_bgr0", FFV1, pix_fmt="bgr0", colour=UNTAGGED, **_ODD),
    mp4("interlaced_tff", field_order=FIELD_ORDER_TOP_FIRST),
    ts("interlaced_bff", MPEG2, field_order=FIELD_ORDER_BOTTOM_FIRST),
)

# x265's unit is 0.00002 for chromaticities and 0.0001 cd/m2 for luminance.
_MASTERING = (
    "hdr10=1:master-display=G(13250,34500)B(7500,3000)R(34000,16000)WP(15635,16450)L(10000000,1)"
    ":max-cll=1000,400"
)
_HDR_DATA = frozenset({"MASTERING_DISPLAY_METADATA", "CONTENT_LIGHT_LEVEL"})

FORMATS = (
    mp4(
        "hdr10",
        x265(_MASTERING),
        pix_fmt="yuv420p10le",
        colour=BT2020_PQ,
        side_data=_HDR_DATA,
    ),
    mp4("h264_10bit", pix_fmt="yuv420p10le"),
    mp4("full_range", pix_fmt="yuvj420p", colour=BT709_FULL),
    mp4("bt601", colour=BT601),
    mp4("untagged", colour=UNTAGGED),
    mkv("yuv422p", pix_fmt="yuv422p"),
    mkv("yuv444p", x264({"qp": "0"}), pix_fmt="yuv444p"),
    mkv("h264_rgb", X264_RGB, pix_fmt="gbrp", colour=TAGGED_RGB),
    mkv("h264_nv12", x264(source_format="nv12")),
    # Decoders give 4:2:0 for 4:0:0, and x264 writes no matrix for it.
    mkv("h264_gray", x264(source_format="gray"), colour=Colour(1, 2, 1, 1)),
    mkv("ffv1_gray", FFV1, pix_fmt="gray", colour=UNTAGGED_FULL),
    mkv("ffv1_gray10", FFV1, pix_fmt="gray10le"),
    mkv("ffv1_bgra", FFV1, pix_fmt="bgra", colour=UNTAGGED),
    mkv("ffv1_yuva420p", FFV1, pix_fmt="yuva420p"),
    raw("rgb24", colour=UNTAGGED),
    raw("bgr24", colour=UNTAGGED),
    raw("rgb0", colour=UNTAGGED),
    raw("bgr0", colour=UNTAGGED),
    raw("0rgb", colour=UNTAGGED),
    raw("gbrp", colour=UNTAGGED),
    raw("rgba", "matroska", colour=UNTAGGED),
    raw("nv12", "matroska"),
    raw("yuyv422", "matroska"),
    raw("yuv420p", "matroska"),
)

_SECOND: dict[str, Any] = {"count": 25}  # as long as the other tracks
_AAC_TRACKS = (
    aac("eng", 440),
    aac("deu", 660, sample_rate=44100, samples=44100, channels=1, disposition=0),
)
_MKV_TRACKS = (
    flac("eng", 440, metadata={"title": "Main"}),
    AudioTrack(
        codec="opus",
        encoder="libopus",
        sample_format="flt",
        tone_hz=660,
        language="deu",
        disposition=COMMENT,
        metadata={"title": "Kommentar"},
    ),
)
_TS_TRACKS = (
    aac("eng", 440, start=Fraction(10), disposition=0),
    aac("deu", 660, start=Fraction(10), disposition=0),
)
_LATE_PCM = AudioTrack(
    codec="pcm_s16le",
    encoder="pcm_s16le",
    sample_format="s16",
    samples=24000,
    start=Fraction(1, 2),
    exact=True,
    language="eng",
)
_ENGLISH = (SubtitleEvent(100, 400, "Hello"), SubtitleEvent(600, 900, "Two\nlines"))
_GERMAN = (SubtitleEvent(100, 400, "Grüß Gott"), SubtitleEvent(600, 900, "Ende"))
_TEXT_FILE = Attachment("notes.txt", "text/plain", "Notes, with an umlaut: ü\n".encode())
_FONT_FILE = Attachment("Sans.ttf", "font/ttf", bytes(range(256)))


def _subtitles(codec: str, english: int, german: int) -> tuple[SubtitleTrack, ...]:
    return (
        SubtitleTrack(codec=codec, language="eng", events=_ENGLISH, disposition=english),
        SubtitleTrack(codec=codec, language="deu", events=_GERMAN, disposition=german),
    )


def _chapters(per_ms: int) -> tuple[Chapter, ...]:
    clock = Fraction(1, 1000 * per_ms)
    return (
        Chapter(0, 400 * per_ms, clock, "Beginning"),
        Chapter(400 * per_ms, 1000 * per_ms, clock, "Das Ende"),
    )


_MKV_CHAPTERS = _chapters(1_000_000)  # Matroska counts nanoseconds
_MP4_CHAPTERS = _chapters(1)

TRACKS = (
    mkv("two_audio", audio=_MKV_TRACKS, **_SECOND),
    mp4("two_audio_mp4", audio=_AAC_TRACKS, **_SECOND),
    ts("audio_ts", audio=_TS_TRACKS, **_SECOND),
    mov("late_audio", audio=(_LATE_PCM,), **_SECOND),
    mp4(
        "late_audio_aac",
        audio=(aac("eng", 440, samples=24000, start=Fraction(1, 2)),),
        **_SECOND,
    ),
    mkv(
        "subtitles_mkv",
        subtitles=_subtitles("subrip", DEFAULT | FORCED, HEARING_IMPAIRED),
        **_SECOND,
    ),
    mp4("subtitles_mp4", subtitles=_subtitles("mov_text", DEFAULT, 0), **_SECOND),
    clip(
        "subtitles_webm",
        "webm",
        video(VP9, "webm", **_SECOND),
        subtitles=_subtitles("webvtt", 0, 0),
    ),
    mkv("chapters_mkv", chapters=_MKV_CHAPTERS, **_SECOND),
    mp4("chapters_mp4", chapters=_MP4_CHAPTERS, **_SECOND),
    mkv("attachments", attachments=(_TEXT_FILE, _FONT_FILE), **_SECOND),
    mkv("cover_mkv", cover_index=4711, **_SECOND),
    mp4("cover_mp4", audio=_AAC_TRACKS[:1], cover_index=4711, **_SECOND),
    mkv("metadata_mkv", metadata={"title": "A title", "ARTIST": "Nobody", "X-OWN": "kept"}),
    mp4("metadata_mp4", metadata={"title": "A title", "artist": "Nobody", "comment": "None"}),
    clip("audio_only", "matroska", audio=(flac("eng", 440),)),
    clip("audio_cover", "mp4", audio=(aac("eng", 440),), cover_index=815),
    clip(
        "two_videos",
        "matroska",
        video(x264(), "matroska", metadata={"title": "First", "language": "eng"}),
        video(
            x264(),
            "matroska",
            metadata={"title": "Second"},
            first_index=1000,
            width=160,
            height=120,
            disposition=0,
        ),
    ),
    mkv(
        "everything_mkv",
        metadata={"title": "Everything"},
        audio=_MKV_TRACKS,
        subtitles=_subtitles("subrip", DEFAULT, 0),
        chapters=_MKV_CHAPTERS,
        attachments=(_TEXT_FILE, _FONT_FILE),
        cover_index=4711,
        **_SECOND,
    ),
    mp4(
        "everything_mp4",
        metadata={"title": "Everything"},
        audio=_AAC_TRACKS,
        subtitles=_subtitles("mov_text", DEFAULT, 0),
        chapters=_MP4_CHAPTERS,
        cover_index=4711,
        **_SECOND,
    ),
)

_CUT = Damage(kind="cut", opens=True, decodable=(10, 49))

DAMAGES = (
    # The index stands at the end.
    mp4("truncated", count=50, damage=Damage(kind="cut", opens=False)),
    ts("cut_ts", count=50, damage=_CUT),
    mkv("cut_mkv", FFV1, count=50, damage=_CUT),
    ts(
        "overwritten",
        count=50,
        damage=Damage(kind="overwritten", opens=True, decodable=(20, 50)),
    ),
    clip("empty", "mp4", damage=Damage(kind="empty", opens=False)),
    clip("text", "mp4", damage=Damage(kind="text", opens=False)),
    # Without "empty_moov" an MP4 with no packets has no tracks either.
    mp4(
        "zero_frames",
        mux_options={"movflags": "+empty_moov+frag_keyframe"},
        damage=Damage(kind="no packets", opens=True),
    ),
    # A ProRes frame must begin with a magic word: its decoder refuses every packet.
    mov("noise", PRORES, pix_fmt="yuv422p10le", damage=Damage(kind="noise", opens=True)),
)

ALL = (*CODECS, *TIMES, *SHAPES, *FORMATS, *TRACKS, *DAMAGES)
