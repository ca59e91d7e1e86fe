"""FFmpeg and host memory share samples: by address, both ways, for as long as either needs."""

from __future__ import annotations

import ctypes
import gc
import subprocess
import sys
import weakref
from fractions import Fraction

import av
import numpy as np
import pytest
from av.filter import Graph
from av.video.frame import VideoFrame

from bridges import AccessMode, Colour, ColourRange, Frame, FrameInfo, Matrix, create_mapper
from bridges.backends.cpu import CPUContext
from bridges.backends.ffmpeg import FFmpegContext, frame_info
from bridges.backends.ffmpeg_properties import (
    buffer_references,
    copy_properties,
    field_order,
    is_writable,
    sample_aspect_ratio,
    set_sample_aspect_ratio,
)
from bridges.edges.cpu_to_ffmpeg import give_to_ffmpeg, held_planes
from bridges.errors import ClosedError, FormatError
from bridges.formats import PIXEL_FORMATS, pixel_format
from bridges.native.libavutil import frame_pointer, library
from bridges.tensor import MemoryType, TensorInfo
from tests.helpers.process import open_files, resident_bytes
from tests.helpers.threads import run_together

ALL = sorted(PIXEL_FORMATS)
READ, WRITE, BOTH = AccessMode.READ, AccessMode.WRITE, AccessMode.READ_WRITE


@pytest.fixture
def ffmpeg():
    return FFmpegContext()


@pytest.fixture
def to_cpu(ffmpeg, cpu):
    return create_mapper([ffmpeg, cpu])


@pytest.fixture
def to_ffmpeg(ffmpeg, cpu):
    return create_mapper([cpu, ffmpeg])


@pytest.fixture(autouse=True)
def nothing_held():
    yield
    if held_planes():
        gc.collect()
    assert held_planes() == 0


def padded_frame(cpu, info, pad=32, parent=None):
    """A host frame with numbered samples and `pad` bytes behind each row."""
    tensors = []
    for layout in info.planes:
        stride = layout.strides[0] + pad
        memory = np.zeros(stride * layout.shape[0] + 64, np.uint8)
        plane = np.ndarray(layout.shape, layout.dtype, memory, 0, (stride, *layout.strides[1:]))
        top = 1 << info.format.bits
        plane[...] = (np.arange(plane.size) * 7 % top << info.format.shift).reshape(plane.shape)
        tensors.append(cpu.wrap(plane))
    frame = Frame(info, tensors, parent=parent)
    frame.closes_parent = parent is not None
    return frame


def info_of(name="yuv420p", width=35, height=19, **more):
    return FrameInfo(pixel_format(name), width, height, **more)


class Parent:
    """Counts its closes."""

    def __init__(self):
        self.closes = 0

    def close(self):
        self.closes += 1


