"""CPU > OpenCL and OpenCL > CPU: the same memory, seen from both sides."""

import gc
import itertools
import weakref

import numpy as np
import pyopencl as cl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bridges import AccessMode, Frame, MemoryType, Tensor, TensorInfo, create_mapper
from bridges.backends.cpu import CPUContext
from bridges.backends.ffmpeg import FFmpegContext
from bridges.backends.opencl import OpenCLContext
from bridges.errors import FormatError
from bridges.routes import EDGES, Edge, load_edges
from tests.bridges.picture import Picture, frame_info
from tests.helpers.process import open_files, resident_bytes
from tests.helpers.threads import run_together

READ, WRITE, READ_WRITE = AccessMode.READ, AccessMode.WRITE, AccessMode.READ_WRITE
MODES = (READ, WRITE, READ_WRITE)


class Bytes:
    """Memory that can be watched: NumPy's own arrays take no weak reference to their buffer."""

    def __init__(self, nbytes: int) -> None:
        self.array = np.zeros(nbytes, np.uint8)
        self.__array_interface__ = self.array.__array_interface__


def the_edge(source: MemoryType, target: MemoryType, copies: bool) -> Edge:
    load_edges([source, target])
    (found,) = (e for e in EDGES if (e.source, e.target, e.copies) == (source, target, copies))
    return found


@pytest.fixture
def shared(opencl: OpenCLContext) -> OpenCLContext:
    if not opencl.shares_host_memory:
        pytest.skip(f"{opencl.name} has memory of its own")
    return opencl


def fill(tensor: Tensor, value: int) -> None:
    """Write all of a buffer on the device."""
    assert isinstance(tensor.context, OpenCLContext)
    buffer = tensor.handle("cl_mem")
    cl.enqueue_fill_buffer(tensor.context.queue, buffer, np.uint8(value), 0, buffer.size)


def device_bytes(tensor: Tensor) -> np.ndarray:
    assert isinstance(tensor.context, OpenCLContext)
    buffer = tensor.handle("cl_mem")
    out = np.empty(buffer.size, np.uint8)
    cl.enqueue_copy(tensor.context.queue, out, buffer)
    return out


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("shift", [0, 1, 4, 64])
def test_the_buffer_is_the_array(cpu: CPUContext, shared: OpenCLContext, mode, shift: int):
    mapper = create_mapper([cpu, shared])
    picture = Picture.create(frame_info("gray10le", (31, 5)), padding=6, shift=shift, seed=1)
    array = picture.arrays[0]
    with mapper.map(picture.frame.tensors[0], mode) as mapped:
        assert mapped.info.strides == array.strides
        span = mapped.info.span
        flags = cl.map_flags.READ
        view, _ = cl.enqueue_map_buffer(
            shared.queue, mapped.handle("cl_mem"), flags, 0, span, np.uint8
        )
        assert view.ctypes.data == array.ctypes.data
        view.base.release(shared.queue)
    assert mapper.audit.bytes_copied == 0
    assert mapper.explain() == "CPU > OpenCL   zero-copy"


@pytest.mark.parametrize("mode", MODES)
def test_there_and_back_is_the_same_address(cpu: CPUContext, shared: OpenCLContext, mode):
    there, back = create_mapper([cpu, shared]), create_mapper([shared, cpu])
    picture = Picture.create(frame_info("rgb24", (31, 5)), padding=3, shift=1, seed=1)
    array = picture.arrays[0]
    with there.map(picture.frame, mode) as mapped, back.map(mapped, mode) as view:
        again = view.tensors[0].handle("array")
        assert again.__array_interface__["data"][0] == array.ctypes.data
        assert (again.shape, again.strides, again.dtype) == (
            array.shape,
            array.strides,
            array.dtype,
        )
        assert again.flags.writeable is bool(mode & WRITE)
    assert back.audit.bytes_copied == 0


