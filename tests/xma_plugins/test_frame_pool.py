"""Pools of frames in device buffers: so many, back when the last holder lets go, none left."""

import threading
import time

import numpy as np
import pytest

from bridges.errors import ClosedError, DeviceError
from bridges.formats import pixel_format
from bridges.frame import FrameInfo
from bridges.tensor import TensorInfo
from xma_plugins.buffers import BufferType
from xma_plugins.errors import BufferUseError, InvalidError
from xma_plugins.frame_pool import constant_plane
from xma_plugins.frames import padded_planes
from xma_plugins.properties import FilterProperties, Port
from xma_plugins.sessions import FilterSession

INFO = FrameInfo(pixel_format("yuv420p"), 33, 17)


def session_of(device):
    return FilterSession(FilterProperties(plugin="copy_filter", input=Port()), device)


def test_frames_go_out_and_come_back(device):
    with session_of(device) as session:
        pool = session.frame_pool(INFO, 2)
        assert (pool.made, pool.lent) == (0, 0)
        first, second = pool.acquire(), pool.acquire()
        assert pool.acquire() is None
        assert (pool.made, pool.lent) == (2, 2)
        buffers = {plane.buffer for plane in first.planes}
        assert buffers.isdisjoint(plane.buffer for plane in second.planes)
        other = first.reference()
        first.close()
        assert pool.acquire() is None
        other.close()
        again = pool.acquire()
        assert {plane.buffer for plane in again.planes} == buffers
        assert (pool.made, pool.lent) == (2, 2)
        again.close()
        second.close()
        assert pool.lent == 0
        assert len(device.buffers) == 6


@pytest.mark.parametrize("device_only", [True, False])
def test_the_kind_of_buffers(host, device_only):
    with session_of(host) as session:
        frame = session.frame_pool(INFO, 1, device_only=device_only).acquire()
        kind = BufferType.DEVICE_ONLY if device_only else BufferType.DEVICE
        assert frame.buffer_type is kind
        assert [plane.tensor.info for plane in frame.planes] == list(padded_planes(INFO))
        frame.close()
        own = session.frame_pool(INFO, 1, strides=(64, 32, 32)).acquire()
        assert own.linesize == (64, 32, 32)
        own.close()


def test_planes_may_be_let_go_of_one_by_one(host):
    with session_of(host) as session:
        pool = session.frame_pool(INFO, 1)
        frame = pool.acquire()
        luma = frame.planes[0]
        luma.retain()
        frame.close()
        assert pool.acquire() is None
        luma.release()
        pool.acquire().close()


def test_waiting_for_one_that_comes_back(host):
    with session_of(host) as session:
        pool = session.frame_pool(INFO, 1)
        frame = pool.acquire()
        started = time.monotonic()
        assert pool.acquire(0.05) is None
        assert time.monotonic() - started >= 0.04
        threading.Timer(0.05, frame.close).start()
        again = pool.acquire(None)
        assert pool.lent == 1
        again.close()


def test_a_pool_that_is_retired(host):
    with session_of(host) as session:
        pool = session.frame_pool(INFO, 2)
        held, back = pool.acquire(), pool.acquire()
        back.close()
        pool.retire()
        assert len(host.buffers) == 3
        with pytest.raises(ClosedError):
            pool.acquire()
        held.close()
        assert host.buffers == ()


def test_whoever_waits_is_told_when_it_is_cancelled(host):
    with session_of(host) as session:
        pool = session.frame_pool(INFO, 1)
        held = pool.acquire()
        failures = []

        def wait():
            try:
                pool.acquire(None)
            except ClosedError as error:
                failures.append(error)

        thread = threading.Thread(target=wait)
        thread.start()
        time.sleep(0.02)
        session.cancel()
        thread.join(5)
        assert len(failures) == 1
        held.close()


def test_holders_are_named_when_the_session_ends(device):
    session = session_of(device)
    pool = session.frame_pool(INFO, 4)
    frames = [pool.acquire() for _ in range(3)]
    frames[0].hand_to("encoder session 9 (mine)")
    frames[2].close()
    words = "2 of its frames are still held, by encoder session 9 .mine., the application"
    with pytest.raises(BufferUseError, match=words):
        session.destroy()
    assert device.buffers == ()
    with pytest.raises(BufferUseError, match="was freed at"):
        assert frames[0].planes[0].tensor
    for frame in frames:
        frame.close()


@pytest.mark.parametrize("capacity", [0, -1])
def test_a_pool_has_a_frame(host, capacity):
    with session_of(host) as session, pytest.raises(InvalidError, match="1 frame or more"):
        session.frame_pool(INFO, capacity)


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("yuv420p", (None, 128, 128)),
        ("nv12", (None, 128)),
        ("yuv420p10le", (None, 512, 512)),
        ("p010le", (None, 512 << 6)),
        ("yuva420p", (None, 128, 128, 255)),
        ("yuva444p16le", (None, 1 << 15, 1 << 15, 65535)),
    ],
)
def test_planes_that_are_the_same_in_every_frame(host, name, values):
    info = FrameInfo(pixel_format(name), 33, 17)
    with session_of(host) as session:
        pool = session.frame_pool(info, 2, written=[0])
        frames = [pool.acquire(), pool.acquire()]
        for frame in frames:
            assert frame.planes[0].buffer is not None
            for plane, value in zip(frame.planes[1:], values[1:], strict=True):
                assert plane.buffer is None
                array = plane.tensor.handle("array")
                assert array.dtype == info.format.dtype
                assert (array == value).all()
        ours, theirs = ([plane.tensor for plane in frame.planes[1:]] for frame in frames)
        assert ours == theirs
        for frame in frames:
            frame.close()
        assert pool.lent == 0


def test_rows_of_constant_planes_are_padded():
    layout = TensorInfo((4, 5), np.dtype(np.uint8), (16, 1))
    plane = constant_plane(pixel_format("yuv420p"), 1, layout)
    assert plane.info == layout
    assert (plane.handle("array") == 128).all()


def test_memory_that_runs_out_half_way(host):
    with session_of(host) as session:
        layouts = padded_planes(INFO)
        pool = session.frame_pool(INFO, 2)
        bank = host.banks[0]
        whole, bank.nbytes = bank.nbytes, layouts[0].span + layouts[1].span
        try:
            with pytest.raises(DeviceError, match="copy_filter"):
                pool.acquire()
        finally:
            bank.nbytes = whole
        assert host.buffers == ()
        pool.acquire().close()