class TestFromFFmpeg:
    @pytest.mark.parametrize("name", ALL)
    def test_every_format_by_address(self, ffmpeg, to_cpu, name):
        av_frame = VideoFrame(35, 19, name)
        entry = pixel_format(name)
        with to_cpu.map(ffmpeg.wrap(av_frame), BOTH) as mapped:
            assert mapped.info.format is entry
            for index, tensor in enumerate(mapped.tensors):
                plane = av_frame.planes[index]
                assert tensor.handle("data") == plane.buffer_ptr
                assert tensor.array.ctypes.data == plane.buffer_ptr
                assert tensor.array.shape == entry.plane_shape(index, 35, 19)
                assert tensor.array.dtype == entry.dtype
                assert tensor.array.strides[0] == plane.line_size
        assert to_cpu.audit.bytes_copied == 0

    @pytest.mark.parametrize("name", ALL)
    def test_write_through(self, ffmpeg, to_cpu, name):
        av_frame = VideoFrame(35, 19, name)
        with to_cpu.map(ffmpeg.wrap(av_frame), WRITE) as mapped:
            wanted = []
            for tensor in mapped.tensors:
                values = np.arange(tensor.array.size).astype(tensor.array.dtype)
                tensor.array[...] = values.reshape(tensor.array.shape)
                wanted.append(tensor.array.tobytes())
        for plane, samples, layout in zip(
            av_frame.planes, wanted, frame_info(av_frame).planes, strict=True
        ):
            rows = np.frombuffer(plane, np.uint8)[: plane.line_size * layout.shape[0]]
            rows = rows.reshape(layout.shape[0], plane.line_size)[:, : layout.strides[0]]
            assert rows.tobytes() == samples

    @pytest.mark.parametrize(("width", "height"), [(1, 1), (2, 1), (3, 5), (127, 95), (1920, 1)])
    @pytest.mark.parametrize("name", ["yuv420p", "nv12", "rgb24", "p010le", "gray16le", "yuyv422"])
    def test_sizes(self, ffmpeg, to_cpu, name, width, height):
        av_frame = VideoFrame(width, height, name)
        with to_cpu.map(ffmpeg.wrap(av_frame), BOTH) as mapped:
            for tensor in mapped.tensors:
                tensor.array[...] = 3
        assert bytes(av_frame.planes[-1])[:1] == b"\3"

    def test_reading_forbids_writing(self, ffmpeg, to_cpu):
        with (
            to_cpu.map(ffmpeg.wrap(VideoFrame(4, 4, "gray")), READ) as mapped,
            pytest.raises(ValueError, match="read-only"),
        ):
            mapped.tensors[0].array[0, 0] = 1

    def test_decoded_frame(self, clips, ffmpeg, to_cpu):
        with av.open(str(clips.path("odd_yuv420p"))) as container:
            for av_frame in container.decode(video=0):
                wanted = av_frame.to_ndarray(format="gray")
                with to_cpu.map(ffmpeg.wrap(av_frame), READ) as mapped:
                    luma = mapped.tensors[0]
                    assert luma.handle("data") == av_frame.planes[0].buffer_ptr
                    assert luma.array.shape == wanted.shape == (95, 127)
                    assert bytes(av_frame.planes[0])[:127] == luma.array[0].tobytes()

    def test_frame_is_kept_alive(self, ffmpeg, to_cpu):
        av_frame = VideoFrame(640, 480, "gray")
        with to_cpu.map(ffmpeg.wrap(av_frame), WRITE) as mapped:
            mapped.tensors[0].array[...] = 77
            del av_frame
            gc.collect()
            others = [VideoFrame(640, 480, "gray") for _ in range(8)]
            for other in others:
                other.planes[0].update(bytes(other.planes[0].buffer_size))
            assert (mapped.tensors[0].array == 77).all()

    def test_frame_is_kept_alive_after_its_wrapping_was_closed(self, ffmpeg, cpu, to_cpu):
        parent = Parent()
        av_frame = give_to_ffmpeg(padded_frame(cpu, info_of(), parent=parent))
        wrapped = ffmpeg.wrap(av_frame)
        mapped = to_cpu.map(wrapped, READ)
        del av_frame
        wrapped.close()
        gc.collect()
        assert parent.closes == 0, "the mapping is open and its memory is gone"
        assert held_planes() == 3
        mapped.close()
        del mapped, wrapped
        gc.collect()
        assert parent.closes == 1

    def test_a_plane_of_a_closed_frame(self, ffmpeg, to_cpu):
        wrapped = ffmpeg.wrap(VideoFrame(4, 4, "yuv420p"))
        wrapped.close()
        with pytest.raises(ClosedError, match=r"FFmpeg (frame|tensor) was closed"):
            to_cpu.map(wrapped, READ)

    def test_single_tensor(self, ffmpeg, to_cpu):
        wrapped = ffmpeg.wrap(VideoFrame(6, 4, "nv12"))
        with to_cpu.map(wrapped.tensors[1], BOTH) as tensor:
            assert tensor.array.shape == (2, 3, 2)
            assert tensor.handle("data") == wrapped.tensors[1].handle("data")

    def test_handles(self, ffmpeg):
        av_frame = VideoFrame(6, 4, "nv12")
        tensor = ffmpeg.wrap(av_frame).tensors[1]
        assert tensor.handle("av_frame") is av_frame
        assert tensor.handle("plane_index") == 1
        assert tensor.memory_type is MemoryType.FFMPEG

    def test_flipped_frame_is_refused(self, ffmpeg):
        graph = Graph()
        source = graph.add("buffer", "video_size=16x8:pix_fmt=gray:time_base=1/25")
        graph.link_nodes(source, graph.add("vflip"), graph.add("buffersink")).configure()
        frame = VideoFrame(16, 8, "gray")
        frame.pts, frame.time_base = 0, Fraction(1, 25)
        graph.vpush(frame)
        with pytest.raises(FormatError, match="flip it first"):
            ffmpeg.wrap(graph.vpull())

    def test_format_that_is_not_in_the_table(self, ffmpeg):
        with pytest.raises(FormatError, match="'pal8' is not in the table"):
            ffmpeg.wrap(VideoFrame(16, 8, "pal8"))

    def test_empty_frame(self, ffmpeg):
        with pytest.raises(FormatError):
            ffmpeg.wrap(VideoFrame())


