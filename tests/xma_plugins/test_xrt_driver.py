"""XRT cards as devices, on XRT's own library with its device without hardware.

Each test is a child process: XRT reads its environment once, and ends a process that it cannot go
on with. What a kernel computes cannot be seen here, as none runs.
"""

from __future__ import annotations

import pytest

from tests.xma_plugins.noop import needs_noop, run
from tests.xma_plugins.xclbin import COPY, write

PREAMBLE = """
import ctypes as c, os, sys, threading, time
import numpy as np
from bridges.backends.xrt import XRTContext
from bridges.errors import ClosedError, DeviceError, DeviceNotFoundError, FormatError
from bridges.native.xrt import RunState, load
from bridges.tensor import TensorInfo
from xma_plugins.drivers.xrt import XRTDriver, create
from xma_plugins.errors import NoKernelError
from xma_plugins.registers import RegisterMap
from tests.xma_plugins.xclbin import COPY

def refused(error, text, call, *arguments, **named):
    try:
        call(*arguments, **named)
    except error as caught:
        assert text in str(caught), caught
    else:
        raise AssertionError(f"no {error.__name__}: {text}")

def setting(name, value):
    library = c.CDLL("libxrt_coreutil.so.2")
    assert library.xrtIniUintSet(name.encode(), value) == 0
"""
OPEN = """
driver = XRTDriver(XRTContext(), sys.argv[1])
"""


@pytest.fixture(autouse=True)
def _xrt():
    needs_noop()


@pytest.fixture
def child(tmp_path):
    xclbin = write(tmp_path / "copy.xclbin", COPY)

    def call(code, *, opened=True):
        preamble = PREAMBLE + (OPEN if opened else "")
        return run(code + "\nprint('done')", tmp_path, xclbin, preamble=preamble)

    return call


def test_banks_and_units_come_from_the_xclbin(child):
    child("""
assert driver.xclbin.id == COPY.id
assert driver._card.xclbin_id == COPY.id.bytes
assert driver.kind == "xrt" and driver.runtime is None and not driver.shares_host_memory
assert [(b.name, b.nbytes) for b in driver.banks] == [
    ("DDR[0]", 1 << 30), ("DDR[1]", 2 << 30), ("DDR[2]", 0)
]
assert driver.memory_nbytes == 3 << 30
assert [u.name for u in driver.units] == ["copy:copy_1", "copy:copy_2", "fill:fill_1"]
unit = driver.units[0]
assert [(a.name, a.offset, a.type) for a in unit.arguments] == [
    ("source", 0x18, "address"), ("target", 0x24, "address"),
    ("nbytes", 0x30, "u32"), ("scale", 0x38, "f64"),
]
assert unit.connectivity == {"source": 0, "target": 1}
driver.close()
driver.close()
""")


def test_xrt_itself_reads_the_same_from_the_xclbin(child):
    child("""
for unit in driver.xclbin.units:
    kernel = driver.kernel(unit.name)
    assert driver.kernel(unit.name) is kernel
    for each in unit.arguments:
        assert kernel.offset(each.index) == each.offset
        assert kernel.bank(each.index) == unit.banks.get(each.index)
    refused(DeviceError, "has no argument 9", kernel.offset, 9)
for name in ("copy:copy_3", "nothing:copy_1", "copy:"):
    refused(DeviceNotFoundError, "no compute unit", driver.kernel, name)
kernel = driver.kernel("copy:copy_1")
driver.close()
refused(ClosedError, "was closed", kernel.bank, 0)
""")


def test_a_card_without_an_xclbin(child):
    child(
        """
driver = create("0")
assert (driver.units, driver.memory_nbytes, driver._card.xclbin_id) == ((), 0, bytes(16))
from xma_plugins.drivers.driver import HardwareUnit
unit = HardwareUnit("copy:copy_1", ())
refused(NoKernelError, "none loaded", driver.start, unit, RegisterMap(bytes(64)))
refused(FormatError, "does not begin", driver.load_xclbin, __file__ if 0 else "/dev/null")
refused(OSError, "No such file", driver.load_xclbin, "/nowhere.xclbin")
driver.load_xclbin(sys.argv[1])
assert len(driver.units) == 3
refused(NoKernelError, "no compute unit 'x'; its xclbin has copy:copy_1",
        driver.start, HardwareUnit("x", ()), RegisterMap(bytes(64)))
driver.close()
""",
        opened=False,
    )


