"""Pictures on their way to a device and back: where they lie, how often they are carried."""

import numpy as np
import pytest

from bridges.backends.cpu import CPUContext
from bridges.errors import DeviceError
from bridges.formats import pixel_format
from bridges.frame import Frame, FrameInfo
from tests.xma_plugins.devices import opened
from tests.xma_plugins.pictures import dense, picture
from xma_plugins.buffers import BufferType
from xma_plugins.errors import BufferUseError, InvalidError
from xma_plugins.frames import XmaFrame
from xma_plugins.host_frames import to_host
from xma_plugins.properties import FilterProperties, Port
from xma_plugins.sessions import FilterSession
from xma_plugins.side_data import SideData, SideDataType
from xma_plugins.uploads import Uploads

FORMATS = ("yuv420p", "nv12", "rgb24", "yuva444p10le", "gray16le", "p010le")


@pytest.fixture
def session(device):
    with FilterSession(FilterProperties(plugin="copy_filter", input=Port()), device) as made:
        yield made


def spans(frame):
    return sum(plane.tensor.info.span for plane in frame.planes)


def back(frame):
    with to_host(frame) as here:
        return dense(here)


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("size", [(33, 17), (1, 1)])
def test_there_and_back(session, name, size):
    device, shares = session.device, session.device.driver.shares_host_memory
    moved = device.transfers.nbytes
    with picture(name, *size, seed=1, pts=-4) as source, Uploads(session) as uploads:
        side_data = SideData(SideDataType.HDR, b"x")
        source.add_side_data(side_data)
        samples, nbytes = dense(source), spans(source)
        with uploads.take(source) as there:
            assert there.buffer_type is BufferType.DEVICE_ONLY
            assert there.pts == -4
            assert there.side_data(SideDataType.HDR) is side_data
            assert all(plane.buffer.device is device for plane in there.planes)
            assert device.transfers.nbytes - moved == (0 if shares else nbytes)
            # What is there already is neither carried nor copied.
            with uploads.take(there) as again:
                assert again.planes == there.planes
            assert device.transfers.nbytes - moved == (0 if shares else nbytes)
            assert back(there) == samples
            assert device.transfers.nbytes - moved == (0 if shares else 2 * nbytes)


def test_the_samples_are_held(session):
    """In place, or in a copy: the sender's frame may be closed."""
    with Uploads(session) as uploads:
        source = picture(seed=2)
        samples = dense(source)
        there = uploads.take(source)
        shares = session.device.driver.shares_host_memory
        assert source.planes[0].refcount == (2 if shares else 1)
        source.close()
        assert back(there) == samples
        here = to_host(there)
        there.close()
        assert dense(here) == samples
        here.close()


def test_memory_at_any_address_and_stride(session):
    """Rows may lie odd numbers of bytes apart, and begin anywhere."""
    info = FrameInfo(pixel_format("yuv420p"), 31, 9)
    memory = np.random.default_rng(3).integers(0, 256, 4096, np.uint8)
    planes = [
        np.ndarray(each.shape, np.uint8, memory, 1 + 700 * number, (each.strides[0] + 6, 1))
        for number, each in enumerate(info.planes)
    ]
    expected = b"".join(plane.tobytes() for plane in planes)
    host = CPUContext()
    with Uploads(session) as uploads:
        with XmaFrame.over(Frame(info, [host.wrap(plane) for plane in planes])) as source:
            there = uploads.take(source)
        with there:
            assert there.linesize == (37, 22, 22)
            assert back(there) == expected


@pytest.fixture
def copying():
    device = opened("opencl copies")
    with FilterSession(FilterProperties(plugin="copy_filter", input=Port()), device) as made:
        yield made
    assert device.buffers == ()


def test_copies_are_limited_and_used_again(copying):
    with Uploads(copying, 2) as uploads, picture(seed=4) as source:
        first, second = uploads.take(source), uploads.take(source)
        assert uploads.take(source) is None
        assert uploads.take(source, 0.01) is None
        buffers = {plane.buffer for plane in first.planes}
        first.close()
        with uploads.take(source) as again:
            assert {plane.buffer for plane in again.planes} == buffers
        second.close()
        assert len(copying.device.buffers) == 6


