"""DRM_PRIME frames of FFmpeg: to host memory, and from and to file descriptors."""

from __future__ import annotations

import gc
import os
from fractions import Fraction

import av
import numpy as np
import pytest

from bridges import AccessMode, Frame, TensorInfo
from bridges import create_mapper as create
from bridges.backends.cpu import CPUContext
from bridges.backends.dma import open_descriptors
from bridges.backends.ffmpeg import FFmpegContext
from bridges.backends.ffmpeg_properties import is_writable
from bridges.edges.dma_to_ffmpeg import held_frames
from bridges.errors import ClosedError, DeviceError, FormatError, NoRouteError
from bridges.mapper import MapperChain
from bridges.native.drm import fourcc_name
from bridges.routes import EDGES, find_route
from bridges.tensor import MemoryType
from tests.bridges.drm_prime import alive, descriptor_of, filled, info_of, plane_arrays, samples_of
from tests.helpers.process import open_files

READ, WRITE, BOTH = AccessMode.READ, AccessMode.WRITE, AccessMode.READ_WRITE
INTEL_Y_TILED = 0x0100_0000_0000_0002


def route_of(name):
    return [
        edge
        for edge in EDGES
        if edge.source is MemoryType.FFMPEG and edge.function.__name__ == name
    ]


def same(found, expected):
    return len(found) == len(expected) and all(map(np.array_equal, found, expected))


def dma_frame(context, info, seed=1):
    """A frame in one buffer, rows padded, the planes at odd places."""
    layouts, offset = [], 77
    for dense in info.planes:
        strides = (dense.strides[0] + 10, *dense.strides[1:])
        layouts.append((TensorInfo(dense.shape, dense.dtype, strides), offset))
        offset += layouts[-1][0].span + 77
    with context.allocate(TensorInfo((offset,), np.dtype("u1"))) as whole:
        fd = whole.handle("dma_fd")
        frame = Frame(info, [context.wrap(fd, layout, offset=at) for layout, at in layouts])
    with create([context, CPUContext()]).map(frame, WRITE) as mapped:
        for tensor, samples in zip(mapped.tensors, samples_of(info, seed), strict=True):
            tensor.handle("array")[...] = samples
    return frame


@pytest.fixture(autouse=True)
def nothing_held():
    gc.collect()
    before = alive(), held_frames(), open_descriptors(), open_files()
    yield
    gc.collect()
    assert (alive(), held_frames(), open_descriptors(), open_files()) == before


class TestToHost:
    def test_as_pyav_reads_them(self, prime, cpu):
        info = info_of("nv12")
        frame = filled(info, padding=7)
        expected = frame.to_ndarray()
        with create([prime, cpu]).map(prime.wrap(frame), READ) as mapped:
            planes = [tensor.handle("array") for tensor in mapped.tensors]
            assert np.array_equal(np.concatenate([p.reshape(-1, 36) for p in planes]), expected)
            assert not planes[0].flags.writeable

    def test_a_view_outlives_everything(self, prime, cpu):
        info = info_of("gray")
        mapped = create([prime, cpu]).map(prime.wrap(filled(info)), READ)
        view = mapped.tensors[0].handle("array")[3:]
        mapped.close()
        del mapped
        gc.collect()
        assert np.array_equal(view, samples_of(info)[0][3:])

    @pytest.mark.parametrize("name", ["map_drm_prime", "download"])
    def test_tiled_frames_are_refused(self, prime, cpu, name):
        create([prime, cpu])  # Loads the edges.
        route = route_of(name)
        frame = prime.wrap(filled(info_of(), modifier=INTEL_Y_TILED))
        with pytest.raises(FormatError, match="modifier 0x0100000000000002"):
            MapperChain(route, [prime, cpu]).map(frame, READ)

    @pytest.mark.parametrize("name", ["map_drm_prime", "download"])
    def test_memory_that_is_gone(self, prime, cpu, name):
        create([prime, cpu])
        route = route_of(name)
        frame = filled(info_of())
        descriptor = descriptor_of(frame)
        fd, descriptor.objects[0].fd = descriptor.objects[0].fd, -1
        with pytest.raises(DeviceError, match=r"FFmpeg cannot (map|transfer) .*Bad file"):
            MapperChain(route, [prime, cpu]).map(prime.wrap(frame), READ)
        descriptor.objects[0].fd = fd

    def test_written_back_once_after_the_last_plane(self, prime, cpu):
        create([prime, cpu])
        route = route_of("download")
        mapper = MapperChain(route, [prime, cpu])
        info = info_of("yuv420p")
        frame = filled(info)
        nbytes = sum(plane.nbytes for plane in info.planes)
        mapped = mapper.map(prime.wrap(frame), WRITE)
        assert mapper.audit.bytes_copied == 0
        for tensor, samples in zip(mapped.tensors, samples_of(info, 2), strict=True):
            tensor.handle("array")[...] = samples
        mapped.tensors[2].close()
        mapped.tensors[0].close()
        assert same(plane_arrays(frame, info), samples_of(info, 1))
        mapped.tensors[1].close()
        assert same(plane_arrays(frame, info), samples_of(info, 2))
        mapped.close()
        assert mapper.audit.bytes_copied == nbytes


