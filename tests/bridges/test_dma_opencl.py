"""DMA memory and OpenCL: in place on a CPU, imported by a GPU, copied where neither can be."""

from __future__ import annotations

import gc
import os

import numpy as np
import pyopencl as cl
import pytest

from bridges import AccessMode, TensorInfo, create_mapper
from bridges.backends import dma
from bridges.backends.dma import DMAContext, open_descriptors
from bridges.backends.opencl import OpenCLContext, opencl_errors
from bridges.edges import dma_to_opencl
from bridges.errors import DeviceError, FormatError, NoRouteError
from bridges.mapper import MapperChain
from bridges.native import libopencl
from bridges.routes import EDGES, find_route
from tests.bridges.memories.dma import mapped_bytes

# Intel's compiler tells how well it did.
pytestmark = pytest.mark.filterwarnings("ignore:Non-empty compiler output")

READ, WRITE, BOTH = AccessMode.READ, AccessMode.WRITE, AccessMode.READ_WRITE
LAYOUT = TensorInfo((6, 50), np.dtype("u1"), (70, 1))
SOURCE = """
kernel void invert(global uchar *samples, uint row) {
    size_t at = get_global_id(1) * row + get_global_id(0);
    samples[at] = 255 - samples[at];
}
"""


@pytest.fixture
def context():
    return DMAContext()


@pytest.fixture
def distant(opencl):
    """A device that pretends to have memory of its own; pytest's `opencl` restores it."""
    opencl.shares_host_memory = False
    return opencl


@pytest.fixture(autouse=True)
def nothing_open():
    gc.collect()
    before = open_descriptors()
    yield
    gc.collect()
    assert open_descriptors() == before


def invert(opencl, tensor):
    with opencl_errors("run a test's kernel"):
        kernel = cl.Program(opencl.native, SOURCE).build(cache_dir=False).invert
        rows, columns = tensor.info.shape
        row = np.uint32(tensor.info.strides[0])
        kernel(opencl.queue, (columns, rows), None, tensor.handle("cl_mem"), row)


def numbered(context, offset):
    """A padded plane at an odd place, and what is behind its descriptor."""
    with context.allocate(TensorInfo((9000,), np.dtype("u1"))) as whole:
        fd = os.dup(whole.handle("dma_fd"))
    data = (np.arange(9000) % 251).astype("u1")
    mapped_bytes(fd)[:9000] = data.tobytes()
    return context.wrap(fd, LAYOUT, offset=offset, take=True), data


class TestShared:
    @pytest.mark.parametrize("offset", [0, 3, 4096, 5003])
    def test_a_kernel_writes_what_the_descriptor_shows(self, context, opencl, offset):
        tensor, data = numbered(context, offset)
        with create_mapper([context, opencl]).map(tensor, BOTH) as mapped:
            invert(opencl, mapped)
        expected = data.copy()
        plane = np.ndarray((6, 50), "u1", expected, offset, (70, 1))
        plane[...] = 255 - plane
        assert mapped_bytes(tensor.handle("dma_fd"))[:9000] == expected.tobytes()
        tensor.close()

    def test_begins_and_ends_the_cpus_access(self, context, opencl, monkeypatch):
        calls = []
        monkeypatch.setattr(dma, "dma_buf_sync", lambda fd, flags: calls.append(flags))
        tensor, _ = numbered(context, 0)
        tensor.descriptor.is_dma_buf = True  # As it is where devices can import it.
        with create_mapper([context, opencl]).map(tensor, BOTH) as mapped:
            assert calls == [3]
            invert(opencl, mapped)
        assert calls == [3, 7]
        tensor.close()

    def test_kept_for_memory_that_comes_again(self, context, opencl):
        mapper = create_mapper([context, opencl], cache=2)
        tensor, data = numbered(context, 0)
        for _ in range(4):
            again = context.wrap(tensor.handle("dma_fd"), LAYOUT)
            with mapper.map(again, BOTH) as mapped:
                invert(opencl, mapped)
            again.close()
        assert (mapper.statistics.hits, mapper.statistics.misses) == (3, 1)
        assert mapped_bytes(tensor.handle("dma_fd"))[:9000] == data.tobytes()
        mapper.close()
        tensor.close()

    def test_tiled(self, context, opencl):
        with context.allocate(LAYOUT) as whole:
            tensor = context.wrap(whole.handle("dma_fd"), LAYOUT, modifier=0x0200_0000_0000_0001)
        with pytest.raises(FormatError, match="0x0200000000000001"):
            create_mapper([context, opencl]).map(tensor, READ)
        tensor.close()


