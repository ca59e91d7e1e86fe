"""The cache lends a mapping again for the same memory, and for no other."""

from __future__ import annotations

import gc
import weakref
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pyopencl as cl
import pytest

from bridges import AccessMode, Frame, FrameInfo, MapperCache, create_mapper
from bridges.backends.cpu import CPUContext
from bridges.backends.ffmpeg import FFmpegContext
from bridges.errors import ClosedError
from bridges.formats import pixel_format
from tests.helpers.threads import run_together

READ, WRITE, BOTH = AccessMode.READ, AccessMode.WRITE, AccessMode.READ_WRITE
CPU = CPUContext()


def frame_of(value, name="yuv420p", size=(64, 36), pts=0):
    info = FrameInfo(pixel_format(name), *size, pts=pts, time_base=Fraction(1, 25))
    frame = Frame(info, [CPU.allocate(plane) for plane in info.planes])
    for tensor in frame.tensors:
        tensor.handle("array")[...] = value
    return frame


def device_values(frame):
    found = set()
    for tensor in frame.tensors:
        memory = np.empty(tensor.info.span, np.uint8)
        cl.enqueue_copy(tensor.context.queue, memory, tensor.handle("cl_mem"))
        found |= set(memory.tolist())
    return found


def fill(frame, value):
    for tensor in frame.tensors:
        queue = tensor.context.queue
        cl.enqueue_fill_buffer(
            queue, tensor.handle("cl_mem"), np.uint8(value), 0, tensor.info.span
        ).wait()


@pytest.fixture(params=["shared", "distant"])
def cache(request, opencl):
    opencl.shares_host_memory = request.param == "shared"
    with create_mapper([CPU, opencl], cache=4) as mapper:
        assert isinstance(mapper, MapperCache)
        yield mapper


def test_the_same_memory_is_mapped_once(cache):
    frame = frame_of(1)
    buffers = set()
    for value in range(5):
        for tensor in frame.tensors:
            tensor.handle("array")[...] = value
        with cache.map(frame, READ) as mapped:
            assert device_values(mapped) == {value}
            buffers.add(mapped.tensors[0].handle("cl_mem").int_ptr)
    statistics = cache.statistics
    assert (statistics.hits, statistics.misses, statistics.entries) == (4, 1, 1)
    assert statistics.hit_rate == 0.8
    assert len(buffers) == 1


def test_what_is_written_arrives_every_time(cache):
    frame = frame_of(1)
    for value in (7, 8, 9):
        with cache.map(frame, WRITE) as mapped:
            fill(mapped, value)
        assert set(frame.tensors[2].handle("array").flat) == {value}
    assert cache.statistics.hits == 2


def test_a_frame_carries_its_own_time(cache):
    frame = frame_of(1, pts=10)
    cache.map(frame, READ).close()
    frame.info = replace(frame.info, pts=20)
    with cache.map(frame, READ) as mapped:
        assert mapped.info.pts == 20
        assert mapped.metadata is frame.metadata
    assert cache.statistics.hits == 1


@pytest.mark.parametrize("other", ["access", "memory", "format"])
def test_anything_else_is_another_entry(cache, other):
    frame, access = frame_of(1, "gray", (64, 54)), READ
    cache.map(frame, access).close()
    if other == "access":
        access = BOTH
    elif other == "memory":
        frame = frame_of(2, "gray", (64, 54))
    else:
        frame.info = replace(frame.info, format=pixel_format("gray10le"))
    cache.map(frame, access).close()
    assert (cache.statistics.hits, cache.statistics.misses) == (0, 2)


def test_two_users_share_an_entry_and_not_an_object(cache):
    frame = frame_of(3)
    cache.map(frame, READ).close()
    one, other = cache.map(frame, READ), cache.map(frame, READ)
    assert one is not other
    assert one.tensors[0] is not other.tensors[0]
    one.close()
    one.close()
    assert device_values(other) == {3}
    with pytest.raises(ClosedError):
        one.tensors[0].handle("cl_mem")
    other.close()


