"""The copy filter and the copy encoder: every sample arrives, wherever pictures lie."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from bridges.formats import PIXEL_FORMATS
from tests.xma_plugins.devices import opened
from tests.xma_plugins.pictures import arrays, dense, picture
from xma_plugins.buffers import BufferType
from xma_plugins.errors import BufferUseError, InvalidError, XmaTimeoutError
from xma_plugins.frames import XmaDataBuffer, XmaFrame
from xma_plugins.host_frames import to_host
from xma_plugins.properties import EncoderProperties, FilterProperties, Port
from xma_plugins.sessions import EncoderSession, FilterSession
from xma_plugins.status import Status

FORMATS = ("yuv420p", "nv12", "p010le", "yuv444p16le", "rgb24", "gbrap10le", "yuyv422", "ya8")


def filter_session(device, pixels="yuv420p", width=33, height=17, *, ooo=False, **params):
    port = Port(format=pixels, width=width, height=height)
    return FilterSession(
        FilterProperties(plugin="copy_filter", input=port, params=params, ooo_execution=ooo), device
    )


def encoder_session(device, pixels="yuv420p", width=33, height=17, **params):
    return EncoderSession(
        EncoderProperties(
            plugin="copy_encoder", format=pixels, width=width, height=height, params=params
        ),
        device,
    )


def filtered(session, frames):
    """Yield what comes of pictures; each belongs to the caller."""
    for frame in frames:
        while session.send_frame(frame) is not Status.SEND_MORE_DATA:
            yield session.recv_frame()[1]
            if not session.plugin._was_refused:
                break
    session.send_frame(None)
    while True:
        status, got = session.recv_frame()
        if status is Status.EOS:
            return
        yield got


def host_side(frame):
    """Return the samples of a picture as the host's side of its buffers has them."""
    parts = []
    for plane in frame.planes:
        layout = plane.tensor.info
        side = np.ndarray(
            layout.shape, layout.dtype, plane.buffer.data.data, strides=layout.strides
        )
        parts.append(np.ascontiguousarray(side).tobytes())
    return b"".join(parts)


def without_padding(data, pixels, width, height):
    """Return samples without the one of packed 4:2:2 beside an odd last column, which says nothing.

    Kernels repeat the last one there.
    """
    channels = PIXEL_FORMATS[pixels].planes[0].channels
    if channels.count("Y") < 2 or width % 2 == 0:
        return data
    pairs = np.frombuffer(data, np.uint8).reshape(height, -1, len(channels)).copy()
    pairs[:, -1, channels.rindex("Y")] = 0
    return pairs.tobytes()


@pytest.mark.parametrize(("width", "height"), [(33, 17), (1, 1)])
@pytest.mark.parametrize("pixels", FORMATS)
def test_samples_go_through_the_filter_and_the_encoder(device, pixels, width, height):
    size = pixels, width, height
    with picture(*size, seed=1, pts=3) as frame:
        wanted = without_padding(dense(frame), *size)
        with filter_session(device, *size) as session:
            (got,) = filtered(session, [frame])
            assert (got.buffer_type, got.pts) == (BufferType.DEVICE, 3)
            assert without_padding(host_side(got), *size) == wanted
            got.close()
        with encoder_session(device, *size) as session:
            session.send_frame(frame)
            session.send_frame(None)
            status, data = session.recv_data()
            assert (status, data.buffer_type, data.pts) == (Status.SUCCESS, BufferType.HOST, 3)
            assert without_padding(bytes(data.data), *size) == wanted
            data.close()
            assert session.recv_data() == (Status.EOS, None)


@pytest.mark.parametrize("pixels", sorted(PIXEL_FORMATS))
def test_every_pixel_format(host, pixels):
    size = pixels, 5, 3
    with picture(*size, seed=2) as frame, encoder_session(host, *size) as session:
        session.send_frame(frame)
        session.send_frame(None)
        _, data = session.recv_data()
        wanted = without_padding(dense(frame), *size)
        assert without_padding(bytes(data.data), *size) == wanted
        data.close()