def test_ffmpeg_reaches_opencl_without_a_copy(shared: OpenCLContext):
    ffmpeg = FFmpegContext()
    frame = ffmpeg.allocate_frame(frame_info("yuv420p", (66, 34)))
    mapper = create_mapper([ffmpeg, shared])
    with mapper.map(frame, READ_WRITE) as mapped:
        for tensor, plane in zip(mapped.tensors, frame.tensors, strict=True):
            assert tensor.address == plane.handle("data")
            fill(tensor, 77)
    assert mapper.explain() == "FFmpeg > CPU > OpenCL   zero-copy"
    with create_mapper([ffmpeg, CPUContext()]).map(frame, READ) as host:
        assert all(set(tensor.handle("array").flat) == {77} for tensor in host.tensors)


def test_writes_are_seen_on_both_sides(cpu: CPUContext, shared: OpenCLContext):
    array = np.arange(24, dtype=np.uint8).reshape(4, 6)
    mapper, back = create_mapper([cpu, shared]), create_mapper([shared, cpu])
    with mapper.map(cpu.wrap(array), READ_WRITE) as mapped:
        assert np.array_equal(device_bytes(mapped), np.arange(24))
        fill(mapped, 7)
    assert set(array.flat) == {7}
    owned = shared.allocate(TensorInfo((4, 6), np.dtype("u1")))
    with back.map(owned, WRITE) as view:
        view.handle("array")[...] = array + 1
    assert set(device_bytes(owned)) == {8}
    fill(owned, 9)
    with back.map(owned, READ) as view:
        assert set(view.handle("array").flat) == {9}


def test_a_read_only_array_can_be_read(cpu: CPUContext, shared: OpenCLContext):
    array = np.arange(24, dtype=np.uint8)
    array.flags.writeable = False
    with create_mapper([cpu, shared]).map(cpu.wrap(array), READ) as mapped:
        assert np.array_equal(device_bytes(mapped), array)


@pytest.mark.parametrize("array", [np.zeros((0, 4), np.uint8), np.zeros((4, 4), np.uint8)[::-1]])
def test_layouts_that_cannot_be_shared_are_refused(cpu: CPUContext, shared, array: np.ndarray):
    with pytest.raises(FormatError, match="an OpenCL buffer holds at least one sample"):
        create_mapper([cpu, shared]).map(cpu.wrap(array), READ)


def test_the_parent_lives_as_long_as_the_mapping(cpu: CPUContext, shared: OpenCLContext):
    memory = Bytes(64)
    alive = weakref.ref(memory)
    source = cpu.wrap(np.asarray(memory))
    mapped = create_mapper([cpu, shared]).map(source, READ_WRITE)
    mapped.handle("cl_mem")
    del memory
    source.close()
    del source
    gc.collect()
    assert alive() is not None
    fill(mapped, 5)
    mapped.close()
    del mapped
    gc.collect()
    assert alive() is None


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_closing_in_any_order_and_twice(cpu: CPUContext, shared: OpenCLContext, order):
    array = np.zeros(32, np.uint8)
    source = cpu.wrap(array)
    mapped = create_mapper([cpu, shared]).map(source, READ_WRITE)
    view = create_mapper([shared, cpu]).map(mapped, READ_WRITE)
    view.handle("array")[...] = 3
    chain = (source, mapped, view)
    for index in (*order, *order):
        chain[index].close()
    assert set(array) == {3}


def test_a_context_may_close_before_its_mappings(cpu: CPUContext, shared: OpenCLContext):
    array = np.zeros(32, np.uint8)
    context = OpenCLContext.create()
    mapped = create_mapper([cpu, context]).map(cpu.wrap(array), WRITE)
    fill(mapped, 4)
    context.close()
    mapped.close()
    assert set(array) == {4}


def test_many_cycles_leave_nothing_behind(cpu: CPUContext, shared: OpenCLContext):
    there, back = create_mapper([cpu, shared]), create_mapper([shared, cpu])
    frame = Picture.create(frame_info("yuv420p", (640, 360)), padding=64, seed=1).frame

    def cycle() -> None:
        with there.map(frame, READ_WRITE) as mapped, back.map(mapped, READ_WRITE):
            pass

    def state() -> tuple[int, int]:
        gc.collect()
        return resident_bytes(), open_files()

    for _ in range(200):
        cycle()
    resident, files = state()
    for _ in range(2000):
        cycle()
    after, files_after = state()
    assert files_after == files
    # One leaked plane in a hundred would be 2 MB.
    assert after - resident < 1_000_000


