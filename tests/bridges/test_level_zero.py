"""The Level Zero backend on a mock of its loader: the calls, ownership and words, no hardware."""

from __future__ import annotations

import ctypes
import mmap
import os

import numpy as np
import pytest

from bridges import AccessMode, MemoryType, TensorInfo, create_mapper
from bridges.backends import level_zero
from bridges.backends.cpu import CPUContext
from bridges.backends.dma import DMAContext, open_descriptors
from bridges.errors import (
    ClosedError,
    DeviceError,
    DeviceNotFoundError,
    FormatError,
    NoRouteError,
)
from bridges.native import level_zero as ze
from bridges.routes import find_route
from tests.bridges.memories.memory import samples_at
from tests.bridges.memories.sycl import sycl_backend
from tests.bridges.memories.usm import live, mock_library
from tests.helpers.process import open_files
from tests.helpers.threads import run_together

READ, WRITE, BOTH = AccessMode.READ, AccessMode.WRITE, AccessMode.READ_WRITE
DENSE = TensorInfo((4, 6), np.dtype("u1"))
TILED = 0x0100_0000_0000_0002
"""``I915_FORMAT_MOD_Y_TILED`` of drm/drm_fourcc.h."""


@pytest.fixture
def usm():
    return level_zero.create(library=mock_library())


@pytest.fixture
def shared():
    return level_zero.create(library=mock_library(), usm_type="shared")


@pytest.fixture(autouse=True)
def nothing_is_left():
    mock_library()
    before = live("allocations"), open_descriptors(), open_files()
    yield
    assert (live("allocations"), open_descriptors(), open_files()) == before


def memfd(nbytes):
    fd = os.memfd_create("test")
    os.ftruncate(fd, nbytes)
    return fd


def test_the_mock_says_what_it_is(usm):
    assert usm.name == "Level Zero: a mock, no hardware"
    found = level_zero.probe(library=mock_library())
    assert found.available
    assert found.devices == ("0 a mock, no hardware",)


@pytest.mark.parametrize("usm_type", ["device", "host", "shared"])
def test_allocation_and_handles(usm_type):
    context = level_zero.create("0", library=mock_library(), usm_type=usm_type)
    before = live()
    tensor = context.allocate(DENSE)
    assert tensor.handle("usm_type") == usm_type
    library, native = ze.load(mock_library()), context.handle("ze_context")
    assert ze.memory_type(library, native, tensor.handle("data")) == usm_type
    assert ze.address_range(library, native, tensor.handle("data") + 5) == (
        tensor.handle("data"),
        24,
    )
    assert live() == before + 1
    with pytest.raises(KeyError, match="usm_type"):
        tensor.handle("cl_mem")
    tensor.close()
    tensor.close()
    assert live() == before
    with pytest.raises(ClosedError):
        tensor.handle("data")


def test_native_objects_live_as_long_as_they_are_needed():
    contexts, lists = live("contexts"), live("lists")
    context = level_zero.create(library=mock_library())
    tensor = context.allocate(DENSE)
    mapper = create_mapper([context, CPUContext()])
    mapped = mapper.map(tensor, BOTH)
    assert (live("contexts"), live("lists")) == (contexts + 1, lists + 1)
    context.close()
    context.close()
    with pytest.raises(ClosedError):
        context.handle("ze_context")
    with pytest.raises(ClosedError):
        context.allocate(DENSE)
    assert live("contexts") == contexts + 1
    tensor.close()
    mapped.close()
    del context, tensor, mapper, mapped
    assert (live("contexts"), live("lists")) == (contexts, lists)


def test_a_borrowed_context_is_left_alone(usm, monkeypatch):
    monkeypatch.setattr(ze, "LIBRARY", mock_library())
    before = live("contexts")
    borrowed = level_zero.LevelZeroContext.borrow(
        usm.handle("ze_context"), usm.handle("ze_device"), keep=usm
    )
    tensor = borrowed.allocate(DENSE)
    assert borrowed.handle("ze_context") == usm.handle("ze_context")
    tensor.close()
    del borrowed, tensor
    assert live("contexts") == before


