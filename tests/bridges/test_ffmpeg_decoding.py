"""The loop over FFmpeg's own packets and frames beside PyAV's, with decoders in software."""

from __future__ import annotations

import gc
import itertools
from fractions import Fraction

import av
import numpy as np
import pytest

from bridges.backends.ffmpeg_decoding import _Decoding, decoded
from bridges.errors import ClosedError, DeviceError
from bridges.native import libavcodec, libavformat
from bridges.native.libavcodec import free_decoder
from tests.helpers.process import mapped_bytes

FORM = "yuv420p"

CLIPS = [
    "bframes",
    "cut_ts",
    "audio_ts",
    "vfr_mkv",
    "negative_pts",
    "hevc",
    "vp9",
    "av1",
    "mpeg4",
    "h264_10bit",
    "full_range",
    "odd_yuv444p",
    "interlaced_bff",
    "cover_mp4",
    "one_frame",
]


def description(frame):
    planes = [(plane.width, plane.height, bytes(plane)) for plane in frame.planes]
    form = frame.format.name, frame.width, frame.height, frame.color_range, frame.colorspace
    return frame.pts, frame.time_base, frame.key_frame, form, planes


def by_pyav(container, stream):
    return container.decode(stream)


def by_pointers(container, stream):
    return decoded(container, stream, stream.codec_context, "cuda")


def both(path, *, kind="FRAME", number=-1, seconds=None):
    """Return what PyAV and the loop make of a video stream, and what stopped them."""
    found = []
    for decode in (by_pyav, by_pointers):
        frames, error = [], None
        with av.open(str(path)) as container:
            stream = container.streams.video[number]
            stream.thread_type, stream.thread_count = kind, 3
            if seconds is not None:
                container.seek(round(seconds / stream.time_base), stream=stream)
            try:
                # All are held until the last has come.
                frames.extend(decode(container, stream))
            except av.FFmpegError as refused:
                error = type(refused), refused.errno, refused.filename
            found.append(([description(frame) for frame in frames], error))
    return found


@pytest.mark.parametrize("kind", ["FRAME", "SLICE"])
@pytest.mark.parametrize("name", CLIPS)
def test_frames_are_those_of_pyav(clips, name, kind):
    expected, mine = both(clips.path(name), kind=kind)
    assert expected[0]
    assert mine == expected


def test_so_they_are_from_the_middle_on(clips):
    expected, mine = both(clips.path("long_gop"), seconds=2)
    assert expected[0][0][0] > 0
    assert mine == expected