def test_buffers(child):
    child("""
from bridges.backends.xrt_buffer import BufferObject
carried, real = [], BufferObject._sync
def sync(self, direction, offset, nbytes):
    carried.append((direction, offset, nbytes))
    real(self, direction, offset, nbytes)
BufferObject._sync = sync

groups = []
library = driver._card.xrt.library
alloc = library.xrtBOAlloc
library.xrtBOAlloc = lambda *asked: (groups.append(asked[2:]), alloc(*asked))[1]
tensor = driver.allocate(8192, bank=1)
only = driver.allocate(4096, bank=0, device_only=True)
assert groups == [(0, 1), (1 << 28, 0)], groups

side = driver.host_side(tensor)
assert side.shape == (8192,) and not side.any()
assert driver.address(tensor) is None  # All of them are 0xdeadbeef here.
assert tensor.handle("address") == library.xrtBOAddress(tensor.handle("xrt_bo"))
side[100:200] = np.arange(100)
driver.write(tensor, 100, side[100:200])
out = np.empty(50, np.uint8)
driver.read(tensor, 110, out)
assert np.array_equal(out, np.arange(10, 60))
driver.write(tensor, 8000, np.full(192, 7, np.uint8))
assert (side[8000:] == 7).all()
assert carried == [(0, 100, 100), (1, 110, 50), (0, 8000, 192)], carried

part = driver.view(tensor, TensorInfo((10, 8), np.dtype("u2"), (100, 2)), 100)
assert part.parent is tensor and part.handle("offset") == 100
assert np.asarray(part)[0, 1] == 2 | 3 << 8

assert driver.host_side(only) is None
refused(KeyError, "data", only.handle, "data")
refused(DeviceError, "no host's side", np.asarray, only)
refused(DeviceError, "no host's side", driver.read, only, 0, out)
refused(DeviceError, "no host's side", driver.write, only, 0, out)
assert library.xrtBOSize(only.handle("xrt_bo")) == 4096
refused(DeviceError, "exports no file descriptor", driver.export, tensor)
fd = os.memfd_create("memory")
refused(DeviceError, f"cannot import file descriptor {fd}", driver.import_descriptor, fd, 4096)
os.close(fd)
for each in (part, tensor, only):
    each.close()
driver.close()
""")


def test_buffers_that_are_held_to_the_end_are_freed_before_the_device(child):
    child("""
import atexit
library = driver._card.xrt.library
freed, free = [], library.xrtBOFree
library.xrtBOFree = lambda handle: (freed.append(handle), free(handle))[1]
held = driver.allocate(8192)
side = driver.host_side(held)
handle = held.handle("xrt_bo")
held.close()
assert not freed  # The array is over it.
atexit._run_exitfuncs()
assert freed == [handle], freed
""")


def test_an_import_is_of_the_memory_behind_the_descriptor(child):
    # The device without hardware imports nothing: a buffer of its own stands for what a card gives.
    child("""
library = driver._card.xrt.library
asked = []
def imported(device, descriptor):
    asked.append((device, descriptor))
    return library.xrtBOAlloc(device, 4096, 0, 0)
library.xrtBOImport = imported
tensor = driver.import_descriptor(5, 4096)
assert asked == [(driver._card.handle("xrt_device"), 5)]
assert tensor.info.shape == (4096,) and driver.host_side(tensor).size == 4096
refused(FormatError, "do not fit into an XRT buffer", driver.import_descriptor, 5, 4097)
tensor.close()
driver.close()
""")


def test_register_maps_are_what_the_card_gets(child):
    child("""
packets, driver_library = [], driver._card.xrt.driver
real = driver_library.xclExecBuf
def execute(device, buffer):
    at = driver_library.xclMapBO(device, buffer, True)
    words = (c.c_uint32 * 40).from_address(at)
    packets.append(list(words))
    return real(device, buffer)
driver_library.xclExecBuf = execute

registers = RegisterMap(bytes(range(64)))
for number, unit in enumerate(driver.units):
    event = driver.start(unit, registers)
    event.wait()
    event.wait(1)
    assert event.is_done and event.command.state is RunState.COMPLETED
    header, mask, *rest = packets[-1]
    assert mask == 1 << number
    # state 4 bits, extra masks at 10, count at 12, opcode at 23, type at 28.
    assert header == 1 | 0 << 10 | (1 + 16) << 12 | 0 << 23 | 3 << 28, hex(header)
    assert np.array(rest[:16], "<u4").tobytes() == registers
driver.finish()

from bridges.backends import xrt_kernel
packet = np.frombuffer(xrt_kernel._packet(70, bytes(8)), "<u4")
assert packet.tolist() == [1 | 2 << 10 | (3 + 2) << 12 | 3 << 28, 0, 0, 1 << 6, 0, 0]
most = xrt_kernel.MAX_REGISTERS
driver.start(driver.units[0], RegisterMap(bytes(most))).wait()
refused(DeviceError, "up to 4032 bytes of registers, got 4036",
        driver.start, driver.units[0], RegisterMap(bytes(most + 4)))
driver.close()
""")