def test_an_array_keeps_shared_memory_alive(shared):
    before = live()
    tensor = shared.allocate(TensorInfo((3, 5), np.dtype("u2")))
    array, other = np.asarray(tensor), np.from_dlpack(tensor)
    array[...] = 258
    assert array.ctypes.data == other.ctypes.data == tensor.handle("data")
    tensor.close()
    assert (other == 258).all()
    assert live() == before + 1
    del array, other
    assert live() == before


def test_device_memory_has_no_array(usm):
    tensor = usm.allocate(DENSE)
    assert not hasattr(tensor, "__array_interface__")
    with pytest.raises(FormatError, match="usm_type='device'"):
        tensor.host_array()
    with pytest.raises(BufferError, match="map it to SYCL"):
        np.from_dlpack(tensor)
    tensor.close()


def test_parts(usm):
    before = live()
    tensor = usm.allocate(TensorInfo((8, 10), np.dtype("u2")))
    samples_at(tensor)[...] = np.arange(80).reshape(8, 10)
    part = tensor[2:6:2, 3:7][1:]
    assert np.array_equal(samples_at(part), [[43, 44, 45, 46]])
    mapped = create_mapper([usm, CPUContext()]).map(part, BOTH)
    mapped.array[...] = 9
    mapped.close()
    assert (samples_at(tensor) == 9).sum() == 5
    part.close()
    tensor.close()
    del part, mapped
    assert live() == before


def test_wrapping(usm):
    tensor = usm.allocate(DENSE)
    wrapped = usm.wrap(tensor.handle("data") + 6, TensorInfo((3, 6), np.dtype("u1")), owner=tensor)
    assert wrapped.usm_type == "device"
    samples_at(wrapped)[...] = 3
    assert samples_at(tensor).sum() == 3 * 18
    # An export is of the whole allocation, wherever the wrapped memory starts in it.
    with create_mapper([usm, DMAContext()]).map(wrapped, READ) as exported:
        assert exported.handle("offset") == 6
    with pytest.raises(FormatError, match="do not fit into 24 bytes"):
        usm.wrap(tensor.handle("data") + 6, DENSE, owner=tensor)
    with pytest.raises(FormatError, match="no address in memory"):
        usm.wrap(0x1000, DENSE, owner=tensor)
    wrapped.close()
    tensor.close()
    del wrapped


def test_a_dma_buf_is_imported_in_place(usm):
    fd = memfd(4096)
    with mmap.mmap(fd, 4096) as memory:
        memory[100:130] = bytes(range(30))
        info = TensorInfo((3, 5), np.dtype("u1"), (10, 1))
        source = DMAContext().wrap(fd, info, offset=100, take=True)
        mapper = create_mapper([DMAContext(), usm])
        with mapper.map(source, BOTH) as mapped:
            assert np.array_equal(samples_at(mapped)[2], [20, 21, 22, 23, 24])
            samples_at(mapped)[...] = 99
            source.close()
        assert memory[100:130] == (b"\x63" * 5 + bytes(range(5, 10))) + (
            b"\x63" * 5 + bytes(range(15, 20)) + b"\x63" * 5 + bytes(range(25, 30))
        )
    assert mapper.audit.bytes_copied == 0
    assert mapper.explain() == "DMA > USM   zero-copy"


def test_what_cannot_be_imported_is_refused(usm, shared):
    before = live()
    dma = DMAContext()
    source = dma.wrap(memfd(4096), DENSE, modifier=TILED, take=True)
    mapper = create_mapper([dma, usm])
    with pytest.raises(FormatError, match="0x0100000000000002"):
        mapper.map(source, READ)
    source.close()
    assert live() == before
    with pytest.raises(NoRouteError, match="opened for shared"):
        find_route([dma, shared])
    route = find_route([dma, CPUContext(), shared])
    assert [str(step) for step in route] == ["DMA > CPU", "CPU > USM"]


