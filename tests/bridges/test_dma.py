"""DMA memory: who owns a file descriptor, what is refused, and what a cache may keep."""

from __future__ import annotations

import errno
import fcntl
import gc
import mmap
import os
import struct

import numpy as np
import pytest

from bridges import AccessMode, Frame, FrameInfo, TensorInfo, create_mapper
from bridges.backends import dma, dma_allocator
from bridges.backends.cpu import CPUContext
from bridges.backends.dma import DMAContext, DMATensor, FileDescriptor, open_descriptors
from bridges.backends.dma_allocator import Memfd, allocators
from bridges.errors import ClosedError, DeviceError, DeviceNotFoundError, FormatError, NoRouteError
from bridges.formats import PIXEL_FORMATS, pixel_format
from bridges.native import drm
from bridges.tensor import MemoryType
from tests.helpers.process import open_files
from tests.helpers.require import require
from tests.helpers.threads import run_together

READ, WRITE, BOTH = AccessMode.READ, AccessMode.WRITE, AccessMode.READ_WRITE
BYTES = TensorInfo((3, 5), np.dtype("u1"))
INTEL_Y_TILED = 0x0100_0000_0000_0002


@pytest.fixture
def memfds():
    return DMAContext(Memfd())


@pytest.fixture(params=allocators(), ids=lambda allocator: allocator.name)
def context(request):
    """One context for each source of memory that this machine has."""
    return DMAContext(request.param)


@pytest.fixture(autouse=True)
def nothing_open():
    gc.collect()
    before, files = open_descriptors(), open_files()
    yield
    gc.collect()
    assert open_descriptors() == before
    assert open_files() == files


class TestKernelInterface:
    """The numbers, as a C compiler gives them for x86-64 and ARM from the kernel's headers."""

    def test_requests(self):
        assert drm.DMA_BUF_IOCTL_SYNC == 0x40086200
        assert drm.UDMABUF_CREATE == 0x40187542
        assert drm.DMA_HEAP_IOCTL_ALLOC == 0xC0184800
        assert drm.DRM_IOCTL_MODE_CREATE_DUMB == 0xC02064B2
        assert drm.DRM_IOCTL_PRIME_HANDLE_TO_FD == 0xC00C642D

    def test_fourcc(self):
        assert drm.fourcc("NV12") == 0x3231564E
        assert drm.fourcc_name(0x3231564E) == "NV12"
        for entry in PIXEL_FORMATS.values():
            assert not entry.drm or drm.fourcc_name(drm.fourcc(entry.drm)) == entry.drm

    def test_modifiers_are_named_with_all_their_bits(self):
        assert drm.modifier_name(0) == "0x0000000000000000 (linear)"
        assert drm.modifier_name(drm.MODIFIER_INVALID) == "0x00ffffffffffffff (not told)"
        assert drm.modifier_name(INTEL_Y_TILED) == "0x0100000000000002"

    def test_a_memfd_is_no_dma_buf(self, memfds):
        with memfds.allocate(BYTES) as tensor:
            assert not drm.is_dma_buf(tensor.handle("dma_fd"))
            with pytest.raises(OSError, match="ioctl") as caught:
                drm.dma_buf_sync(tensor.handle("dma_fd"), drm.DMA_BUF_SYNC_READ)
            assert caught.value.errno == errno.ENOTTY

    def test_closed_descriptor(self):
        closed = os.dup(0)
        os.close(closed)
        with pytest.raises(OSError, match="Bad file descriptor"):
            drm.is_dma_buf(closed)

    def test_interrupted_calls_are_tried_again(self, monkeypatch):
        seen = []

        def ioctl(fd, request, argument):
            seen.append((fd, request, struct.unpack("=Q", argument)[0]))
            if len(seen) < 3:
                raise OSError((errno.EINTR, errno.EAGAIN)[len(seen) - 1], "again")

        monkeypatch.setattr(drm.fcntl, "ioctl", ioctl)
        drm.dma_buf_sync(7, drm.DMA_BUF_SYNC_END | drm.DMA_BUF_SYNC_WRITE)
        assert seen == [(7, 0x40086200, 6)] * 3


