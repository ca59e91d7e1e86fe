"""Every codec, format and shape of picture comes out as it went in."""

from __future__ import annotations

import dataclasses
from fractions import Fraction

import av
import numpy as np
import pytest

import transcode
from bridges.backends.ffmpeg_properties import chroma_location
from tests.assets import barcode
from tests.assets.clips import CLIPS, SOUND
from tests.assets.picture import luma_of, patch_values
from tests.assets.truth import BT709
from tests.transcode.output import (
    colour_of,
    frames_of,
    from_first,
    indices_of,
    matrix_of,
    patches_of,
    tick_of,
    track_seconds,
    videos_of,
)
from transcode import VideoOptions

WITH_VIDEO = [name for name in SOUND if CLIPS[name].video]
SUFFIXES = (".mp4", ".mkv")
RGB = {name for name in WITH_VIDEO if av.VideoFormat(CLIPS[name].main.pix_fmt, 16, 16).is_rgb}
YUV = [name for name in WITH_VIDEO if name not in RGB]
# x264 takes none of these; what it is given instead.
PIX_FMTS = {"yuyv422": "yuv422p", "yuva420p": "yuv420p"}
# NV12 is a layout in memory. Few players decode 4:0:0, so gray is written as 4:2:0.
AS_DECODED = {"nv12": "yuv420p", "gray": "yuvj420p", "gray10le": "yuv420p10le"}
GRAY = {"h264_gray", "ffv1_gray", "ffv1_gray10"}


def even_size(track):
    """Return the size as 4:2:0 can hold it."""
    if "420" not in track.pix_fmt:
        return track.width, track.height
    return track.width // 2 * 2, track.height // 2 * 2


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("name", WITH_VIDEO)
def test_every_frame_in_order(plain, name, suffix):
    track = CLIPS[name].main
    path, report = plain(name, suffix)
    frames = frames_of(path)
    assert [barcode.read(luma_of(frame)) for frame in frames] == list(track.indices)
    assert {(frame.width, frame.height) for frame in frames} == {even_size(track)}
    assert report.frames == track.frame_count


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("name", WITH_VIDEO)
def test_every_time(plain, name, suffix):
    path, _ = plain(name, suffix)
    times = [frame.pts * frame.time_base for frame in frames_of(path)]
    found, wanted = from_first(times), track_seconds(CLIPS[name].main)
    if suffix == ".mp4":
        assert found == wanted
    else:
        tick = tick_of(path)
        assert max(abs(a - b) for a, b in zip(found, wanted, strict=True)) <= tick


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("name", YUV)
def test_format_and_tags_of_yuv(plain, name, suffix):
    track = CLIPS[name].main
    path, _ = plain(name, suffix)
    wanted = PIX_FMTS.get(track.pix_fmt, track.pix_fmt)
    for frame in frames_of(path):
        assert frame.format.name == AS_DECODED.get(wanted, wanted)
        assert colour_of(frame) == dataclasses.astuple(track.colour)


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("name", YUV)
def test_samples_of_yuv(plain, name, suffix):
    path, _ = plain(name, suffix)
    frame = frames_of(path)[-1]
    # Both the clip and the output are lossy.
    tolerance = 4 << (frame.format.components[0].bits - 8)
    wanted = patch_values(CLIPS[name].main, frame.format.name)
    if name in GRAY:
        middle = np.full(8, 1 << (frame.format.components[0].bits - 1))
        wanted |= {"u": middle, "v": middle}
    found = patches_of(frame, wanted)
    for channel, values in wanted.items():
        np.testing.assert_allclose(found[channel], values, rtol=0, atol=tolerance)


@pytest.mark.parametrize("name", sorted(GRAY))
def test_gray_is_written_as_420(plain, name):
    path, _ = plain(name, ".mp4")
    with av.open(str(path)) as container:
        assert chroma_format(videos_of(container)[0].codec_context.extradata) == 1


