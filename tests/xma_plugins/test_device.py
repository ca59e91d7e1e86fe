"""Devices: banks and their capacity, compute units and how they are found and wired."""

import gc
import logging
import os
import subprocess
import sys

import numpy as np
import pytest

from bridges import AccessMode, TensorInfo, create_mapper
from bridges.backends.dma import DMAContext, open_descriptors
from bridges.errors import DeviceError, KernelError
from bridges.kernels import names
from tests.bridges.memories.memory import strided
from tests.helpers.process import open_files, resident_bytes
from tests.helpers.threads import run_together
from tests.xma_plugins.devices import opened
from xma_plugins.compute_unit import ComputeUnit, UnitDescription
from xma_plugins.device import Device, DeviceDescription, open_device
from xma_plugins.drivers import BankDescription, HardwareUnit
from xma_plugins.drivers.host import HostDriver
from xma_plugins.errors import (
    BufferUseError,
    ChannelCapacityError,
    InvalidError,
    NoChannelError,
    NoDeviceError,
    NoKernelError,
    OrderError,
)

BANKS = (BankDescription("DDR[0]", 1000), BankDescription("DDR[1]", 5000))


def test_all_kernels_are_compute_units(device):
    assert tuple(unit.name for unit in device.compute_units) == names()
    assert [unit.index for unit in device.compute_units] == list(range(len(names())))


def test_compute_units_are_found_by_index_or_name(host):
    resize = host.compute_unit(name="resize")
    assert host.compute_unit(resize.index) is resize
    assert host.compute_unit(resize.index, "gamma") is resize
    with pytest.raises(NoKernelError, match="did you mean resize"):
        host.compute_unit(name="resise")
    with pytest.raises(InvalidError, match="-1 and a name"):
        host.compute_unit()
    for index in (len(host.compute_units), 128, -2):
        with pytest.raises(InvalidError, match=f"no compute unit {index} "):
            host.compute_unit(index)


def test_the_128th_compute_unit_is_there_and_the_129th_is_refused():
    with Device(HostDriver(), compute_units=["invert"] * 128) as device:
        assert device.compute_unit(127).name == "invert_128"
        assert device.compute_unit(name="invert_128").index == 127
        with pytest.raises(InvalidError, match=r"no compute unit 128 .*0 to 127"):
            device.compute_unit(128)
        with pytest.raises(InvalidError, match="128 compute units, and no device has more"):
            device.add_compute_unit("invert")
    with pytest.raises(InvalidError, match="no device has more"):
        Device(HostDriver(), compute_units=["invert"] * 129)


def test_compute_units_can_be_added(host):
    unit = host.add_compute_unit("invert", "negative")
    assert host.compute_unit(name="negative") is unit
    assert host.add_compute_unit("invert").name == "invert_2"
    with pytest.raises(InvalidError, match="has a compute unit 'negative' already"):
        host.add_compute_unit("gamma", "negative")
    with pytest.raises(KernelError, match="no kernel 'nothing'"):
        host.add_compute_unit("nothing")


def test_a_kernel_of_ones_own_is_a_compute_unit(host, tmp_path):
    source = tmp_path / "mine.cl"
    source.write_text(
        "/* halve: makes it darker.\n"
        " * param by: float = 0.5 in [0, 1]   how much\n"
        " */\n"
        "DEVICE pixel halve(pixel p, i32 x, i32 y, i32 by) { return p; }\n"
    )
    unit = host.add_compute_unit(f"{source}:halve")
    assert unit.name == "halve"
    assert unit.arguments[-1].name == "by"
    with pytest.raises(InvalidError, match="leave by out"):
        host.add_compute_unit(f"{source}:halve(by=0.1)")


def test_the_default_bank_is_the_one_that_most_arguments_are_wired_to():
    banks = [BankDescription(f"DDR[{number}]", 100) for number in range(4)]
    given = [
        UnitDescription("denoise", "most", {"source": 2, "previous": 2, "target": 1}),
        UnitDescription("invert", "tie", {"source": 3, "target": 1}),
        UnitDescription("invert", "one", {"source": 3, "target": 0, "target_plane1": 3}),
        UnitDescription("invert", "plain"),
    ]
    with Device(HostDriver(), compute_units=given, banks=banks) as device:
        assert [device.default_bank(unit) for unit in device.compute_units] == [2, 1, 3, 0]
        assert device.default_bank(None) == 0


