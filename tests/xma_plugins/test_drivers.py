"""Drivers: allocate, view, carry, on every device that is here."""

import numpy as np
import pytest

from bridges.errors import DeviceError, FormatError
from bridges.tensor import TensorInfo
from xma_plugins.drivers import open_driver, selectors
from xma_plugins.errors import NoDeviceError

BYTE = np.dtype(np.uint8)


def test_memory_is_aligned_and_shown_zeroed(device):
    driver = device.driver
    with driver.allocate(1000) as tensor:
        assert tensor.info == TensorInfo((1000,), BYTE)
        assert (driver.address(tensor) or 0) % 64 == 0
        side = driver.host_side(tensor)
        assert (side is not None) == driver.shares_host_memory
        if side is not None:
            assert side.shape == (1000,)
            assert not side.any()


def test_bytes_go_there_and_back(device):
    driver = device.driver
    with driver.allocate(700) as tensor:
        content = np.arange(700).astype(np.uint8)
        side = driver.host_side(tensor)
        given = content if side is None else side
        given[...] = content
        driver.write(tensor, 0, given)
        part = np.full(200, 9, np.uint8) if side is None else side[100:300]
        driver.write(tensor, 100, part)
        out = np.empty(600, np.uint8) if side is None else side[100:]
        driver.read(tensor, 100, out)
        expected = content.copy()
        if side is None:
            expected[100:300] = 9
        np.testing.assert_array_equal(out, expected[100:])


def test_a_view_is_the_same_memory_in_another_form(device):
    driver = device.driver
    info = TensorInfo((3, 5, 2), np.dtype("<u2"), (64, 4, 2))
    with driver.allocate(4096) as tensor, driver.view(tensor, info, 1024) as view:
        assert view.info == info
        assert view.parent is tensor
        assert view.memory_type is driver.context.memory_type
        own = driver.address(tensor)
        if own is not None:
            assert driver.address(view) == own + 1024


def test_a_view_at_an_odd_byte_works_or_names_the_alignment(device):
    driver = device.driver
    info = TensorInfo((8,), BYTE)
    with driver.allocate(64) as tensor:
        if driver.kind == "opencl" and not driver.shares_host_memory:
            with pytest.raises(FormatError, match=r"multiples of \d+ bytes.* byte 3"):
                driver.view(tensor, info, 3)
        else:
            driver.view(tensor, info, 3).close()


def test_host_memory_of_others_is_used_in_place(device):
    memory = np.arange(300).astype(np.uint8)
    if not device.driver.shares_host_memory:
        with pytest.raises(FormatError, match="does not work in host memory"):
            device.adopt(memory.ctypes.data, 300, owner=memory)
        return
    address = memory.ctypes.data + 1
    with device.adopt(address, 299, owner=memory, holder="the test") as buffer:
        assert buffer.size == 299
        assert device.banks[0].used == 0
        assert device.buffer_at(buffer.paddr + 298) is buffer
        found = buffer.in_host_memory()
        assert found is not None
        assert found.ctypes.data == memory.ctypes.data + 1


def test_too_much_memory_is_a_device_error():
    with (
        open_driver("cpu") as driver,
        pytest.raises((DeviceError, MemoryError)),
    ):
        driver.allocate(1 << 60)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("vaapi", "runs no compute units"),
        ("nonsense", "unknown device"),
        ("opencl:no such platform", "there is no device 'opencl:no such platform'"),
        ("cuda:x", "where n is a number"),
    ],
)
def test_a_device_that_is_not_there(name, text):
    with pytest.raises(NoDeviceError, match=text):
        open_driver(name)


def test_the_host_is_the_first_of_all_devices():
    names = selectors()
    assert names[0] == "cpu"
    assert len(set(names)) == len(names)
    assert all(name.partition(":")[0] in ("cpu", "opencl", "sycl", "cuda", "xrt") for name in names)


def test_closing_twice_is_closing_once():
    driver = open_driver("cpu")
    driver.close()
    driver.close()
    assert driver.closed