class TestImported:
    def test_device_that_cannot(self, context, distant):
        with pytest.raises(NoRouteError, match="cl_khr_external_memory_dma_buf") as caught:
            find_route([context, distant])
        assert "has memory of its own" in str(caught.value)

    def test_memfds_are_refused(self, distant):
        context = DMAContext(dma.allocators()[-1])
        with (
            context.allocate(LAYOUT) as tensor,
            pytest.raises(FormatError, match=r"imports dma-bufs .* got a memfd from byte 0"),
        ):
            dma_to_opencl.import_dma_buf(tensor, distant, READ, int)

    def test_runtime_without_the_extension_fails(self, context, distant):
        # Some refuse the property, others do not look at it, and have no calls to acquire with.
        route = [edge for edge in EDGES if edge.function is dma_to_opencl.import_dma_buf]
        with context.allocate(LAYOUT) as tensor:
            tensor.descriptor.is_dma_buf = True
            with pytest.raises(DeviceError, match=r"clCreateBufferWith|clEnqueueAcquireExternal"):
                MapperChain(route, [context, distant]).map(tensor, READ)

    def test_runtime_without_the_calls(self, distant):
        platform = distant.handle("cl_device").platform.int_ptr
        with pytest.raises(DeviceError, match="no clEnqueueAcquireExternalMemObjectsKHR"):
            libopencl.hand_over("Acquire", platform, distant.queue.int_ptr, 0)

    def test_the_loader_is_pyopencls_own(self, opencl):
        code = libopencl.c.c_int()
        memory = libopencl.library().clCreateBufferWithProperties(
            opencl.native.int_ptr, None, 1, 64, None, libopencl.c.byref(code)
        )
        assert code.value == 0
        buffer = cl.Buffer.from_int_ptr(memory, retain=False)
        assert (buffer.size, buffer.context) == (64, opencl.native)

    def test_where_and_when(self, context, distant, monkeypatch):
        """What is asked of a runtime that has the extension; none of this machine's has."""
        calls = []
        kept = []

        def create(native, fd, nbytes, *, is_written):
            calls.append(("create", fd, nbytes, is_written))
            code = libopencl.c.c_int()
            memory = libopencl.library().clCreateBufferWithProperties(
                native, None, 1, nbytes, None, libopencl.c.byref(code)
            )
            kept.append(memory)
            return memory

        monkeypatch.setattr(dma_to_opencl, "create_buffer_from_dma_buf", create)
        monkeypatch.setattr(
            dma_to_opencl, "hand_over", lambda name, *where: calls.append((name, where[2]))
        )
        tensor, _ = numbered(context, 4096)
        tensor.descriptor.is_dma_buf = True
        fd = tensor.handle("dma_fd")
        mapped = dma_to_opencl.import_dma_buf(tensor, distant, WRITE, int)
        assert calls == [("create", fd, 4096 + LAYOUT.span, True)]
        assert mapped.handle("cl_mem").size == LAYOUT.span
        assert mapped.handle("cl_mem").offset == 4096
        mapped.on_open()
        assert calls[1:] == [("Acquire", kept[0])]
        tensor.close()
        os.fstat(fd)  # The runtime may still need it.
        mapped.close()
        assert calls[2:] == [("Release", kept[0])]
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(fd)

    def test_places_where_no_buffer_begins(self, context, distant):
        tensor, _ = numbered(context, 7)
        tensor.descriptor.is_dma_buf = True
        with pytest.raises(FormatError, match=r"from multiples of \d+ bytes on, .* from byte 7"):
            dma_to_opencl.import_dma_buf(tensor, distant, READ, int)
        tensor.close()


class TestExported:
    def test_copied_into_new_memory_and_back(self, context, opencl):
        tensor = opencl.allocate(LAYOUT)
        before = np.arange(LAYOUT.span, dtype="u1")
        cl.enqueue_copy(opencl.queue, tensor.native, before)
        mapper = create_mapper([opencl, context])
        with mapper.map(tensor, BOTH) as mapped:
            fd = mapped.handle("dma_fd")
            assert mapped_bytes(fd)[: LAYOUT.span] == before.tobytes()
            mapped_bytes(fd)[70:120] = b"\xff" * 50
        after = np.empty_like(before)
        cl.enqueue_copy(opencl.queue, after, tensor.native)
        before[70:120] = 255
        assert np.array_equal(after, before)
        assert mapper.audit.bytes_copied == 2 * LAYOUT.span
        tensor.close()

    def test_nothing_is_fetched_for_dense_samples_that_are_only_written(self, context, opencl):
        tensor = opencl.allocate(TensorInfo((6, 50), np.dtype("u1")))
        mapper = create_mapper([opencl, context])
        mapped = mapper.map(tensor, WRITE)
        assert mapper.audit.bytes_copied == 0
        mapped.close()
        assert mapper.audit.bytes_copied == 300
        tensor.close()

    def test_the_direct_way_is_taken(self, context):
        route = find_route([OpenCLContext.create(), context])
        assert [(edge.source.name, edge.target.name) for edge in route] == [("OPENCL", "DMA")]
