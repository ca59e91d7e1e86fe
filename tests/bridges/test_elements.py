"""The elements of this package, and chains of them."""

from __future__ import annotations

import gc
import itertools
import os

import av
import numpy as np
import pytest
from av.codec.hwaccel import hwdevices_available

from bridges import Frame, FrameInfo, MemoryType
from bridges.backends.cpu import CPUContext
from bridges.backends.ffmpeg import FFmpegContext
from bridges.chain import run_chain
from bridges.element import ElementDescription, Sink, Source, Transform, TransformInplace
from bridges.element_table import create_element
from bridges.elements import ffmpeg_source
from bridges.errors import ElementError, FormatError, MediaError, NoRouteError
from bridges.formats import pixel_format
from bridges.frame import AudioFrame
from bridges.kernels import get
from bridges.kernels.reference import rgb_to_grayscale
from bridges.media import AudioInfo, DataType
from bridges.metadata import ObjectId

SIZE = (70, 34)  # Rows of 210 bytes, which FFmpeg pads.


def write_clip(path, arrays, pix_fmt="rgb24"):
    with av.open(str(path), "w") as out:
        stream = out.add_stream("rawvideo", rate=25)
        stream.width, stream.height, stream.pix_fmt = (*arrays[0].shape[1::-1], pix_fmt)
        for array in arrays:
            out.mux(stream.encode(av.VideoFrame.from_ndarray(array, format=pix_fmt)))
        out.mux(stream.encode())


def noise(count=3, size=SIZE):
    random = np.random.default_rng(5)
    return [random.integers(0, 256, (size[1], size[0], 3), np.uint8) for _ in range(count)]


@pytest.fixture
def clip(tmp_path):
    path = tmp_path / "clip.nut"
    arrays = noise()
    write_clip(path, arrays)
    return path, arrays


def open_files():
    return [os.path.realpath(f"/proc/self/fd/{number}") for number in os.listdir("/proc/self/fd")]


def host_frame(array, name="rgb24"):
    info = FrameInfo(pixel_format(name), array.shape[1], array.shape[0])
    return Frame(info, [CPUContext().wrap(array)])


class Frames(Source):
    """The frames it is given, or an error."""

    description = ElementDescription("frames", "for tests")

    def __init__(self, *frames):
        super().__init__()
        self.frames = list(frames)
        self.events = []

    def open(self):
        self.events.append("open")

    def read(self):
        frame = self.frames.pop(0) if self.frames else None
        if isinstance(frame, Exception):
            raise frame
        return frame

    def finish(self):
        self.events.append("finish")

    def close(self):
        self.events.append("close")


