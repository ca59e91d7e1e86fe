"""GStreamer's own pipelines: what they make is mapped in place, what we map they take."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
from fractions import Fraction

import numpy as np
import pyopencl as cl
import pytest

from bridges import (
    AccessMode,
    Colour,
    ColourRange,
    Frame,
    FrameInfo,
    Matrix,
    create_mapper,
)
from bridges.backends.cpu import CPUContext
from bridges.backends.gstreamer import GStreamerContext
from bridges.backends.gstreamer_buffer import held_planes
from bridges.backends.gstreamer_caps import namespaces
from bridges.edges.cpu_to_gstreamer import give_to_gstreamer
from bridges.formats import pixel_format
from bridges.pools import BufferPool, LimitPool
from tests.bridges.memories import memory_of

READ, BOTH = AccessMode.READ, AccessMode.READ_WRITE
SECOND = 10**9


class Pipeline:
    """A running pipeline, with its named elements; nothing of it is left after the block."""

    def __init__(self, text):
        self.gst = namespaces().gst
        self.native = self.gst.parse_launch(text)

    def __enter__(self):
        self.native.set_state(self.gst.State.PLAYING)
        return self

    def __exit__(self, *error):
        self.native.set_state(self.gst.State.NULL)
        self.native.get_state(10 * SECOND)

    def __getitem__(self, name):
        return self.native.get_by_name(name)

    def samples(self):
        """Yield what arrives, until the end of the stream."""
        while True:
            sample = self["out"].emit("try-pull-sample", 10 * SECOND)
            if sample is None:
                assert self["out"].get_property("eos"), self.failure()
                return
            yield sample

    def failure(self):
        message = self.native.get_bus().pop_filtered(self.gst.MessageType.ERROR)
        return message.parse_error() if message else "no sample within ten seconds"

    def wait(self):
        kinds = self.gst.MessageType.EOS | self.gst.MessageType.ERROR
        message = self.native.get_bus().timed_pop_filtered(10 * SECOND, kinds)
        assert message is not None
        assert message.type == self.gst.MessageType.EOS, message.parse_error()


def planes(buffer, info):
    """Return GStreamer's own copy of the planes."""
    meta = namespaces().video.buffer_get_video_meta(buffer)
    layout = meta or namespaces().video.VideoInfo.new_from_caps(GStreamerContext().caps(info))
    found = []
    for index, dense in enumerate(info.planes):
        lines = [
            buffer.extract_dup(layout.offset[index] + y * layout.stride[index], dense.strides[0])
            for y in range(dense.shape[0])
        ]
        found.append(np.frombuffer(b"".join(lines), dense.dtype).reshape(dense.shape))
    return found


