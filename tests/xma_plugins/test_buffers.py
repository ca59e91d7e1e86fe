"""Buffers: transfers, sizes, and what becomes of them when they are freed."""

import threading
import time

import numpy as np
import pytest

from bridges.tensor import TensorInfo
from tests.helpers.threads import run_together
from xma_plugins.buffers import BufferType
from xma_plugins.errors import BufferUseError, InvalidError

HOLDER = "encoder session 3 (libav_encoder)"


def test_the_host_side_starts_zeroed(device):
    with device.allocate(5000, holder=HOLDER) as buffer:
        assert buffer.data.shape == (5000,)
        assert not buffer.data.any()
        assert (buffer.size, buffer.dev_index, buffer.bank_index) == (5000, device.index, 0)
        assert not buffer.device_only_buffer
        assert buffer.tensor.info.shape == (5000,)
        assert HOLDER in str(buffer)


def test_what_is_written_is_read(device):
    before = device.transfers.bytes_to_device, device.transfers.bytes_to_host
    with device.allocate(1000) as buffer:
        content = np.random.default_rng(1).integers(0, 256, 1000, np.uint8)
        buffer.data[...] = content
        buffer.write()
        if not device.driver.shares_host_memory:
            buffer.data[...] = 0
        buffer.read(400, 100)
        np.testing.assert_array_equal(buffer.data[100:500], content[100:500])
        buffer.read()
        np.testing.assert_array_equal(buffer.data, content)
    after = device.transfers.bytes_to_device, device.transfers.bytes_to_host
    moved = (after[0] - before[0], after[1] - before[1])
    assert moved == ((0, 0) if device.driver.shares_host_memory else (1000, 1400))


def test_device_only_buffers_have_no_host_side_but_can_be_carried(device):
    with device.allocate(256, device_only=True, holder=HOLDER) as buffer:
        assert buffer.data is None
        for transfer in (buffer.write, buffer.read):
            with pytest.raises(InvalidError, match="device-only"):
                transfer()
        content = np.arange(100).astype(np.uint8)
        buffer.put(content, 56)
        out = np.empty(80, np.uint8)
        buffer.get(out, 66)
        np.testing.assert_array_equal(out, content[10:90])
        shown = buffer.in_host_memory()
        assert (shown is not None) == device.driver.shares_host_memory
        if shown is not None:
            np.testing.assert_array_equal(shown[56:156], content)


@pytest.mark.parametrize(
    ("size", "offset"), [(101, 0), (1, 100), (-1, 0), (0, 101), (10, -1), (None, 101)]
)
def test_transfers_past_the_end_are_refused(host, size, offset):
    with host.allocate(100, holder=HOLDER) as buffer:
        for transfer in (buffer.write, buffer.read):
            with pytest.raises(InvalidError, match=r"100 bytes of encoder session 3"):
                transfer(size, offset)


@pytest.mark.parametrize("offset", [0, 50, 100])
def test_nothing_is_carried_where_the_size_is_0(device, offset):
    before = repr(device.transfers)
    with device.allocate(100) as buffer:
        buffer.write(0, offset)
        buffer.read(0, offset)
        buffer.put(np.empty(0, np.uint8), offset)
        buffer.get(np.empty(0, np.uint8), offset)
    assert repr(device.transfers) == before


def test_a_freed_buffer_names_its_holder_and_where_it_was_freed(device):
    buffer = device.allocate(64, holder=HOLDER)
    buffer.free()
    assert buffer.is_freed
    calls = [
        lambda: buffer.data,
        lambda: buffer.tensor,
        buffer.check,
        buffer.write,
        buffer.read,
        buffer.hold,
        lambda: buffer.put(np.empty(1, np.uint8)),
        lambda: buffer.view(TensorInfo((1,), np.dtype(np.uint8))),
    ]
    for call in calls:
        with pytest.raises(BufferUseError, match=r"encoder session 3 \(libav_encoder\).*test_buf"):
            call()
    with pytest.raises(BufferUseError, match=r"freed twice.*test_buffers\.py:\d+"):
        buffer.free()
    buffer.close()


def test_an_address_of_a_freed_buffer_tells_whose_it_was(host):
    buffer = host.allocate(64, holder=HOLDER)
    address = buffer.paddr
    assert host.buffer_at(address + 63) is buffer
    with pytest.raises(InvalidError, match="in no buffer"):
        host.buffer_at(address + 64)
    buffer.free()
    with pytest.raises(BufferUseError, match="encoder session 3"):
        host.buffer_at(address + 10)


def test_a_view_stays_inside(device):
    info = TensorInfo((4, 16), np.dtype(np.uint8), (32, 1))
    with device.allocate(4096) as buffer:
        buffer.view(info, 0).close()
        last = 4096 - info.span
        for offset in (last + 1, -1, 4096):
            with pytest.raises(InvalidError, match="are not inside"):
                buffer.view(info, offset)


def test_what_users_keep_in_it(host):
    with host.allocate(1) as buffer:
        assert (buffer.ref_cnt, buffer.user_ptr) == (0, None)
        run_together(lambda _: [buffer.add_ref_cnt(1) for _ in range(500)], range(8))
        assert buffer.ref_cnt == 4000
        assert buffer.add_ref_cnt(-4000) == 0


def test_free_waits_for_a_command_and_refuses_the_next(host):
    buffer = host.allocate(64, holder=HOLDER)
    buffer.hold()
    freed = threading.Thread(target=buffer.free)
    freed.start()
    while not buffer.is_freed:
        time.sleep(0.001)
    with pytest.raises(BufferUseError):
        buffer.hold()
    assert freed.is_alive()
    assert host.banks[0].used == 64
    buffer.let_go()
    freed.join()
    assert host.banks[0].used == 0


def test_reading_waits_for_the_commands_of_a_device_without_a_queue(host):
    with host.allocate(8) as buffer:
        buffer.hold()
        done = []

        def read():
            buffer.read()
            done.append(bool(buffer.data[0]))

        reader = threading.Thread(target=read)
        reader.start()
        time.sleep(0.02)
        buffer.data[0] = 1
        buffer.let_go()
        reader.join()
        assert done == [True]


def test_the_numbers_of_the_types():
    assert [(each.name, int(each)) for each in BufferType] == [
        ("HOST", 1),
        ("DEVICE", 2),
        ("DEVICE_ONLY", 3),
        ("NO_BUFFER", 4),
    ]
