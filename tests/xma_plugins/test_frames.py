"""Frames and data buffers: planes, who holds them, and what is done with those that are held."""

import gc
import threading
import weakref
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridges.backends.cpu import CPUContext
from bridges.formats import PIXEL_FORMATS, pixel_format
from bridges.frame import FrameInfo
from tests.xma_plugins.pictures import arrays, dense, picture
from xma_plugins.buffers import BufferType
from xma_plugins.errors import BufferUseError, InvalidError
from xma_plugins.frames import BufferRef, XmaDataBuffer, XmaFrame, padded_planes
from xma_plugins.side_data import SideData, SideDataType

INFO = FrameInfo(pixel_format("yuv420p"), 33, 17)


def in_buffers(device, info=INFO, **given):
    """Return a frame in new buffers of a device."""
    buffers = [device.allocate(each.span, holder="test") for each in padded_planes(info)]
    return XmaFrame.from_device_buffers(info, buffers, **given), buffers


@pytest.mark.parametrize("name", PIXEL_FORMATS)
@pytest.mark.parametrize("size", [(33, 17), (1, 1)])
def test_every_plane_has_its_own_size(name, size):
    info = FrameInfo(pixel_format(name), *size)
    with XmaFrame.allocate(info) as frame:
        assert len(frame.planes) == len(info.planes)
        assert frame.buffer_type is BufferType.HOST
        for array, stride, wanted in zip(arrays(frame), frame.linesize, info.planes, strict=True):
            assert (array.shape, array.dtype) == (wanted.shape, wanted.dtype)
            assert not array.any()
            assert stride % 128 == array.ctypes.data % 128 == 0
            assert stride - 128 < wanted.strides[0] <= stride
            array[...] = 1


@given(st.integers(1, 200), st.integers(1, 50), st.sampled_from(["nv12", "rgb24", "yuv444p10le"]))
def test_planes_lie_apart(width, height, name):
    with XmaFrame.allocate(FrameInfo(pixel_format(name), width, height)) as frame:
        for number, array in enumerate(arrays(frame)):
            array[...] = number + 1
        for number, array in enumerate(arrays(frame)):
            assert (array == number + 1).all()


def test_strides_of_ones_own():
    layouts = padded_planes(INFO, (64, 17, 100))
    assert [layout.strides[0] for layout in layouts] == [64, 17, 100]
    assert [layout.span for layout in layouts] == [64 * 16 + 33, 17 * 9, 100 * 8 + 17]


def test_planes_have_to_fit_the_format():
    with picture() as frame:
        for planes in (frame.planes[:2], frame.planes * 2):
            with pytest.raises(InvalidError, match=f"has 3 planes, got {len(planes)}"):
                XmaFrame(INFO, planes)


@pytest.mark.parametrize("pts", [-(1 << 63), -1, 0, (1 << 63) - 1])
def test_times_have_64_bits(pts):
    assert XmaFrame(pts=pts).pts == pts
    assert XmaDataBuffer(pts=pts).pts == pts


@pytest.mark.parametrize("pts", [-(1 << 63) - 1, 1 << 63])
def test_no_more_than_64(pts):
    for make in (XmaFrame, XmaDataBuffer):
        with pytest.raises(InvalidError, match=f"a whole number of 64 bits, got {pts}"):
            make(pts=pts)


def test_dummies_and_the_last_frame():
    dummy, last = XmaFrame(), XmaFrame.last()
    for frame in (dummy, last):
        assert frame.is_dummy
        assert frame.planes == ()
        assert frame.buffer_type is BufferType.NO_BUFFER
        with pytest.raises(InvalidError, match="a dummy frame has no picture"):
            frame.frame()
    assert (dummy.is_last_frame, last.is_last_frame) == (False, True)