@pytest.mark.parametrize("size", [(320, 240), (65, 37)])
@pytest.mark.parametrize("name", ["NV12", "I420", "RGB", "BGRx", "GRAY16_LE", "I422_10LE"])
def test_frames_of_a_pipeline_are_mapped_in_place(gstreamer, opencl, name, size):
    if not opencl.shares_host_memory:
        pytest.skip(f"{opencl.name} has memory of its own")
    to_cpu, to_opencl = (
        create_mapper([gstreamer, CPUContext()]),
        create_mapper([gstreamer, opencl]),
    )
    assert to_opencl.explain() == "GStreamer > OpenCL   zero-copy"
    address = memory_of(gstreamer.memory_type).address
    text = (
        f"videotestsrc num-buffers=4 pattern=smpte ! video/x-raw,format={name},width={size[0]},"
        f"height={size[1]},framerate=30000/1001 ! appsink name=out sync=false"
    )
    times = []
    with Pipeline(text) as pipeline:
        for sample in pipeline.samples():
            buffer = sample.get_buffer()
            frame = gstreamer.wrap(buffer, sample.get_caps())
            assert (frame.info.width, frame.info.height) == size
            times.append(frame.info.pts)
            assert frame.info.pts == buffer.pts
            expected = planes(buffer, frame.info)
            assert len({plane.tobytes() for plane in expected}) == len(expected)
            with to_cpu.map(frame, READ) as host, to_opencl.map(frame, READ) as device:
                for index, (mine, theirs) in enumerate(
                    zip(host.tensors, device.tensors, strict=True)
                ):
                    assert np.array_equal(mine.array, expected[index])
                    assert mine.handle("data") == address(frame.tensors[index])
                    view, _ = cl.enqueue_map_buffer(
                        opencl.queue, theirs.native, cl.map_flags.READ, 0, 1, np.uint8
                    )
                    assert view.ctypes.data == mine.handle("data")
                    view.base.release(opencl.queue)
            frame.close()
    assert times == [index * SECOND * 1001 // 30000 for index in range(4)]
    assert to_cpu.audit.bytes_copied == to_opencl.audit.bytes_copied == 0


def test_a_kernel_writes_into_a_pipeline_s_buffer(gstreamer, opencl):
    if not opencl.shares_host_memory:
        pytest.skip(f"{opencl.name} has memory of its own")
    text = (
        "videotestsrc num-buffers=1 ! video/x-raw,format=NV12,width=64,height=36 ! "
        "appsink name=out sync=false"
    )
    with Pipeline(text) as pipeline:
        (sample,) = pipeline.samples()
        buffer, said = sample.get_buffer(), sample.get_caps()
        frame = gstreamer.wrap(buffer, said)
        with create_mapper([gstreamer, opencl]).map(frame, BOTH) as mapped:
            luma = mapped.tensors[0]
            cl.enqueue_fill_buffer(opencl.queue, luma.native, np.uint8(77), 0, luma.info.span)
        luma, chroma = planes(buffer, frame.info)
        assert set(luma.flat) == {77}
        assert set(chroma.flat) != {77}
        frame.close()


def test_packed_chroma_of_ten_bits_lies_as_in_libav(gstreamer):
    # The same subsampling and depth on both sides: only the order of the samples differs.
    text = (
        "videotestsrc num-buffers=1 pattern=smpte ! video/x-raw,format=I420_10LE,width=64,height=36"
        " ! tee name=both ! queue ! appsink name=first sync=false both. ! queue ! "
        "videoconvert dither=none ! video/x-raw,format=P010_10LE ! appsink name=out sync=false"
    )
    to_cpu = create_mapper([gstreamer, CPUContext()])
    with Pipeline(text) as pipeline:
        found = {}
        for name in ("first", "out"):
            sample = pipeline[name].emit("try-pull-sample", 10 * SECOND)
            frame = gstreamer.wrap(sample.get_buffer(), sample.get_caps())
            with to_cpu.map(frame, READ) as mapped:
                found[frame.info.format.name] = [tensor.array.copy() for tensor in mapped.tensors]
    y, u, v = found["yuv420p10le"]
    luma, chroma = found["p010le"]
    assert len(set(u.flat)) > 3
    assert np.array_equal(luma >> 6, y)
    assert np.array_equal(chroma[..., 0] >> 6, u)
    assert np.array_equal(chroma[..., 1] >> 6, v)


def picture(number, size=(66, 34)):
    colour = Colour(Matrix.BT709, ColourRange.LIMITED, 1, 1)
    info = FrameInfo(pixel_format("yuv420p"), *size, colour, number, Fraction(1001, 30000))
    random = np.random.default_rng(number)
    tensors = []
    for plane in info.planes:
        memory = random.integers(16, 236, (plane.shape[0], plane.shape[1] + 13), np.uint8)
        tensors.append(CPUContext().wrap(memory[:, : plane.shape[1]]))
    return Frame(info, tensors)


@pytest.mark.parametrize("way", ["mapped", "given"])
def test_a_pipeline_takes_our_frames_and_lets_go_of_them(gstreamer, way):
    before = held_planes()
    mapper = create_mapper([CPUContext(), gstreamer])
    frames = [picture(number) for number in range(5)]
    mapped = []
    received = []
    text = "appsrc name=in format=time ! videoconvert ! video/x-raw,format=NV12 ! appsink name=out"
    with Pipeline(text + " sync=false") as pipeline:
        pipeline["in"].set_property("caps", gstreamer.caps(frames[0].info, Fraction(30000, 1001)))
        for frame in frames:
            if way == "given":
                buffer = give_to_gstreamer(frame)
            else:
                mapped.append(mapper.map(frame, READ))
                buffer = mapped[-1].tensors[0].handle("gst_buffer")
            pipeline["in"].emit("push-buffer", buffer)
            del buffer
        pipeline["in"].emit("end-of-stream")
        for sample in pipeline.samples():
            there = gstreamer.wrap(sample.get_buffer(), sample.get_caps())
            assert there.info.colour == frames[0].info.colour
            received.append((there.info.pts, planes(sample.get_buffer(), there.info)))
            there.close()
        del sample, there
    assert [pts for pts, _ in received] == [
        (2 * SECOND * 1001 * number + 30000) // 60000 for number in range(5)
    ]
    for number, (_, (luma, chroma)) in enumerate(received):
        y, u, v = (tensor.array for tensor in picture(number).tensors)
        assert np.array_equal(luma, y)
        assert np.array_equal(chroma, np.stack([u, v], axis=-1))
    if way == "mapped":
        # What is mapped stays ours until it is closed, whatever GStreamer has dropped.
        assert held_planes() == before + 15
        for each in mapped:
            each.close()
        mapped.clear()
    del pipeline
    gc.collect()
    assert held_planes() == before
    assert all(frame.closed for frame in frames) is (way == "given")


def test_leases_of_a_pool_come_back_from_gstreamer_s_threads(gstreamer):
    info = picture(0).info
    layouts = info.planes
    made = BufferPool(lambda: Frame(info, [CPUContext().allocate(each) for each in layouts]))
    pool = LimitPool(made, 3)
    before = held_planes()
    text = (
        "appsrc name=in format=time block=true max-buffers=1 ! queue max-size-buffers=1 ! fakesink"
    )
    with Pipeline(text) as pipeline:
        pipeline["in"].set_property("caps", gstreamer.caps(info))
        for _ in range(200):
            lease = pool.acquire(10)
            frame = Frame(info, [tensor.lend() for tensor in lease.buffer.tensors], parent=lease)
            frame.closes_parent = True
            pipeline["in"].emit("push-buffer", give_to_gstreamer(frame))
        pipeline["in"].emit("end-of-stream")
        pipeline.wait()
    del pipeline, frame, lease
    gc.collect()
    assert held_planes() == before
    assert made.created <= 3
    for _ in range(3):
        pool.acquire(0).forget()
    pool.close()


LEAKY = """
import os
import numpy as np
from bridges import AccessMode, Frame, FrameInfo, create_mapper
from bridges.backends.cpu import CPUContext
from bridges.backends.dma import DMAContext
from bridges.backends.gstreamer import GStreamerContext
from bridges.backends.gstreamer_caps import namespaces
from bridges.edges.cpu_to_gstreamer import give_to_gstreamer
from bridges.formats import pixel_format

cpu, dma = CPUContext(), DMAContext()
system, dmabuf = GStreamerContext(), GStreamerContext("dmabuf")
info = FrameInfo(pixel_format("nv12"), 64, 36)


def every_way():
    for context, others in ((system, [cpu]), (dmabuf, [cpu, dma])):
        frame = context.allocate_frame(info)
        for other in others:
            for access in AccessMode.READ, AccessMode.READ_WRITE:
                create_mapper([context, other]).map(frame, access).close()
                frame.tensors[0][2:4]
                np.asarray(frame.tensors[1])
    for context in cpu, dma:
        frame = Frame(info, [context.allocate(plane) for plane in info.planes])
        create_mapper([context, system]).map(frame, AccessMode.READ).close()
    give_to_gstreamer(Frame(info, [cpu.allocate(plane) for plane in info.planes]))


for _ in range(20):
    every_way()
del system, dmabuf
kept = namespaces().gst.Buffer.new_allocate(None, 77, None)
if not {leak}:
    del kept
namespaces().gst.deinit()
os._exit(0)
"""


@pytest.mark.parametrize("leak", [False, True])
def test_gstreamer_s_own_tracer_finds_no_leak(gstreamer, leak):
    done = subprocess.run(
        [sys.executable, "-c", LEAKY.replace("{leak}", str(leak))],
        env={**os.environ, "GST_TRACERS": "leaks", "GST_DEBUG": "GST_TRACER:7"},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    alive = [line for line in done.stderr.splitlines() if "object-alive" in line]
    found = [line for line in alive if "GstBuffer" in line or "GstMemory" in line]
    assert bool(found) is leak, found
