"""Filter chains, proved by the pixels that come out."""

from __future__ import annotations

from fractions import Fraction

import av
import numpy as np
import pytest

from tests.assets import barcode
from tests.assets.clips import CLIPS
from tests.assets.picture import luma_of
from tests.transcode.output import frames_of, indices_of, matrix_of, seconds_of, videos_of
from transcode import VideoOptions
from transcode.errors import FilterError
from xma_plugins.builtin.libav_graph import parse_chain

LOSSLESS = VideoOptions(codec="ffv1")


def lumas(path):
    return [luma_of(frame).copy() for frame in frames_of(path)]


def source_lumas(clips, name):
    return lumas(clips.path(name))


@pytest.mark.parametrize(
    ("chain", "change"),
    [
        ("hflip", lambda y: y[:, ::-1]),
        ("vflip", lambda y: y[::-1]),
        ("hflip,vflip", lambda y: y[::-1, ::-1]),
        ("hflip , vflip", lambda y: y[::-1, ::-1]),
        ("transpose=clock", lambda y: y.T[:, ::-1]),
        ("transpose=cclock", lambda y: y.T[::-1]),
        ("transpose=dir=clock,transpose=dir=cclock", lambda y: y),
        ("crop=64:48:32:16", lambda y: y[16:64, 32:96]),
        ("crop=w=64:h=48:x=32:y=16,hflip", lambda y: y[16:64, 32:96][:, ::-1]),
        ("crop='min(64,iw)':48:32:16", lambda y: y[16:64, 32:96]),
        (r"crop=min(64\,iw):48:32:16", lambda y: y[16:64, 32:96]),
        ("pad=144:112:8:8:black", lambda y: np.pad(y, 8, constant_values=16)),
        ("null", lambda y: y),
        ("format=yuv444p", lambda y: y),
    ],
)
def test_chain(clips, convert, chain, change):
    path, _ = convert("h264", "out.mkv", vf=chain, video=LOSSLESS)
    before, after = source_lumas(clips, "h264"), lumas(path)
    assert len(after) == 12
    for was, now in zip(before, after, strict=True):
        np.testing.assert_array_equal(now, change(was))


def test_flipped_back_it_reads_again(convert):
    path, _ = convert("h264", vf="hflip")
    frames = frames_of(path)
    for frame in frames:
        with pytest.raises(ValueError, match="barcode"):
            barcode.read(luma_of(frame))
    assert [barcode.read(luma_of(frame)[:, ::-1]) for frame in frames] == list(range(12))


@pytest.mark.parametrize("chain", ["scale=64:-2", "scale=w=64:h=64,hflip,hflip", "scale=iw*2:ih*2"])
def test_scale(convert, chain):
    path, _ = convert("h264", vf=chain)
    assert indices_of(path) == list(range(12))
    sizes = {"scale=64:-2": (64, 48), "scale=iw*2:ih*2": (256, 192)}
    frame = frames_of(path)[0]
    assert (frame.width, frame.height) == sizes.get(chain, (64, 64))


def test_expression_with_a_quoted_comma(clips, convert):
    # Frames 3 to 6, by libavfilter's own count.
    path, _ = convert("h264", vf="select='between(n,3,6)'")
    assert indices_of(path) == [3, 4, 5, 6]
    assert seconds_of(path) == [Fraction(n, 25) for n in range(3, 7)]


def test_text_with_escapes(convert):
    # A colon inside an option's value needs one level of escapes for the graph, one for the value.
    path, _ = convert("h264", vf=r"metadata=mode=add:key=note:value=a\\:b,hflip,hflip")
    assert indices_of(path) == list(range(12))


@pytest.mark.parametrize("fps", [50, 10, 5])
@pytest.mark.parametrize("name", ["h264", "hevc", "h264_ts"])
def test_fps_in_a_chain(convert, name, fps):
    path, _ = convert(name, vf=f"fps={fps}")
    times = seconds_of(path)
    assert times == [Fraction(n, fps) for n in range(len(times))]
    assert abs(len(times) - Fraction(12, 25) * fps) <= 1
    with av.open(str(path)) as container:
        assert videos_of(container)[0].average_rate == fps


def test_chain_that_holds_frames_back_gives_them_all(convert):
    path, _ = convert("h264", vf="reverse")
    assert indices_of(path) == list(reversed(range(12)))