class TestToFFmpeg:
    @pytest.mark.parametrize("pad", [0, 1, 32])
    @pytest.mark.parametrize("name", ALL)
    def test_every_format_by_address(self, cpu, to_ffmpeg, name, pad):
        pad *= pixel_format(name).dtype.itemsize
        host = padded_frame(cpu, info_of(name), pad)
        with to_ffmpeg.map(host, BOTH) as mapped:
            av_frame = mapped.tensors[0].handle("av_frame")
            assert (av_frame.width, av_frame.height, av_frame.format.name) == (35, 19, name)
            for index, tensor in enumerate(host.tensors):
                plane = av_frame.planes[index]
                assert plane.buffer_ptr == tensor.handle("data")
                assert plane.line_size == tensor.info.strides[0]
                assert mapped.tensors[index].info == tensor.info
        assert to_ffmpeg.audit.bytes_copied == 0

    @pytest.mark.parametrize(
        "name", ["gray", "gray16le", "yuv420p", "yuv444p", "rgb24", "bgra", "rgb48le", "gbrp"]
    )
    def test_samples_as_pyav_reads_them(self, cpu, name):
        # Even sizes, for PyAV's own conversion rounds odd ones down.
        host = padded_frame(cpu, info_of(name, 36, 20))
        wanted = [tensor.array.copy() for tensor in host.tensors]
        found = give_to_ffmpeg(host).to_ndarray()
        if name == "gbrp":  # PyAV gives it as RGB.
            wanted = [np.stack([wanted[2], wanted[0], wanted[1]], axis=-1)]
        assert found.tobytes() == b"".join(each.tobytes() for each in wanted)

    def test_ffmpeg_writes_into_the_arrays(self, cpu, to_ffmpeg):
        host = padded_frame(cpu, info_of("gray16le"))
        array = host.tensors[0].array
        with to_ffmpeg.map(host, WRITE) as mapped:
            av_frame = mapped.tensors[0].handle("av_frame")
            assert is_writable(av_frame)
            ctypes.memset(av_frame.planes[0].buffer_ptr, 1, 35 * 2)
        assert (array[0] == 0x0101).all()
        assert array[1, 1] != 0x0101

    def test_reading_forbids_writing(self, cpu, to_ffmpeg):
        with to_ffmpeg.map(padded_frame(cpu, info_of()), READ) as mapped:
            assert not is_writable(mapped.tensors[0].handle("av_frame"))

    def test_what_a_frame_says_of_itself(self, cpu, to_ffmpeg):
        colour = Colour(Matrix.BT2020_NCL, ColourRange.FULL, 9, 16)
        info = info_of("yuv420p10le", colour=colour, pts=-7, time_base=Fraction(1, 90000))
        with to_ffmpeg.map(padded_frame(cpu, info), READ) as mapped:
            assert mapped.info == info
            av_frame = mapped.tensors[0].handle("av_frame")
            assert (av_frame.pts, av_frame.time_base) == (-7, Fraction(1, 90000))
            assert int(av_frame.color_primaries) == 9

    @pytest.mark.parametrize(
        ("shape", "dtype", "view"),
        [
            ((19, 70), "u1", np.s_[:, ::2]),  # gaps between samples
            ((38, 35), "u1", np.s_[::-2]),  # bottom-up
            ((19, 36), "u1", np.s_[:, :]),  # too wide
            ((18, 35), "u1", np.s_[:, :]),  # too low
            ((19, 35), "<u2", np.s_[:, :]),
            ((19, 35), "i1", np.s_[:, :]),
        ],
    )
    def test_layout_that_ffmpeg_cannot_take(self, cpu, to_ffmpeg, shape, dtype, view):
        host = Frame(info_of("gray"), [cpu.wrap(np.zeros(shape, dtype)[view])])
        with pytest.raises(FormatError, match=r"FFmpeg needs plane 0 as \(19, 35\) of uint8"):
            to_ffmpeg.map(host, READ)
        with pytest.raises(FormatError, match="FFmpeg needs plane 0"):
            give_to_ffmpeg(host)
        assert not host.closed

    def test_rows_that_overlap(self, cpu, to_ffmpeg):
        array = np.lib.stride_tricks.as_strided(np.zeros(2000, "u1"), (19, 35), (20, 1))
        with pytest.raises(FormatError, match="rows at least 35 bytes apart"):
            to_ffmpeg.map(Frame(info_of("gray"), [cpu.wrap(array)]), READ)

    def test_second_plane_that_does_not_fit_leaves_nothing(self, cpu, to_ffmpeg):
        planes = [np.zeros((19, 35), "u1"), np.zeros((10, 18), "u1"), np.zeros((9, 17), "u1")]
        host = Frame(info_of(), [cpu.wrap(plane) for plane in planes])
        with pytest.raises(FormatError, match="plane 2"):
            to_ffmpeg.map(host, READ)
        assert held_planes() == 0

    def test_a_closed_plane_leaves_nothing(self, cpu, to_ffmpeg):
        parent = Parent()
        host = padded_frame(cpu, info_of(), parent=parent)
        host.tensors[1].close()
        with pytest.raises(ClosedError):
            to_ffmpeg.map(host, READ)
        with pytest.raises(ClosedError):
            give_to_ffmpeg(host)
        gc.collect()
        assert held_planes() == 0
        host.close()
        assert parent.closes == 1

    def test_single_tensor_is_refused(self, cpu, to_ffmpeg):
        host = padded_frame(cpu, info_of("gray"))
        with pytest.raises(FormatError, match="CPU > FFmpeg maps whole frames only"):
            to_ffmpeg.map(host.tensors[0], READ)

    def test_wrong_memory_is_refused(self, ffmpeg, to_ffmpeg):
        with pytest.raises(FormatError, match="takes CPU memory, got FFmpeg"):
            to_ffmpeg.map(ffmpeg.wrap(VideoFrame(4, 4, "gray")), READ)