def test_between_plugins_no_byte_leaves_the_device():
    device = opened("opencl copies")
    before = device.transfers.bytes_to_device, device.transfers.bytes_to_host
    with (
        filter_session(device, zerocopy=True) as first,
        filter_session(device, zerocopy=True) as second,
        encoder_session(device, zerocopy=True) as encoder,
    ):
        with picture(pts=1) as frame:
            wanted = dense(frame)
            (half,) = filtered(first, [frame])
            uploaded = device.transfers.bytes_to_device
        assert uploaded - before[0] == sum(_spans(half))
        assert half.buffer_type is BufferType.DEVICE_ONLY
        (whole,) = filtered(second, [half])
        half.close()
        assert (uploaded, before[1]) == (
            device.transfers.bytes_to_device,
            device.transfers.bytes_to_host,
        )
        encoder.send_frame(whole)
        encoder.send_frame(None)
        _, data = encoder.recv_data()
        assert data.buffer_type is BufferType.DEVICE
        assert bytes(data.data) == wanted
        assert device.transfers.bytes_to_host - before[1] == sum(_spans(whole))
        data.buffer.data[:] = 0
        data.buffer.read()
        assert bytes(data.data) == wanted  # The device has it too.
        whole.close()
        data.close()


def _spans(frame):
    return [plane.buffer.size for plane in frame.planes]


def test_pictures_keep_their_order_times_and_marks(device):
    sent = [picture(seed=number, pts=(1 << 40) - number) for number in range(7)]
    sent[2].is_idr = sent[5].do_not_encode = True
    with filter_session(device, depth=3) as session:
        for frame, got in itertools.zip_longest(sent, filtered(session, sent)):
            assert host_side(got) == dense(frame)
            assert (got.pts, got.is_idr, got.do_not_encode) == (
                frame.pts,
                frame.is_idr,
                frame.do_not_encode,
            )
            got.close()
    for frame in sent:
        frame.close()


def test_out_of_order_execution_changes_no_order(device):
    sent = [picture(seed=number, pts=number) for number in range(9)]
    with filter_session(device, ooo=True, depth=4) as session:
        got = []
        for frame in filtered(session, sent):
            got.append((frame.pts, host_side(frame)))
            frame.close()
    assert got == [(frame.pts, dense(frame)) for frame in sent]
    for frame in sent:
        frame.close()


def test_a_picture_may_be_closed_and_changed_once_it_was_received(device):
    with filter_session(device, depth=1, pool=2) as session:
        frame = picture(seed=4)
        wanted = dense(frame)
        session.send_frame(frame)
        _, got = session.recv_frame()
        for array in arrays(frame):
            array[...] = 0
        frame.close()
        assert host_side(got) == wanted
        got.close()


def test_into_a_frame_of_ones_own(device):
    for zerocopy in (False, True):
        with (
            picture(seed=5, pts=8) as frame,
            filter_session(device, zerocopy=zerocopy) as session,
            XmaFrame.allocate(frame.info) as mine,
        ):
            session.send_frame(frame)
            session.send_frame(None)
            assert session.recv_frame(mine) == (Status.SUCCESS, mine)
            assert (dense(mine), mine.pts) == (dense(frame), 8)


def test_a_consumer_that_keeps_all_copies(host):
    frames = [picture(seed=number, pts=number) for number in range(6)]
    with filter_session(host, depth=2, pool=2, timeout=0.05) as session:
        kept = []
        assert session.send_frame(frames[0]) is Status.SEND_MORE_DATA
        for frame in frames[1:3]:
            assert session.send_frame(frame) is Status.SUCCESS
            kept.append(session.recv_frame()[1])
        # One copy is under way and both are held: one more picture waits for its copy.
        assert session.send_frame(frames[3]) is Status.SUCCESS
        assert session.recv_frame() == (Status.TRY_AGAIN, None)
        assert session.send_frame(frames[4]) is Status.TRY_AGAIN
        kept.pop(0).close()
        status, got = session.recv_frame()
        assert (status, got.pts) == (Status.SUCCESS, 2)
        kept.append(got)
        assert session.send_frame(frames[4]) is Status.SUCCESS
        assert session.recv_frame() == (Status.TRY_AGAIN, None)
        assert session.send_frame(frames[5]) is Status.TRY_AGAIN
        with pytest.raises(XmaTimeoutError, match="all of its pool are held by those who rec"):
            session.recv_frame()
        for frame in (*kept, *frames):
            frame.close()


