"""The devices of a process: opened once, and again after they were closed; forks and peers."""

import logging
import os
import subprocess
import sys

import pytest

from tests.xma_plugins.devices import opened
from xma_plugins import process as xma
from xma_plugins.compute_unit import UnitDescription
from xma_plugins.device import DeviceDescription
from xma_plugins.drivers import BankDescription
from xma_plugins.errors import InvalidError, NoDeviceError, NoKernelError, OrderError

TWO_BANKS = DeviceDescription(
    "cpu",
    compute_units=[UnitDescription("invert", connectivity={"source": 1, "target": 1}), "gamma"],
    banks=[BankDescription("DDR[0]", 1000), BankDescription("DDR[1]", 1000)],
)


@pytest.fixture(autouse=True)
def closed():
    yield
    xma.exit()


def test_devices_are_numbered_as_they_are_named():
    xma.initialize(["cpu", TWO_BANKS])
    assert xma.num_devices() == 2
    assert [xma.device(index).index for index in (0, 1)] == [0, 1]
    assert len(xma.device(1).banks) == 2
    for index in (2, -1):
        with pytest.raises(NoDeviceError, match=f"no device {index}; there is 0 host memory, 1"):
            xma.device(index)


def test_it_is_called_once_until_exit():
    xma.initialize(["cpu"])
    first = xma.device(0)
    with pytest.raises(OrderError, match="called before, and opened 1 devices"):
        xma.initialize(["cpu"])
    xma.exit()
    assert first.closed
    xma.exit()
    xma.initialize(["cpu"])
    assert xma.device(0) is not first


def test_nothing_is_there_before():
    for call in (xma.num_devices, lambda: xma.device(0), xma.get_session_cmd_load):
        with pytest.raises(OrderError, match="call initialize first"):
            call()


@pytest.mark.parametrize("given", [[], ["cpu"] * 17, "cpu"])
def test_one_to_sixteen_devices_are_taken(given):
    with pytest.raises(InvalidError, match="1 to 16 devices"):
        xma.initialize(given)
    xma.initialize(["cpu"] * 16)
    assert xma.num_devices() == 16


def test_a_device_that_is_missing_leaves_nothing_open():
    with pytest.raises(NoDeviceError, match="cuda:77"):
        xma.initialize(["cpu", "cuda:77"])
    xma.initialize(["cpu"])


def test_all_devices_are_opened_where_none_is_named(caplog):
    with caplog.at_level(logging.WARNING, "xma_plugins"):
        xma.initialize()
    assert xma.device(0).driver.kind == "cpu"
    kinds = [xma.device(index).driver.kind for index in range(xma.num_devices())]
    assert kinds == sorted(kinds, key=["cpu", "opencl", "sycl", "cuda", "xrt"].index)
    for record in caplog.records:
        assert "is left out" in record.getMessage()


def test_the_default_bank_of_a_compute_unit():
    xma.initialize(["cpu", TWO_BANKS])
    assert xma.get_default_ddr_index(1, cu_name="invert") == 1
    assert xma.get_default_ddr_index(1, 0) == 1
    assert xma.get_default_ddr_index(1, 1) == 0
    with pytest.raises(NoKernelError):
        xma.get_default_ddr_index(1, cu_name="resize")
    with pytest.raises(NoDeviceError):
        xma.get_default_ddr_index(2, 0)


def test_the_load_of_sessions_is_told_and_logged_at_the_end(caplog):
    xma.initialize(["cpu", TWO_BANKS])
    for index in (0, 1):
        device = xma.device(index)
        unit = device.compute_unit(name="invert")
        seat = device.scheduler.join(f"filter session {index}", unit)
        seat.submit(unit, unit.pack()).wait()
        seat.leave()
    with caplog.at_level(logging.INFO, "xma_plugins"):
        loads = xma.get_session_cmd_load()
    assert [(each.session, each.dev_index, each.share) for each in loads] == [
        ("filter session 0", 0, 0.5),
        ("filter session 1", 1, 0.5),
    ]
    assert "filter session 1 on invert of device 1: 50.0% of the load" in caplog.text
    caplog.clear()
    left = xma.device(1).allocate(10, bank=1, holder="encoder session 9 (x)")
    with caplog.at_level(logging.INFO, "xma_plugins"):
        xma.exit()
    assert "encoder session 9 (x) never freed buffers of 10 bytes" in caplog.text
    assert "filter session 0 on invert of device 0" in caplog.text
    assert left.is_freed