def test_the_bank_of_an_argument_is_checked():
    given = [UnitDescription("invert", connectivity={"source": 0, "target": 1})]
    with Device(HostDriver(), compute_units=given, banks=BANKS) as device:
        unit = device.compute_unit(0)
        numbers = {each.name: number for number, each in enumerate(unit.arguments)}
        assert unit.bank_of(numbers["source_plane0"]) == 0
        assert unit.bank_of(numbers["target_plane3"]) == 1
        for wrong, text in [
            (-1, "does not exist"),
            (len(unit.arguments), "does not exist"),
            (numbers["amount"], "is amount, a f64"),
            (numbers["source_width"], "is source_width, a u32"),
        ]:
            with pytest.raises(InvalidError, match=f"{text}; pointers are .*source_plane0"):
                unit.bank_of(wrong)


@pytest.mark.parametrize(
    ("connectivity", "text"),
    [({"source": 2}, "banks 0 to 1"), ({"source": -1}, "banks"), ({"amount": 0}, "no pointer")],
)
def test_wrong_wires_are_refused(connectivity, text):
    given = [UnitDescription("invert", connectivity=connectivity)]
    with pytest.raises(InvalidError, match=text):
        Device(HostDriver(), compute_units=given, banks=BANKS)


def test_a_full_bank_says_who_holds_the_most():
    with Device(HostDriver(), compute_units=[], banks=BANKS) as device:
        sizes = {"a": 100, "b": 300, "c": 50, "d": 200}
        held = [device.allocate(size, holder=who) for who, size in sizes.items()]
        with pytest.raises(DeviceError, match=r"DDR\[0\].*350 of 1000 are left.*b 300, d 200, a 1"):
            device.allocate(351, holder="e")
        held.append(device.allocate(350, holder="e"))
        assert device.bank(0).used == 1000
        held.append(device.allocate(5000, bank=1))
        assert held[-1].bank_index == 1
        for buffer in held:
            buffer.free()
        assert [bank.used for bank in device.banks] == [0, 0]


@pytest.mark.parametrize("bank", [2, -1])
def test_a_bank_that_is_not_there_lists_those_that_are(bank):
    text = r"no memory bank.*0 \(DDR\[0\]\), 1 \(DDR\[1\]\)"
    with (
        Device(HostDriver(), compute_units=[], banks=BANKS) as device,
        pytest.raises(InvalidError, match=text),
    ):
        device.allocate(1, bank=bank)


@pytest.mark.parametrize("nbytes", [0, -1])
def test_a_buffer_has_a_byte_at_least(device, nbytes):
    with pytest.raises(InvalidError, match="ask for 1 or more"):
        device.allocate(nbytes)


def test_made_up_addresses_are_each_used_once():
    with Device(HostDriver(), compute_units=[], banks=BANKS) as device:
        first, second = device.banks
        taken = [first.make_up_address(5000), first.make_up_address(1), second.make_up_address(1)]
        assert taken[1] - taken[0] == 8192
        assert taken[2] > taken[1] + (1 << 40)


def test_channels_are_shared_and_their_load_is_limited(host):
    unit = host.compute_unit(name="resize")
    unit.take_channel("a", 0, 600)
    unit.take_channel("b", 127, 400)
    with pytest.raises(ChannelCapacityError, match=r"0 are left \(a 600, b 400\)"):
        unit.take_channel("c", 1, 1)
    unit.take_channel("c", 0, 0)
    unit.leave_channel("a")
    assert unit.channel_load == 400
    for channel in (128, -1):
        with pytest.raises(NoChannelError, match="channels 0 to 127"):
            unit.take_channel("d", channel, 0)


def test_hardware_units_are_there_before_others():
    class Card(HostDriver):
        units = (HardwareUnit("scaler_1", (), {}),)

    with Device(Card(), compute_units=["invert"]) as device:
        assert [unit.name for unit in device.compute_units] == ["scaler_1", "invert"]
        assert device.compute_unit(0).kernel is None
        assert isinstance(device.compute_unit(0), ComputeUnit)
    with pytest.raises(InvalidError, match="banks of its own"):
        Device(Card(), banks=BANKS)


def test_descriptions_are_opened():
    described = DeviceDescription("cpu", compute_units=["gamma"], banks=BANKS)
    with open_device(described, 3) as device:
        assert device.index == 3
        assert [unit.name for unit in device.compute_units] == ["gamma"]
        assert [bank.name for bank in device.banks] == ["DDR[0]", "DDR[1]"]
    with pytest.raises(NoDeviceError):
        open_device("cuda:99")