def test_references_hold_planes():
    frame = picture(seed=1, pts=5)
    samples = dense(frame)
    other = frame.reference()
    (*counts,) = [plane.refcount for plane in frame.planes]
    assert counts == [2, 2, 2]
    assert (other.pts, dense(other)) == (5, samples)
    frame.close()
    frame.close()
    assert dense(other) == samples
    planes = other.planes
    other.close()
    for plane in planes:
        for use in (plane.retain, plane.release, lambda plane=plane: plane.tensor):
            with pytest.raises(BufferUseError, match="released by all who held it"):
                use()
    with pytest.raises(BufferUseError, match="this frame was closed"):
        assert frame.planes
    assert frame.closed


def test_the_last_holder_lets_go_once():
    ended = []
    with picture() as source:
        frame = XmaFrame.over(source.frame(), on_last=lambda: ended.append(1))
        assert all(plane.is_clone for plane in frame.planes)
        references = [frame.reference() for _ in range(8)]
        frame.close()
        threads = [threading.Thread(target=each.close) for each in references]
        for thread in threads:
            thread.start()
        assert dense(source)
        for thread in threads:
            thread.join()
        assert ended == [1]


def test_planes_that_are_made_when_they_are_asked_for():
    made = []

    def planes():
        made.append(1)
        return [BufferRef(CPUContext().wrap(array)) for array in arrays(source)]

    with picture(seed=3) as source:
        with XmaFrame(source.info, planes, pts=4) as frame:
            other = frame.reference()
            assert not frame.is_dummy
            assert made == []
            assert dense(frame) == dense(other) == dense(source)
            assert made == [1, 1]
        other.close()
        taken = XmaFrame()
        taken.take(XmaFrame(source.info, planes, pts=9))
        assert (taken.pts, dense(taken)) == (9, dense(source))
        assert made == [1, 1, 1]
        taken.close()


def test_the_owner_lives_as_long_as_frames():
    class Owner:
        pass

    owner = Owner()
    alive = weakref.ref(owner)
    frame = XmaFrame(owner=owner)
    other = frame.reference()
    del owner
    frame.close()
    gc.collect()
    assert alive() is not None
    other.close()
    assert alive() is None


def test_a_dummy_takes_what_another_frame_is():
    frame = picture(seed=2, pts=7)
    frame.time_base, frame.frame_rate, frame.is_idr = Fraction(1, 50), Fraction(50), True
    planes, samples = frame.planes, dense(frame)
    dummy = XmaFrame()
    dummy.take(frame)
    assert (dummy.planes, dense(dummy)) == (planes, samples)
    assert [plane.refcount for plane in planes] == [1, 1, 1]
    assert (dummy.pts, dummy.time_base, dummy.frame_rate) == (7, Fraction(1, 50), 50)
    assert dummy.is_idr
    assert frame.closed
    with pytest.raises(BufferUseError, match="closed has nothing to hand on"):
        XmaFrame().take(frame)
    with picture() as another:
        with pytest.raises(InvalidError, match="this frame has planes of its own"):
            dummy.take(another)
        dummy.close()
        with pytest.raises(BufferUseError, match="this frame was closed; receive into a new one"):
            dummy.take(another)
        assert dense(another)


def test_a_dummy_is_given_planes():
    with picture(seed=4) as source:
        for plane in source.planes:
            plane.retain()
        dummy = XmaFrame(pts=3, time_base=Fraction(1, 7))
        dummy.attach(source.info, source.planes)
        assert (dense(dummy), dummy.pts, dummy.time_base) == (dense(source), 3, Fraction(1, 7))
        dummy.close()
        assert [plane.refcount for plane in source.planes] == [1, 1, 1]


def test_copies_are_apart_from_what_they_are_of(host):
    with picture(seed=5, pts=8) as source, XmaFrame.allocate(source.info) as target:
        before = dense(source)
        target.copy_from(source)
        assert (dense(target), target.pts) == (before, 8)
        arrays(target)[0][...] ^= 255
        assert dense(source) == before
        with picture("nv12") as other, pytest.raises(InvalidError, match="cannot be copied into"):
            other.copy_from(source)
        there, _ = in_buffers(host)
        with there, pytest.raises(InvalidError, match="frames are copied in host memory"):
            target.copy_from(there)


