"""FFmpeg > VAAPI with frames made by hand: PyAV's wheel has no VA-API that would decode any.

AVFrame, AVBufferRef and who frees them are the real libavutil's; the frames and device contexts are
written as libavutil/hwcontext_vaapi.h has them, around a surface of the real libva and our software
driver.
"""

from __future__ import annotations

import ctypes as c
import gc

import numpy as np
import pytest
from av.codec.hwaccel import hwdevices_available
from av.video.frame import VideoFrame

from bridges import AccessMode, FrameInfo, MapperChain, create_mapper
from bridges.backends.cpu import CPUContext
from bridges.backends.dma import DMAContext
from bridges.backends.ffmpeg import FFmpegContext, FFmpegTensor
from bridges.backends.ffmpeg_hardware import device_reference
from bridges.backends.vaapi_ffmpeg import (
    AVVAAPIDeviceContext,
    borrow_device,
    display_of,
    frames_pool,
    surface_key,
)
from bridges.edges.ffmpeg_to_vaapi import ffmpeg_to_vaapi
from bridges.errors import FormatError, NoRouteError
from bridges.formats import pixel_format
from bridges.mapper_cache import MapperCache
from bridges.native.libavutil import (
    AVFrame,
    AVHWDeviceContext,
    AVHWFramesContext,
    BufferFree,
    frame_pointer,
    library,
)
from bridges.routes import EDGES, find_route
from tests.bridges.memories.vaapi import MEMORY
from tests.lab.software_va import software_va

READ = AccessMode.READ
INFO = FrameInfo(pixel_format("nv12"), 64, 36)


class Pool:
    """Frames of one AVHWFramesContext; ``freed`` lists what FFmpeg has let go of."""

    def __init__(self, context, count=2):
        self.freed = []
        self._free = BufferFree(lambda opaque, data: self.freed.append(opaque or 0))
        self.frames = [context.allocate_frame(INFO) for _ in range(count)]
        self.surfaces = [frame.tensors[0].handle("va_surface") for frame in self.frames]
        self._vaapi = AVVAAPIDeviceContext(context.handle("va_display"), 0)
        self._device = AVHWDeviceContext(hwctx=c.addressof(self._vaapi))
        number = library().av_get_pix_fmt
        self._frames = AVHWFramesContext(
            device_ref=self._buffer(self._device, "device"),
            format=number(b"vaapi"),
            sw_format=number(b"nv12"),
            width=64,
            height=48,
        )
        self.reference = c.c_void_p(self._buffer(self._frames, "pool"))

    def _buffer(self, structure, name):
        key = {"device": 1000, "pool": 1001}.get(name, name)
        return library().av_buffer_create(
            c.addressof(structure), c.sizeof(structure), self._free, key, 0
        )

    def frame(self, index):
        frame = VideoFrame(0, 0, "vaapi")
        native = AVFrame.from_address(frame_pointer(frame))
        native.width, native.height = INFO.width, INFO.height
        native.data[3] = self.surfaces[index]
        native.buf[0] = self._buffer(c.c_uint8(), index + 1)
        native.hw_frames_ctx = library().av_buffer_ref(self.reference)
        return frame

    def close(self):
        library().av_buffer_unref(c.byref(self.reference))
        for frame in self.frames:
            frame.close()


@pytest.fixture
def vaapi():
    with software_va().open() as context:
        yield context


@pytest.fixture
def pool(vaapi):
    found = Pool(vaapi)
    yield found
    found.close()
    gc.collect()
    assert 1001 in found.freed  # Nobody holds the frames context any more.


def samples(seed):
    random = np.random.default_rng(seed)
    return [random.integers(0, 255, plane.shape, np.uint8) for plane in INFO.planes]


def edge():
    return next(one for one in EDGES if one.function is ffmpeg_to_vaapi)


def test_a_frame_is_its_surface(vaapi, pool):
    MEMORY.write(pool.frames[1], samples(1))
    source = FFmpegContext("vaapi")
    frame = source.wrap(pool.frame(1))
    assert frame.info == INFO
    mapper = MapperChain([edge()], [source, vaapi])
    mapped = mapper.map(frame, READ)
    assert [t.handle("va_surface") for t in mapped.tensors] == [pool.surfaces[1]] * 2
    assert [t.handle("plane_index") for t in mapped.tensors] == [0, 1]
    frame.close()
    del frame
    gc.collect()
    assert 2 not in pool.freed  # The surface is still used, though its frame was closed.
    assert all(map(np.array_equal, MEMORY.read(mapped), samples(1)))
    mapped.close()
    del mapped
    gc.collect()
    assert pool.freed.count(2) == 1
    source.close()


