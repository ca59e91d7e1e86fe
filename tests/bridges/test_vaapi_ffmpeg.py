"""FFmpeg > VAAPI, with frames that are made by hand."""

from __future__ import annotations

import gc

import numpy as np
import pytest
from av.codec.hwaccel import hwdevices_available
from av.video.frame import VideoFrame

from bridges import AccessMode, MapperChain, create_mapper
from bridges.backends.cpu import CPUContext
from bridges.backends.dma import DMAContext
from bridges.backends.ffmpeg import FFmpegContext, FFmpegTensor
from bridges.backends.ffmpeg_hardware import device_reference
from bridges.backends.vaapi_ffmpeg import (
    borrow_device,
    display_of,
    frames_pool,
    surface_key,
)
from bridges.edges.ffmpeg_to_vaapi import ffmpeg_to_vaapi
from bridges.errors import FormatError, NoRouteError
from bridges.mapper_cache import MapperCache
from bridges.routes import EDGES, find_route
from tests.bridges.memories.vaapi import MEMORY
from tests.bridges.vaapi_frames import INFO, Pool, samples
from tests.lab.software_va import software_va

READ = AccessMode.READ


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
