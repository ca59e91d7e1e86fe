"""GStreamer's buffers as frames: where planes lie, who may write them, and who lets go."""

from __future__ import annotations

import gc
import sys

import numpy as np
import pytest

from bridges import (
    AccessMode,
    Frame,
    MemoryType,
    TensorInfo,
    create_mapper,
)
from bridges.backends.cpu import CPUContext
from bridges.backends.gstreamer import GStreamerContext
from bridges.backends.gstreamer_buffer import held_planes
from bridges.backends.gstreamer_caps import (
    namespaces,
)
from bridges.edges.cpu_to_gstreamer import give_to_gstreamer
from bridges.errors import (
    ClosedError,
    DeviceError,
    FormatError,
    NoRouteError,
)
from bridges.frame import AudioFrame
from bridges.media import AudioInfo, DataType
from bridges.native.libgstreamer import boxed_pointer
from tests.bridges.gst_buffer import filled, info_of
from tests.bridges.memories.dma import mapped_bytes
from tests.helpers.process import open_files

READ, WRITE, BOTH = AccessMode.READ, AccessMode.WRITE, AccessMode.READ_WRITE


class TestWrap:
    def test_handles(self, gstreamer, gst):
        buffer, _ = filled(6 * 4 * 3 // 2 + 100)
        frame = gstreamer.wrap(buffer, gstreamer.caps(info_of("nv12", (8, 2))))
        chroma = frame.tensors[1]
        assert chroma.memory_type is MemoryType.GSTREAMER
        assert chroma.handle("gst_buffer") is buffer
        assert boxed_pointer(chroma.handle("gst_memory")) == boxed_pointer(buffer.peek_memory(0))
        assert chroma.handle("offset") == 16
        with pytest.raises(KeyError, match="gst_buffer"):
            chroma.handle("data")
        frame.close()
        frame.close()
        with pytest.raises(ClosedError):
            chroma.handle("gst_buffer")

    def test_too_few_bytes(self, gstreamer, gst):
        buffer, _ = filled(64 * 36 - 1)
        with pytest.raises(FormatError, match=r"plane 0 of a buffer of 2303 bytes goes beyond"):
            gstreamer.wrap(buffer, gstreamer.caps(info_of()))

    def test_a_plane_in_two_memories(self, gstreamer, gst):
        buffer, _ = filled(1000)
        buffer = buffer.append(filled(64 * 36 - 1000)[0])
        assert buffer.n_memory() == 2
        with pytest.raises(FormatError, match="several memories"):
            gstreamer.wrap(buffer, gstreamer.caps(info_of()))
        assert buffer.n_memory() == 2

    def test_a_meta_of_another_picture(self, gstreamer):
        frame = gstreamer.allocate_frame(info_of())
        buffer = frame.tensors[0].handle("gst_buffer")
        with pytest.raises(FormatError, match=r"caps say 64x34 .* says 64x36"):
            gstreamer.wrap(buffer, gstreamer.caps(info_of(size=(64, 34))))

    def test_rows_that_run_backward(self, gstreamer, gst):
        video = namespaces().video
        buffer, _ = filled(64)
        none, gray = video.VideoFrameFlags.NONE, video.VideoFormat.GRAY8
        video.buffer_add_video_meta_full(buffer, none, gray, 8, 8, 1, [56, 0, 0, 0], [-8, 0, 0, 0])
        with pytest.raises(FormatError, match="-8 bytes apart"):
            gstreamer.wrap(buffer, gstreamer.caps(info_of(size=(8, 8))))

    def test_a_frame_keeps_its_buffer_and_lets_go(self, gstreamer, gst):
        buffer, numbers = filled(64 * 36)
        frame = gstreamer.wrap(buffer, gstreamer.caps(info_of()))
        memory = buffer.peek_memory(0)
        before = memory.mini_object.refcount
        del buffer
        with create_mapper([gstreamer, CPUContext()]).map(frame, READ) as mapped:
            frame.close()
            assert np.array_equal(mapped.tensors[0].array.reshape(-1), numbers)
        del frame, mapped
        gc.collect()
        assert memory.mini_object.refcount < before

    def test_parts(self, gstreamer, gst):
        buffer, numbers = filled(64 * 36)
        tensor = gstreamer.wrap(buffer, gstreamer.caps(info_of())).tensors[0]
        whole = numbers.reshape(36, 64)
        part = tensor[4:20, 8:40]
        assert part.handle("offset") == 4 * 64 + 8
        with create_mapper([gstreamer, CPUContext()]).map(part, BOTH) as mapped:
            assert np.array_equal(mapped.array, whole[4:20, 8:40])
            mapped.array[...] = 0
        found = np.frombuffer(buffer.extract_dup(0, 64 * 36), np.uint8).reshape(36, 64)
        whole[4:20, 8:40] = 0
        assert np.array_equal(found, whole)
        part.close()
        assert tensor.handle("gst_buffer") is buffer

    def test_allocated(self, gstreamer):
        tensor = gstreamer.allocate(TensorInfo((5, 7, 3), np.dtype("<u2")))
        with create_mapper([gstreamer, CPUContext()]).map(tensor, WRITE) as mapped:
            mapped.array[...] = 4660
        assert tensor.handle("gst_buffer").extract_dup(0, 210) == b"\x34\x12" * 105

    @pytest.mark.parametrize("strides", [(0, 1), (-8, 1)])
    def test_nothing_of_no_size_is_allocated(self, gstreamer, strides):
        shape = (0, 8) if strides[0] == 0 else (4, 8)
        for context in gstreamer, GStreamerContext("dmabuf"):
            with pytest.raises(FormatError, match="holds at least one sample"):
                context.allocate(TensorInfo(shape, np.dtype("u1"), strides))

    def test_only_pictures_are_mapped(self, gstreamer):
        info = AudioInfo(DataType.F32, True, 48000, 2, 480)
        planes = [np.zeros(each.shape, each.dtype) for each in info.tensors]
        sound = AudioFrame(info, [CPUContext().wrap(plane) for plane in planes])
        with pytest.raises(FormatError, match="only pictures are mapped to GStreamer"):
            create_mapper([CPUContext(), gstreamer]).map(sound, READ)

    def test_array_protocols(self, gstreamer, gst):
        buffer, numbers = filled(64 * 36)
        tensor = gstreamer.wrap(buffer, gstreamer.caps(info_of())).tensors[0]
        array = np.asarray(tensor)
        assert not array.flags.writeable
        assert tensor.__dlpack_device__() == (1, 0)
        tensor.close()
        del buffer
        gc.collect()
        assert np.array_equal(array.reshape(-1), numbers)
        with pytest.raises(ClosedError):
            np.asarray(tensor)

    def test_derives_the_host(self, gstreamer):
        assert gstreamer.derive(MemoryType.CPU).memory_type is MemoryType.CPU


class TestLocks:
    """Who may read and write is GStreamer's to say, and it is never worked around."""

    def test_a_buffer_in_use_elsewhere_is_read_politely(self, gstreamer, gst):
        buffer, _ = filled(64 * 36)
        frame = gstreamer.wrap(buffer, gstreamer.caps(info_of()))
        other = gst.Sample.new(buffer, None, None, None)
        mapper = create_mapper([gstreamer, CPUContext()])
        with mapper.map(frame, READ), pytest.raises(DeviceError, match="be written: it is read-"):
            mapper.map(frame, WRITE)
        del other
        mapper.map(frame, WRITE).close()

    def test_memory_shared_by_two_buffers_is_not_written(self, gstreamer, gst):
        buffer, _ = filled(64 * 36)
        shared = buffer.copy_region(gst.BufferCopyFlags.MEMORY, 0, 64 * 36)
        assert boxed_pointer(shared.peek_memory(0)) == boxed_pointer(buffer.peek_memory(0))
        frame = gstreamer.wrap(buffer, gstreamer.caps(info_of()))
        mapper = create_mapper([gstreamer, CPUContext()])
        mapper.map(frame, READ).close()
        with pytest.raises(DeviceError, match="shared between buffers"):
            mapper.map(frame, BOTH)
        del shared
        mapper.map(frame, BOTH).close()

    def test_a_read_mapping_is_read_only_to_gstreamer(self, gstreamer, gst):
        array = np.zeros((36, 64), np.uint8)
        frame = Frame(info_of(), [CPUContext().wrap(array)])
        mapper, back = (
            create_mapper([CPUContext(), gstreamer]),
            create_mapper([gstreamer, CPUContext()]),
        )
        with mapper.map(frame, READ) as mapped:
            with pytest.raises(DeviceError, match="read-only"):
                back.map(mapped, WRITE)
            memory = mapped.tensors[0].handle("gst_memory")
            assert memory.mini_object.flags & gst.MemoryFlags.READONLY
            with back.map(mapped, READ) as again:
                assert again.tensors[0].handle("data") == array.ctypes.data
                assert mapped.tensors[0].handle("data") == array.ctypes.data

    def test_a_read_only_array_is_not_mapped_to_be_written(self, gstreamer):
        array = np.zeros((36, 64), np.uint8)
        array.flags.writeable = False
        frame = Frame(info_of(), [CPUContext().wrap(array)])
        mapper = create_mapper([CPUContext(), gstreamer])
        with pytest.raises(FormatError, match="a read-only one"):
            mapper.map(frame, WRITE)
        mapper.map(frame, READ).close()

    def test_a_forgotten_mapping_is_unmapped(self, gstreamer, gst):
        buffer, _ = filled(64 * 36)
        frame = gstreamer.wrap(buffer, gstreamer.caps(info_of()))
        memory = buffer.peek_memory(0)
        unlocked = memory.mini_object.lockstate
        mapped = create_mapper([gstreamer, CPUContext()]).map(frame, BOTH)
        assert memory.mini_object.lockstate != unlocked
        del mapped
        gc.collect()
        assert memory.mini_object.lockstate == unlocked


class TestRelease:
    def test_gstreamer_s_own_reference_keeps_the_arrays(self, gstreamer, gst):
        before = held_planes()
        array = np.full((36, 64), 7, np.uint8)
        frame = Frame(info_of(), [CPUContext().wrap(array)])
        mapped = create_mapper([CPUContext(), gstreamer]).map(frame, READ)
        theirs = mapped.tensors[0].handle("gst_buffer").copy()
        references = sys.getrefcount(array)
        mapped.close()
        frame.close()
        del mapped
        gc.collect()
        assert held_planes() == before + 1
        assert set(theirs.extract_dup(0, 64 * 36)) == {7}
        del theirs
        assert held_planes() == before
        assert sys.getrefcount(array) < references

    @pytest.mark.parametrize("name", ["gray", "nv12", "yuv420p"])
    def test_a_given_frame_is_closed_with_the_last_plane(self, gstreamer, name):
        info = info_of(name)
        tensors = [CPUContext().wrap(np.zeros(p.shape, p.dtype)) for p in info.planes]
        frame = Frame(info, tensors)
        buffer = give_to_gstreamer(frame)
        kept = buffer.peek_memory(0)
        del buffer
        gc.collect()
        assert not frame.closed
        del kept
        assert frame.closed

    @pytest.mark.parametrize(
        "array",
        [
            np.zeros((36, 64), np.uint8)[::-1],
            np.zeros((36, 128), np.uint8)[:, ::2],
            np.zeros((36, 64), np.uint16),
            np.zeros((35, 64), np.uint8),
            np.broadcast_to(np.zeros((1, 64), np.uint8), (36, 64)),
        ],
    )
    def test_layouts_that_gstreamer_cannot_tell_are_refused(self, gstreamer, array):
        frame = Frame(info_of(), [CPUContext().wrap(array)])
        before = held_planes()
        with pytest.raises(FormatError, match="plane 0 as"):
            create_mapper([CPUContext(), gstreamer]).map(frame, READ)
        assert held_planes() == before


class TestFileDescriptors:
    @pytest.fixture
    def dmabuf(self, gstreamer):
        return GStreamerContext("dmabuf")

    def test_memory_and_descriptor_are_one(self, dmabuf):
        from bridges.backends.dma import DMAContext

        info = info_of("nv12", (66, 34))
        frame = dmabuf.allocate_frame(info)
        opened = open_files()
        host, dma = CPUContext(), DMAContext()
        with create_mapper([dmabuf, host]).map(frame, WRITE) as mapped:
            for value, tensor in enumerate(mapped.tensors):
                tensor.array[...] = 50 + value
        with create_mapper([dmabuf, dma]).map(frame, READ) as mapped:
            for value, tensor in enumerate(mapped.tensors):
                start = tensor.handle("offset")
                row = mapped_bytes(tensor.handle("dma_fd"))[start : start + 66]
                assert set(row) == {50 + value}
        assert open_files() == opened

    def test_a_part_of_a_memory(self, dmabuf, gst):
        from bridges.backends.dma import DMAContext

        whole = dmabuf.allocate(TensorInfo((4096,), np.dtype("u1"))).handle("gst_buffer")
        whole.fill(0, bytes(1000) + bytes(range(32)))
        part = whole.copy_region(gst.BufferCopyFlags.MEMORY, 1000, 32)
        frame = dmabuf.wrap(part, dmabuf.caps(info_of("gray", (8, 4))))
        with create_mapper([dmabuf, DMAContext()]).map(frame, READ) as mapped:
            tensor = mapped.tensors[0]
            assert tensor.handle("offset") == 1000
            assert mapped_bytes(tensor.handle("dma_fd"))[1000:1032] == bytes(range(32))

    def test_other_memory_has_no_descriptor(self, dmabuf, gst):
        from bridges.backends.dma import DMAContext

        buffer, _ = filled(64 * 36)
        frame = dmabuf.wrap(buffer, dmabuf.caps(info_of()))
        with pytest.raises(FormatError, match="memory:DMABuf"):
            create_mapper([dmabuf, DMAContext()]).map(frame, READ)

    def test_gstreamer_closes_what_it_was_given(self, gstreamer):
        from bridges.backends.dma import DMAContext

        dma = DMAContext()
        frame = Frame(info_of(), [dma.allocate(info_of().planes[0])])
        opened = open_files()
        mapped = create_mapper([dma, gstreamer]).map(frame, BOTH)
        buffer = mapped.tensors[0].handle("gst_buffer")
        assert namespaces().allocators.is_fd_memory(buffer.peek_memory(0))
        assert buffer.fill(0, bytes([9]) * 64 * 36) == 64 * 36
        mapped.close()
        del mapped, buffer
        gc.collect()
        assert open_files() == opened
        assert set(mapped_bytes(frame.tensors[0].handle("dma_fd"))[: 64 * 36]) == {9}
        frame.close()

    def test_what_else_has_to_live_is_kept_until_gstreamer_is_done(self, gstreamer):
        from bridges.backends.dma import DMAContext, DMATensor

        dma = DMAContext()
        owned = dma.allocate(info_of().planes[0])
        kept = [b"a decoder's frame"]
        before = sys.getrefcount(kept)
        tensor = DMATensor(owned.descriptor, owned.info, keep=kept, context=dma, parent=owned)
        frame = Frame(info_of(), [tensor])
        mapped = create_mapper([dma, gstreamer]).map(frame, READ)
        theirs = mapped.tensors[0].handle("gst_buffer").copy()
        mapped.close()
        frame.close()
        del mapped, frame, tensor
        gc.collect()
        assert sys.getrefcount(kept) == before + 1
        del theirs
        assert sys.getrefcount(kept) == before


class TestRoutes:
    def test_what_is_in_va_memory_is_not_copied_behind_the_caller_s_back(self, gstreamer):
        with pytest.raises(NoRouteError, match="GStreamer copies VA memory to map it"):
            create_mapper([GStreamerContext("va"), CPUContext()])
        with pytest.raises(NoRouteError, match="buffers in va memory"):
            create_mapper([CPUContext(), GStreamerContext("va")])

    def test_opencl_to_gstreamer_is_the_same_memory(self, gstreamer, opencl):
        if not opencl.shares_host_memory:
            pytest.skip(f"{opencl.name} has memory of its own")
        info = info_of("nv12", (66, 34))
        frame = Frame(info, [opencl.allocate(plane) for plane in info.planes])
        mapper = create_mapper([opencl, gstreamer])
        assert mapper.explain() == "OpenCL > CPU > GStreamer   zero-copy"
        with mapper.map(frame, WRITE) as mapped:
            buffer = mapped.tensors[0].handle("gst_buffer")
            buffer.fill(0, bytes([3]) * buffer.get_size())
        assert mapper.audit.bytes_copied == 0
        with create_mapper([opencl, CPUContext()]).map(frame, READ) as host:
            assert all(set(tensor.array.flat) == {3} for tensor in host.tensors)

    def test_a_device_with_memory_of_its_own_is_reached_by_a_copy(self, gstreamer, opencl):
        opencl.shares_host_memory = False
        mapper = create_mapper([gstreamer, opencl])
        assert [str(hop.edge) for hop in mapper.audit.hops] == ["GStreamer > CPU", "CPU > OpenCL"]
        assert [hop.edge.copies for hop in mapper.audit.hops] == [False, True]

    def test_ffmpeg_reaches_gstreamer_through_the_host(self, gstreamer):
        from bridges.backends.ffmpeg import FFmpegContext

        ffmpeg = FFmpegContext()
        assert (
            create_mapper([ffmpeg, gstreamer]).explain() == "FFmpeg > CPU > GStreamer   zero-copy"
        )