def test_the_whole_chain(vaapi, pool):
    MEMORY.write(pool.frames[0], samples(3))
    source = FFmpegContext("vaapi")
    to_vaapi = MapperChain([edge()], [source, vaapi])
    to_host = create_mapper([vaapi, DMAContext(), CPUContext()])
    surface = to_vaapi.map(source.wrap(pool.frame(0)), READ)
    with surface, to_host.map(surface, READ) as mapped:
        arrays = [tensor.handle("array") for tensor in mapped.tensors]
        assert all(map(np.array_equal, arrays, samples(3)))
    source.close()


def test_a_cache_gives_frames_back_to_the_pool(vaapi, pool):
    source = FFmpegContext("vaapi")
    to_vaapi = MapperChain([edge()], [source, vaapi])
    to_dma = create_mapper([vaapi, DMAContext()], cache=4)
    assert isinstance(to_dma, MapperCache)
    for index in (0, 1, 0, 1, 0):
        before = pool.freed.count(index + 1)
        frame = source.wrap(pool.frame(index))
        with to_vaapi.map(frame, READ) as surface, to_dma.map(surface, READ):
            frame.close()
        del frame, surface
        gc.collect()
        assert pool.freed.count(index + 1) == before + 1
    assert (to_dma.statistics.hits, to_dma.statistics.misses) == (3, 2)
    to_dma.close()
    source.close()


def test_so_does_a_cache_of_the_whole_route(vaapi, pool, monkeypatch):
    monkeypatch.setattr(
        FFmpegTensor, "memory_key", lambda self: surface_key(self.handle("av_frame"), self._index)
    )
    source, context = FFmpegContext("vaapi"), DMAContext()
    to_dma = find_route([vaapi, context])
    mapper = MapperCache(MapperChain([edge(), *to_dma], [source, vaapi, context]), 4)
    for index in (0, 1, 0, 1, 0):
        before = pool.freed.count(index + 1)
        frame = source.wrap(pool.frame(index))
        with mapper.map(frame, READ) as mapped:
            assert pool.freed.count(index + 1) == before
            assert mapped.tensors[1].info.shape == INFO.planes[1].shape
        frame.close()
        del frame, mapped
        gc.collect()
        assert pool.freed.count(index + 1) == before + 1
    assert (mapper.statistics.hits, mapper.statistics.misses) == (3, 2)
    mapper.close()
    source.close()


def test_frames_of_one_pool_have_one_key(vaapi, pool):
    one, other = pool.frame(0), pool.frame(1)
    held = frames_pool(one)
    assert frames_pool(other) is held
    assert surface_key(one, 1) == surface_key(pool.frame(0), 1)
    assert len({surface_key(one, 0), surface_key(one, 1), surface_key(other, 0)}) == 3
    elsewhere = Pool(vaapi)
    elsewhere.surfaces = pool.surfaces
    assert frames_pool(elsewhere.frame(0)) is not held
    assert surface_key(elsewhere.frame(0), 0) != surface_key(one, 0)
    elsewhere.close()


def test_the_device_can_be_borrowed(vaapi, pool):
    frame = pool.frame(0)
    device = device_reference(frame)
    assert display_of(device) == vaapi.handle("va_display")
    borrowed = borrow_device(device)
    assert borrowed.handle("va_display") == vaapi.handle("va_display")
    assert borrowed.name.endswith("on a display of somebody else")
    source = FFmpegContext("vaapi", device=device)
    with MapperChain([edge()], [source, borrowed]).map(source.wrap(frame), READ) as mapped:
        assert mapped.tensors[0].handle("va_surface") == pool.surfaces[0]
    source.close()
    borrowed.close()


def test_another_display_is_refused(vaapi, pool):
    source = FFmpegContext("vaapi")
    with software_va().open() as other, source.wrap(pool.frame(0)) as frame:
        mapper = MapperChain([edge()], [source, other])
        with pytest.raises(FormatError, match="borrow_device"):
            mapper.map(frame, READ)
    source.close()


def test_a_frame_without_a_pool_is_refused():
    with pytest.raises(FormatError, match="no hw_frames_ctx"):
        frames_pool(VideoFrame(0, 0, "vaapi"))


def test_routes_say_why_there_is_no_edge(vaapi):
    with pytest.raises(NoRouteError, match="in host memory"):
        find_route([FFmpegContext(), vaapi])
    if "vaapi" not in hwdevices_available():
        with pytest.raises(NoRouteError, match="built without VA-API"):
            find_route([FFmpegContext("vaapi"), vaapi])