def test_what_was_never_freed_is_told_of_and_freed(caplog):
    device = open_device("cpu")
    left = device.allocate(100, holder="decoder session 7 (x)")
    with caplog.at_level(logging.WARNING, "xma_plugins"):
        device.close()
    assert "decoder session 7 (x) never freed buffers of 100 bytes" in caplog.text
    assert left.is_freed
    device.close()
    with pytest.raises(OrderError, match="was closed"):
        device.allocate(1)


def test_many_threads_allocate_and_free_without_a_trace(device):
    def round_trips(seed):
        for number in range(20):
            buffers = [device.allocate(1 + (seed + k) * 37, holder=f"{seed}") for k in range(3)]
            buffers[number % 3].data[...] = seed
            buffers[number % 3].write()
            for buffer in buffers:
                assert device.buffer_at(buffer.paddr) is buffer
                buffer.free()

    run_together(round_trips, range(8))
    files, memory = open_files(), resident_bytes()
    run_together(round_trips, range(32))
    assert open_files() == files
    assert resident_bytes() - memory < 32 << 20
    assert device.buffers == ()


def test_the_end_of_the_process_leaves_out_devices_that_were_not_made():
    code = (
        "from xma_plugins.device import Device\n"
        "from xma_plugins.drivers.host import HostDriver\n"
        "class Broken(HostDriver):\n"
        "    @property\n"
        "    def is_in_order(self):\n"
        "        raise OSError('unplugged')\n"
        "try:\n"
        "    Device(Broken())\n"
        "except OSError as error:\n"
        "    kept = error\n"  # Its traceback holds the device.
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")


class TestMemoryOfOthers:
    """A device reads and writes what a mapper shows it: DMA memory, on memfds where need be."""

    @pytest.fixture(params=["opencl", "opencl copies", "sycl"])
    def device(self, request):
        found = opened(request.param)
        before = found.buffers, [bank.used for bank in found.banks], found.transfers.nbytes
        yield found
        assert (found.buffers, [bank.used for bank in found.banks]) == before[:2]

    @pytest.fixture
    def dma(self):
        before = open_descriptors()
        with DMAContext() as context:
            yield context
        gc.collect()
        assert open_descriptors() == before

    def test_is_read_and_written_where_it_lies(self, device, dma):
        moved = device.transfers.nbytes
        info = TensorInfo((5, 40), np.dtype("u1"), (64, 1))
        codes = np.arange(info.span, dtype=np.uint8)
        mapper = create_mapper([dma, device.driver.context])
        with dma.allocate(info) as tensor:
            os.pwrite(tensor.handle("dma_fd"), codes.tobytes(), 0)
            with (
                mapper.map(tensor, AccessMode.READ_WRITE) as mapped,
                device.adopt_tensor(mapped, holder="the test") as buffer,
            ):
                # A copy has no gaps between its rows.
                there = mapped.info
                assert buffer in device.buffers
                assert (buffer.size, buffer.device_only_buffer) == (there.span, True)
                assert device.buffer_at(buffer.paddr + 7) is buffer
                assert buffer.view(there).info == there
                found = np.empty(buffer.size, np.uint8)
                buffer.get(found)
                np.testing.assert_array_equal(strided(found, there), strided(codes, info))
                buffer.put(255 - found)
                paddr = buffer.paddr
            with pytest.raises(BufferUseError, match="of the test that was freed at"):
                device.buffer_at(paddr)
            written = np.frombuffer(os.pread(tensor.handle("dma_fd"), info.span, 0), np.uint8)
            np.testing.assert_array_equal(strided(written, info), 255 - strided(codes, info))
        if device.driver.shares_host_memory:
            assert device.transfers.nbytes == moved
            assert mapper.audit.bytes_copied == 0

    def test_the_same_memory_may_be_adopted_twice(self, device, dma):
        info = TensorInfo((64,), np.dtype("u1"))
        with (
            dma.allocate(info) as tensor,
            create_mapper([dma, device.driver.context]).map(tensor, AccessMode.READ) as mapped,
            device.adopt_tensor(mapped) as first,
            device.adopt_tensor(mapped) as second,
        ):
            assert first.paddr != second.paddr
            assert device.buffer_at(second.paddr) is second
            first.close()
            second.get(np.empty(64, np.uint8))

    def test_a_closed_device_takes_none(self, dma):
        device = open_device("opencl")
        info = TensorInfo((64,), np.dtype("u1"))
        with (
            dma.allocate(info) as tensor,
            create_mapper([dma, device.driver.context]).map(tensor, AccessMode.READ) as mapped,
        ):
            device.close()
            with pytest.raises(OrderError, match=r"the test asks .*, which was closed"):
                device.adopt_tensor(mapped, holder="the test")
            assert device.buffers == ()