FORK = """
import os
from xma_plugins import process as xma
from xma_plugins.errors import OrderError
xma.initialize(["cpu"])
device = xma.device(0)
unit = device.compute_unit(name="invert")
buffer = device.allocate(10)
pid = os.fork()
if not pid:
    calls = [
        lambda: xma.device(0),
        lambda: device.allocate(1),
        lambda: buffer.write(),
        lambda: device.scheduler.join("one", unit),
    ]
    for call in calls:
        try:
            call()
        except OrderError as error:
            assert "initialize" in str(error) and str(os.getppid()) in str(error), error
        else:
            os._exit(1)
    xma.initialize(["cpu"])
    xma.device(0).allocate(5).free()
    xma.exit()
    os._exit(0)
assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
assert xma.device(0) is device
buffer.write()
buffer.free()
xma.exit()
print("fine")
"""

PEER = """
from xma_plugins import process as xma
xma.initialize(["cpu", "opencl"])
input()
for index in (0, 1):
    device = xma.device(index)
    unit = device.compute_unit(name="invert")
    seat = device.scheduler.join("one", unit)
    for _ in range(20):
        with device.allocate(4096) as buffer:
            planes = dict(source_format=0, source_width=64, source_height=64)
            planes |= {key.replace("source", "target"): value for key, value in planes.items()}
            at = dict(source_plane0=buffer.paddr, target_plane0=buffer.paddr)
            command = seat.submit(unit, unit.pack(**planes, **at))
            assert command.wait() and command.error is None, command.error
    seat.leave()
xma.exit()
print("fine")
"""


def _python(text: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-W", "error::ResourceWarning", "-c", text],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ,
    )


def test_a_forked_child_is_told_to_initialize_and_can():
    out, error = _python(FORK).communicate(timeout=60)
    assert (out, error) == ("fine\n", "")


def test_several_processes_work_at_once(needs_opencl):
    peers = [_python(PEER) for _ in range(2)]
    for peer in peers:
        peer.stdin.write("\n")
        peer.stdin.flush()
    for peer in peers:
        out, error = peer.communicate(timeout=60)
        assert (out, error) == ("fine\n", "")


@pytest.mark.parametrize("kind", ["cpu", "opencl"])
def test_a_process_may_end_with_commands_under_way(kind):
    opened(kind)
    done = subprocess.run(
        [sys.executable, "-c", LEFT_OPEN, kind], capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "sent\n", "")


LEFT_OPEN = """
import sys
from bridges import FrameInfo
from bridges.formats import pixel_format
from xma_plugins import FilterProperties, FilterSession, Port, XmaFrame, open_device

session = FilterSession(
    FilterProperties(
        plugin="kernel_filter", input=Port(format="gray"), params={"kernel": "invert(amount=0.5)"}
    ),
    open_device(sys.argv[1]),
)
session.send_frame(XmaFrame.allocate(FrameInfo(pixel_format("gray"), 1280, 720)))
print("sent")
"""


@pytest.mark.parametrize("kind", ["cpu", "opencl"])
def test_the_load_is_told_where_a_process_ends_without_exit(kind):
    opened(kind)
    done = subprocess.run(
        [sys.executable, "-c", LEFT_INITIALIZED, kind], capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stderr) == (0, "")
    # Its command was under way, and is counted as done; a fork tells nothing of its parent's load.
    sent, told = done.stdout.splitlines()
    assert sent == "sent"
    assert told.startswith("filter session 1 (kernel_filter) on invert of device 0: 100.0% of the")
    assert ", 1 commands, 0.000 s busy" not in told


LEFT_INITIALIZED = """
import logging, os, sys, warnings
from bridges import FrameInfo
from bridges.formats import pixel_format
from xma_plugins import FilterProperties, FilterSession, Port, XmaFrame, initialize

logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stdout)
initialize([sys.argv[1]])
session = FilterSession(
    FilterProperties(
        plugin="kernel_filter", input=Port(format="gray"), params={"kernel": "invert(amount=0.5)"}
    )
)
session.send_frame(XmaFrame.allocate(FrameInfo(pixel_format("gray"), 1280, 720)))
print("sent", flush=True)
if sys.argv[1] == "cpu":
    warnings.simplefilter("ignore")  # Of threads: the fork ends at once.
    if os.fork():
        os.wait()
"""