def test_times_of_copies_are_their_own(copying):
    with Uploads(copying) as uploads:
        for pts in (3, None, 1 << 40):
            with picture(pts=pts) as source, uploads.take(source) as there:
                assert there.pts == pts
                assert there.info.pts is None
        assert len(copying.device.buffers) == 3


def test_pictures_of_another_form_get_other_copies(copying):
    device = copying.device
    with Uploads(copying) as uploads:
        with picture(seed=5) as source:
            samples, held = dense(source), uploads.take(source)
        with picture("nv12", 20, 10, seed=6) as source, uploads.take(source) as there:
            assert back(there) == dense(source)
        assert len(device.buffers) == 5
        assert back(held) == samples
        held.close()
        assert len(device.buffers) == 2
    assert device.buffers == ()


@pytest.mark.parametrize("kinds", [("opencl", "cpu"), ("opencl copies", "cpu"), ("cpu", "sycl")])
def test_from_one_device_to_another(kinds):
    first, second = map(opened, kinds)
    properties = FilterProperties(plugin="copy_filter", input=Port())
    moved = first.transfers.nbytes, second.transfers.nbytes
    with (
        FilterSession(properties, first) as one,
        FilterSession(properties, second) as two,
        Uploads(one) as there,
        Uploads(two) as beyond,
        picture(seed=7) as source,
    ):
        with there.take(source) as near, beyond.take(near) as far:
            assert all(plane.buffer.device is second for plane in far.planes)
            assert back(far) == dense(source)
        shares = first.driver.shares_host_memory
        assert first.transfers.nbytes - moved[0] == (0 if shares else 2 * spans(source))
        assert second.transfers.nbytes == moved[1]
    assert first.buffers == second.buffers == ()


def gray_on_device(session, pool, seed):
    """Return a picture whose luma was written on the device, and whose chroma has no colour."""
    frame = pool.acquire()
    buffer = frame.planes[0].buffer
    random = np.random.default_rng(seed)
    buffer.put(random.integers(0, 256, buffer.size, np.uint8))
    return frame


def test_planes_that_are_the_same_in_all_pictures_are_carried_once(session):
    device, shares = session.device, session.device.driver.shares_host_memory
    info = FrameInfo(pixel_format("yuv420p"), 33, 17)
    pool = session.frame_pool(info, 3, written=[0])
    with Uploads(session) as uploads:
        for seed in range(3):
            with gray_on_device(session, pool, seed) as frame:
                samples = back(frame)
                moved = device.transfers.bytes_to_device, device.transfers.bytes_to_host
                with uploads.take(frame) as there:
                    assert there.planes[0] is frame.planes[0]
                    assert all(plane.buffer.device is device for plane in there.planes)
                    to_device = device.transfers.bytes_to_device - moved[0]
                    chroma = sum(plane.tensor.info.span for plane in frame.planes[1:])
                    assert to_device == (0 if shares or seed else chroma)
                    assert device.transfers.bytes_to_host == moved[1]
                    assert back(there) == samples
    assert pool.lent == 0


def test_what_is_no_picture(session):
    with Uploads(session) as uploads:
        with pytest.raises(InvalidError, match="a frame without planes is no picture"):
            uploads.take(XmaFrame())
        frame = picture()
        frame.close()
        for use in (uploads.take, to_host):
            with pytest.raises(BufferUseError, match="this frame was closed"):
                use(frame)
        with pytest.raises(InvalidError, match="a frame without planes is no picture"):
            to_host(XmaFrame())


def test_a_transfer_that_fails_leaves_nothing(copying, monkeypatch):
    driver = copying.device.driver
    write, calls = driver.write, []

    def fail(tensor, offset, data):
        calls.append(data)
        if len(calls) == 2:
            raise DeviceError("out of order")
        write(tensor, offset, data)

    monkeypatch.setattr(driver, "write", fail)
    with Uploads(copying, 1) as uploads, picture(seed=8) as source:
        with pytest.raises(DeviceError, match="out of order"):
            uploads.take(source)
        with uploads.take(source) as there:
            assert back(there) == dense(source)


def test_host_frames_stay_where_they_are():
    with picture(seed=9) as source, to_host(source) as here:
        assert here.planes == source.planes
        assert [plane.refcount for plane in source.planes] == [2, 2, 2]
    assert source.closed