def test_the_picture_as_bridges_see_it():
    with picture(seed=6, pts=-3) as source:
        source.time_base = Fraction(1, 90000)
        with source.frame() as frame:
            assert (frame.info.pts, frame.info.time_base) == (-3, Fraction(1, 90000))
            for tensor, array in zip(frame.tensors, arrays(source), strict=True):
                assert tensor.handle("data") == array.ctypes.data
        assert dense(source)


def test_device_buffers(device):
    frame, buffers = in_buffers(device, on_last=None)
    assert frame.buffer_type is BufferType.DEVICE
    assert [plane.buffer for plane in frame.planes] == buffers
    other = frame.reference()
    frame.close()
    assert not any(buffer.is_freed for buffer in buffers)
    other.close()
    assert all(buffer.is_freed for buffer in buffers)


def test_buffers_that_stay_their_owners(host):
    frame, buffers = in_buffers(host, is_clone=True)
    frame.close()
    ended = []
    again = XmaFrame.from_device_buffers(INFO, buffers, on_last=lambda: ended.append(1))
    again.close()
    assert ended == [1]
    last = XmaFrame.from_device_buffers(INFO, buffers, is_clone=True)
    for buffer in buffers:
        buffer.free()
    with pytest.raises(BufferUseError, match=r"of test was freed at .*test_frames"):
        assert last.planes[0].tensor
    last.close()


def test_buffers_that_are_too_small(host):
    buffers = [host.allocate(each.span) for each in padded_planes(INFO)]
    small = host.allocate(buffers[0].size - 1)
    with pytest.raises(InvalidError, match="not inside of this buffer"):
        XmaFrame.from_device_buffers(INFO, [small, *buffers[1:]])
    with pytest.raises(InvalidError, match="yuv420p has 3 planes, got 2 buffers"):
        XmaFrame.from_device_buffers(INFO, buffers[:2])
    for buffer in (small, *buffers):
        buffer.close()


def test_threads_hold_and_release_planes():
    with picture() as frame:

        def work():
            for _ in range(500):
                frame.reference().close()

        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert [plane.refcount for plane in frame.planes] == [1, 1, 1]


def test_a_frame_that_is_closed_lets_go_of_side_data_too():
    side_data = SideData(SideDataType.HDR, b"x")
    frame = XmaFrame()
    frame.add_side_data(side_data)
    frame.close()
    assert side_data.refcount == 1


# Data.


def test_data_of_the_host():
    data = XmaDataBuffer(b"coded", pts=4, poc=2)
    assert (bytes(data.data), data.alloc_size, data.buffer_type) == (b"coded", 5, BufferType.HOST)
    assert (data.pts, data.poc, data.is_eof) == (4, 2, False)
    data.close()
    data.close()
    with pytest.raises(BufferUseError, match="this data buffer was closed"):
        assert data.data


def test_the_end_of_data():
    last = XmaDataBuffer.last()
    assert (last.is_eof, last.data, last.alloc_size) == (True, None, 0)
    assert last.buffer_type is BufferType.NO_BUFFER


@pytest.mark.parametrize("device_only", [False, True])
@pytest.mark.parametrize("is_clone", [False, True])
def test_data_in_a_device_buffer(host, device_only, is_clone):
    buffer = host.allocate(100, device_only=device_only)
    data = XmaDataBuffer(buffer=buffer, is_clone=is_clone)
    assert data.alloc_size == 100
    assert data.buffer_type is (BufferType.DEVICE_ONLY if device_only else BufferType.DEVICE)
    assert (data.data is None) == device_only
    if not device_only:
        assert np.shares_memory(data.data, buffer.data)
    data.close()
    assert buffer.is_freed == (not is_clone)
    buffer.close()


def test_a_dummy_is_given_a_buffer(host):
    ended = []
    data = XmaDataBuffer()
    buffer = host.allocate(10)
    data.attach(buffer, on_last=lambda: ended.append(1))
    with pytest.raises(InvalidError, match="memory of its own"):
        data.attach(buffer)
    data.close()
    data.close()
    assert ended == [1]
    assert not buffer.is_freed
    XmaDataBuffer(buffer=buffer).close()
    assert buffer.is_freed