def chroma_format(avcc):
    """Read chroma_format_idc of H.264's sequence parameters (ITU-T H.264, 7.3.2.1.1)."""
    profile = avcc[9]
    if profile in (66, 77, 88):
        return 1  # these know 4:2:0 only, and do not write it
    bits = "".join(f"{byte:08b}" for byte in avcc[12:16])
    assert bits[0] == "1"  # seq_parameter_set_id 0
    zeros = len(bits[1:]) - len(bits[1:].lstrip("0"))
    return int(bits[1 + zeros : 2 + 2 * zeros], 2) - 1


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("name", sorted(RGB))
def test_rgb_becomes_bt709(plain, name, suffix):
    path, report = plain(name, suffix)
    track = dataclasses.replace(CLIPS[name].main, colour=BT709)
    for frame in frames_of(path):
        assert frame.format.name == "yuv444p"
        assert colour_of(frame)[:2] == (1, 1)
        wanted = patch_values(track, "yuv444p")
        found = patches_of(frame, wanted)
        for channel, values in wanted.items():
            np.testing.assert_allclose(found[channel], values, rtol=0, atol=3)
    assert "RGB written as BT.709 YUV in limited range" in report.notices
    dropped = any(notice.startswith("alpha dropped") for notice in report.notices)
    assert dropped == ("a" in CLIPS[name].main.pix_fmt)


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize(
    "name", ["rotated_90", "rotated_180", "rotated_270", "mirrored", "h264", "anamorphic"]
)
def test_display_matrix(plain, name, suffix):
    path, _ = plain(name, suffix)
    matrices = {matrix_of(frame) for frame in frames_of(path)}
    assert matrices == {CLIPS[name].main.display_matrix}


@pytest.mark.parametrize("suffix", [*SUFFIXES, ".mov"])
@pytest.mark.parametrize("name", ["anamorphic", "anamorphic_mkv", "h264"])
def test_pixel_aspect(plain, name, suffix):
    path, _ = plain(name, suffix)
    with av.open(str(path)) as container:
        stream = videos_of(container)[0]
        aspect = stream.sample_aspect_ratio or Fraction(1)
        assert aspect == CLIPS[name].main.sample_aspect_ratio
        assert (stream.codec_context.sample_aspect_ratio or Fraction(1)) == aspect


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("name", ["interlaced_tff", "interlaced_bff", "h264"])
def test_field_order(plain, name, suffix):
    track = CLIPS[name].main
    path, _ = plain(name, suffix)
    for frame in frames_of(path):
        assert frame.interlaced_frame == track.interlaced
    with av.open(str(path)) as container:
        order = videos_of(container)[0].codec_context.field_order
    assert order == track.field_order if track.interlaced else order in (0, 1)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_fields_are_not_blended(clips, plain, suffix):
    path, _ = plain("interlaced_tff", suffix)
    before, after = frames_of(clips.path("interlaced_tff"))[5], frames_of(path)[5]
    for parity in (0, 1):
        was, now = (luma_of(f)[parity::2].astype(int) for f in (before, after))
        assert np.abs(was - now).mean() < 2


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_hdr_metadata(convert, suffix):
    video = VideoOptions(codec="libx265", preset="ultrafast")
    path, _ = convert("hdr10", f"out{suffix}", video=video)
    frame = frames_of(path)[0]
    carried = {frame.side_data[n].type.name for n in range(len(frame.side_data))}
    assert carried >= CLIPS["hdr10"].main.side_data
    assert colour_of(frame) == (1, 9, 9, 16)


@pytest.mark.parametrize(("name", "said"), [("odd_yuv420p", True), ("odd_yuv444p", False)])
def test_odd_sizes(plain, name, said):
    path, report = plain(name, ".mkv")
    cropped = [notice for notice in report.notices if "127x95 > 126x94" in notice]
    assert bool(cropped) == said
    assert indices_of(path) == list(CLIPS[name].main.indices)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_ten_bits_are_not_eight_stretched(plain, suffix):
    path, _ = plain("ffv1_gray10", suffix)
    samples = luma_of(frames_of(path)[3])
    assert samples.dtype == np.uint16
    assert samples.max() > 255
    assert len(np.unique(samples & 3)) == 4


@pytest.mark.parametrize("location", [1, 2, 3])
def test_chroma_location(tmp_path, location):
    source, target = tmp_path / "in.mp4", tmp_path / "out.mp4"
    with av.open(str(source), "w") as container:
        options = {"chroma_sample_location": str(location)}
        stream = container.add_stream("libx264", rate=25, options=options)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        container.mux(stream.encode(av.VideoFrame(64, 48, "yuv420p")))
        container.mux(stream.encode(None))
    transcode.run(source, target)
    assert [chroma_location(frames_of(path)[0]) for path in (source, target)] == [location] * 2