def test_waiting_for_a_command(child):
    child(
        """
from xma_plugins.drivers.xrt import CommandFailedError
setting("Runtime.noop_completion_delay_us", 300_000)
driver = XRTDriver(XRTContext(), sys.argv[1])
began = time.monotonic()
event = driver.start(driver.units[0], RegisterMap(bytes(64)))
assert not event.is_done and time.monotonic() - began < 0.2
refused(CommandFailedError, "copy:copy_1 is NEW after 0.01 seconds", event.wait, 0.01)
try:
    event.wait(0)
except CommandFailedError as error:
    assert error.command_state == "TIMEOUT"
ended = []
def wait():
    event.wait()
    ended.append(time.monotonic() - began)
threads = [threading.Thread(target=wait) for _ in range(4)]
for each in threads: each.start()
for each in threads: each.join()
assert len(ended) == 4 and min(ended) > 0.25 and event.is_done
second = driver.start(driver.units[1], RegisterMap(bytes(64)))
driver.finish()
assert second.is_done
third = driver.start(driver.units[1], RegisterMap(bytes(64)))
driver.close()  # It waits, too.
assert third.is_done
""",
        opened=False,
    )


def test_commands_that_fail(child):
    child("""
from xma_plugins.drivers.xrt import CommandFailedError
from bridges.native.xrt import NO_BUFFER
library = driver._card.xrt.driver
states = {
    RunState.ERROR: "ERROR", RunState.ABORT: "ABORT", RunState.TIMEOUT: "TIMEOUT",
    RunState.NO_RESPONSE: "ERROR", RunState.SOFT_KERNEL_ERROR: "PSK_ERROR",
    RunState.SOFT_KERNEL_CRASHED: "PSK_CRASHED",
}
def end_as(state):
    def execute(device, buffer):
        at = library.xclMapBO(device, buffer, True)
        c.c_uint32.from_address(at).value = int(state)
        return 0
    return execute
for state, name in states.items():
    library.xclExecBuf = end_as(state)
    event = driver.start(driver.units[0], RegisterMap(bytes(64)))
    assert event.is_done
    try:
        event.wait()
    except CommandFailedError as error:
        assert error.command_state == name and state.name in str(error)
    else:
        raise AssertionError(name)
driver._running.clear()
freed, free = [], library.xclFreeBO
library.xclFreeBO = lambda *which: (freed.append(which), free(*which))
library.xclExecBuf = lambda device, buffer: -1
refused(DeviceError, "does not start copy:copy_1",
        driver.start, driver.units[0], RegisterMap(bytes(64)))
library.xclMapBO = lambda *which: None
refused(DeviceError, "cannot map a command",
        driver.start, driver.units[0], RegisterMap(bytes(64)))
assert len(freed) == 2
library.xclAllocBO = lambda *which: NO_BUFFER
refused(DeviceError, "no memory for a command",
        driver.start, driver.units[0], RegisterMap(bytes(64)))
driver.close()
""")


def test_runs_take_arguments_one_by_one(child):
    child("""
from bridges.backends.xrt_kernel import XRTRun
kernel = driver.kernel("copy:copy_1")
source, target = (driver.allocate(4096, bank=kernel.bank(n)) for n in (0, 1))
with XRTRun(kernel) as run:
    run.set_argument(0, source)
    run.set_argument(1, target)
    run.set_argument(2, c.c_uint32(4096))
    run.set_argument(3, c.c_double(0.5))
    refused(DeviceError, "does not take argument 9", run.set_argument, 9, c.c_int(1))
    part = driver.view(source, TensorInfo((16,), np.dtype("u1")), 64)
    refused(DeviceError, "begins 64 bytes inside", run.set_argument, 0, part)
    assert run.state is RunState.NEW
    for _ in range(3):
        run.start()
        assert run.wait(5) is RunState.COMPLETED
        assert run.state is RunState.COMPLETED
refused(ClosedError, "was closed", run.start)
for each in (source, target): each.close()
driver.close()
""")


def test_an_xclbin_that_a_card_refuses(child):
    # The device without hardware takes every one.
    child("""
driver._card.xrt.library.xrtDeviceLoadXclbin = lambda device, content: -22
refused(DeviceError, "does not load an xclbin of", driver.load_xclbin, sys.argv[1])
driver.close()
""")


def test_a_device_over_a_card(child):
    child("""
from xma_plugins.device import Device
with Device(driver) as device:
    unit = device.compute_unit(-1, "copy:copy_1")
    source = device.allocate(4096, bank=0, device_only=False, holder="test")
    target = device.allocate(4096, bank=1, device_only=True, holder="test")
    assert source.paddr != target.paddr
    registers = RegisterMap.pack(
        unit, source=source.paddr, target=target.paddr, nbytes=4096, scale=1.0
    )
    seat = device.scheduler.join("test", unit, channel_id=1, channel_load=0, ooo=False)
    commands = [seat.submit(unit, registers) for _ in range(5)]
    for command in commands:
        command.wait()
        assert command.error is None and command.state.name == "COMPLETED"
    seat.leave()
    refused(DeviceError, "bank 2", device.allocate, 1, bank=2, device_only=False, holder="test")
    source.free()
    target.free()
""")