def test_a_driver_that_refuses_is_quoted(usm):
    with pytest.raises(DeviceError, match=r"UNSUPPORTED_SIZE \(0x78000009\)") as caught:
        usm.allocate(TensorInfo((1 << 20, 1 << 20), np.dtype("u1")))
    assert isinstance(caught.value.__cause__, ze.LevelZeroError)
    fd = memfd(100)
    with pytest.raises(DeviceError, match=f"import 200 bytes from the dma-buf {fd}"):
        usm.import_fd(fd, 200)
    os.close(fd)


def test_device_memory_is_exported_in_place(usm):
    tensor = usm.allocate(TensorInfo((8, 10), np.dtype("u1")))
    samples_at(tensor)[...] = 1
    mapper = create_mapper([usm, DMAContext()])
    with tensor[2:4, 5:] as part, mapper.map(part, BOTH) as mapped:
        assert mapped.handle("offset") == 25
        assert mapped.handle("drm_modifier") == 0
        fd = mapped.handle("dma_fd")
        with mmap.mmap(fd, 80) as memory:
            memory[25:30] = b"\x05" * 5
        tensor_closed_first = samples_at(tensor).copy()
        tensor.close()
    assert tensor_closed_first[2].tolist() == [1] * 5 + [5] * 5
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(fd)


def test_only_device_memory_is_exported(shared):
    with pytest.raises(NoRouteError, match="opened for shared"):
        find_route([shared, DMAContext()])


def test_memory_that_cannot_be_exported_is_named(usm):
    fd = memfd(4096)
    imported = level_zero.USMTensor(usm.import_fd(fd, 4096), DENSE, usm_type="device", context=usm)
    with pytest.raises(DeviceError, match="export memory as a dma-buf: zeMemGetAllocProperties"):
        create_mapper([usm, DMAContext()]).map(imported, READ)
    imported.close()
    os.close(fd)


@pytest.mark.parametrize("layout", ["backward", "empty"])
def test_layouts_that_are_refused(usm, layout):
    before = live()
    array = np.zeros((4, 4), np.uint8)[::-1] if layout == "backward" else np.zeros((0, 4), np.uint8)
    info = TensorInfo(array.shape, array.dtype, array.strides)
    with pytest.raises(FormatError, match="at least one sample"):
        usm.allocate(info)
    with pytest.raises(FormatError, match="at least one sample"):
        usm.wrap(0x1000, info, owner=None)
    assert live() == before


def test_a_backward_array_is_copied_as_it_reads(usm):
    array = np.arange(12, dtype=np.uint8).reshape(3, 4)
    with create_mapper([CPUContext(), usm]).map(CPUContext().wrap(array[::-1]), BOTH) as mapped:
        assert samples_at(mapped)[0].tolist() == [8, 9, 10, 11]
        samples_at(mapped)[0] = 1
    assert array[2].tolist() == [1] * 4


def test_threads_copy_at_the_same_time(usm):
    tensor = usm.allocate(TensorInfo((4, 1024), np.dtype("u1")))
    mapper = create_mapper([usm, CPUContext()])

    def work(row):
        for number in range(50):
            with tensor[row : row + 1] as part:
                with mapper.map(part, WRITE) as mapped:
                    mapped.array[...] = number
                with mapper.map(part, READ) as mapped:
                    assert (mapped.array == number).all()

    run_together(work, range(4))
    assert (samples_at(tensor) == 49).all()
    tensor.close()


def test_what_can_be_derived(usm, shared):
    assert shared.derive(MemoryType.CPU).memory_type is MemoryType.CPU
    for context, target in ((usm, MemoryType.CPU), (usm, MemoryType.SYCL)):
        with pytest.raises(NoRouteError, match="a mock, no hardware"):
            context.derive(target)


def test_a_machine_without_level_zero_says_what_to_do(tmp_path):
    absent = str(tmp_path / "libze_loader.so.1")
    with pytest.raises(DeviceNotFoundError, match=r"not installed.*apt install libze1"):
        level_zero.create(library=absent)
    found = level_zero.probe(library=absent)
    assert not found.available
    assert "cannot open shared object" in found.reason
    assert found.remedy


