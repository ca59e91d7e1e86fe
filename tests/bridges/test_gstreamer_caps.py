"""What GStreamer's caps say of pictures: formats, colours and times, in both directions."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from bridges import (
    AccessMode,
    Colour,
    ColourRange,
    Frame,
    Matrix,
    create_mapper,
)
from bridges.backends.cpu import CPUContext
from bridges.backends.gstreamer import GStreamerContext
from bridges.backends.gstreamer_buffer import held_planes
from bridges.backends.gstreamer_caps import (
    FORMATS,
    caps_of,
    format_number,
    frame_info,
    namespaces,
    nanoseconds,
)
from bridges.errors import (
    FormatError,
)
from bridges.formats import PIXEL_FORMATS, pixel_format
from tests.bridges.gst_buffer import filled, info_of

READ = AccessMode.READ


def caps(gst, text):
    return gst.Caps.from_string(text)


class TestFormats:
    @pytest.mark.parametrize("name", FORMATS)
    def test_samples_lie_where_gstreamer_says(self, gstreamer, name):
        video = namespaces().video
        number = video.VideoFormat.from_string(name)
        if number == video.VideoFormat.UNKNOWN:
            pytest.skip("newer than this GStreamer")
        theirs, ours = video.VideoFormat.get_info(number), pixel_format(FORMATS[name])
        assert theirs.n_planes == len(ours.planes)
        channels = {"gray": "Y", "yuv": "YUV", "rgb": "RGB"}[ours.model.value]
        channels += "A" * ours.has_alpha
        assert theirs.n_components == len(channels)
        size = ours.dtype.itemsize
        for index, channel in enumerate(channels):
            plane, offset, step = ours.find(channel)
            assert theirs.plane[index] == plane
            # GStreamer 1.22 has the second sample of P010's pairs begin at their second byte; what
            # it really does is looked at in test_gstreamer_pipeline.
            if not (name.startswith("P0") and theirs.poffset[index] == 1):
                assert theirs.poffset[index] == offset * size
            assert theirs.pixel_stride[index] == step * size
            assert (theirs.depth[index], theirs.shift[index]) == (ours.bits, ours.shift)
            if len(ours.planes) > 1:
                shape = ours.planes[plane]
                subsampling = theirs.w_sub[index], theirs.h_sub[index]
                assert subsampling == (shape.log2_width, shape.log2_height)

    def test_most_are_in_every_gstreamer(self, gstreamer):
        known = namespaces().video.VideoFormat
        there = [name for name in FORMATS if known.from_string(name) != known.UNKNOWN]
        assert len(there) >= 45
        assert len(set(FORMATS.values())) == len(FORMATS)
        assert set(FORMATS.values()) <= set(PIXEL_FORMATS)

    @pytest.mark.parametrize("size", [(1, 1), (5, 3), (64, 36)])
    @pytest.mark.parametrize("name", ["rgb24", "nv12", "yuv420p10le", "p010le", "yuyv422", "gbrp"])
    def test_a_buffer_without_meta_lies_as_the_caps_imply(self, gstreamer, gst, name, size):
        said = gstreamer.caps(info_of(name, size))
        layout = namespaces().video.VideoInfo.new_from_caps(said)
        buffer, numbers = filled(layout.size)
        frame = gstreamer.wrap(buffer, said)
        assert frame.info.format.name == name
        with create_mapper([gstreamer, CPUContext()]).map(frame, READ) as mapped:
            for index, tensor in enumerate(mapped.tensors):
                dense = frame.info.planes[index]
                assert tensor.info.strides[0] == layout.stride[index]
                begin = layout.offset[index]
                for y in range(dense.shape[0]):
                    row = tensor.array[y].tobytes()
                    start = begin + y * layout.stride[index]
                    assert row == numbers[start : start + dense.strides[0]].tobytes()
        frame.close()

    def test_full_range_formats_of_libav_are_told_by_the_caps(self, gstreamer):
        assert format_number("yuvj420p") == format_number("yuv420p")
        back = frame_info(caps_of(info_of("yuvj420p")))
        assert back.format.name == "yuv420p"
        assert back.colour.range is ColourRange.FULL

    def test_what_gstreamer_has_not_is_refused(self, gstreamer):
        with pytest.raises(FormatError, match="no pixel format like yuv440p; convert to one of"):
            gstreamer.caps(info_of("yuv440p"))


class TestCaps:
    @pytest.mark.parametrize("matrix", [0, 1, 2, 4, 6, 7, 9])
    @pytest.mark.parametrize("full", list(ColourRange))
    def test_colour_survives(self, gstreamer, matrix, full):
        for primaries, transfer in ((1, 1), (9, 16), (2, 2), (12, 13), (9, 18), (22, 14)):
            colour = Colour(Matrix(matrix), full, primaries, transfer)
            info = info_of("yuv420p", (1920, 1080), colour=colour)
            assert frame_info(caps_of(info)).colour == colour

    def test_both_numbers_of_bt601_are_one(self, gstreamer):
        info = info_of("yuv420p", colour=Colour(Matrix.BT470BG, ColourRange.LIMITED))
        assert frame_info(caps_of(info)).colour.matrix is Matrix.SMPTE170M

    def test_the_colour_is_that_of_gstreamer_s_own_names(self, gst):
        said = frame_info(caps(gst, "video/x-raw,format=I420,width=8,height=8,colorimetry=bt709"))
        assert said.colour == Colour(Matrix.BT709, ColourRange.LIMITED, 1, 1)
        said = frame_info(caps(gst, "video/x-raw,format=RGB,width=8,height=8,colorimetry=sRGB"))
        assert said.colour == Colour(Matrix.RGB, ColourRange.FULL, 1, 13)

    def test_what_caps_do_not_say_is_not_guessed(self, gst):
        silent = caps(gst, "video/x-raw,format=I420,width=1920,height=1080")
        assert frame_info(silent).colour == Colour()

    def test_video_info_is_taken_too(self, gstreamer, gst):
        said = gstreamer.caps(info_of("nv12", (6, 4), colour=Colour(Matrix.BT709)))
        info = namespaces().video.VideoInfo.new_from_caps(said)
        buffer, _ = filled(info.size)
        assert gstreamer.wrap(buffer, info).info == gstreamer.wrap(buffer, said).info

    def test_frame_rate_and_memory(self, gstreamer):
        text = gstreamer.caps(info_of(), Fraction(30000, 1001)).to_string()
        assert "framerate=(fraction)30000/1001" in text
        text = GStreamerContext("dmabuf").caps(info_of()).to_string()
        assert text.startswith("video/x-raw(memory:DMABuf), format=(string)GRAY8")

    @pytest.mark.parametrize(
        ("text", "why"),
        [
            ("audio/x-raw,format=S16LE,rate=8000,channels=1", "not those of one raw picture"),
            ("video/x-raw,format=RGB,width=[1,8],height=8", "not those of one raw picture"),
            ("video/x-raw,format=v210,width=8,height=8", "v210 is not supported"),
            (
                "video/x-raw(format:Interlaced),format=RGB,width=8,height=8,framerate=25/1,"
                "interlace-mode=alternate",
                "single fields",
            ),
        ],
    )
    def test_other_caps_are_refused(self, gstreamer, gst, text, why):
        buffer, _ = filled(4096)
        with pytest.raises(FormatError, match=why):
            gstreamer.wrap(buffer, caps(gst, text))

    def test_no_caps_are_refused(self, gstreamer, gst):
        with pytest.raises(FormatError, match="got str"):
            gstreamer.wrap(filled(8)[0], "video/x-raw")

    def test_no_buffer_is_refused(self, gstreamer):
        with pytest.raises(TypeError, match="got bytes"):
            gstreamer.wrap(b"12345678", gstreamer.caps(info_of("gray", (4, 2))))

    def test_caps_that_come_again_are_read_once_and_others_are_not_mixed_up(self, gstreamer, gst):
        buffer, _ = filled(4096)
        for _ in range(3):
            for width in (8, 12):
                said = caps(gst, f"video/x-raw,format=GRAY8,width={width},height=4")
                for _ in range(2):
                    assert gstreamer.wrap(buffer, said).info.width == width
                said.set_value("width", 4)
                assert gstreamer.wrap(buffer, said).info.width == 4
                del said


class TestTimes:
    @pytest.mark.parametrize("pts", [0, 1, 40_000_000, (1 << 63) + 5])
    def test_of_a_buffer(self, gstreamer, gst, pts):
        buffer, _ = filled(64 * 36)
        buffer.pts = pts
        info = gstreamer.wrap(buffer, gstreamer.caps(info_of())).info
        assert (info.pts, info.time_base) == (pts, Fraction(1, 10**9))

    def test_unknown(self, gstreamer, gst):
        buffer, _ = filled(64 * 36)
        assert buffer.pts == gst.CLOCK_TIME_NONE
        assert gstreamer.wrap(buffer, gstreamer.caps(info_of())).info.pts is None

    @pytest.mark.parametrize(
        ("pts", "time_base", "expected"),
        [
            (None, Fraction(1, 25), (1 << 64) - 1),
            (7, None, (1 << 64) - 1),
            (0, Fraction(1, 25), 0),
            (1, Fraction(1001, 30000), 33_366_667),
            (2, Fraction(1001, 30000), 66_733_333),
            (123456789, Fraction(1, 10**9), 123456789),
        ],
    )
    def test_to_nanoseconds(self, gstreamer, pts, time_base, expected):
        info = info_of(pts=pts, time_base=time_base)
        assert nanoseconds(info) == expected
        frame = Frame(info, [CPUContext().wrap(np.zeros((36, 64), np.uint8))])
        with create_mapper([CPUContext(), gstreamer]).map(frame, READ) as mapped:
            assert mapped.tensors[0].handle("gst_buffer").pts == expected
            assert mapped.info == info
        made = gstreamer.allocate_frame(info)
        assert made.info == info
        assert made.tensors[0].handle("gst_buffer").pts == expected

    def test_before_zero_is_refused(self, gstreamer):
        info = info_of(pts=-1, time_base=Fraction(1, 25))
        frame = Frame(info, [CPUContext().wrap(np.zeros((36, 64), np.uint8))])
        before = held_planes()
        with pytest.raises(FormatError, match="no times before 0"):
            create_mapper([CPUContext(), gstreamer]).map(frame, READ)
        assert held_planes() == before
