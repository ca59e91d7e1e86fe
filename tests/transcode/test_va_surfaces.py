"""VA surfaces as pictures of a device: in place, as copies, and what is left of them.

The frames are made by hand, for PyAV's wheel has no VA-API; libva and the driver under it are real.
New surfaces come from libavutil's VA-API where PyAV has it, so that here the same hand makes them.
"""

from __future__ import annotations

import gc
from dataclasses import replace
from fractions import Fraction
from types import SimpleNamespace

import numpy as np
import pytest
from av.video.frame import VideoFrame

from bridges import AccessMode, create_mapper
from bridges.backends.cpu import CPUContext
from bridges.backends.dma import open_descriptors
from bridges.backends.ffmpeg_properties import set_info
from bridges.errors import ClosedError, DeviceError
from bridges.frame import Colour, ColourRange, Matrix
from bridges.kernels import parse_call
from tests.bridges.vaapi_frames import INFO, Pool, pretended_vaapi, samples, write
from tests.lab.software_va import software_va
from tests.xma_plugins.device_pictures import applied, planes
from tests.xma_plugins.devices import opened
from transcode import VideoOptions
from transcode import va_surfaces as module
from transcode.encoder import find_encoder
from transcode.hardware import nbytes_of
from transcode.kernel_step import KernelStep
from transcode.notices import Notices
from transcode.surface_fit import SurfaceFitStep
from transcode.surfaces import LumaMaker
from transcode.va_surfaces import VASurfaces
from xma_plugins.builtin.libav_frame import from_av, origin
from xma_plugins.device import Device
from xma_plugins.drivers.host import HostDriver
from xma_plugins.errors import OrderError

NODE = "/dev/dri/renderD128"
NBYTES = sum(plane.nbytes for plane in INFO.planes)
TILED = 0x0100_0000_0000_0002
"""I915_FORMAT_MOD_Y_TILED of drm_fourcc.h."""
IN_PLACE = ("cpu", "opencl", "sycl")
COLOUR = Colour(Matrix.BT709, ColourRange.LIMITED, 1, 1)


ENCODER = SimpleNamespace(
    name="h264_vaapi", canonical_name="h264", video_formats=[SimpleNamespace(name="vaapi")]
)
"""What PyAV tells of an encoder of the device."""


class Engine:
    """The software driver with a pool of surfaces, the last two to be written, and notices."""

    def __init__(self, context):
        self.pool = Pool(context, count=4)
        self.notices = Notices()

    def frame(self, index, pts=0):
        found = self.pool.frame(index)
        info = replace(INFO, colour=COLOUR, pts=pts, time_base=Fraction(1, 25))
        set_info(found, info)
        return found

    def surfaces(self, device):
        return VASurfaces(NODE, device, notices=self.notices)


@pytest.fixture
def start():
    """Open the driver with its options; at the end nothing of it may be left."""
    driver = software_va()
    gc.collect()
    before = driver.counts().alive, open_descriptors()
    opened_here = []

    def start(**options):
        context = driver.open(**options)
        engine = Engine(context)
        for index, frame in enumerate(engine.pool.frames):
            write(frame, samples(index))
        opened_here.append((context, engine))
        return engine

    with pretended_vaapi():
        yield start
    while opened_here:
        context, engine = opened_here.pop()
        engine.pool.close()
        context.close()
    gc.collect()
    assert 1001 in engine.pool.freed  # Nobody holds the frames context any more.
    del context, engine
    gc.collect()
    assert (driver.counts().alive, open_descriptors()) == before


class HandMade:
    """What stands in for `SurfacePool`: the last two surfaces of a pool, in turns."""

    def __init__(self, engine):
        self._engine, self._next = engine, 0

    def __call__(self, device, info):
        assert device
        assert info.time_base is None
        return self

    def frame(self):
        self._next += 1
        return self._engine.pool.frame(2 + (self._next - 1) % 2)

    def close(self):
        self._engine = None


def in_surface(engine, index):
    """Return what a surface holds, as the driver itself copies it."""
    frame = engine.pool.frames[index]
    mapper = create_mapper([frame.tensors[0].context, CPUContext()])
    with mapper.map(frame, AccessMode.READ) as mapped:
        return [tensor.handle("array").copy() for tensor in mapped.tensors]


@pytest.fixture(params=IN_PLACE)
def device(request):
    return opened(request.param)