class TestDescriptors:
    def test_owned_counted_and_closed_once(self):
        before = open_descriptors()
        fd = os.memfd_create("test")
        owner = FileDescriptor(fd)
        assert (owner.fd, open_descriptors()) == (fd, before + 1)
        owner.close()
        other = os.memfd_create("other")  # Takes the number that became free.
        assert other == fd
        owner.close()
        del owner
        os.fstat(other)
        os.close(other)
        assert open_descriptors() == before

    def test_use_after_close(self):
        owner = FileDescriptor(os.memfd_create("test"))
        owner.close()
        with pytest.raises(ClosedError, match="file descriptor was closed"):
            _ = owner.fd

    def test_forgotten_one_is_closed(self):
        fd = os.memfd_create("test")
        FileDescriptor(fd)
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(fd)

    def test_duplicate_is_not_inherited(self):
        owner = FileDescriptor(os.memfd_create("test"))
        with owner, FileDescriptor.duplicate(owner.fd) as other:
            assert other.fd != owner.fd
            assert other.identity == owner.identity
            assert not os.get_inheritable(other.fd)

    def test_duplicate_of_nothing(self):
        with pytest.raises(DeviceError, match="cannot duplicate file descriptor 99999"):
            FileDescriptor.duplicate(99999)

    def test_closed_from_two_threads(self):
        owners = [FileDescriptor(os.memfd_create("test")) for _ in range(300)]
        before = open_descriptors()
        run_together(lambda _: [owner.close() for owner in owners], range(2))
        assert open_descriptors() == before - 300


class TestAllocate:
    def test_layout_and_handles(self, context):
        info = TensorInfo((3, 5), np.dtype("<u2"), (64, 2))
        with context.allocate(info) as tensor:
            assert tensor.memory_type is MemoryType.DMA
            assert tensor.info == info
            assert (tensor.handle("offset"), tensor.handle("drm_modifier")) == (0, 0)
            assert tensor.descriptor.nbytes == mmap.PAGESIZE
            assert not os.get_inheritable(tensor.handle("dma_fd"))

    def test_says_whether_it_is_a_dma_buf(self, context):
        with context.allocate(BYTES) as tensor:
            fd = tensor.handle("dma_fd")
            name = os.readlink(f"/proc/self/fd/{fd}")
        assert ("dmabuf" in name) == context.is_dma_buf == ("no dma-buf" not in context.name)

    def test_memfd_cannot_be_cut_off_under_a_mapping(self, memfds):
        with memfds.allocate(BYTES) as tensor, pytest.raises(PermissionError):
            os.ftruncate(tensor.handle("dma_fd"), 0)

    @pytest.mark.parametrize(
        "info",
        [
            TensorInfo((0, 5), np.dtype("u1")),
            TensorInfo((3, 5), np.dtype("u1"), (-5, 1)),
        ],
    )
    def test_layouts_that_cannot_be(self, memfds, info):
        with pytest.raises(FormatError, match="at least one sample"):
            memfds.allocate(info)

    def test_too_much(self, memfds):
        with pytest.raises(DeviceError, match="cannot allocate"):
            memfds.allocate(TensorInfo((1 << 62, 2), np.dtype("u1")))

    def test_after_close(self):
        context = DMAContext(Memfd())
        context.close()
        with pytest.raises(ClosedError):
            context.allocate(BYTES)

    def test_real_dma_bufs(self):
        found = allocators()[0]
        require("dma", found.is_dma_buf, "no /dev/udmabuf, /dev/dma_heap or vgem")
        with DMAContext(found).allocate(BYTES) as tensor:
            assert drm.is_dma_buf(tensor.handle("dma_fd"))
            drm.dma_buf_sync(tensor.handle("dma_fd"), drm.DMA_BUF_SYNC_WRITE)
            drm.dma_buf_sync(tensor.handle("dma_fd"), drm.DMA_BUF_SYNC_WRITE | drm.DMA_BUF_SYNC_END)