class TestFFmpegSource:
    def test_reads_every_picture(self, clip):
        path, arrays = clip
        with create_element("ffmpeg_source", location=str(path)) as source:
            source.open()
            mapper = create_element("map", to="CPU")
            for number, array in enumerate(arrays):
                with source.read() as frame, mapper.process(frame) as mapped:
                    assert frame.memory_type is MemoryType.FFMPEG
                    assert frame.info.pts * frame.info.time_base * 25 == number
                    assert np.array_equal(mapped.tensors[0].handle("array"), array)
            assert source.read() is None
            assert source.read() is None
        source.close()

    def test_frames_outlive_the_file(self, clip):
        path, arrays = clip
        source = create_element("ffmpeg_source", location=str(path))
        source.open()
        assert str(path) in open_files()
        frame = source.read()
        source.close()
        assert source.read() is None
        assert str(path) not in open_files()
        with create_element("map", to="CPU").process(frame) as mapped:
            assert np.array_equal(mapped.tensors[0].handle("array"), arrays[0])

    def test_what_is_not_there(self, tmp_path):
        source = create_element("ffmpeg_source", location=str(tmp_path / "none.mp4"))
        with pytest.raises(MediaError, match=r"cannot open .*none.mp4: No such file") as caught:
            source.open()
        assert isinstance(caught.value.__cause__, av.FFmpegError)
        source.close()

    def test_what_is_no_video(self, tmp_path, clip):
        text = tmp_path / "text.mp4"
        text.write_text("no video at all")
        with pytest.raises(MediaError, match="cannot open"):
            create_element("ffmpeg_source", location=str(text)).open()
        other = create_element("ffmpeg_source", location=str(clip[0]), stream=1)
        with pytest.raises(MediaError, match="video stream 1 was asked for, and there are 1"):
            other.open()
        other.close()

    @pytest.mark.parametrize("hardware", sorted({"cuda", "vaapi"} & {*hwdevices_available()}))
    def test_what_no_hardware_decodes(self, clip, hardware):
        source = create_element("ffmpeg_source", location=str(clip[0]), hardware=hardware)
        with pytest.raises(MediaError, match=f"not decode its video by {hardware}; leave hardw"):
            source.open()
        assert source.read() is None
        source.close()
        gc.collect()  # PyAV gives nobody the container that it refuses, and does not close it.
        assert str(clip[0]) not in open_files()

    def test_hardware_that_pyav_has_not(self, clip, monkeypatch):
        monkeypatch.setattr(ffmpeg_source, "hwdevices_available", lambda: ["drm"])
        source = create_element("ffmpeg_source", location=str(clip[0]), hardware="vaapi")
        with pytest.raises(MediaError, match="the FFmpeg in this PyAV is built without vaapi"):
            source.open()
        source.close()
        with pytest.raises(ElementError, match="hardware"):
            create_element("ffmpeg_source", location=str(clip[0]), hardware="qsv")

    def test_no_hardware_is_software(self, clip):
        with create_element("ffmpeg_source", location=str(clip[0]), hardware="") as source:
            source.open()
            assert source.read().tensors[0].context.hardware == ""

    def test_what_cannot_be_decoded(self, tmp_path):
        path = tmp_path / "clip.mkv"
        with av.open(str(path), "w") as out:
            stream = out.add_stream("ffv1", rate=25)
            stream.width, stream.height, stream.pix_fmt = 64, 64, "gray"
            for packet in stream.encode(av.VideoFrame(64, 64, "gray")):
                broken = av.Packet(b"\xff" * 4)
                broken.pts = broken.dts = 0
                broken.stream = stream
                out.mux(broken)
                assert packet.size
        with create_element("ffmpeg_source", location=str(path)) as source:
            source.open()
            with pytest.raises(MediaError, match=r"cannot decode .*clip.mkv"):
                source.read()