class TestRead:
    def test_in_place(self, start, device):
        engine = start(NO_DERIVE="1")
        moved = device.transfers.nbytes
        with engine.surfaces(device) as surfaces:
            assert surfaces.route == ""
            for index in (0, 1, 0):
                with surfaces.read(engine.frame(index, pts=index)) as picture:
                    assert picture.pts == index
                    assert all(plane.buffer.device is device for plane in picture.planes)
                    assert all(map(np.array_equal, planes(picture), samples(index)))
            assert surfaces.bytes_copied == 0
            assert surfaces.route == "FFmpeg > VAAPI > DMA > CPU"
        assert device.transfers.nbytes == moved
        assert device.buffers == ()
        assert engine.notices.messages == ()

    def test_to_a_device_with_memory_of_its_own_by_copies_that_are_counted(self, start):
        engine, device = start(NO_DERIVE="1"), opened("opencl copies")
        surfaces = engine.surfaces(device)
        for count in (1, 2):
            with surfaces.read(engine.frame(1)) as picture:
                assert all(map(np.array_equal, planes(picture), samples(1)))
            assert surfaces.bytes_copied == count * NBYTES
        assert surfaces.route == "FFmpeg > VAAPI > DMA > CPU > OpenCL"
        surfaces.close()
        surfaces.close()
        assert surfaces.bytes_copied == 2 * NBYTES
        assert device.buffers == ()

    def test_the_surface_goes_back_with_the_picture_and_its_tags_stay(self, start, device):
        engine = start(NO_DERIVE="1")
        with engine.surfaces(device) as surfaces:
            picture = surfaces.read(engine.frame(0, pts=9))
            gc.collect()
            assert 1 not in engine.pool.freed
            other = picture.reference()
            picture.close()
            assert 1 not in engine.pool.freed
            tags = origin(other)
            other.close()
            gc.collect()
            assert engine.pool.freed.count(1) == 1
        assert (int(tags.colorspace), int(tags.color_range)) == (1, 1)

    @pytest.mark.parametrize(
        ("options", "told"),
        [
            (
                {"MODIFIER": hex(TILED)},
                "do not lie row after row (DRM modifier 0x0100000000000002)",
            ),
            (
                {"NO_EXPORT": "1"},
                "are not known to lie row after row (DRM modifier 0x00ffffffffffffff (not told))",
            ),
        ],
        ids=["tiled", "not exported"],
    )
    def test_what_cannot_be_seen_in_place_is_copied_and_told_once(self, start, options, told):
        engine = start(**options)
        with engine.surfaces(opened("cpu")) as surfaces:
            for index in (0, 1):
                with surfaces.read(engine.frame(index)) as picture:
                    assert all(map(np.array_equal, planes(picture), samples(index)))
            assert surfaces.bytes_copied == 2 * NBYTES
            assert surfaces.route == "FFmpeg > VAAPI > CPU"
        assert engine.notices.messages == (
            f"surfaces of {NODE} {told}: they are read and written as copies",
        )

    def test_a_device_that_was_closed_holds_nothing(self, start):
        engine, device = start(NO_DERIVE="1"), Device(HostDriver(), compute_units=())
        device.close()
        with engine.surfaces(device) as surfaces:
            with pytest.raises(OrderError, match="was closed"):
                surfaces.read(engine.frame(0))
            gc.collect()
            assert engine.pool.freed.count(1) == 1

    def test_a_device_that_fails_at_the_second_plane_holds_nothing(self, start, monkeypatch):
        engine, device = start(NO_DERIVE="1"), opened("cpu")
        adopt, calls = device.adopt, []

        def fail_second(*given, **named):
            calls.append(given)
            if len(calls) == 2:
                raise MemoryError
            return adopt(*given, **named)

        monkeypatch.setattr(device, "adopt", fail_second)
        with engine.surfaces(device) as surfaces:
            with pytest.raises(MemoryError):
                surfaces.read(engine.frame(0))
            gc.collect()
            assert engine.pool.freed.count(1) == 1
            assert device.buffers == ()
            with surfaces.read(engine.frame(0)) as picture:
                assert all(map(np.array_equal, planes(picture), samples(0)))


def test_bytes_of_a_surface_are_those_of_its_samples(start):
    assert nbytes_of(start().frame(0)) == NBYTES