class TestAllocators:
    """What is asked of the kernel, where this machine's has not the device."""

    @pytest.fixture
    def nodes(self, monkeypatch, tmp_path):
        for folder in ("heap", "vgem/card1", "vgem/renderD128", "dri"):
            (tmp_path / folder).mkdir(parents=True)
        for name in ("udmabuf", "heap/reserved", "heap/system", "dri/card0", "dri/card1"):
            (tmp_path / name).touch()
        monkeypatch.setattr(dma_allocator, "_UDMABUF", tmp_path / "udmabuf")
        monkeypatch.setattr(dma_allocator, "_HEAPS", tmp_path / "heap")
        monkeypatch.setattr(dma_allocator, "_VGEM", tmp_path / "vgem")
        monkeypatch.setattr(dma_allocator, "_NODES", tmp_path / "dri")

    @pytest.fixture
    def requests(self, monkeypatch, nodes):
        seen = []
        real = fcntl.ioctl

        def ioctl(fd, request, argument, *mutable):
            if request == drm.UDMABUF_CREATE:
                memfd, flags, offset, nbytes = struct.unpack("=IIQQ", argument)
                seals = fcntl.fcntl(memfd, fcntl.F_GET_SEALS)
                seen.append((flags, offset, nbytes, seals & fcntl.F_SEAL_SHRINK))
                return os.dup(memfd)
            if request == drm.DMA_HEAP_IOCTL_ALLOC:
                nbytes, _, flags, heap_flags = struct.unpack("=QIIQ", argument)
                seen.append((nbytes, flags, heap_flags))
                struct.pack_into("=I", argument, 8, os.memfd_create("heap"))
                return 0
            if request == drm.DRM_IOCTL_MODE_CREATE_DUMB:
                seen.append((os.readlink(f"/proc/self/fd/{fd}")[-5:], *argument[:16]))
                struct.pack_into("=I", argument, 16, 77)
                return 0
            if request == drm.DRM_IOCTL_PRIME_HANDLE_TO_FD:
                seen.append(struct.unpack("=IIi", argument))
                struct.pack_into("=i", argument, 8, os.memfd_create("vgem"))
                return 0
            return real(fd, request, argument, *mutable)

        monkeypatch.setattr(drm.fcntl, "ioctl", ioctl)
        return seen

    def test_order(self, nodes):
        names = [allocator.name for allocator in allocators()]
        assert names == ["udmabuf", "system", "reserved", "vgem", "memfd"]

    def test_udmabuf(self, requests):
        with dma.create("udmabuf").allocate(BYTES):
            assert requests == [(1, 0, mmap.PAGESIZE, fcntl.F_SEAL_SHRINK)]

    def test_heap(self, requests):
        with dma.create("system").allocate(BYTES):
            assert requests == [(BYTES.span, os.O_RDWR | os.O_CLOEXEC, 0)]

    def test_vgem(self, requests):
        with dma.create("vgem").allocate(BYTES):
            sides = struct.pack("=4I", 1, mmap.PAGESIZE, 8, 0)
            assert requests == [("card1", *sides), (77, os.O_RDWR | os.O_CLOEXEC, -1)]

    @pytest.mark.parametrize("name", ["udmabuf", "system", "vgem"])
    def test_the_kernel_refuses(self, monkeypatch, nodes, name):
        def ioctl(*arguments):
            raise OSError(errno.EINVAL, "no")

        monkeypatch.setattr(drm.fcntl, "ioctl", ioctl)
        with pytest.raises(DeviceError, match=f"cannot allocate 15 bytes of dma-buf .*{name}"):
            dma.create(name).allocate(BYTES)


