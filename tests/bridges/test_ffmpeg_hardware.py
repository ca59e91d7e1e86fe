"""FFmpeg's frames on a device: what they are, what they say, and what is refused."""

from __future__ import annotations

import ctypes as c
import gc

import numpy as np
import pytest
from av.video.frame import VideoFrame

from bridges import AccessMode, TensorInfo
from bridges import create_mapper as create
from bridges.backends.ffmpeg import FFmpegContext
from bridges.backends.ffmpeg import create as create_ffmpeg
from bridges.errors import ClosedError, DeviceError, DeviceNotFoundError, FormatError, NoRouteError
from bridges.native import libavutil, libavutil_drm
from bridges.native.libavutil import AVBufferRef, AVFrame, AVHWFramesContext, frame_pointer, library
from tests.bridges.drm_prime import alive, filled, info_of, samples_of
from tests.helpers.process import open_files

READ = AccessMode.READ


@pytest.fixture(autouse=True)
def nothing_held():
    gc.collect()
    before = alive(), open_files()
    yield
    gc.collect()
    assert (alive(), open_files()) == before


class TestLayouts:
    """Sizes and offsets, as a C compiler gives them for FFmpeg 8's headers on 64 bits."""

    def test_descriptor(self):
        assert c.sizeof(libavutil_drm.AVDRMObjectDescriptor) == 24
        assert c.sizeof(libavutil_drm.AVDRMPlaneDescriptor) == 24
        assert c.sizeof(libavutil_drm.AVDRMLayerDescriptor) == 104
        assert c.sizeof(libavutil_drm.AVDRMFrameDescriptor) == 528

    def test_contexts(self):
        assert AVFrame.hw_frames_ctx.offset == 328
        assert AVHWFramesContext.format.offset == 60
        assert AVHWFramesContext.width.offset == 68

    def test_another_layout_is_noticed(self, monkeypatch):
        class Shifted(c.Structure):
            _fields_ = (("more", c.c_int), *AVHWFramesContext._fields_)

        monkeypatch.setattr(libavutil, "AVHWFramesContext", Shifted)
        with pytest.raises(DeviceError, match="hardware contexts in a way unknown"):
            libavutil._check_hardware_layout(library())


class TestWrap:
    def test_what_a_frame_tells(self, prime):
        info = info_of("p010le", 37, 21)
        frame = prime.wrap(filled(info, padding=5))
        assert frame.info == info
        assert [tensor.info.shape for tensor in frame.tensors] == [(21, 37), (11, 19, 2)]
        assert [tensor.info.strides[0] for tensor in frame.tensors] == [84, 86]
        for index, tensor in enumerate(frame.tensors):
            assert tensor.handle("plane_index") == index
            assert tensor.handle("av_frame").format.name == "drm_prime"
            with pytest.raises(KeyError, match=r"no handle 'data', only \['av_frame', 'plane_i"):
                tensor.handle("data")

    def test_device(self, prime):
        with pytest.raises(KeyError, match="no handle 'ffmpeg"):
            prime.handle("ffmpeg.device_context")
        frame = filled(info_of())
        prime.wrap(frame).close()
        del frame
        gc.collect()
        reference = AVBufferRef.from_address(prime.handle("ffmpeg.device_context"))
        device = libavutil.AVHWDeviceContext.from_address(reference.data)
        assert device.type == library().av_hwdevice_find_type_by_name(b"drm")
        prime.close()
        with pytest.raises(ClosedError):
            prime.handle("ffmpeg.device_context")
        with pytest.raises(ClosedError):
            prime.wrap(filled(info_of()))

    def test_memory_of_another_kind(self, prime):
        with pytest.raises(
            FormatError, match=r"in drm_prime memory, got one in host memory \(gray"
        ):
            prime.wrap(VideoFrame(4, 4, "gray"))
        words = r"in host memory, got one in drm_prime .*FFmpegContext\(hardware='drm_prime'\)"
        with pytest.raises(FormatError, match=words):
            FFmpegContext().wrap(filled(info_of()))

    def test_kinds(self):
        assert create_ffmpeg().hardware == ""
        assert create_ffmpeg("vaapi").hardware == "vaapi"
        assert FFmpegContext("cuda").name == "FFmpeg cuda"
        with pytest.raises(DeviceNotFoundError, match="no 'qsv' memory, only cuda, drm_prime, vaa"):
            FFmpegContext("qsv")

    def test_makes_no_frames(self, prime):
        with pytest.raises(DeviceError, match="drm_prime memory in decoders and filters only"):
            prime.allocate_frame(info_of())
        with pytest.raises(DeviceError, match="decoders and filters only"):
            prime.allocate(TensorInfo((4, 4), np.dtype("u1")))

    def test_without_frames_context(self, prime, dma, cpu):
        # As V4L2 decoders give it: only the descriptor tells the format.
        info = info_of("nv12")
        frame = filled(info)
        native = AVFrame.from_address(frame_pointer(frame))
        library().av_buffer_unref(
            c.cast(c.byref(native, AVFrame.hw_frames_ctx.offset), c.POINTER(c.c_void_p))
        )
        wrapped = prime.wrap(frame)
        assert wrapped.info == info
        with pytest.raises(DeviceError, match="cannot map a nv12 frame"):
            create([prime, cpu]).map(wrapped, READ)
        through = create([prime, dma]).map(wrapped, READ)
        with create([dma, cpu]).map(through, READ) as mapped:
            for tensor, samples in zip(mapped.tensors, samples_of(info), strict=True):
                assert np.array_equal(tensor.handle("array"), samples)
        through.close()

    def test_format_that_nothing_tells(self):
        with pytest.raises(FormatError, match="no hw_frames_ctx"):
            FFmpegContext("vaapi").wrap(VideoFrame(0, 0, "vaapi"))

    def test_memory_that_cannot_be_shared(self):
        frame = filled(info_of())
        native = AVFrame.from_address(frame_pointer(frame))
        vulkan = VideoFrame(0, 0, "vulkan")
        there = AVFrame.from_address(frame_pointer(vulkan))
        there.hw_frames_ctx = library().av_buffer_ref(native.hw_frames_ctx)
        with pytest.raises(FormatError, match="a frame in vulkan memory cannot be shared"):
            FFmpegContext().wrap(vulkan)