def test_a_loader_without_a_driver_says_so(monkeypatch, tmp_path):
    # Another path, for a library is initialised once.
    path = tmp_path / "libze_loader.so.1"
    path.symlink_to(mock_library())
    monkeypatch.setenv("MOCK_LEVEL_ZERO_HAS_NO_DRIVER", "1")
    with pytest.raises(DeviceNotFoundError, match="no driver for it: zeInit: UNINITIALIZED"):
        level_zero.create(library=str(path))
    found = level_zero.probe(library=str(path))
    assert not found.available
    assert found.remedy.startswith("apt install")


def test_a_driver_without_a_device_says_so(monkeypatch):
    monkeypatch.setenv("MOCK_LEVEL_ZERO_HAS_NO_DEVICE", "1")
    with pytest.raises(DeviceNotFoundError, match=r"device ''; there is none"):
        level_zero.create(library=mock_library())
    found = level_zero.probe(library=mock_library())
    assert not found.available
    assert found.reason == "its drivers found no device"


def test_memory_without_an_owner_is_not_freed(usm):
    tensor = usm.allocate(DENSE)
    before = live()
    usm.wrap(tensor.handle("data"), DENSE, owner=None).close()
    assert live() == before
    tensor.close()


def test_a_library_that_is_none_of_level_zero_is_named():
    with pytest.raises(DeviceNotFoundError, match="lacks zeInit"):
        level_zero.create(library="libc.so.6")


def test_a_device_that_is_not_there_is_named():
    for selector in ("1", "gpu"):
        with pytest.raises(DeviceNotFoundError, match=f"'{selector}'; there is 0 a mock"):
            level_zero.create(selector, library=mock_library())
    with pytest.raises(FormatError, match="'managed'"):
        level_zero.create(library=mock_library(), usm_type="managed")


def test_structures_are_as_the_specification_lays_them_out():
    # sizeof and offsetof by a C compiler on ze_api.h, version 1.17, for x86-64.
    sizes = {
        "DeviceProperties": 368,
        "ContextDesc": 24,
        "CommandQueueDesc": 40,
        "DeviceMemAllocDesc": 24,
        "HostMemAllocDesc": 24,
        "MemoryAllocationProperties": 40,
        "ExternalMemoryExportDesc": 24,
        "ExternalMemoryFd": 24,
    }
    assert {name: ctypes.sizeof(getattr(ze, name)) for name in sizes} == sizes
    assert ze.DeviceProperties.name.offset == 112
    assert ze.ExternalMemoryFd.fd.offset == 20
    assert ze.MemoryAllocationProperties.id.offset == 24


# To SYCL


def test_another_framework_s_device_is_refused(usm):
    sycl = sycl_backend().create("cpu")
    with pytest.raises(NoRouteError, match="driven by opencl, not by Level Zero"):
        find_route([usm, sycl])


def test_usm_becomes_an_argument_of_kernels(usm):
    """Memory of the queue's context, here of OpenCL's, stands in for Level Zero's."""
    backend = sycl_backend()
    import dpctl.memory

    from bridges.backends.level_zero_memory import Allocation
    from bridges.edges.usm_to_sycl import usm_to_sycl

    sycl = backend.create("cpu")
    memory = dpctl.memory.MemoryUSMDevice(24, queue=sycl.queue)
    source = level_zero.USMTensor(
        Allocation(usm.native, memory._pointer, memory), DENSE, usm_type="device", context=usm
    )
    mapped = usm_to_sycl(source, sycl, BOTH, lambda nbytes: pytest.fail("nothing is copied"))
    source.close()
    del source, memory
    expected, found = np.arange(24, dtype=np.uint8), np.zeros(24, np.uint8)
    sycl.queue.memcpy(mapped.memory, expected, 24)
    sycl.queue.memcpy(found, mapped.memory, 24)
    assert np.array_equal(found, expected)
    assert mapped.memory.get_usm_type() == mapped.handle("usm_type") == "device"
    mapped.close()