# Frames of the first two come without a duration.
@pytest.mark.parametrize("name", ["h264_ts", "vfr_mkv", "h264"])
def test_frames_added_at_the_end(convert, name):
    path, _ = convert(name, vf="tpad=stop=2:stop_mode=clone")
    count = CLIPS[name].main.frame_count
    assert indices_of(path) == [*range(count), count - 1, count - 1]


@pytest.mark.parametrize(("pix_fmt", "expected"), [("yuv420p", (100, 50)), ("yuv444p", (101, 51))])
def test_crop_to_an_odd_size(convert, pix_fmt, expected):
    video = VideoOptions(preset="ultrafast", pix_fmt=pix_fmt)
    path, report = convert("h264", vf=f"format={pix_fmt},crop=101:51:0:0:exact=1", video=video)
    frames = frames_of(path)
    assert {(frame.width, frame.height) for frame in frames} == {expected}
    assert any("101x51 > 100x50" in n for n in report.notices) == (pix_fmt == "yuv420p")


def test_filters_come_before_size_and_rate(convert):
    video = VideoOptions(preset="ultrafast", size=(256, 192), fps=Fraction(50))
    path, _ = convert("h264", vf="scale=64:64,hflip,hflip", video=video)
    frames = frames_of(path)
    assert {(frame.width, frame.height) for frame in frames} == {(256, 192)}
    assert indices_of(path) == [n for n in range(12) for _ in range(2)]


def test_trim_comes_before_filters(convert):
    path, _ = convert(
        "long_gop", start=Fraction(1), duration=Fraction(1, 5), vf="select='eq(n,0)+eq(n,4)'"
    )
    assert indices_of(path) == [25, 29]


def test_rotation_survives_a_chain_that_does_not_turn(convert):
    path, _ = convert("rotated_90", vf="hflip,hflip")
    wanted = CLIPS["rotated_90"].main.display_matrix
    assert {matrix_of(frame) for frame in frames_of(path)} == {wanted}


def test_variable_rate_stays_variable(convert):
    path, _ = convert("vfr_mp4", vf="hflip,hflip")
    track = CLIPS["vfr_mp4"].main
    assert seconds_of(path) == [pts * track.time_base for pts in track.pts]


REFUSALS = (
    ("nosuch", "unknown filter 'nosuch'"),
    ("hflip,nosuch=1", "unknown filter 'nosuch'"),
    ("", "unknown filter ''"),
    ("hflip,", "unknown filter ''"),
    ("hflip,,vflip", "unknown filter ''"),
    ("scale=64:bogus", "was refused"),
    ("scale=nosuch=3", "was refused"),
    ("crop=9999:9999", r"(was refused|failed)"),
    ("transpose=dir=nosuch", "was refused"),
    ("split[a][b];[a]hflip[c];[c][b]overlay", "branches at"),
    ("[in]hflip[out]", "branches at"),
    ("hflip;vflip", "branches at"),
    ("crop='64:48", "ends inside a quote"),
    ("hflip\\", "ends inside a quote"),
    ("split", "was refused"),
    ("overlay", "was refused"),
    ("anull", "was refused"),
)


@pytest.mark.parametrize(("chain", "said"), REFUSALS)
def test_refused(convert, tmp_path, chain, said):
    with pytest.raises(FilterError, match=said):
        convert("h264", vf=chain)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("chain", "said"), [("scale=64:bogus", "bogus"), ("scale=nosuch=3", "nosuch")]
)
def test_refusal_says_which_value(convert, chain, said):
    with pytest.raises(FilterError) as caught:
        convert("h264", vf=chain)
    # libav's own words, beside the chain itself.
    assert said in str(caught.value).replace(repr(chain), "")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("hflip", [("hflip", "")]),
        (" scale=1:2 , hflip ", [("scale", "1:2"), ("hflip", "")]),
        ("crop='min(1,2)':3", [("crop", "min(1,2):3")]),
        (r"crop=min(1\,2):3", [("crop", "min(1,2):3")]),
        ("drawbox=x='a=b'", [("drawbox", "x=a=b")]),
    ],
)
def test_parse_chain(text, expected):
    assert parse_chain(text) == expected