class TestLifetimes:
    @pytest.mark.parametrize("order", ["mapped first", "host first", "ffmpeg first"])
    def test_closed_in_any_order_and_twice(self, cpu, to_ffmpeg, order):
        array = np.full((19, 35), 5, "u1")
        gone = weakref.ref(array)
        host = Frame(info_of("gray"), [cpu.wrap(array)])
        mapped = to_ffmpeg.map(host, READ)
        av_frame = mapped.tensors[0].handle("av_frame")
        del array
        for step in {"mapped first": "mhf", "host first": "hmf", "ffmpeg first": "fhm"}[order]:
            if step == "f":
                assert bytes(av_frame.planes[0])[:35] == b"\5" * 35
                del av_frame
            else:
                for _ in range(2):
                    (mapped if step == "m" else host).close()
        del mapped, host
        gc.collect()
        assert gone() is None
        assert held_planes() == 0

    def test_arrays_outlive_everything_but_ffmpeg(self, cpu, to_ffmpeg):
        host = padded_frame(cpu, info_of())
        wanted = host.tensors[2].array.tobytes()
        mapped = to_ffmpeg.map(host, READ)
        av_frame = mapped.tensors[0].handle("av_frame")
        mapped.close()
        host.close()
        del mapped, host
        gc.collect()
        assert held_planes() == 3
        with create_mapper([FFmpegContext(), cpu]).map(FFmpegContext().wrap(av_frame), READ) as it:
            assert it.tensors[2].array.tobytes() == wanted

    def test_given_frame_is_closed_when_ffmpeg_lets_go(self, cpu):
        parent = Parent()
        host = padded_frame(cpu, info_of(), parent=parent)
        av_frame = give_to_ffmpeg(host)
        gc.collect()
        assert (parent.closes, host.closed, held_planes()) == (0, False, 3)
        del av_frame
        assert (parent.closes, host.closed, held_planes()) == (1, True, 0)

    def test_a_filter_graph_holds_on(self, cpu):
        parents = [Parent() for _ in range(4)]
        graph = Graph()
        source = graph.add("buffer", "video_size=36x20:pix_fmt=yuv420p:time_base=1/25")
        graph.link_nodes(source, graph.add("null"), graph.add("buffersink")).configure()
        for index, parent in enumerate(parents):
            info = info_of(width=36, height=20, pts=index, time_base=Fraction(1, 25))
            graph.vpush(give_to_ffmpeg(padded_frame(cpu, info, parent=parent)))
        gc.collect()
        assert [parent.closes for parent in parents] == [0, 0, 0, 0]
        pulled = graph.vpull()
        assert pulled.pts == 0
        assert [parent.closes for parent in parents] == [0, 0, 0, 0]
        del pulled
        assert [parent.closes for parent in parents] == [1, 0, 0, 0]
        del graph, source
        gc.collect()
        assert [parent.closes for parent in parents] == [1, 1, 1, 1]

    def test_a_filter_that_writes_makes_its_own_copy(self, cpu):
        info = info_of("gray", 36, 20, pts=0, time_base=Fraction(1, 25))
        host = padded_frame(cpu, info)
        before = host.tensors[0].array.copy()
        array = host.tensors[0].array
        graph = Graph()
        source = graph.add("buffer", "video_size=36x20:pix_fmt=gray:time_base=1/25")
        box = graph.add("drawbox", "color=white:t=fill")
        graph.link_nodes(source, box, graph.add("buffersink")).configure()
        graph.vpush(give_to_ffmpeg(host))
        drawn = graph.vpull().to_ndarray()
        assert drawn.min() == drawn.max()
        assert not np.array_equal(drawn, before)
        assert np.array_equal(array, before)

    @pytest.mark.parametrize(
        ("codec", "options"),
        [
            ("libx264", {"preset": "medium"}),
            ("ffv1", {}),
            ("mpeg4", {"bf": "2"}),
            ("libvpx-vp9", {"lag-in-frames": "8", "deadline": "realtime"}),
            ("rawvideo", {}),
        ],
    )
    def test_an_encoder_holds_on(self, cpu, codec, options):
        context = av.CodecContext.create(codec, "w")
        context.width, context.height, context.pix_fmt = 64, 48, "yuv420p"
        context.time_base = Fraction(1, 25)
        context.framerate = Fraction(25)
        context.thread_count = 2
        context.options = options
        parents = [Parent() for _ in range(12)]
        packets = []
        for index, parent in enumerate(parents):
            info = info_of(width=64, height=48, pts=index, time_base=Fraction(1, 25))
            av_frame = give_to_ffmpeg(padded_frame(cpu, info, parent=parent))
            packets += context.encode(av_frame)
            assert parent.closes == 0
            del av_frame
        packets += context.encode(None)
        assert len(packets) == 12
        del context, packets
        gc.collect()
        assert [parent.closes for parent in parents] == [1] * 12

    def test_properties(self, cpu):
        source = VideoFrame(36, 20, "gray")
        source.pts, source.time_base = 42, Fraction(1, 1001)
        set_sample_aspect_ratio(source, Fraction(4, 3))
        assert field_order(source) is None
        target = give_to_ffmpeg(padded_frame(cpu, info_of("gray", 36, 20)))
        assert sample_aspect_ratio(target) is None
        copy_properties(source, target)
        assert (target.pts, target.time_base) == (42, Fraction(1, 1001))
        assert sample_aspect_ratio(target) == Fraction(4, 3)

    def test_properties_of_a_frame_without_a_time(self):
        source, target = VideoFrame(36, 20, "gray"), VideoFrame(36, 20, "gray")
        copy_properties(source, target)
        assert (target.pts, target.time_base) == (None, None)

    def test_mapped_through_both_edges(self, cpu, ffmpeg, to_cpu, to_ffmpeg):
        wrapped = ffmpeg.wrap(VideoFrame(35, 19, "nv12"))
        address = wrapped.tensors[1].handle("data")
        host = to_cpu.map(wrapped, BOTH)
        again = to_ffmpeg.map(host, BOTH)
        assert again.tensors[1].handle("data") == address
        wrapped.close()
        host.close()
        ctypes.memset(again.tensors[1].handle("data"), 9, 36)
        assert bytes(again.tensors[1].handle("av_frame").planes[1])[:36] == b"\t" * 36
        again.close()


