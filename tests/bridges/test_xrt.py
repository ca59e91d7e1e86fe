"""The XRT backend, on XRT's own library; without a card, with its device without hardware."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys

import numpy as np
import pytest

from bridges import AccessMode, MemoryType, TensorInfo, create_mapper
from bridges.backends import xrt as backend
from bridges.backends.cpu import CPUContext
from bridges.backends.dma import DMAContext, open_descriptors, samples
from bridges.backends.xrt import XRTContext, create, probe
from bridges.backends.xrt_buffer import BufferObject
from bridges.errors import (
    ClosedError,
    DeviceError,
    DeviceNotFoundError,
    FormatError,
    NoRouteError,
)
from bridges.native import xrt as native
from bridges.routes import find_route
from tests.bridges.memories.xrt import needs_xrt
from tests.helpers.require import require

READ, WRITE, BOTH = AccessMode.READ, AccessMode.WRITE, AccessMode.READ_WRITE
DENSE = TensorInfo((36, 50), np.dtype("u1"))
PADDED = TensorInfo((36, 50), np.dtype("u1"), (64, 1))
FETCH, FLUSH = "from device", "to device"


@pytest.fixture(autouse=True)
def _xrt():
    found = needs_xrt()
    require("xrt", found.available, f"{found.reason}; try: {found.remedy}")


@pytest.fixture
def card():
    with XRTContext() as context:
        yield context


@pytest.fixture
def host_only():
    with XRTContext(host_only=True) as context:
        yield context


@pytest.fixture
def carried(monkeypatch: pytest.MonkeyPatch):
    """Return a list that every call of xrtBOSync is added to."""
    calls = []
    real = BufferObject._sync

    def sync(self, direction, offset, nbytes):
        # xclBOSyncDirection of xrt.h.
        calls.append(({0: FLUSH, 1: FETCH}[direction], offset, nbytes))
        real(self, direction, offset, nbytes)

    monkeypatch.setattr(BufferObject, "_sync", sync)
    return calls


def read(tensor):
    """Return all bytes from the first sample to the last, by xrtBORead."""
    memory = np.empty(tensor.info.span, np.uint8)
    function = tensor.context.xrt.library.xrtBORead
    function.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t, ctypes.c_size_t]
    handle, offset = tensor.handle("xrt_bo"), tensor.handle("offset")
    assert function(handle, memory.ctypes.data, memory.nbytes, offset) == 0
    return memory


def picture(info=DENSE, seed=0):
    return np.random.default_rng(seed).integers(0, 256, info.shape, info.dtype)


def aligned(shape, offset=0):
    """Return an array that begins ``offset`` bytes after a page does."""
    memory = np.zeros(int(np.prod(shape)) + 8192, np.uint8)
    start = -memory.ctypes.data % 4096 + offset
    return memory[start : start + int(np.prod(shape))].reshape(shape)


def test_probe_and_selectors():
    found = probe()
    assert found.available
    assert found.remedy == ""
    assert found.devices[0].startswith("0 XRT device")
    with create("0") as context, create() as other:
        assert context.name == other.name
        assert context.name.startswith("XRT device 0")
        assert context.handle("xrt_device")
    with pytest.raises(DeviceNotFoundError, match="no XRT device 99; XRT finds"):
        create("99")
    with pytest.raises(DeviceNotFoundError, match="has a number"):
        create("first")


@pytest.mark.parametrize(
    ("settings", "reason", "remedy"),
    [
        ({}, "XILINX_XRT is not set", "export XILINX_XRT="),
        ({"XILINX_XRT": "/nowhere"}, "there is no /nowhere/lib/libxrt_core.so.2", "XILINX_XRT="),
        (
            {"XILINX_XRT": "/nowhere", "XCL_EMULATION_MODE": "noop"},
            "there is no /nowhere/lib/libxrt_noop.so.2",
            "XILINX_XRT=",
        ),
        ({"XCL_EMULATION_MODE": "best"}, "XRT knows noop, sw_emu, hw_emu", "XILINX_XRT="),
    ],
)
def test_an_environment_that_xrt_would_end_the_process_for(
    monkeypatch: pytest.MonkeyPatch, settings, reason, remedy
):
    for name in ("XILINX_XRT", "XCL_EMULATION_MODE"):
        monkeypatch.delenv(name, raising=False)
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    # As in a process that has not loaded XRT yet.
    monkeypatch.setattr(backend, "load", native.load.__wrapped__)
    monkeypatch.setattr(backend, "_SETUP", backend.Path("/nowhere/setup.sh"))
    found = probe()
    assert not found.available
    assert reason in found.reason
    assert remedy in found.remedy
    with pytest.raises(DeviceNotFoundError) as caught:
        create("0")
    assert found.remedy in str(caught.value)


def test_amd_s_own_setup_is_named_where_it_is(monkeypatch: pytest.MonkeyPatch, tmp_path):
    setup = tmp_path / "setup.sh"
    setup.touch()
    monkeypatch.delenv("XILINX_XRT", raising=False)
    monkeypatch.delenv("XCL_EMULATION_MODE", raising=False)
    monkeypatch.setattr(backend, "load", native.load.__wrapped__)
    monkeypatch.setattr(backend, "_SETUP", setup)
    assert probe().remedy == f"source {setup}"


def test_a_machine_without_xrt(monkeypatch: pytest.MonkeyPatch):
    def absent(name, **options):
        raise OSError(f"{name}: cannot open shared object file")

    monkeypatch.setattr(backend, "load", native.load.__wrapped__)
    monkeypatch.setattr(native.c, "CDLL", absent)
    found = probe()
    assert found.reason.startswith("XRT is not installed: libxrt_coreutil.so.2")
    assert found.remedy == "apt install libxrt1"


def test_a_process_without_a_setup_survives_the_probe():
    settings = {
        k: v for k, v in os.environ.items() if k not in ("XILINX_XRT", "XCL_EMULATION_MODE")
    }
    code = "from bridges.backends.xrt import probe; print(probe().available)"
    done = subprocess.run(
        [sys.executable, "-c", code], env=settings, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "False"


def test_tensors_and_handles(card):
    tensor = card.allocate(PADDED)
    library = card.xrt.library
    handle = tensor.handle("xrt_bo")
    assert tensor.memory_type is MemoryType.XRT
    assert library.xrtBOSize(handle) == PADDED.span
    assert tensor.handle("data") == library.xrtBOMap(handle)
    assert tensor.handle("address") == library.xrtBOAddress(handle)
    with pytest.raises(KeyError, match="xrt_bo"):
        tensor.handle("cl_mem")
    tensor.close()
    tensor.close()
    for use in (lambda: tensor.handle("data"), lambda: tensor.bo, lambda: np.asarray(tensor)):
        with pytest.raises(ClosedError):
            use()


def test_a_closed_context(card):
    tensor = card.allocate(DENSE)
    card.close()
    card.close()
    with pytest.raises(ClosedError):
        card.handle("xrt_device")
    with pytest.raises(ClosedError):
        card.allocate(DENSE)
    with pytest.raises(ClosedError, match="was closed; open another"):
        create_mapper([card, CPUContext()])
    assert read(tensor).size == DENSE.nbytes
    tensor.close()


@pytest.mark.parametrize(
    "info", [TensorInfo((0, 4), np.dtype("u1")), TensorInfo((2, 4), np.dtype("u1"), (-4, 1))]
)
def test_layouts_that_cannot_be(card, info):
    with pytest.raises(FormatError, match="at least one sample"):
        card.allocate(info)
    with pytest.raises(FormatError, match="at least one sample"):
        card.wrap(0, info)


def test_too_little_memory(card):
    with pytest.raises(DeviceError, match="XRT cannot"):
        card.allocate(TensorInfo((1 << 50,), np.dtype("u1")))


def test_wrapping_a_buffer_leaves_it_to_its_owner(card):
    library = card.xrt.library
    handle = library.xrtBOAlloc(card.handle("xrt_device"), 8192, 0, 0)
    tensor = card.wrap(handle, PADDED, offset=128)
    assert tensor.handle("data") == library.xrtBOMap(handle) + 128
    assert tensor.handle("address") == library.xrtBOAddress(handle) + 128
    with pytest.raises(FormatError, match="do not fit into an XRT buffer of 8192 bytes"):
        card.wrap(handle, PADDED, offset=8192 - PADDED.span + 1)
    card.wrap(handle, PADDED, offset=8192 - PADDED.span).close()
    tensor.close()
    assert library.xrtBOSize(handle) == 8192
    assert library.xrtBOFree(handle) == 0


def test_a_buffer_the_host_cannot_see_is_refused(card):
    device_only = 1 << 28  # XRT_BO_FLAGS_DEV_ONLY of xrt_mem.h.
    library = card.xrt.library
    handle = library.xrtBOAlloc(card.handle("xrt_device"), 8192, device_only, 0)
    with pytest.raises(DeviceError, match="device-only"):
        card.wrap(handle, DENSE)
    assert library.xrtBOFree(handle) == 0


def test_array_protocols(card):
    tensor = card.allocate(PADDED)
    array = np.asarray(tensor)
    assert array.ctypes.data == tensor.handle("data")
    array[...] = picture()
    assert np.array_equal(np.from_dlpack(tensor), picture())
    rows = np.append(read(tensor), np.zeros(14, np.uint8)).reshape(36, 64)
    assert np.array_equal(rows[:, :50], picture())
    tensor.close()
    assert np.array_equal(array, picture())


def test_parts_carry_their_own_bytes_only(card, carried):
    whole = card.allocate(PADDED)
    np.asarray(whole)[...] = picture()
    part = whole[4:20:2, 10:30]
    whole.close()
    assert part.handle("offset") == 4 * 64 + 10
    mapper = create_mapper([card, CPUContext()])
    with mapper.map(part, BOTH) as mapped:
        assert np.array_equal(mapped.array, picture()[4:20:2, 10:30])
        mapped.array[...] = 9
    nbytes = 7 * 128 + 20
    assert carried == [(FETCH, 266, nbytes), (FLUSH, 266, nbytes)]
    assert mapper.audit.bytes_copied == 2 * nbytes
    assert read(part)[0] == 9
    part.close()


@pytest.mark.parametrize(
    ("info", "access", "expected"),
    [
        (DENSE, READ, [FETCH]),
        (DENSE, WRITE, [FLUSH]),
        (DENSE, BOTH, [FETCH, FLUSH]),
        (PADDED, READ, [FETCH]),
        # What lies between rows goes to the device too: it has to be what is there.
        (PADDED, WRITE, [FETCH, FLUSH]),
        (PADDED, BOTH, [FETCH, FLUSH]),
    ],
)
def test_what_is_carried_and_counted(card, carried, info, access, expected):
    tensor = card.allocate(info)
    mapper = create_mapper([card, CPUContext()])
    with mapper.map(tensor, access) as mapped:
        assert mapped.array.flags.writeable is bool(access & WRITE)
        assert mapped.array.ctypes.data == tensor.handle("data")
        assert [where for where, *_ in carried] == [way for way in expected if way == FETCH]
    assert carried == [(where, 0, info.span) for where in expected]
    assert mapper.audit.bytes_copied == info.span * len(expected)
    tensor.close()


def test_host_only_buffers_are_mapped_in_place(host_only, carried):
    tensor = host_only.allocate(PADDED)
    mapper = create_mapper([host_only, CPUContext()])
    assert mapper.explain() == "XRT > CPU   zero-copy"
    with mapper.map(tensor, BOTH) as mapped:
        mapped.array[...] = picture()
    # Caches are tidied all the same; nothing is copied.
    assert carried == [(FETCH, 0, PADDED.span), (FLUSH, 0, PADDED.span)]
    assert mapper.audit.bytes_copied == 0
    carried.clear()
    with mapper.map(tensor, WRITE):
        pass
    assert carried == [(FLUSH, 0, PADDED.span)]
    tensor.close()


def test_an_array_at_a_page_goes_to_the_device_as_it_is(card, carried):
    array = aligned(DENSE.shape)
    array[...] = picture()
    mapper = create_mapper([CPUContext(), card])
    with mapper.map(CPUContext().wrap(array), BOTH) as mapped:
        assert mapped.handle("data") == array.ctypes.data
        assert np.array_equal(np.asarray(mapped), picture())
        np.asarray(mapped)[...] = picture(seed=1)
    assert carried == [(FLUSH, 0, DENSE.nbytes), (FETCH, 0, DENSE.nbytes)]
    assert mapper.audit.bytes_copied == 2 * DENSE.nbytes
    assert np.array_equal(array, picture(seed=1))


def test_any_other_array_is_copied_first(card, carried):
    mapper = create_mapper([CPUContext(), card])
    read_only = aligned(DENSE.shape)
    others = aligned(DENSE.shape, offset=64), aligned((36, 64))[:, :50], aligned(DENSE.shape)[::-1]
    for seed, array in enumerate((*others, read_only)):
        array[...] = picture(seed=seed)
        read_only.flags.writeable = array is not read_only
        carried.clear()
        before = mapper.audit.bytes_copied
        with mapper.map(CPUContext().wrap(array), READ) as mapped:
            assert mapped.handle("data") != array.ctypes.data
            assert np.array_equal(read(mapped).reshape(DENSE.shape), array)
        assert carried == [(FLUSH, 0, DENSE.nbytes)]
        # Once by the processor and once by DMA.
        assert mapper.audit.bytes_copied - before == 2 * DENSE.nbytes


def test_copying_into_host_only_buffers_takes_one_copy(host_only):
    mapper = create_mapper([CPUContext(), host_only])
    array = aligned(DENSE.shape)
    with mapper.map(CPUContext().wrap(array), BOTH) as mapped:
        assert mapped.handle("data") != array.ctypes.data
        np.asarray(mapped)[...] = picture()
    assert np.array_equal(array, picture())
    assert mapper.audit.bytes_copied == 2 * DENSE.nbytes


def test_empty_arrays_are_refused(card):
    with pytest.raises(FormatError, match="at least one sample"):
        create_mapper([CPUContext(), card]).map(CPUContext().wrap(np.empty((0, 4), "u1")), READ)


def test_a_misaligned_user_pointer_says_why(card):
    array = aligned(DENSE.shape, offset=64)
    with pytest.raises(DeviceError, match=r"XRT cannot use 1800 bytes of host memory.*Invalid"):
        card.use_host_memory(array.ctypes.data, DENSE.nbytes, array)


def test_a_device_that_exports_nothing_is_refused(card):
    if not card.export_refusal:
        pytest.skip("xrt: this device exports its buffers")
    with pytest.raises(NoRouteError, match=r"XRT > DMA.*exports no file descriptor.*returned -1"):
        find_route([card, DMAContext()])


def test_an_exported_buffer(card, monkeypatch: pytest.MonkeyPatch):
    # The device without hardware exports nothing: a memfd stands for what a card's driver gives.
    fd = os.memfd_create("exported")
    os.write(fd, bytes(range(256)) * 16)
    monkeypatch.setattr(BufferObject, "exported", fd)
    before = open_descriptors()
    tensor = card.allocate(TensorInfo((16, 256), np.dtype("u1")))
    mapped = create_mapper([card, DMAContext()]).map(tensor[2:4, 10:20], READ)
    tensor.close()
    assert mapped.handle("offset") == 2 * 256 + 10
    assert mapped.handle("dma_fd") != fd
    assert os.path.sameopenfile(mapped.handle("dma_fd"), fd)
    assert np.array_equal(samples(mapped, READ), [range(10, 20)] * 2)
    mapped.close()
    assert open_descriptors() == before
    os.close(fd)