class TestToDMA:
    @pytest.mark.parametrize("is_split", [False, True])
    def test_where_planes_lie(self, prime, dma, is_split):
        info = info_of("yuv420p")
        frame = filled(info, padding=3, modifier=INTEL_Y_TILED, is_split=is_split)
        descriptor = descriptor_of(frame)
        with create([prime, dma]).map(prime.wrap(frame), READ) as mapped:
            for tensor, plane in zip(mapped.tensors, descriptor.flat_planes(), strict=True):
                made = descriptor.objects[plane.object_index]
                fd = tensor.handle("dma_fd")
                assert fd != made.fd
                assert os.fstat(fd).st_ino == os.fstat(made.fd).st_ino
                assert tensor.handle("offset") == plane.offset
                assert tensor.handle("drm_modifier") == INTEL_Y_TILED
                assert tensor.info.strides[0] == plane.pitch
            owners = {tensor.handle("dma_fd") for tensor in mapped.tensors}
            assert len(owners) == 3

    def test_the_frame_is_held(self, prime, dma, cpu):
        before = alive()
        wrapped = prime.wrap(filled(info_of("gray")))
        mapped = create([prime, dma]).map(wrapped, READ)
        wrapped.close()
        del wrapped
        gc.collect()
        assert alive() == before + 1
        on_host = create([dma, cpu]).map(mapped, READ)
        mapped.close()
        del mapped
        gc.collect()
        assert alive() == before + 1
        assert np.array_equal(on_host.tensors[0].handle("array"), samples_of(info_of("gray"))[0])
        on_host.close()
        del on_host
        gc.collect()
        assert alive() == before

    def test_host_frames_have_no_descriptor(self, dma):
        words = r"FFmpeg > DMA \(its frames are in host memory and have no file descriptor\)"
        with pytest.raises(NoRouteError, match=words):
            find_route([FFmpegContext(), dma])

    def test_derived(self, prime):
        assert prime.derive(MemoryType.DMA).memory_type is MemoryType.DMA
        with pytest.raises(NoRouteError):
            prime.derive(MemoryType.OPENVINO)