class TestAllocate:
    @pytest.mark.parametrize("dtype", ["u1", "<u2"])
    def test_plane(self, ffmpeg, dtype):
        tensor = ffmpeg.allocate(TensorInfo((19, 35), np.dtype(dtype)))
        assert (tensor.info.shape, tensor.info.dtype) == ((19, 35), np.dtype(dtype))
        assert tensor.info.strides[0] >= 35 * np.dtype(dtype).itemsize

    @pytest.mark.parametrize(
        ("shape", "dtype"), [((19, 35, 3), "u1"), ((19, 35), "f4"), ((19, 35), "i2"), ((9,), "u1")]
    )
    def test_plane_that_ffmpeg_has_not(self, ffmpeg, shape, dtype):
        with pytest.raises(FormatError, match="FFmpeg allocates planes of"):
            ffmpeg.allocate(TensorInfo(shape, np.dtype(dtype)))

    def test_frame(self, ffmpeg):
        colour = Colour(Matrix.BT709, ColourRange.LIMITED, 1, 1)
        info = info_of("p010le", colour=colour, pts=3, time_base=Fraction(1, 30))
        frame = ffmpeg.allocate_frame(info)
        assert frame.info == info
        assert is_writable(frame.tensors[0].handle("av_frame"))


def trimmed_bytes():
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    return resident_bytes()


