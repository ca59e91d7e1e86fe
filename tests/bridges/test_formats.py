"""The table of pixel formats, held against libav's own descriptions and its scaler."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from av.video.format import VideoFormat
from av.video.frame import VideoFrame
from hypothesis import given
from hypothesis import strategies as st

from bridges.backends.ffmpeg import FFmpegContext
from bridges.errors import FormatError
from bridges.formats import PIXEL_FORMATS, ColourModel, Plane, pixel_format
from bridges.frame import FrameInfo

ALL = sorted(PIXEL_FORMATS)
MODELS = {"Y": ColourModel.GRAY, "U": ColourModel.YUV, "R": ColourModel.RGB}


def channels_of(entry):
    """Return the channels of a format, each once and in libav's order of components."""
    present = {c for plane in entry.planes for c in plane.channels} - {"X"}
    return [c for c in "YUVRGBA" if c in present]


def libav(name, width=1280, height=720):
    return VideoFormat(name, width, height)


@pytest.mark.parametrize("name", ALL)
class TestAgainstLibav:
    def test_model(self, name):
        entry = pixel_format(name)
        assert libav(name).is_rgb == (entry.model is ColourModel.RGB)
        first = next(MODELS[c] for c in ("R", "U", "Y") if c in channels_of(entry))
        assert entry.model is first

    def test_components(self, name):
        entry, components = pixel_format(name), libav(name).components
        assert len(components) == len(channels_of(entry))
        assert entry.has_alpha == any(component.is_alpha for component in components)

    def test_bits(self, name):
        assert {c.bits for c in libav(name).components} == {pixel_format(name).bits}

    def test_bytes_of_a_pixel(self, name):
        entry = pixel_format(name)
        samples = sum(np.prod(entry.plane_shape(i, 64, 64)) for i in range(len(entry.planes)))
        assert samples * entry.dtype.itemsize * 8 == libav(name).padded_bits_per_pixel * 64 * 64

    def test_plane_of_each_component(self, name):
        entry = pixel_format(name)
        found = [entry.find(channel)[0] for channel in channels_of(entry)]
        assert found == [component.plane for component in libav(name).components]

    def test_byte_order(self, name):
        entry = pixel_format(name)
        assert not libav(name).is_big_endian
        assert entry.dtype == np.dtype("u1" if entry.bits <= 8 else "<u2")

    @pytest.mark.parametrize(("width", "height"), [(1, 1), (2, 2), (35, 19), (1280, 721)])
    def test_size_of_each_component(self, name, width, height):
        entry = pixel_format(name)
        components = libav(name, width, height).components
        for channel, component in zip(channels_of(entry), components, strict=True):
            index, _, step = entry.find(channel)
            rows, columns, *inner = entry.plane_shape(index, width, height)
            assert rows == component.height
            # An element of packed 4:2:2 holds two pixels, and luma twice.
            per_element = (inner[0] if inner else 1) // step
            assert -(-component.width // per_element) == columns

    def test_planes_of_a_frame(self, name):
        entry = pixel_format(name)
        frame = VideoFrame(35, 19, name)
        assert len(frame.planes) == len(entry.planes)
        for index, plane in enumerate(frame.planes):
            shape = entry.plane_shape(index, 35, 19)
            assert plane.line_size >= np.prod(shape[1:]) * entry.dtype.itemsize
            assert plane.height == shape[0]

    def test_place_of_each_channel(self, name):
        """libav's scaler is told a colour; it must be found where the table says."""
        entry = pixel_format(name)
        if entry.model is ColourModel.RGB:
            levels, carrier = {"R": 200, "G": 120, "B": 40, "A": 255}, "rgba"
        else:
            levels, carrier = {"Y": 81, "U": 90, "V": 200, "A": 255}, "yuva444p"
        # The same range on both sides, for nothing but the layout is to change.
        depth, scale = 1 << (entry.bits - 8), {}
        if entry.full_range and entry.model is ColourModel.YUV:
            scale = {"src_color_range": "JPEG", "dst_color_range": "JPEG"}
        if entry.model is ColourModel.GRAY:
            carrier = "gray" if "A" not in channels_of(entry) else "ya8"
        source = FFmpegContext().wrap(VideoFrame(32, 16, carrier))
        for channel in levels:
            if channel in channels_of(source.info.format):
                samples_of(source, channel)[...] = levels[channel]
        frame = source.tensors[0].handle("av_frame").reformat(format=name, **scale)
        assert frame.format.name == name
        mapped = FFmpegContext().wrap(frame)
        for channel in channels_of(entry):
            found = samples_of(mapped, channel) >> entry.shift
            assert np.ptp(found) <= depth
            wanted = levels[channel] * ((1 << entry.bits) - 1) / 255
            if entry.model is not ColourModel.RGB and channel != "A" and not entry.full_range:
                wanted = levels[channel] * depth
            assert abs(int(np.median(found)) - wanted) <= 2 * depth

    def test_refuses_a_channel_that_is_not_there(self, name):
        with pytest.raises(FormatError, match=f"{name} has no channel 'Z'"):
            pixel_format(name).find("Z")


def samples_of(frame, channel):
    """Return a writable view of one channel of a frame of FFmpeg's."""
    import ctypes

    index, offset, step = frame.info.format.find(channel)
    tensor = frame.tensors[index]
    memory = (ctypes.c_uint8 * tensor.info.span).from_address(tensor.handle("data"))
    array = np.ndarray(
        tensor.info.shape, tensor.info.dtype, buffer=memory, strides=tensor.info.strides
    )
    return array if array.ndim == 2 else array[:, :, offset::step]


class TestTable:
    def test_keys_are_names(self):
        assert all(name == entry.name for name, entry in PIXEL_FORMATS.items())
        assert len(PIXEL_FORMATS) >= 90

    @pytest.mark.parametrize("field", ["drm", "va"])
    def test_codes_are_unique_and_four_letters(self, field):
        codes = [getattr(e, field) for e in PIXEL_FORMATS.values() if getattr(e, field)]
        assert len(codes) == len(set(codes)) > 10
        assert {len(code) for code in codes} == {4}

    def test_layouts_are_unique(self):
        layouts = [dataclasses.replace(e, name="", drm="", va="") for e in PIXEL_FORMATS.values()]
        assert len(set(layouts)) == len(layouts)

    # drm_fourcc.h names channels from the high bits of a little-endian word.
    @pytest.mark.parametrize(
        ("code", "low_to_high"),
        [
            ("RG24", "BGR"),
            ("BG24", "RGB"),
            ("XR24", "BGRX"),
            ("XB24", "RGBX"),
            ("RX24", "XBGR"),
            ("BX24", "XRGB"),
            ("AR24", "BGRA"),
            ("AB24", "RGBA"),
            ("RA24", "ABGR"),
            ("BA24", "ARGB"),
            ("YUYV", "YUYV"),
            ("YVYU", "YVYU"),
            ("UYVY", "UYVY"),
        ],
    )
    def test_drm_codes_of_packed_formats(self, code, low_to_high):
        (entry,) = [e for e in PIXEL_FORMATS.values() if e.drm == code]
        assert [plane.channels for plane in entry.planes] == [low_to_high]

    @pytest.mark.parametrize(
        ("code", "planes"),
        [
            ("NV12", ["Y", "UV"]),
            ("NV21", ["Y", "VU"]),
            ("NV24", ["Y", "UV"]),
            ("NV42", ["Y", "VU"]),
            ("P010", ["Y", "UV"]),
            ("YU12", ["Y", "U", "V"]),
            ("YU24", ["Y", "U", "V"]),
            ("R8  ", ["Y"]),
        ],
    )
    def test_drm_codes_of_planar_formats(self, code, planes):
        (entry,) = [e for e in PIXEL_FORMATS.values() if e.drm == code]
        assert [plane.channels for plane in entry.planes] == planes

    @pytest.mark.parametrize(("name", "shift"), [("p010le", 6), ("p012le", 4), ("p016le", 0)])
    def test_samples_in_the_high_bits(self, name, shift):
        assert pixel_format(name).shift == shift

    def test_find(self):
        assert pixel_format("nv12").find("V") == (1, 1, 2)
        assert pixel_format("yuyv422").find("Y") == (0, 0, 2)
        assert pixel_format("yuyv422").find("V") == (0, 3, 4)
        assert pixel_format("bgr0").find("R") == (0, 2, 4)
        assert pixel_format("gbrp").find("R") == (2, 0, 1)

    def test_shapes_are_rounded_up(self):
        assert pixel_format("yuv420p").plane_shape(1, 35, 19) == (10, 18)
        assert pixel_format("yuv410p").plane_shape(2, 35, 19) == (5, 9)
        assert pixel_format("nv12").plane_shape(1, 1, 1) == (1, 1, 2)
        assert pixel_format("uyvy422").plane_shape(0, 3, 2) == (2, 2, 4)

    def test_unknown_name(self):
        with pytest.raises(FormatError, match=r"'nosuch' is not in the table of \d+ formats"):
            pixel_format("nosuch")

    def test_entries_cannot_be_changed(self):
        with pytest.raises(dataclasses.FrozenInstanceError):
            pixel_format("gray").bits = 9
        assert Plane("Y") == pixel_format("gray").planes[0]


SIDES = st.integers(1, 16384)


@given(name=st.sampled_from(ALL), width=SIDES, height=SIDES)
def test_planes_of_any_size(name, width, height):
    entry = pixel_format(name)
    for index, plane in enumerate(entry.planes):
        rows, columns, *inner = entry.plane_shape(index, width, height)
        assert rows - 1 < height / (1 << plane.log2_height) <= rows
        assert columns - 1 < width / (1 << plane.log2_width) <= columns
        assert inner == ([len(plane.channels)] if len(plane.channels) > 1 else [])
    info = FrameInfo(entry, width, height)
    assert [layout.shape for layout in info.planes] == [
        entry.plane_shape(index, width, height) for index in range(len(entry.planes))
    ]
    assert all(layout.is_contiguous and layout.span == layout.nbytes for layout in info.planes)