def test_two_threads_map_the_same_frame(cpu: CPUContext, shared: OpenCLContext):
    mapper = create_mapper([cpu, shared])
    frame = Picture.create(frame_info("rgb24", (64, 36)), seed=1).frame
    expected = frame.tensors[0].handle("array").tobytes()

    def work(_: int) -> None:
        for _ in range(200):
            with mapper.map(frame, READ) as mapped:
                assert device_bytes(mapped.tensors[0]).tobytes() == expected

    run_together(work, range(2))
    assert mapper.audit.hops[0].calls == 400


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    size=st.tuples(st.integers(1, 40), st.integers(1, 8)),
    padding=st.integers(0, 30),
    shift=st.integers(0, 9),
    mode=st.sampled_from(MODES),
    copies=st.booleans(),
)
def test_copied_or_not_padding_survives(cpu, opencl, size, padding, shift, mode, copies):
    picture = Picture.create(frame_info("nv12", size), padding=padding, shift=shift, seed=2)
    before = [array.copy() for array in picture.arrays]
    edge = the_edge(MemoryType.CPU, MemoryType.OPENCL, copies)
    if edge.refusal(cpu, opencl):
        return
    counted: list[int] = []
    mapped = edge.map_frame(picture.frame, opencl, mode, counted.append)
    for tensor, array in zip(mapped.tensors, before, strict=True):
        if mode & READ:
            there = device_bytes(tensor)
            laid = np.ndarray(array.shape, array.dtype, there, strides=tensor.info.strides)
            assert np.array_equal(laid, array)
        if copies:
            fill(tensor, 9)
    mapped.close()
    expected = 9 if copies and mode & WRITE else None
    for array, old in zip(picture.arrays, before, strict=True):
        assert np.array_equal(array, old if expected is None else np.full_like(old, expected))
    assert picture.guards_hold()
    ways = (READ in mode) + (WRITE in mode)
    assert sum(counted) == (ways * sum(array.nbytes for array in before) if copies else 0)


@pytest.mark.parametrize("mode", MODES)
def test_download_copies_what_the_mode_asks_for(cpu: CPUContext, opencl: OpenCLContext, mode):
    edge = the_edge(MemoryType.OPENCL, MemoryType.CPU, copies=True)
    tensor = opencl.allocate(TensorInfo((4, 6), np.dtype("u1")))
    fill(tensor, 1)
    counted: list[int] = []
    assert edge.map_tensor is not None
    mapped = edge.map_tensor(tensor, cpu, mode, counted.append)
    array = mapped.handle("array")
    assert array.flags.writeable is bool(mode & WRITE)
    if mode & READ:
        assert set(array.flat) == {1}
    if mode & WRITE:
        array[...] = 2
    mapped.close()
    assert set(device_bytes(tensor)) == {2 if mode & WRITE else 1}
    assert sum(counted) == 24 * ((READ in mode) + (WRITE in mode))


def test_a_device_with_memory_of_its_own_is_copied_to(cpu: CPUContext, opencl: OpenCLContext):
    opencl.shares_host_memory = False
    there, back = create_mapper([cpu, opencl]), create_mapper([opencl, cpu])
    array = np.arange(24, dtype=np.uint8).reshape(4, 6)
    with there.map(cpu.wrap(array), READ) as mapped, back.map(mapped, READ) as view:
        assert np.array_equal(view.handle("array"), array)
        assert not np.shares_memory(view.handle("array"), array)
    assert there.explain() == "CPU > OpenCL   24 B copied in CPU > OpenCL"
    assert back.audit.bytes_copied == 24


def test_frames_keep_their_info(cpu: CPUContext, opencl: OpenCLContext):
    frame: Frame = Picture.create(frame_info("nv12", (6, 4)), seed=1).frame
    with create_mapper([cpu, opencl]).map(frame, READ) as mapped:
        assert mapped.info is frame.info
        assert mapped.memory_type is MemoryType.OPENCL
        assert mapped.parent is frame