def cycle(count):
    """Map and give frames in every way, and let them go in every order."""
    cpu, ffmpeg = CPUContext(), FFmpegContext()
    to_cpu, to_ffmpeg = create_mapper([ffmpeg, cpu]), create_mapper([cpu, ffmpeg])
    info = info_of("yuv420p", 320, 240, pts=0, time_base=Fraction(1, 25))
    for index in range(count):
        with to_cpu.map(ffmpeg.wrap(VideoFrame(320, 240, "yuv420p")), WRITE) as mapped:
            mapped.tensors[0].array[0] = index % 256
        host = padded_frame(cpu, info)
        if index % 3 == 0:
            av_frame = give_to_ffmpeg(host)
            other = VideoFrame(320, 240, "yuv420p")
            copy_properties(av_frame, other)
        elif index % 3 == 1:
            with host, to_ffmpeg.map(host, BOTH):
                pass
        else:
            mapped = to_ffmpeg.map(host, READ)
            host.close()
            with pytest.raises(ClosedError):
                to_ffmpeg.map(host, READ)
            mapped.close()


class TestManyTimes:
    def test_memory_stays_flat(self):
        cycle(300)
        used, descriptors = trimmed_bytes(), open_files()
        cycle(3000)
        assert trimmed_bytes() - used < 3 << 20
        assert open_files() == descriptors
        assert held_planes() == 0

    def test_from_two_threads(self):
        run_together(cycle, [600, 600])
        gc.collect()
        assert held_planes() == 0

    def test_given_in_one_thread_and_dropped_in_another(self, cpu):
        parents = [Parent() for _ in range(500)]
        frames = [give_to_ffmpeg(padded_frame(cpu, info_of(), parent=p)) for p in parents]

        def drop(_):
            while frames:
                try:
                    frames.pop()
                except IndexError:
                    return

        run_together(drop, range(2))
        assert {parent.closes for parent in parents} == {1}


def test_another_ffmpeg_in_the_process_is_left_alone():
    """OpenCV's wheel brings an FFmpeg of its own, of whatever version."""
    code = """
from pathlib import Path
import cv2
from av.video.frame import VideoFrame
from bridges.backends.ffmpeg import FFmpegContext
from bridges.native.libavutil import SUPPORTED_MAJOR, library

maps = Path("/proc/self/maps").read_text().splitlines()
print(len({line.split()[-1] for line in maps if "/libavutil" in line}))
assert library().avutil_version() >> 16 == SUPPORTED_MAJOR
assert FFmpegContext().wrap(VideoFrame(64, 36, "rgb24")).info.width == 64
"""
    pytest.importorskip("cv2", reason="opencv-python-headless is not installed")
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "2"


def test_who_holds_the_memory_of_a_frame_is_counted():
    frame = VideoFrame(64, 32, "yuv420p")
    assert buffer_references(frame) == 1
    others = [VideoFrame() for _ in range(3)]
    for other in others:
        assert library().av_frame_ref(frame_pointer(other), frame_pointer(frame)) == 0
    assert buffer_references(frame) == buffer_references(others[0]) == 4
    del other
    others.clear()
    assert buffer_references(frame) == 1