def test_a_consumer_that_keeps_all_copies_past_the_end(host):
    with filter_session(host, depth=2, pool=1, timeout=0.05) as session, picture() as frame:
        session.send_frame(frame)
        session.send_frame(frame)
        _, got = session.recv_frame()
        session.send_frame(None)
        with pytest.raises(XmaTimeoutError):
            session.recv_frame()
        got.close()


def test_memory_does_not_grow_with_the_stream(host):
    with filter_session(host, depth=2, pool=3) as session, picture() as frame:
        seen = set()
        for got in filtered(session, [frame] * 20):
            seen.update(plane.buffer.paddr for plane in got.planes)
            got.close()
        assert len(seen) <= 9
    with encoder_session(host, zerocopy=True) as session, picture() as frame:
        seen = set()
        for _ in range(20):
            if session.send_frame(frame) is Status.SUCCESS:
                _, data = session.recv_data()
                seen.add(data.buffer.paddr)
                data.close()
        assert len(seen) == 1


def test_data_that_is_held_is_not_overwritten(host):
    frames = [picture(seed=number) for number in range(4)]
    kept = []
    with encoder_session(host, zerocopy=True, depth=1) as session:
        for frame in frames:
            session.send_frame(frame)
            kept.append(session.recv_data()[1])
        assert [bytes(data.data) for data in kept] == [dense(frame) for frame in frames]
        for data in kept[1:]:
            data.close()
        with pytest.raises(BufferUseError, match="its plugin did not free 1 buffers"):
            session.destroy()
        with pytest.raises(BufferUseError, match=r"copy_encoder\) was freed"):
            _ = kept[0].data
    for frame in frames:
        frame.close()


def test_a_buffer_with_memory_of_its_own_is_not_replaced(host):
    with encoder_session(host, zerocopy=True, depth=1) as session, picture() as frame:
        session.send_frame(frame)
        with pytest.raises(InvalidError, match="has memory of its own"):
            session.recv_data(XmaDataBuffer(bytearray(3)))


@pytest.mark.parametrize(
    ("make", "given", "message"),
    [
        (filter_session, {"zerocopy": 1}, "parameter 'zerocopy' takes true or false, got 1"),
        (filter_session, {"pools": 1}, "has no parameter 'pools'; it has zerocopy, depth, pool"),
        (encoder_session, {"pool": 1}, "has no parameter 'pool'; it has zerocopy, depth"),
        (encoder_session, {"depth": -1}, "parameter 'depth' takes a whole number"),
        (encoder_session, {"depth": 0}, "parameter 'depth' is 1 or more, got 0"),
        (filter_session, {"depth": 0}, "parameter 'depth' is 1 or more, got 0"),
    ],
)
def test_wrong_parameters(host, make, given, message):
    with pytest.raises(InvalidError, match=message):
        make(host, **given)


def test_another_form_than_was_declared(host):
    for make in (filter_session, encoder_session):
        for form in (("nv12", 33, 17), ("yuv420p", 32, 17)):
            with (
                make(host) as session,
                picture(*form) as frame,
                pytest.raises(InvalidError, match="where its properties say yuv420p of 33x17"),
            ):
                session.send_frame(frame)


def test_a_compute_unit_that_does_something_else(host):
    port = Port(format="gray", width=8, height=8)
    properties = FilterProperties(plugin="copy_filter", input=port, cu_name="invert")
    with pytest.raises(InvalidError, match=r"runs crop, and .* invert .* is invert; leave"):
        FilterSession(properties, host)


def test_what_is_on_another_device(host):
    other = opened("opencl copies")
    with filter_session(other) as first, picture(seed=6) as frame:
        (got,) = filtered(first, [frame])
        with filter_session(host) as second:
            (back,) = filtered(second, [got])
            with to_host(back) as seen:
                assert dense(seen) == dense(frame)
            back.close()
        got.close()