def test_the_oldest_goes_first_and_not_while_it_is_used(cache):
    frames = [frame_of(value) for value in range(6)]
    used = cache.map(frames[0], READ)
    for frame in frames[1:]:
        cache.map(frame, READ).close()
    assert cache.statistics.entries == 4
    assert cache.statistics.evicted == 2
    assert device_values(used) == {0}
    used.close()
    cache.map(frames[0], READ).close()
    assert cache.statistics.hits == 0


def test_a_mapping_keeps_its_subject(cache):
    frame = frame_of(5)
    subject = weakref.ref(frame)
    cache.map(frame, READ).close()
    mapped = cache.map(frame, READ)
    del frame
    gc.collect()
    assert subject() is not None
    assert device_values(mapped) == {5}
    mapped.close()
    del mapped
    gc.collect()
    assert subject() is None


@pytest.mark.parametrize("how", ["closed", "collected"])
def test_no_entry_outlives_its_memory(cache, how):
    frame = frame_of(1)
    cache.map(frame, READ).close()
    assert cache.statistics.entries == 1
    array = weakref.ref(frame.tensors[0].handle("array"))
    if how == "closed":
        frame.close()
    del frame
    gc.collect()
    assert cache.statistics.entries == 0
    assert array() is None


def test_memory_that_is_recycled_elsewhere_passes_through(opencl):
    ffmpeg = FFmpegContext()
    with create_mapper([ffmpeg, opencl], cache=4) as cache:
        frame = ffmpeg.allocate_frame(frame_of(0).info)
        for _ in range(3):
            cache.map(frame, READ).close()
        statistics = cache.statistics
        assert (statistics.uncached, statistics.entries, statistics.hit_rate) == (3, 0, 0.0)


def test_planes_are_kept_too(cache):
    tensor = frame_of(9).tensors[1]
    for _ in range(2):
        with cache.map(tensor, READ) as mapped:
            assert mapped.handle("cl_mem").size >= tensor.info.nbytes
    assert cache.statistics.hits == 1


def test_a_part_of_a_frame_passes_through(cache):
    frame = frame_of(1)
    with frame.region(2, 2, 8, 8) as part, cache.map(part, READ) as mapped:
        assert mapped.info.width == 8
    assert cache.statistics.uncached == 1


def test_threads(cache):
    frames = [frame_of(value) for value in range(8)]

    def work(seed):
        for turn in range(100):
            value = (turn * (seed + 1)) % len(frames)
            with cache.map(frames[value], READ) as mapped:
                assert device_values(mapped) == {value}

    run_together(work, range(3))
    statistics = cache.statistics
    assert statistics.hits + statistics.misses + statistics.uncached == 300
    assert statistics.entries <= 4


def test_closing_lets_go_of_everything(cache):
    frame = frame_of(1)
    used = cache.map(frame, READ)
    cache.close()
    cache.close()
    assert cache.statistics.entries == 0
    assert device_values(used) == {1}
    used.close()
    with pytest.raises(ClosedError, match="make another mapper"):
        cache.map(frame, READ)


def test_capacity_is_checked(opencl):
    with pytest.raises(ValueError, match="at least 1"):
        MapperCache(create_mapper([CPU, opencl]), 0)


def test_a_copy_in_use_is_not_copied_over(opencl):
    opencl.shares_host_memory = False
    frame = frame_of(1)
    with create_mapper([CPU, opencl], cache=4) as cache:
        used = cache.map(frame, BOTH)
        fill(used, 7)
        cache.map(frame, BOTH).close()
        used.close()
        assert set(frame.tensors[0].handle("array").flat) == {7}
        assert cache.statistics.uncached == 1
        cache.map(frame, BOTH).close()
        assert cache.statistics.hits == 1