class TestKernel:
    def test_on_the_host(self):
        with create_element("kernel", call="rgb_to_grayscale") as kernel:
            kernel.open()
            for array in noise():
                frame = host_frame(array)
                frame.metadata.append(ObjectId(1))
                with kernel.process(frame) as result:
                    expected = rgb_to_grayscale([array], frame.info, result.info)
                    assert np.array_equal(result.tensors[0].handle("array"), expected)
                    assert result.metadata == [ObjectId(1)]

    def test_on_a_device(self, opencl):
        (array, *_) = noise(1)
        frame = host_frame(array)
        with (
            create_element("map", [opencl], to="OpenCL") as there,
            create_element("kernel", [opencl], call="rgb_to_grayscale") as kernel,
            create_element("map", to="CPU") as back,
            there.process(frame) as mapped,
            kernel.process(mapped) as result,
            back.process(result) as gray,
        ):
            assert result.memory_type is MemoryType.OPENCL
            expected = rgb_to_grayscale([array], frame.info, result.info)
            assert np.array_equal(gray.tensors[0].handle("array"), expected)

    def test_buffers_are_used_again_but_not_while_they_are_used(self):
        with create_element("kernel", call="rgb_to_grayscale") as kernel:
            frame = host_frame(noise(1)[0])
            first, second = kernel.process(frame), kernel.process(frame)
            places = [result.tensors[0].handle("data") for result in (first, second)]
            assert places[0] != places[1]
            first.close()
            with kernel.process(frame) as third:
                assert third.tensors[0].handle("data") == places[0]
            larger = host_frame(noise(1, (96, 40))[0])
            with kernel.process(larger) as fourth:
                assert fourth.tensors[0].info.shape == (40, 96)
            second.tensors[0].handle("array")[...] = 1
        second.close()

    def test_a_kernel_that_fails_holds_no_buffer(self, monkeypatch):
        kernel = create_element("kernel", call="rgb_to_grayscale")
        frame = host_frame(noise(1)[0])
        with kernel.process(frame) as result:
            place = result.tensors[0].handle("data")
        monkeypatch.setattr(kernel._runtime, "run", lambda *a, **k: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            kernel.process(frame)
        monkeypatch.undo()
        with kernel.process(frame) as result:
            assert result.tensors[0].handle("data") == place

    def test_the_result_before_is_kept_however_soon_it_is_closed(self):
        kernel = get("denoise")
        arrays = noise(4)
        info = host_frame(arrays[0]).info
        expected = arrays[0]
        with create_element("kernel", [CPUContext()], call="denoise") as denoise:
            for array in arrays:
                out = np.zeros_like(array)
                kernel.compute([array, expected], info, info, [out], kernel.check({}))
                expected = out
                with host_frame(array) as frame, denoise.process(frame) as result:
                    assert np.array_equal(result.tensors[0].handle("array"), expected)

    def test_a_kernel_that_makes_numbers(self):
        (array,) = noise(1)
        with (
            create_element("kernel", [CPUContext()], call="histogram") as histogram,
            host_frame(array) as frame,
            histogram.process(frame) as result,
        ):
            counts = result.tensors[0].handle("array")
        for channel in range(3):
            expected = np.bincount(array[..., channel].ravel(), minlength=256)
            assert np.array_equal(counts[channel], expected)

    def test_other_memory_is_refused(self, opencl):
        kernel = create_element("kernel", [opencl], call="rgb_to_grayscale")
        with pytest.raises(
            ElementError, match="kernel takes frames in OpenCL memory, got CPU; put the element map"
        ):
            kernel.process(host_frame(noise(1)[0]))

    def test_other_media_are_refused(self):
        info = AudioInfo(DataType.I16, False, 8000, 1, 4)
        sound = AudioFrame(info, [CPUContext().allocate(info.tensors[0])])
        with pytest.raises(ElementError, match="kernel takes image, got audio"):
            create_element("kernel", call="rgb_to_grayscale").process(sound)

    def test_contexts_that_run_no_kernels(self):
        with pytest.raises(NoRouteError, match="no runtime runs kernels on FFmpeg memory"):
            create_element("kernel", [FFmpegContext()], call="rgb_to_grayscale")


class TestMap:
    def test_what_is_there_is_passed_on(self):
        frame = host_frame(noise(1)[0])
        assert create_element("map", to="CPU").process(frame) is frame

    def test_access(self, opencl):
        array = noise(1)[0]
        frame = host_frame(array)
        before = array.copy()
        there = create_element("map", [opencl], to="OpenCL", access="read-write")
        back = create_element("map", to="CPU", access="read-write")
        with there.process(frame) as mapped, back.process(mapped) as host:
            host.tensors[0].handle("array")[0, 0] = 255 - before[0, 0]
        assert np.array_equal(array[0, 0], 255 - before[0, 0])
        assert np.array_equal(array[1:], before[1:])

    def test_a_device_that_is_not_given(self):
        element = create_element("map", to="XRT")
        with pytest.raises(ElementError, match="map has no device for XRT memory; give one in con"):
            element.process(host_frame(noise(1)[0]))

    def test_cache(self, opencl):
        with create_element("map", [opencl], to="OpenCL", cache=4) as element:
            frame = host_frame(noise(1)[0])
            for _ in range(3):
                element.process(frame).close()
            assert element.mapper.statistics.hits == 2

    def test_another_device_in_mid_stream(self, opencl):
        with create_element("map", [opencl], to="OpenCL") as element:
            for array in noise(2):
                frame = host_frame(array)
                with element.process(frame) as mapped:
                    assert mapped.memory_type is MemoryType.OPENCL
                assert element.mapper.source is frame.tensors[0].context


class TestRawSink:
    def write(self, path, *frames, **parameters):
        sink = create_element("raw_sink", location=str(path), **parameters)
        return run_chain(Frames(*frames), [], sink)

    def test_writes_densely(self, tmp_path):
        wide = np.arange(2 * 64, dtype=np.uint8).reshape(2, 64)
        info = FrameInfo(pixel_format("yuv420p"), 6, 2)
        planes = [wide[:, :6], wide[:1, 8:11], wide[:1, 20:23]]
        frame = Frame(info, [CPUContext().wrap(plane) for plane in planes])
        assert self.write(tmp_path / "out.yuv", frame) == 1
        expected = b"".join(plane.tobytes() for plane in planes)
        assert (tmp_path / "out.yuv").read_bytes() == expected
        assert os.listdir(tmp_path) == ["out.yuv"]

    def test_sixteen_bits(self, tmp_path):
        array = np.arange(12, dtype="<u2").reshape(3, 4) * 1000
        self.write(tmp_path / "out.gray", host_frame(array, "gray16le"))
        assert np.array_equal(np.fromfile(tmp_path / "out.gray", "<u2").reshape(3, 4), array)

    def test_a_failure_leaves_no_file(self, tmp_path):
        frame = host_frame(noise(1)[0])
        with pytest.raises(RuntimeError, match="lost"):
            self.write(tmp_path / "out", frame, RuntimeError("lost"))
        assert os.listdir(tmp_path) == []

    def test_a_failure_leaves_the_old_file(self, tmp_path):
        (tmp_path / "out").write_bytes(b"old")
        frame = host_frame(noise(1)[0])
        with pytest.raises(RuntimeError, match="lost"):
            self.write(tmp_path / "out", frame, RuntimeError("lost"), overwrite=True)
        assert (tmp_path / "out").read_bytes() == b"old"
        assert os.listdir(tmp_path) == ["out"]

    def test_a_file_that_is_there(self, tmp_path):
        (tmp_path / "out").write_bytes(b"old")
        with pytest.raises(MediaError, match="is there already; name another file or give over"):
            self.write(tmp_path / "out")
        assert (tmp_path / "out").read_bytes() == b"old"
        array = noise(1)[0]
        self.write(tmp_path / "out", host_frame(array), overwrite=True)
        assert (tmp_path / "out").read_bytes() == array.tobytes()

    def test_a_file_that_appears_in_the_meantime(self, tmp_path):
        sink = create_element("raw_sink", location=str(tmp_path / "out"))
        sink.open()
        (tmp_path / "out").write_bytes(b"theirs")
        with pytest.raises(MediaError, match=r"cannot write .*out: File exists"):
            sink.finish()
        sink.close()
        assert (tmp_path / "out").read_bytes() == b"theirs"
        assert os.listdir(tmp_path) == ["out"]

    def test_a_link_is_followed(self, tmp_path):
        (tmp_path / "real").write_bytes(b"old")
        (tmp_path / "link").symlink_to(tmp_path / "real")
        self.write(tmp_path / "link", host_frame(noise(1)[0]), overwrite=True)
        assert (tmp_path / "link").is_symlink()
        assert (tmp_path / "real").read_bytes() == noise(1)[0].tobytes()

    def test_a_folder_that_is_not_there(self, tmp_path):
        with pytest.raises(MediaError, match=r"cannot write .*out: No such file or directory"):
            self.write(tmp_path / "none" / "out")

    def test_a_disk_that_is_full(self, tmp_path):
        sink = create_element("raw_sink", location=str(tmp_path / "out"))
        sink.open()
        os.dup2(full := os.open("/dev/full", os.O_WRONLY), sink._file.fileno())
        os.close(full)
        frame = host_frame(noise(1, (640, 480))[0])
        with pytest.raises(MediaError, match=r"cannot write .*: No space left on device"):
            sink.write(frame)
        sink.close()
        assert os.listdir(tmp_path) == []

    def test_other_memory_is_refused(self, tmp_path, clip):
        source = create_element("ffmpeg_source", location=str(clip[0]))
        sink = create_element("raw_sink", location=str(tmp_path / "out"))
        with pytest.raises(ElementError, match="raw_sink takes frames in CPU memory, got FFmpeg;"):
            run_chain(source, [], sink)
        assert not (tmp_path / "out").exists()


class TestChain:
    def test_closes_frames_latest_first(self):
        closed = []

        class Named(Frame):
            def close(self):
                closed.append(self.name)
                super().close()

        def named(name):
            frame = host_frame(noise(1)[0])
            frame = Named(frame.info, frame.tensors)
            frame.name = name
            return frame

        class Again(Transform):
            description = ElementDescription("again", "for tests")

            def process(self, frame):
                return named(frame.name + "'")

        class Odd(TransformInplace):
            description = ElementDescription("odd", "for tests")
            numbers = itertools.count(1)

            def process(self, frame):
                return bool(next(self.numbers) % 2)

        class Look(Sink):
            description = ElementDescription("look", "for tests")
            seen = []  # noqa: RUF012

            def write(self, frame):
                assert not frame.closed
                self.seen.append(frame.name)

        source = Frames(named("a"), named("b"), named("c"))
        assert run_chain(source, [Again(), Odd(), Again()], Look()) == 2
        assert Look.seen == ["a''", "c''"]
        assert closed == ["a''", "a'", "a", "b'", "b", "c''", "c'", "c"]
        assert source.events == ["open", "finish", "close"]

    def test_a_transform_that_drops(self):
        class Drop(Transform):
            description = ElementDescription("drop", "for tests")

            def process(self, frame):
                return None

        frame = host_frame(noise(1)[0])
        assert run_chain(Frames(frame), [Drop()]) == 0
        assert frame.closed

    def test_without_a_sink(self):
        assert run_chain(Frames(*map(host_frame, noise()))) == 3

    def test_an_error_closes_everything_and_finishes_nothing(self):
        frame = host_frame(noise(1)[0])
        source = Frames(frame, FormatError("odd"))
        with pytest.raises(FormatError, match="odd"):
            run_chain(source)
        assert source.events == ["open", "close"]
        assert frame.closed

    def test_an_element_that_does_not_open(self, tmp_path):
        source = Frames(host_frame(noise(1)[0]))
        sink = create_element("raw_sink", location=str(tmp_path / "none" / "out"))
        with pytest.raises(MediaError):
            run_chain(source, [], sink)
        assert source.events == ["open", "close"]

    def test_places(self):
        kernel = create_element("kernel", call="rgb_to_grayscale")
        with pytest.raises(ElementError, match="a chain begins with a source, got kernel"):
            run_chain(kernel)
        with pytest.raises(ElementError, match="a chain ends with a sink, got kernel"):
            run_chain(Frames(), [], kernel)
        with pytest.raises(ElementError, match="between source and sink, frames has no place"):
            run_chain(Frames(), [Frames()])

    def test_memory_does_not_grow(self, tmp_path, opencl):
        path = tmp_path / "clip.nut"
        write_clip(path, noise(2) * 20)
        kernel = create_element("kernel", [opencl], call="rgb_to_grayscale")
        made = []
        allocate = opencl.allocate
        opencl.allocate = lambda info: made.append(info) or allocate(info)
        try:
            chain = [create_element("map", [opencl], to="OpenCL"), kernel]
            assert run_chain(create_element("ffmpeg_source", location=str(path)), chain) == 40
        finally:
            del opencl.allocate
        assert len(made) == 1