class TestWrap:
    def test_own_descriptor(self, memfds):
        fd = Memfd().allocate(100)
        tensor = memfds.wrap(fd, BYTES, offset=7)
        assert tensor.handle("dma_fd") != fd
        os.pwrite(fd, bytes(range(15)), 7)
        os.close(fd)
        with create_mapper([memfds, CPUContext()]).map(tensor, READ) as mapped:
            assert mapped.handle("array").tolist() == np.arange(15).reshape(3, 5).tolist()
        tensor.close()

    def test_taken(self, memfds):
        fd = Memfd().allocate(100)
        with memfds.wrap(fd, BYTES, take=True) as tensor:
            assert tensor.handle("dma_fd") == fd
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(fd)

    def test_what_is_refused_is_not_taken(self, memfds):
        fd = Memfd().allocate(100)
        with pytest.raises(FormatError, match=r"15 bytes from byte 4090 on do not fit into 4096"):
            memfds.wrap(fd, BYTES, offset=4090, take=True)
        with pytest.raises(FormatError, match="at least one sample"):
            memfds.wrap(fd, BYTES, offset=-1, take=True)
        os.fstat(fd)
        os.close(fd)

    def test_no_memory(self, memfds):
        reading, writing = os.pipe()
        with pytest.raises(DeviceError, match="size of the memory behind file descriptor"):
            memfds.wrap(reading, BYTES)
        os.close(reading)
        os.close(writing)

    def test_tiled(self, memfds):
        with FileDescriptor(Memfd().allocate(100)) as owner:
            tensor = memfds.wrap(owner.fd, BYTES, modifier=INTEL_Y_TILED)
        assert tensor.handle("drm_modifier") == INTEL_Y_TILED
        with pytest.raises(FormatError, match="0x0100000000000002"):
            create_mapper([memfds, CPUContext()]).map(tensor, READ)
        with pytest.raises(FormatError, match="0x0100000000000002"):
            tensor[1:]
        tensor.close()

    def test_layout_not_told(self, memfds):
        with FileDescriptor(Memfd().allocate(100)) as owner:
            tensor = memfds.wrap(owner.fd, BYTES, modifier=drm.MODIFIER_INVALID)
        with pytest.raises(FormatError, match=r"0x00ffffffffffffff \(not told\)"):
            create_mapper([memfds, CPUContext()]).map(tensor, READ)
        tensor.close()

    def test_part(self, memfds):
        whole = memfds.allocate(TensorInfo((40, 200), np.dtype("u1")))
        os.pwrite(whole.handle("dma_fd"), (np.arange(8000) % 251).astype("u1").tobytes(), 0)
        part = whole[30:32, 17:20]
        assert part.handle("offset") == 30 * 200 + 17
        with create_mapper([memfds, CPUContext()]).map(part, READ) as mapped:
            expected = (np.arange(8000) % 251).reshape(40, 200)[30:32, 17:20]
            assert mapped.handle("array").tolist() == expected.tolist()
        whole.close()
        part.close()