def test_a_size_that_changes_is_that_of_each_frame(tmp_path):
    path = tmp_path / "two.h264"
    with path.open("wb") as file:
        for width, height in ((96, 64), (160, 130)):
            encoder = av.CodecContext.create("libx264", "w")
            encoder.width, encoder.height, encoder.pix_fmt = width, height, "yuv420p"
            encoder.time_base, encoder.framerate = Fraction(1, 25), Fraction(25)
            for code in range(4):
                picture = np.full((height * 3 // 2, width), 60 * code, np.uint8)
                frame = av.VideoFrame.from_ndarray(picture, "yuv420p")
                file.writelines(map(bytes, encoder.encode(frame)))
            file.writelines(map(bytes, encoder.encode(None)))
    expected, mine = both(path)
    assert [form[1:3] for *_, form, _ in mine[0]] == [(96, 64)] * 4 + [(160, 130)] * 4
    assert mine == expected


def damaged(path, kept, tmp_path):
    """Return a copy of a file with a hole behind some part of it."""
    content = bytearray(path.read_bytes())
    start = round(len(content) * kept)
    content[start : start + 3000] = bytes(3000)
    copy = tmp_path / path.name
    copy.write_bytes(content)
    return copy


@pytest.mark.parametrize("kept", [0.4, 0.6])
@pytest.mark.parametrize("name", ["h264_ts", "h264_mkv", "vp9"])
def test_around_what_is_damaged_frames_are_those_of_pyav(clips, tmp_path, name, kept):
    expected, mine = both(damaged(clips.path(name), kept, tmp_path), kind="SLICE")
    assert mine == expected


def test_what_is_damaged_is_refused_as_pyav_does(clips, tmp_path):
    expected, mine = both(damaged(clips.path("av1_mkv"), 0.4, tmp_path), kind="SLICE")
    assert expected[1] is not None
    assert mine == expected


def test_an_error_behind_a_frame_of_the_same_packet_is_told(clips, tmp_path):
    """PyAV leaves it out, and what would have come after it."""
    expected, mine = both(damaged(clips.path("av1_mkv"), 0.6, tmp_path), kind="SLICE")
    assert expected[1] is None
    assert mine[0] == expected[0]
    assert mine[1][0] is av.error.InvalidDataError


def test_what_nobody_can_decode_is_refused_as_pyav_does(tmp_path):
    path = tmp_path / "noise.webm"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libvpx-vp9", rate=25, options={"deadline": "realtime"})
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        packets = stream.encode(av.VideoFrame(64, 48, "yuv420p")) + stream.encode(None)
        for packet in packets:
            memoryview(packet)[:] = b"\xff" * packet.size
            container.mux(packet)
    expected, mine = both(path)
    assert expected[1] is not None
    assert mine == expected


def test_a_packet_is_freed_where_somebody_stops_early(clips, monkeypatch):
    freed = []
    free = libavcodec.library().av_packet_free
    monkeypatch.setattr(
        libavcodec.library(), "av_packet_free", lambda packet: freed.append(free(packet))
    )
    with av.open(str(clips.path("h264"))) as container:
        stream = container.streams.video[0]
        frames = by_pointers(container, stream)
        first = next(frames)
        frames.close()
        assert len(freed) == 1
    samples = bytes(first.planes[0])
    gc.collect()
    assert bytes(first.planes[0]) == samples


@pytest.fixture
def uncompressed(tmp_path):
    """Return a file of six pictures of 3 MB, which is what a packet holds, and a frame."""
    path = tmp_path / "large.mkv"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("rawvideo", rate=25)
        stream.width, stream.height, stream.pix_fmt = 1920, 1080, "yuv420p"
        frame = av.VideoFrame.from_ndarray(np.zeros((1620, 1920), np.uint8), "yuv420p")
        for number in range(6):
            frame.pts = number
            container.mux(stream.encode(frame))
    return path


def test_many_leave_no_memory(uncompressed):
    def run(times):
        with av.open(str(uncompressed)) as container:
            stream = container.streams.video[0]
            stream.thread_count = 1
            for _ in range(times):
                container.seek(0)
                for number, _frame in enumerate(by_pointers(container, stream)):
                    if number == 4:
                        break
        gc.collect()
        return mapped_bytes()

    before = run(5)
    assert run(20) - before < 20 << 20  # One of each round would be 60 MB.


def test_a_frame_is_filled_again_unless_somebody_holds_it(clips, monkeypatch):
    """Frames of a device, for which those in memory pass here."""
    monkeypatch.setattr(
        _Decoding, "_take_from_memory", lambda decoding: setattr(decoding, "_is_surface", True)
    )

    def run(held):
        with av.open(str(clips.path("h264"))) as container:
            stream = container.streams.video[0]
            clock, kept, places, numbers = stream.time_base, [], set(), itertools.count()
            for frame in decoded(container, stream, stream.codec_context, FORM):
                assert frame.time_base == clock
                frame.time_base = Fraction(1, 7)
                places.add(id(frame))
                if held(next(numbers)):
                    kept.append((frame, frame.pts))
                del frame
            assert all(frame.pts == pts for frame, pts in kept)
            return len(places), len(kept)

    assert run(lambda _: False) == (1, 0)
    places, kept = run(lambda _: True)
    assert places == kept > 5
    places, kept = run(lambda number: number % 3 == 0)
    assert kept <= places <= kept + 1


def test_a_file_that_was_closed_is_told(clips):
    container = av.open(str(clips.path("h264")))
    stream = container.streams.video[0]
    frames = by_pointers(container, stream)
    next(frames)
    container.close()
    with pytest.raises(ClosedError, match="open it again"):
        list(frames)
    with pytest.raises(ClosedError, match="this file was closed"):
        next(by_pointers(container, stream))


def test_a_decoder_that_was_freed_is_told(clips):
    with av.open(str(clips.path("h264"))) as container:
        decoder = av.CodecContext.create("h264", "r")
        decoder.open()
        free_decoder(decoder)
        stream = container.streams.video[0]
        with pytest.raises(ClosedError, match="this decoder was closed"):
            next(decoded(container, stream, decoder, FORM))
        frames = by_pointers(container, stream)
        next(frames)
        free_decoder(stream.codec_context)
        with pytest.raises(ClosedError, match="open it again"):
            next(frames)


@pytest.mark.parametrize(
    ("library", "name"),
    [(libavcodec.library, "avcodec_get_class"), (libavformat.library, "avformat_get_class")],
)
def test_another_layout_is_refused(clips, monkeypatch, library, name):
    monkeypatch.setattr(library(), name, lambda: 1)
    with av.open(str(clips.path("h264"))) as container:
        stream = container.streams.video[0]
        with pytest.raises(DeviceError, match=r"install av 18\.1"):
            next(by_pointers(container, stream))


def test_too_little_memory_for_a_packet_is_told(clips, monkeypatch):
    monkeypatch.setattr(libavcodec.library(), "av_packet_alloc", lambda: None)
    with (
        av.open(str(clips.path("h264"))) as container,
        pytest.raises(MemoryError, match="packet"),
    ):
        next(by_pointers(container, container.streams.video[0]))