class TestWrite:
    @pytest.fixture
    def writing(self, start, monkeypatch):
        def begin(device, **options):
            engine = start(**options)
            monkeypatch.setattr(module, "SurfacePool", HandMade(engine))
            surfaces = engine.surfaces(device)
            surfaces._reference(engine.frame(0))  # The device is that of the decoder's frames.
            return engine, surfaces

        return begin

    @pytest.mark.parametrize("kind", [*IN_PLACE, "opencl copies"])
    @pytest.mark.parametrize("options", [{"NO_DERIVE": "1"}, {"MODIFIER": hex(TILED)}], ids=str)
    def test_what_is_not_written_has_no_colour(self, writing, kind, options):
        device = opened(kind)
        engine, surfaces = writing(device, **options)
        luma = samples(7)[0]
        for index in (2, 3, 2):
            picture = surfaces.write(INFO, [0])
            plane = picture.planes[0]
            assert picture.owner.format.name == "vaapi"
            rows = np.zeros((luma.shape[0], plane.tensor.info.strides[0]), np.uint8)
            rows[:, : luma.shape[1]] = luma
            plane.buffer.put(rows.reshape(-1)[: plane.buffer.size])
            picture.close()
            found = in_surface(engine, index)
            np.testing.assert_array_equal(found[0], luma)
            np.testing.assert_array_equal(found[1], np.full_like(found[1], 128))
        surfaces.close()
        assert device.buffers == ()


class TestKernels:
    def step(self, engine, surfaces, device, call, codec):
        return KernelStep(
            [parse_call(call)],
            device,
            codec=codec,
            pix_fmt=None,
            notices=engine.notices,
            surfaces=surfaces,
        )

    def test_a_kernel_reads_surfaces_and_an_encoder_in_software_gets_host_memory(
        self, start, device
    ):
        engine = start(NO_DERIVE="1")
        kernel, values = parse_call("invert(amount=0.5)")
        with engine.surfaces(device) as surfaces:
            codec = find_encoder("libx264", "video")
            step = self.step(engine, surfaces, device, "invert(amount=0.5)", codec)
            for index in (0, 1, 0):
                (made,) = step.process(engine.frame(index, pts=index))
                assert (made.format.name, made.pts, made.time_base) == (
                    "nv12",
                    index,
                    Fraction(1, 25),
                )
                wanted = applied(kernel, samples(index), INFO, values)
                with from_av(made) as picture:
                    assert all(map(np.array_equal, planes(picture), wanted))
            assert list(step.process(None)) == []
            assert step.bytes_copied == 0
            assert step.route.startswith("FFmpeg > VAAPI > DMA > CPU")
            assert step.route.endswith("CPU > FFmpeg")
            step.close()
        assert device.buffers == ()

    def test_an_encoder_on_the_device_gets_surfaces(self, start, device, monkeypatch):
        engine = start(NO_DERIVE="1")
        monkeypatch.setattr(module, "SurfacePool", HandMade(engine))
        with engine.surfaces(device) as surfaces:
            step = self.step(engine, surfaces, device, "rgb_to_grayscale", ENCODER)
            for index in (0, 1):
                (made,) = step.process(engine.frame(index, pts=index))
                assert (made.format.name, made.pts) == ("vaapi", index)
                assert int(made.colorspace) == 1
                found = in_surface(engine, 2 + index)
                np.testing.assert_array_equal(found[0], samples(index)[0])
                np.testing.assert_array_equal(found[1], np.full_like(found[1], 128))
            assert step.bytes_copied == surfaces.bytes_copied == 0
            assert step.route.endswith("DMA > VAAPI > FFmpeg")
            step.close()
        assert device.buffers == ()

    def test_gray_for_an_encoder_in_software(self, start, device):
        engine = start(NO_DERIVE="1")
        with engine.surfaces(device) as surfaces:
            codec = find_encoder("libx264", "video")
            step = self.step(engine, surfaces, device, "rgb_to_grayscale", codec)
            for index in (0, 1, 0):
                (made,) = step.process(engine.frame(index, pts=index))
                assert (made.format.name, made.pts) == ("yuv420p", index)
                with from_av(made) as picture:
                    luma, *rest = planes(picture)
                np.testing.assert_array_equal(luma, samples(index)[0])
                assert all((plane == 128).all() for plane in rest)
            step.close()
        assert device.buffers == ()

    def test_what_makes_lumas_gets_the_surfaces_after_the_first(self, start, device, monkeypatch):
        """By a stand-in: what really makes lumas without a session runs on NVIDIA's GPUs alone."""
        engine = start(NO_DERIVE="1")
        makers = []

        class Maker(LumaMaker):
            closed = 0

            def __init__(self, kernel, parameters, frame, made, count):
                makers.append(self)
                self.given = kernel.name, dict(parameters), made.format.name, count.commands

            def make(self, frame):
                if frame.pts == 2:
                    return None
                picture = VideoFrame(made.width, made.height, "yuv420p")
                picture.pts, picture.time_base = 100 + frame.pts, frame.time_base
                return picture

            def close(self):
                self.closed += 1
                raise DeviceError("the device is gone")

        with engine.surfaces(device) as surfaces:
            monkeypatch.setattr(surfaces, "luma_maker", Maker)
            codec = find_encoder("libx264", "video")
            step = self.step(engine, surfaces, device, "rgb_to_grayscale", codec)
            (made,) = step.process(engine.frame(0, pts=0))
            with from_av(made) as picture:
                np.testing.assert_array_equal(planes(picture)[0], samples(0)[0])
            assert [maker.given for maker in makers] == [("rgb_to_grayscale", {}, "yuv420p", 1)]
            (made,) = step.process(engine.frame(1, pts=1))
            assert made.pts == 101
            with pytest.raises(DeviceError, match="gone"):  # Another form: it is let go of.
                list(step.process(engine.frame(0, pts=2)))
            (made,) = step.process(engine.frame(0, pts=2))
            assert made.pts == 2
            assert len(makers) == 2
            step.cancel()
            with pytest.raises(ClosedError, match="cancelled"):
                list(step.process(engine.frame(1, pts=3)))
            with pytest.raises(DeviceError, match="gone"):
                step.close()
            step.close()
            assert [maker.closed for maker in makers] == [1, 1]
        assert device.buffers == ()


