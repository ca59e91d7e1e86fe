"""Pictures that fail in a plugin that runs compute units: they are let go of, others go on."""

from collections.abc import Callable

import numpy as np
import pytest

from bridges.kernels import parse_call
from tests.xma_plugins.device_pictures import (
    applied,
    device_frame,
    frame_of,
    picture_info,
    planes,
    run,
)
from xma_plugins.device import Device
from xma_plugins.errors import BufferUseError, InvalidError
from xma_plugins.frames import XmaFrame
from xma_plugins.properties import EncoderProperties, FilterProperties, Port, ScalerProperties
from xma_plugins.sessions import EncoderSession, FilterSession, ScalerSession
from xma_plugins.status import Status

INFO = picture_info("nv12", 34, 18)
PORT = Port(format="nv12", width=34, height=18)


def kernel_filter(kernel: str) -> Callable[..., FilterSession]:
    def made(device: Device, **params: object) -> FilterSession:
        given = {"kernel": kernel, **params}
        return FilterSession(
            FilterProperties(plugin="kernel_filter", input=PORT, params=given), device
        )

    return made


def copy_filter(device: Device, **params: object) -> FilterSession:
    return FilterSession(FilterProperties(plugin="copy_filter", input=PORT, params=params), device)


def copy_encoder(device: Device, *, depth: int, **_: object) -> EncoderSession:
    properties = EncoderProperties(
        plugin="copy_encoder", format="nv12", width=34, height=18, params={"depth": depth}
    )
    return EncoderSession(properties, device)


def kernel_scaler(device: Device, **params: object) -> ScalerSession:
    """Return a scaler whose second output is of half rate."""
    outputs = (
        Port(format="nv12", width=16, height=8),
        Port(format="nv12", width=8, height=4, is_half_rate=True),
    )
    properties = ScalerProperties(
        plugin="kernel_scaler", input=PORT, outputs=outputs, params=params
    )
    return ScalerSession(properties, device)


ALL = {
    "copy_filter": copy_filter,
    "copy_encoder": copy_encoder,
    "invert": kernel_filter("invert"),
    "denoise": kernel_filter("denoise"),
    "statistics": kernel_filter("statistics"),
    "kernel_scaler": kernel_scaler,
}
HELD = {"copy_filter": 1, "invert": 1, "denoise": 2, "kernel_scaler": 2}
"""How many pictures have to be held until another one has to wait, where ``pool`` is 1."""

of_each = pytest.mark.parametrize("make", ALL.values(), ids=list(ALL))
with_pool = pytest.mark.parametrize(
    ("make", "count"), [(ALL[name], count) for name, count in HELD.items()], ids=list(HELD)
)


class Receiver:
    """Receives from a session of any kind."""

    def __init__(self, session):
        self.session = session

    def receive(self) -> tuple[Status, list[XmaFrame]]:
        """Return the answer, and what was received, which is the caller's."""
        call = getattr(self.session, self.session._receive)
        status, made = call()
        if status is not Status.SUCCESS:
            return status, []
        return status, made if isinstance(made, list) else [made]

    def take(self) -> list[XmaFrame]:
        status, made = self.receive()
        assert status is Status.SUCCESS
        return made

    def hold(self, frame: XmaFrame, count: int) -> list[XmaFrame]:
        """Send a picture so many times, one at a time, and return what came."""
        held = []
        for _ in range(count):
            assert self.session.send_frame(frame) is Status.SUCCESS
            held += self.take()
        return held

    def send_to_wait(self, frame: XmaFrame) -> None:
        """Send a picture that has to wait, so that nothing can be received."""
        assert self.session.send_frame(frame) is Status.SUCCESS
        assert self.receive() == (Status.TRY_AGAIN, [])


def close(frames: list[XmaFrame]) -> None:
    for frame in frames:
        frame.close()


def free(buffers) -> None:
    for buffer in buffers:
        buffer.free()


def is_held(frame: XmaFrame) -> bool:
    """Return whether anybody but the caller holds a picture."""
    return any(plane.refcount > 1 for plane in frame.planes)


@of_each
def test_the_next_picture_goes_through_where_one_was_freed(host: Device, make) -> None:
    good = frame_of(INFO, pts=5)
    freed, buffers = device_frame(host, INFO)
    free(buffers)
    with make(host, depth=1, pool=1) as session:
        receiver, counts = Receiver(session), set()
        for _ in range(3):
            with pytest.raises(BufferUseError, match="was freed at"):
                session.send_frame(freed)
            assert not is_held(freed)
            counts.add(len(host.buffers))
        assert len(counts) == 1  # What a start took went back.
        assert session.send_frame(good) is Status.SUCCESS
        made = receiver.take()
        assert [each.pts for each in made] == [5] * len(made)
        close(made)
        with pytest.raises(BufferUseError, match="was freed at"):
            session.send_frame(freed)
        assert session.send_frame(good) is Status.SUCCESS
        close(receiver.take())
    assert not host.buffers
    assert not is_held(good)


