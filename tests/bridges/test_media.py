"""Kinds of media, types of samples, formats, layouts and sound, against NumPy's and libav's."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from av.audio.frame import AudioFrame as AVAudioFrame
from av.video.format import VideoFormat

from bridges import AccessMode, Frame, FrameInfo, TensorInfo, create_mapper
from bridges.backends.cpu import CPUContext
from bridges.errors import FormatError
from bridges.formats import PIXEL_FORMATS, pixel_format
from bridges.frame import AudioFrame, TensorFrame
from bridges.media import (
    AudioInfo,
    DataType,
    ImageFormat,
    ImageInfo,
    ImageLayout,
    MediaType,
    TensorsInfo,
)

U8, F32 = np.dtype("u1"), np.dtype("<f4")


@pytest.mark.parametrize("named", [MediaType, DataType, ImageFormat, ImageLayout])
def test_names_go_both_ways(named):
    for member in named:
        assert named.parse(str(member)) is member
        assert named.parse(member.name.lower()) is member
    with pytest.raises(FormatError, match=f"no {named.__name__} 'nothing'; there is "):
        named.parse("nothing")


class TestDataType:
    @pytest.mark.parametrize("data_type", list(DataType), ids=str)
    def test_dtype(self, data_type):
        kinds = {"u": np.unsignedinteger, "i": np.signedinteger, "f": np.floating}
        dtype = data_type.dtype
        assert np.issubdtype(dtype, kinds[data_type.value[0]])
        assert dtype.itemsize * 8 == int(data_type.value[1:])
        assert data_type.nbytes == dtype.itemsize
        assert DataType.from_dtype(dtype) is data_type

    def test_is_little_endian(self):
        for data_type in DataType:
            first = b"\0" if data_type.value[0] == "f" else b"\1"
            assert np.ones(1, data_type.dtype).tobytes()[:1] == first

    @pytest.mark.parametrize("name", [">u2", ">f4", "c8", "U4", "O", "?", "M8[s]"])
    def test_others_are_refused(self, name):
        with pytest.raises(FormatError, match="have no type here; convert to one of u8, i8"):
            DataType.from_dtype(np.dtype(name))


class TestImageFormat:
    @pytest.mark.parametrize("member", list(ImageFormat), ids=str)
    def test_is_what_libav_knows(self, member):
        layout = member.pixel_format
        libav = VideoFormat(layout.name, 16, 16)
        assert libav.is_rgb == ("R" in member.value and "GRAY" not in member.value)
        assert sorted(member.plane_order) == list(range(len(layout.planes)))

    @pytest.mark.parametrize("member", [ImageFormat.RGBP, ImageFormat.BGRP], ids=str)
    def test_planes_of_planar_rgb_are_in_the_order_of_the_name(self, member):
        names = "".join(member.pixel_format.planes[k].channels for k in member.plane_order)
        assert names == member.value[:3]

    def test_order_of_packed_channels(self):
        for name in ("RGB", "BGR", "RGBX", "BGRX", "RGBA", "BGRA"):
            assert ImageFormat[name].pixel_format.planes[0].channels == name

    def test_from_pixel_format(self):
        for name, layout in PIXEL_FORMATS.items():
            known = [
                member
                for member in ImageFormat
                if member.pixel_format.name == name and member.value not in ("RGBP", "BGRP")
            ]
            if known:
                assert [ImageFormat.from_pixel_format(layout)] == known
            else:
                with pytest.raises(FormatError, match=f"pixel format {name} has no other name"):
                    ImageFormat.from_pixel_format(layout)


class TestImageInfo:
    @pytest.mark.parametrize("layout", list(ImageLayout), ids=str)
    def test_every_layout(self, layout):
        lengths = {"N": 2, "C": 3, "H": 4, "W": 5}
        shape = tuple(lengths[axis] for axis in layout.value)
        array = np.zeros(shape, F32)
        info = ImageInfo(TensorInfo(shape, F32), layout)
        strides = dict(zip(layout.value, array.strides, strict=True))
        assert (info.width, info.height) == (5, 4)
        assert info.channels == (3 if "C" in layout.value else 1)
        assert info.batch == (2 if "N" in layout.value else 1)
        assert (info.width_stride, info.height_stride) == (strides["W"], strides["H"])
        assert info.channels_stride == strides.get("C", 0)
        assert info.batch_stride == strides.get("N", 0)

    def test_padding(self):
        info = ImageInfo(TensorInfo((4, 5, 3), U8, (32, 3, 1)), ImageLayout.HWC)
        assert (info.height_stride, info.width_stride, info.channels_stride) == (32, 3, 1)

    def test_dimensions(self):
        with pytest.raises(FormatError, match=r"layout NCHW has 4 dimensions, got .* \(4, 5\)"):
            ImageInfo(TensorInfo((4, 5), U8), ImageLayout.NCHW)


def audio(**changes):
    values = {"data_type": DataType.I16, "planar": False, "rate": 48000, "channels": 2}
    return AudioInfo(**{**values, "samples": 1024, **changes})


class TestAudio:
    @pytest.mark.parametrize(
        "name", ["u8", "s16", "s32", "s64", "flt", "dbl", "u8p", "s16p", "s32p", "fltp", "dblp"]
    )
    def test_layout_is_libav_s(self, name):
        data_type, planar = AudioInfo.read_sample_format(name)
        info = audio(data_type=data_type, planar=planar, samples=100)
        assert info.sample_format == name
        libav = AVAudioFrame(name, "stereo", 100)
        assert len(libav.planes) == len(info.tensors)
        assert libav.format.bytes == data_type.nbytes
        assert all(plane.buffer_size >= info.tensors[0].nbytes for plane in libav.planes)
        assert info.tensors[0].shape == ((100,) if planar else (100, 2))

    def test_sample_formats(self):
        with pytest.raises(FormatError, match="no sample format 's24'; there is u8, s16"):
            AudioInfo.read_sample_format("s24")
        with pytest.raises(FormatError, match="libav has no sound in f16; convert to one of u8"):
            _ = audio(data_type=DataType.F16).sample_format

    @pytest.mark.parametrize(("name", "value"), [("rate", 0), ("channels", 0), ("samples", -1)])
    def test_counts(self, name, value):
        with pytest.raises(FormatError, match=f"sound has {name} of at least {value + 1}, got"):
            audio(**{name: value})

    def test_frames(self):
        cpu = CPUContext()
        info = audio(planar=True, pts=7, time_base=Fraction(1, 48000))
        tensors = [cpu.allocate(layout) for layout in info.tensors]
        with AudioFrame(info, tensors) as frame:
            assert frame.media_type is MediaType.AUDIO
            assert frame.form == AudioFrame(audio(planar=True, pts=9), tensors).form
            assert frame.form != AudioFrame(audio(planar=True, rate=8000), tensors).form
            seen = frame.over(tensors)
            assert (seen.info, seen.parent) == (info, frame)
            assert seen.metadata is frame.metadata
        assert all(tensor.closed for tensor in tensors)
        with pytest.raises(FormatError, match="a frame of sound needs tensors of"):
            AudioFrame(audio(), tensors)


class TestTensors:
    def test_names(self):
        layouts = (TensorInfo((2,), F32), TensorInfo((3,), F32))
        assert TensorsInfo(layouts).names == ()
        for names in (("one",), ("one", "one"), ("a", "b", "c")):
            with pytest.raises(FormatError, match="2 tensors need as many different names"):
                TensorsInfo(layouts, names)

    def test_frames(self):
        cpu = CPUContext()
        info = TensorsInfo((TensorInfo((2, 3), F32),), ("scores",), pts=4)
        tensor = cpu.wrap(np.zeros((2, 6), F32)[:, ::2])
        frame = TensorFrame(info, [tensor])
        assert frame.media_type is MediaType.TENSORS
        assert frame.over([tensor]).info is info
        assert frame.form == TensorFrame(TensorsInfo(info.tensors, ("scores",)), [tensor]).form
        for wrong in (np.zeros((3, 2), F32), np.zeros((2, 3), "f8")):
            with pytest.raises(FormatError, match="a frame of tensors needs tensors of"):
                TensorFrame(info, [cpu.wrap(wrong)])


def test_a_picture_is_an_image():
    info = FrameInfo(pixel_format("gray"), 4, 2)
    frame = Frame(info, [CPUContext().allocate(info.planes[0])])
    assert frame.media_type is MediaType.IMAGE


def test_tensor_frames_go_through_edges(opencl):
    cpu = CPUContext()
    array = np.arange(4096, dtype="<f4").reshape(2, 2048)
    info = TensorsInfo((TensorInfo(array.shape, array.dtype),), ("scores",))
    mapper = create_mapper([cpu, opencl])
    back = create_mapper([opencl, cpu])
    with (
        TensorFrame(info, [cpu.wrap(array)]) as frame,
        mapper.map(frame, AccessMode.READ) as there,
        back.map(there, AccessMode.READ) as here,
    ):
        assert isinstance(here, TensorFrame)
        assert here.info == info
        assert np.array_equal(here.tensors[0].handle("array"), array)