class TestMapped:
    @pytest.fixture
    def to_cpu(self, context):
        return create_mapper([context, CPUContext()])

    @pytest.mark.parametrize("offset", [0, 1, 4095, 4096, 4097, 12300])
    def test_any_offset(self, context, to_cpu, offset):
        whole = context.allocate(TensorInfo((20000,), np.dtype("u1")))
        with to_cpu.map(whole, BOTH) as mapped:
            mapped.handle("array")[:] = np.arange(20000) % 253
        tensor = context.wrap(whole.handle("dma_fd"), BYTES, offset=offset)
        with to_cpu.map(tensor, READ) as mapped:
            expected = (np.arange(offset, offset + 15) % 253).reshape(3, 5)
            assert mapped.handle("array").tolist() == expected.tolist()
        whole.close()
        tensor.close()

    def test_reading_maps_pages_that_cannot_be_written(self, context, to_cpu):
        with context.allocate(BYTES) as tensor, to_cpu.map(tensor, READ) as mapped:
            address = mapped.handle("data")
            with open("/proc/self/maps") as maps:
                lines = [line.split() for line in maps]
            ranges = [([int(end, 16) for end in line[0].split("-")], line[1]) for line in lines]
            assert [mode for (start, end), mode in ranges if start <= address < end] == ["r--s"]
            with pytest.raises(ValueError, match="read-only"):
                mapped.handle("array")[0, 0] = 1

    def test_mapped_from_the_first_byte_on(self, memfds):
        """Some drivers map a dma-buf from there, whatever they are asked for."""
        tensor = memfds.wrap(Memfd().allocate(9000), BYTES, offset=8200, take=True)
        with create_mapper([memfds, CPUContext()]).map(tensor, READ) as mapped:
            address = mapped.handle("data") - 8200
            with open("/proc/self/maps") as maps:
                (line,) = [each for each in maps if each.startswith(f"{address:x}-")]
        assert int(line.split()[2], 16) == 0
        tensor.close()

    def test_a_view_outlives_everything(self, context, to_cpu):
        tensor = context.allocate(BYTES)
        mapped = to_cpu.map(tensor, BOTH)
        view = mapped.handle("array")[1:]
        view[...] = 7
        mapped.close()
        tensor.close()
        assert (view == 7).all()

    def test_descriptor_that_can_only_be_read(self, memfds):
        with memfds.allocate(BYTES) as tensor:
            fd = os.open(f"/proc/self/fd/{tensor.handle('dma_fd')}", os.O_RDONLY)
        only_read = memfds.wrap(fd, BYTES, take=True)
        mapper = create_mapper([memfds, CPUContext()])
        mapper.map(only_read, READ).close()
        with pytest.raises(DeviceError, match=r"for WRITE: .*Permission"):
            mapper.map(only_read, WRITE)
        only_read.close()

    def test_a_dma_buf_is_given_to_the_cpu_and_back(self, memfds, monkeypatch):
        calls = []
        monkeypatch.setattr(dma, "dma_buf_sync", lambda fd, flags: calls.append((fd, flags)))
        tensor = memfds.allocate(BYTES)
        tensor.descriptor.is_dma_buf = True  # As it is where devices can import it.
        fd = tensor.handle("dma_fd")
        mapper = create_mapper([memfds, CPUContext()])
        for access, flags in ((READ, 1), (WRITE, 2), (BOTH, 3)):
            with mapper.map(tensor, access):
                assert calls == [(fd, flags)]
            assert calls == [(fd, flags), (fd, flags | 4)]
            calls.clear()
        mapped = mapper.map(tensor, READ)
        tensor.close()
        mapped.close()
        assert calls == [(fd, 1), (fd, 5)]

    def test_failed_synchronisation(self, memfds):
        tensor = memfds.allocate(BYTES)
        tensor.descriptor.is_dma_buf = True
        with pytest.raises(DeviceError, match=r"give a dma-buf to the CPU: .*ioctl"):
            create_mapper([memfds, CPUContext()]).map(tensor, READ)
        tensor.close()