def cuda_frame(device):
    """A frame as NVDEC gives it, but of memory that is not there."""
    lib = library()
    frames = lib.av_hwframe_ctx_alloc(device)
    native = AVHWFramesContext.from_address(AVBufferRef.from_address(frames).data)
    native.format, native.sw_format = (lib.av_get_pix_fmt(name) for name in (b"cuda", b"nv12"))
    native.width, native.height = 64, 48
    frame = VideoFrame(0, 0, "cuda")
    there = AVFrame.from_address(frame_pointer(frame))
    there.width, there.height, there.hw_frames_ctx = 64, 40, frames
    there.data[0], there.data[1] = 0x7000000, 0x7010000
    there.linesize[0] = there.linesize[1] = 512
    return frame


class TestDevices:
    @pytest.fixture
    def devices(self):
        lib = library()
        kind = lib.av_hwdevice_find_type_by_name(b"cuda")
        made = [c.c_void_p(lib.av_hwdevice_ctx_alloc(kind)) for _ in range(2)]
        yield [device.value for device in made]
        for device in made:
            lib.av_buffer_unref(c.byref(device))

    def test_rows_and_size(self, devices):
        frame = FFmpegContext("cuda").wrap(cuda_frame(devices[0]))
        assert (frame.info.format.name, frame.info.width, frame.info.height) == ("nv12", 64, 40)
        assert [tensor.info.strides for tensor in frame.tensors] == [(512, 1), (512, 2, 1)]

    def test_frames_of_another_device(self, devices):
        context = FFmpegContext("cuda")
        context.wrap(cuda_frame(devices[0]))
        with pytest.raises(FormatError, match="cuda frame is of another device than the first"):
            context.wrap(cuda_frame(devices[1]))
        given = FFmpegContext("cuda", device=devices[1])
        given.wrap(cuda_frame(devices[1]))
        with pytest.raises(FormatError, match="another device"):
            given.wrap(cuda_frame(devices[0]))

    def test_own_reference(self, devices):
        context = FFmpegContext("cuda", device=devices[0])
        own = context.handle("ffmpeg.device_context")
        assert own != devices[0]
        assert AVBufferRef.from_address(own).data == AVBufferRef.from_address(devices[0]).data

    def test_to_the_host_by_a_copy_that_is_said(self, cpu):
        said = create([FFmpegContext("cuda"), cpu]).explain()
        assert said == "FFmpeg > CPU   0 B copied in FFmpeg > CPU"

    def test_no_way_without_a_copy(self, cpu):
        with pytest.raises(NoRouteError, match="its frames are in vaapi memory"):
            create([cpu, FFmpegContext("vaapi")])