class TestFit:
    def step(self, engine, surfaces, codec, **options):
        return SurfaceFitStep(
            codec,
            VideoOptions(**options),
            rate=Fraction(25),
            surfaces=surfaces,
            notices=engine.notices,
        )

    def host_frame(self, seed, pts):
        """Return planar samples in host memory, and the same as a surface would hold them."""
        luma, chroma = samples(seed)
        arrays = [luma, *np.moveaxis(chroma, 2, 0)]
        frame = VideoFrame.from_ndarray(
            np.concatenate([each.reshape(-1) for each in arrays]).reshape(-1, INFO.width),
            format="yuv420p",
        )
        frame.pts, frame.time_base = pts, Fraction(1, 25)
        return frame, [luma, chroma]

    @pytest.fixture
    def writing(self, start, monkeypatch):
        engine = start(NO_DERIVE="1")
        monkeypatch.setattr(module, "SurfacePool", HandMade(engine))
        with engine.surfaces(None) as surfaces:
            surfaces._reference(engine.frame(0))
            yield engine, surfaces

    def test_surfaces_that_fit_are_handed_on_as_they_are(self, writing):
        engine, surfaces = writing
        step = self.step(engine, surfaces, ENCODER)
        frames = [engine.frame(index) for index in (0, 1)]
        assert [list(step.process(frame)) for frame in frames] == [[frame] for frame in frames]
        assert list(step.process(None)) == []
        step.close()
        assert step.bytes_copied == surfaces.bytes_copied == 0
        assert engine.notices.messages == ()

    def test_what_software_decoded_is_put_into_surfaces_for_an_encoder_of_the_device(self, writing):
        engine, surfaces = writing
        step = self.step(engine, surfaces, ENCODER)
        for pts in range(3):
            frame, expected = self.host_frame(9 + pts, pts)
            (made,) = step.process(frame)
            assert (made.format.name, made.pts, made.time_base) == ("vaapi", pts, Fraction(1, 25))
            found = in_surface(engine, 2 + pts % 2)
            assert all(map(np.array_equal, found, expected))
        assert surfaces.bytes_copied == 3 * NBYTES
        step.close()
        assert engine.notices.messages == ("pixel format yuv420p > nv12, which h264_vaapi takes",)

    def test_surfaces_and_pictures_in_host_memory_may_take_turns(self, writing):
        engine, surfaces = writing
        step = self.step(engine, surfaces, ENCODER)
        frame = engine.frame(0)
        assert list(step.process(frame)) == [frame]
        (made,) = step.process(self.host_frame(5, 1)[0])
        assert made.format.name == "vaapi"
        assert list(step.process(frame)) == [frame]
        step.close()

    def test_an_encoder_in_software_gets_what_software_decoded_as_it_is(self, writing):
        engine, surfaces = writing
        step = self.step(engine, surfaces, find_encoder("libx264", "video"))
        frame, _ = self.host_frame(5, 1)
        assert list(step.process(frame)) == [frame]
        assert step.bytes_copied == surfaces.bytes_copied == 0
        step.close()
        step.close()