@with_pool
def test_a_picture_that_is_freed_while_it_waits_fails_where_it_is_received(
    host: Device, make, count: int
) -> None:
    good = frame_of(INFO, pts=5)
    waiting, buffers = device_frame(host, INFO)
    with make(host, depth=1, pool=1) as session:
        receiver = Receiver(session)
        held = receiver.hold(good, count)
        receiver.send_to_wait(waiting)
        assert session.send_frame(good) is Status.TRY_AGAIN
        free(buffers)
        close(held)
        with pytest.raises(BufferUseError, match="was freed at"):
            receiver.receive()
        assert not is_held(waiting)
        assert receiver.receive() == (Status.TRY_AGAIN, [])
        assert session.send_frame(good) is Status.SUCCESS
        close(receiver.take())


@with_pool
def test_a_picture_is_not_taken_where_the_one_before_it_fails(
    host: Device, make, count: int
) -> None:
    first, last = frame_of(INFO, pts=1), frame_of(INFO, pts=2)
    waiting, buffers = device_frame(host, INFO)
    with make(host, depth=2, pool=1) as session:
        receiver = Receiver(session)
        held = []
        for frame in (*[first] * count, waiting):
            if session.send_frame(frame) is Status.SUCCESS:
                held += receiver.take()
        assert len(held) >= count
        free(buffers)
        close(held)
        with pytest.raises(BufferUseError, match="was freed at"):
            session.send_frame(last)
        assert not is_held(waiting)
        assert not is_held(last)
        session.send_frame(last)
        session.send_frame(None)
        made = receiver.take()
        assert made[0].pts == 2
        close(made)
        assert receiver.receive()[0] is not Status.SUCCESS


@with_pool
def test_what_was_refused_and_then_freed_need_not_be_sent_again(
    host: Device, make, count: int
) -> None:
    good = frame_of(INFO)
    refused, buffers = device_frame(host, INFO)
    with make(host, depth=1, pool=1) as session:
        receiver = Receiver(session)
        held = receiver.hold(good, count)
        receiver.send_to_wait(good)
        assert session.send_frame(refused) is Status.TRY_AGAIN
        close(held)
        close(receiver.take())
        free(buffers)
        with pytest.raises(BufferUseError, match="was freed at"):
            session.send_frame(refused)
        assert session.send_frame(good) is Status.SUCCESS
        close(receiver.take())


@of_each
def test_a_command_that_fails_is_told_of_once(host: Device, make, monkeypatch) -> None:
    def fail(*_: object) -> None:
        raise InvalidError("it cannot be done")

    good = frame_of(INFO)
    with make(host, depth=1, pool=1) as session:
        receiver, counts = Receiver(session), []
        for _ in range(3):
            with monkeypatch.context() as patch:
                patch.setattr(host.driver, "enqueue", fail)
                assert session.send_frame(good) is Status.SUCCESS
                with pytest.raises(InvalidError, match="cannot be done"):
                    receiver.receive()
            assert not is_held(good)
            counts.append(len(host.buffers))
            assert session.send_frame(good) is Status.SUCCESS
            close(receiver.take())
        assert counts[1] == counts[2]  # What the command was given went back.
    assert not host.buffers


def test_the_result_before_is_of_a_picture_that_did_not_fail(host: Device) -> None:
    kernel, values = parse_call("denoise(strength=0.8)")
    frames = [frame_of(INFO, seed) for seed in range(2)]
    freed, buffers = device_frame(host, INFO)
    free(buffers)
    with kernel_filter("denoise(strength=0.8)")(host, depth=1) as session:
        assert session.send_frame(frames[0]) is Status.SUCCESS
        close(Receiver(session).take())
        with pytest.raises(BufferUseError, match="was freed at"):
            session.send_frame(freed)
        (made,) = run(session, frames[1:])
        before = applied(kernel, planes(frames[0]), INFO, values)
        wanted = applied(kernel, planes(frames[1]), INFO, values, before)
        assert all(map(np.array_equal, planes(made), wanted))
        made.close()


def test_half_rate_does_not_count_what_was_not_taken(host: Device) -> None:
    freed, buffers = device_frame(host, INFO)
    free(buffers)
    with kernel_scaler(host, depth=1) as session:
        times = []
        for pts in range(4):
            with pytest.raises(BufferUseError, match="was freed at"):
                session.send_frame(freed)
            assert session.send_frame(frame_of(INFO, pts=pts)) is Status.SUCCESS
            made = Receiver(session).take()
            times.append([each.pts for each in made])
            close(made)
    assert times == [[0, 0], [1, None], [2, 2], [3, None]]