class TestCache:
    @pytest.fixture
    def cached(self, memfds):
        mapper = create_mapper([memfds, CPUContext()], cache=4)
        yield mapper
        mapper.close()

    def test_same_memory_under_another_descriptor(self, memfds, cached):
        first = memfds.allocate(BYTES)
        again = memfds.wrap(first.handle("dma_fd"), BYTES)
        assert first.memory_key() == again.memory_key()
        assert hash(first.memory_key()) == hash(again.memory_key())
        cached.map(first, READ).close()
        first.close()
        os.pwrite(again.handle("dma_fd"), b"\x09" * 15, 0)
        with cached.map(again, READ) as mapped:
            assert (mapped.handle("array") == 9).all()
        assert (cached.statistics.hits, cached.statistics.misses) == (1, 1)
        again.close()

    def test_other_memory_never_has_a_key_that_is_alive(self, memfds):
        keys = set()
        for _ in range(200):
            with memfds.allocate(BYTES) as tensor:
                keys.add(tensor.memory_key())
        assert len(keys) == 200

    def test_planes_of_one_memory_differ(self, memfds):
        with memfds.allocate(TensorInfo((30,), np.dtype("u1"))) as whole:
            fd = whole.handle("dma_fd")
            with memfds.wrap(fd, BYTES) as one, memfds.wrap(fd, BYTES, offset=15) as other:
                assert one.memory_key() != other.memory_key()

    def test_what_a_decoder_recycles_is_not_kept(self, memfds, cached):
        frame = object()
        with FileDescriptor(Memfd().allocate(100)) as fd:
            own = FileDescriptor.duplicate(fd.fd)
        tensor = DMATensor(own, BYTES, keep=frame, context=memfds)
        cached.map(tensor, READ).close()
        assert (cached.statistics.uncached, cached.statistics.entries) == (1, 0)
        tensor.close()

    def test_a_mapping_holds_what_a_decoder_would_recycle(self, memfds):
        class Recycled:
            gone = False

            def __del__(self):
                Recycled.gone = True

        own = FileDescriptor(Memfd().allocate(100))
        tensor = DMATensor(own, BYTES, keep=Recycled(), context=memfds)
        mapped = create_mapper([memfds, CPUContext()]).map(tensor[1:], READ)
        tensor.close()
        del tensor
        gc.collect()
        assert not Recycled.gone
        mapped.close()
        del mapped
        gc.collect()
        assert Recycled.gone

    def test_without_inodes_nothing_is_kept(self, memfds, monkeypatch):
        monkeypatch.setattr(os, "readlink", lambda path: "anon_inode:dmabuf")  # Linux before 5.3.
        with memfds.allocate(BYTES) as tensor:
            assert tensor.memory_key() is None


class TestContexts:
    def test_handles(self):
        assert DMAContext().handle("drm_device") is None
        assert DMAContext(drm_device="/dev/dri/renderD128").handle("drm_device") == (
            "/dev/dri/renderD128"
        )

    def test_selectors(self):
        assert dma.create("memfd").is_dma_buf is False
        assert dma.create().name == str(allocators()[0])
        with pytest.raises(
            DeviceNotFoundError, match=r"'nothing', only from .*memfd; try: modprobe"
        ):
            dma.create("nothing")
        with pytest.raises(DeviceNotFoundError, match="no DRM device /dev/dri/nothing"):
            dma.create("/dev/dri/nothing")

    def test_probe_says_what_stands_in(self):
        found = dma.probe()
        assert found.available == allocators()[0].is_dma_buf
        assert any("memfd" in device for device in found.devices)
        assert found.available or "memfds stand in" in found.reason

    def test_derived(self, memfds):
        assert memfds.derive(MemoryType.CPU).memory_type is MemoryType.CPU
        assert memfds.derive(MemoryType.FFMPEG).hardware == "drm_prime"
        with pytest.raises(NoRouteError):
            memfds.derive(MemoryType.VAAPI)

    def test_frame_in_one_buffer(self, memfds):
        info = FrameInfo(pixel_format("nv12"), 37, 21)
        luma, chroma = info.planes
        with memfds.allocate(TensorInfo((2000,), np.dtype("u1"))) as whole:
            fd = whole.handle("dma_fd")
            planes = [memfds.wrap(fd, luma), memfds.wrap(fd, chroma, offset=luma.span)]
        frame = Frame(info, planes)
        with create_mapper([memfds, CPUContext()]).map(frame, WRITE) as mapped:
            for value, tensor in enumerate(mapped.tensors, 1):
                tensor.handle("array")[...] = value
        found = os.pread(planes[0].handle("dma_fd"), 2000, 0)
        assert found == b"\1" * luma.span + b"\2" * chroma.span + bytes(
            2000 - luma.span - chroma.span
        )
        frame.close()