class TestFromDMA:
    @pytest.mark.parametrize("name", ["gray", "nv12", "yuv420p", "rgb24", "bgra", "yuv444p"])
    def test_as_pyav_reads_it(self, dma, prime, name):
        info = info_of(name)
        frame = dma_frame(dma, info)
        with create([dma, prime]).map(frame, READ) as mapped:
            av_frame = mapped.tensors[0].handle("av_frame")
            assert (av_frame.format.name, av_frame.sw_format.name) == ("drm_prime", name)
            assert (av_frame.width, av_frame.height, av_frame.pts) == (36, 20, 42)
            assert av_frame.time_base == Fraction(1, 30000)
            assert mapped.info == info
            found = av_frame.to_ndarray()
        assert found.tobytes() == b"".join(plane.tobytes() for plane in samples_of(info))
        frame.close()

    def test_encoded(self, dma, prime):
        info = info_of("yuv420p", 64, 48)
        frame = dma_frame(dma, info)
        encoder = av.CodecContext.create("ffv1", "w")
        encoder.width, encoder.height, encoder.pix_fmt = 64, 48, "yuv420p"
        encoder.time_base = Fraction(1, 25)
        with create([dma, prime]).map(frame, READ) as mapped:
            downloaded = mapped.tensors[0].handle("av_frame").reformat(format="yuv420p")
        packets = [*encoder.encode(downloaded), *encoder.encode(None)]
        decoder = av.CodecContext.create("ffv1", "r")
        decoder.extradata = encoder.extradata
        decoder.width, decoder.height = 64, 48
        (decoded,) = [each for packet in packets for each in decoder.decode(packet)]
        found = decoded.to_ndarray()
        assert found.tobytes() == b"".join(plane.tobytes() for plane in samples_of(info))
        frame.close()

    @pytest.mark.parametrize(
        ("name", "layers"),
        [
            ("nv12", {"NV12": 2}),
            ("p010le", {"P010": 2}),
            ("yuv420p", {"YU12": 3}),
            ("yuv420p10le", ["R16 "] * 3),
            ("gray16le", ["R16 "]),
        ],
    )
    def test_descriptor(self, dma, prime, name, layers):
        info = info_of(name)
        frame = dma_frame(dma, info)
        with create([dma, prime]).map(frame, READ) as mapped:
            descriptor = descriptor_of(mapped.tensors[0].handle("av_frame"))
            found = [
                (fourcc_name(layer.format), layer.nb_planes)
                for layer in descriptor.layers[: descriptor.nb_layers]
            ]
            wanted = layers.items() if isinstance(layers, dict) else [(code, 1) for code in layers]
            assert found == list(wanted)
            # One memory under three descriptors is one object, as drivers want it.
            assert descriptor.nb_objects == 1
            assert descriptor.objects[0].size == frame.tensors[0].descriptor.nbytes
        frame.close()

    def test_planes_in_memories_of_their_own(self, dma, prime):
        info = info_of("nv12")
        frame = Frame(info, [dma.allocate(layout) for layout in info.planes])
        with create([dma, prime]).map(frame, READ) as mapped:
            descriptor = descriptor_of(mapped.tensors[0].handle("av_frame"))
            assert descriptor.nb_objects == 2
            assert [plane.object_index for plane in descriptor.flat_planes()] == [0, 1]
        frame.close()

    def test_modifier(self, dma, prime):
        info = info_of("gray")
        with dma.allocate(info.planes[0]) as whole:
            tiled = dma.wrap(whole.handle("dma_fd"), info.planes[0], modifier=INTEL_Y_TILED)
        frame = Frame(info, [tiled])
        with create([dma, prime]).map(frame, READ) as mapped:
            descriptor = descriptor_of(mapped.tensors[0].handle("av_frame"))
            assert descriptor.objects[0].format_modifier == INTEL_Y_TILED
        frame.close()

    def test_formats_and_layouts_that_drm_has_not(self, dma, prime):
        mapper = create([dma, prime])
        deep = info_of("rgb48le")
        with (
            Frame(deep, [dma.allocate(deep.planes[0])]) as frame,
            pytest.raises(FormatError, match="no code for rgb48le, nor for a plane of 3 channels"),
        ):
            mapper.map(frame, READ)
        gray = info_of("gray")
        wrong = TensorInfo((20, 36), np.dtype("u1"), (36 * 2, 2))
        with (
            Frame(gray, [dma.allocate(wrong)]) as frame,
            pytest.raises(FormatError, match="FFmpeg needs plane 0"),
        ):
            mapper.map(frame, READ)

    @pytest.mark.parametrize("access", [READ, WRITE])
    def test_who_may_write(self, dma, prime, access):
        frame = dma_frame(dma, info_of("gray"))
        with create([dma, prime]).map(frame, access) as mapped:
            assert is_writable(mapped.tensors[0].handle("av_frame")) == (access is WRITE)
        frame.close()

    def test_ffmpeg_holds_the_memory(self, dma, prime):
        info = info_of("gray")
        frame = dma_frame(dma, info)
        mapped = create([dma, prime]).map(frame, READ)
        av_frame = mapped.tensors[0].handle("av_frame")
        mapped.close()
        frame.close()
        prime.close()
        del mapped, frame
        gc.collect()
        assert held_frames() == 1
        assert np.array_equal(av_frame.to_ndarray(), samples_of(info)[0])
        del av_frame
        assert held_frames() == 0

    def test_there_and_back(self, dma, prime, cpu):
        info = info_of("nv12", 37, 21)
        frame = dma_frame(dma, info)
        with create([dma, prime]).map(frame, BOTH) as mapped:
            again = create([prime, dma]).map(mapped, BOTH)
            for one, other in zip(frame.tensors, again.tensors, strict=True):
                assert one.memory_key() is not None
                assert one.handle("offset") == other.handle("offset")
                assert one.descriptor.identity == other.descriptor.identity
            with create([dma, cpu]).map(again, WRITE) as host:
                for tensor, samples in zip(host.tensors, samples_of(info, 5), strict=True):
                    tensor.handle("array")[...] = samples
            again.close()
        with create([dma, cpu]).map(frame, READ) as host:
            assert same([tensor.handle("array") for tensor in host.tensors], samples_of(info, 5))
        frame.close()

    def test_host_contexts_are_refused(self, dma):
        with pytest.raises(NoRouteError, match="its frames are in host memory"):
            find_route([dma, FFmpegContext()])

    def test_after_close(self, dma, prime):
        frame = dma_frame(dma, info_of("gray"))
        mapper = create([dma, prime])
        prime.close()
        with pytest.raises(ClosedError):
            mapper.map(frame, READ)
        frame.close()
