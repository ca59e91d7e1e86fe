"""kernel_scaler: up to eight sizes of each picture, against the kernels' own references."""

from fractions import Fraction

import numpy as np
import pytest

from bridges.errors import KernelError
from bridges.kernels import get
from tests.bridges.kernel_files import random_coefficients, write_coefficients
from tests.xma_plugins.device_pictures import (
    DEVICES,
    applied,
    frame_of,
    host_side,
    picture_info,
    planes,
)
from tests.xma_plugins.devices import opened
from xma_plugins.buffers import BufferType
from xma_plugins.builtin.cascade import cascade_parents
from xma_plugins.conformance import Setup, check_plugin
from xma_plugins.device import Device
from xma_plugins.errors import InvalidError, XmaTimeoutError
from xma_plugins.frames import XmaFrame
from xma_plugins.kinds import ScalerType
from xma_plugins.properties import Port, ScalerProperties
from xma_plugins.sessions import ScalerSession
from xma_plugins.side_data import SideData, SideDataType
from xma_plugins.status import Status

SIZES = ((48, 26), (127, 35), (20, 9), (64, 18))


@pytest.fixture(params=DEVICES)
def device(request: pytest.FixtureRequest):
    return opened(request.param)


def session_of(
    device: Device,
    sizes,
    name: str = "nv12",
    kind=ScalerType.BICUBIC,
    *,
    half=(),
    ooo: bool = False,
    **given,
) -> ScalerSession:
    tables = {key: given.pop(key) for key in list(given) if key.endswith("_coefficients")}
    outputs = tuple(
        Port(format=name, width=width, height=height, is_half_rate=index in half)
        for index, (width, height) in enumerate(sizes)
    )
    properties = ScalerProperties(
        plugin="kernel_scaler",
        type=kind,
        input=Port(format=name),
        outputs=outputs,
        ooo_execution=ooo,
        params=given,
        **tables,
    )
    return ScalerSession(properties, device)


def scale(session: ScalerSession, frames: list[XmaFrame]) -> list[list[XmaFrame]]:
    """Send pictures and the end, and return the lists that come."""
    made = []

    def receive() -> None:
        status, received = session.recv_frame_list()
        assert status is Status.SUCCESS
        made.append(received)

    for frame in frames:
        status = session.send_frame(frame)
        while status is Status.TRY_AGAIN:
            receive()
            status = session.send_frame(frame)
        if status is Status.SUCCESS:
            receive()
    while (status := session.send_frame(None)) is not Status.EOS:
        assert status in (Status.SUCCESS, Status.FLUSH_AGAIN)
        receive()
    assert session.ended
    return made


def close(made: list[list[XmaFrame]]) -> None:
    for each in made:
        for frame in each:
            frame.close()


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        (ScalerType.BICUBIC, "nv12"),
        (ScalerType.BILINEAR, "rgb24"),
        (ScalerType.POLYPHASE, "yuv420p10le"),
    ],
)
def test_outputs_are_those_of_the_kernels(device: Device, kind: ScalerType, name: str):
    info = picture_info(name, 127, 35)
    frames = [frame_of(info, seed, 100 * seed) for seed in range(3)]
    polyphase = kind is ScalerType.POLYPHASE
    kernel = get("polyphase" if polyphase else "resize")
    how = {} if polyphase else {"filter": kind.name.lower()}
    with session_of(device, SIZES, name, kind) as session:
        made = scale(session, frames)
        assert len(made) == 3
        for frame, outputs in zip(frames, made, strict=True):
            assert [(each.info.width, each.info.height) for each in outputs] == list(SIZES)
            for (width, height), output in zip(SIZES, outputs, strict=True):
                values = {"width": width, "height": height, **how}
                wanted = applied(kernel, planes(frame), info, values)
                assert output.pts == frame.pts
                assert output.buffer_type is BufferType.DEVICE
                assert all(map(np.array_equal, host_side(output), wanted))
        close(made)


@pytest.mark.parametrize("ooo", [False, True])
def test_a_cascade_makes_each_of_the_next_larger(device: Device, ooo: bool):
    info = picture_info("yuv420p10le", 127, 35)
    frame = frame_of(info)
    kernel = get("resize")
    sizes = (48, 16), (127, 35), (20, 9), (64, 18)
    with session_of(device, sizes, "yuv420p10le", cascade=True, ooo=ooo) as session:
        (made,) = scale(session, [frame])
        found, form = planes(frame), info
        for width, height in sorted(sizes, reverse=True):
            values = {"width": width, "height": height}
            found, form = applied(kernel, found, form, values), kernel.output(form, **values)
            output = made[sizes.index((width, height))]
            assert all(map(np.array_equal, planes(output), found))
        close([made])


@pytest.mark.parametrize(
    ("sizes", "half", "parents"),
    [
        (((640, 360), (1280, 720), (320, 180)), (False,) * 3, (1, None, 0)),
        # One of full rate needs its parent at every picture.
        (((1280, 720), (640, 360), (320, 180)), (True, False, True), (None, None, 1)),
        # Larger along one side, and smaller along the other.
        (((720, 1280), (1280, 720), (640, 640)), (False,) * 3, (None, None, 1)),
        (((64, 64), (64, 64)), (False, False), (None, 0)),
    ],
)
def test_what_a_cascade_is_made_of(sizes, half, parents):
    assert cascade_parents(sizes, half) == parents


def test_half_rate_has_every_second_picture(device: Device):
    info = picture_info("nv12", 64, 36)
    frames = [frame_of(info, seed, 10 * seed + 3) for seed in range(5)]
    for frame in frames:
        frame.frame_rate = Fraction(60)
    with session_of(device, ((32, 18), (16, 9), (8, 8)), half=(1,), cascade=True) as session:
        made = scale(session, frames)
        times = [[each.pts for each in outputs] for outputs in made]
        assert [row[0] for row in times] == [row[2] for row in times] == [3, 13, 23, 33, 43]
        assert [row[1] for row in times] == [3, None, 23, None, 43]
        assert [outputs[1].is_dummy for outputs in made] == [False, True, False, True, False]
        assert [each.frame_rate for each in made[0]] == [60, 30, 60]
        close(made)
    with session_of(device, ((16, 9),), half=(0,)) as session:
        made = scale(session, frames)
        assert [outputs[0].pts for outputs in made] == [3, 23, 43]
        close(made)


def test_half_rate_keeps_count_of_pictures_that_wait(host: Device):
    frames = [frame_of(picture_info("nv12", 16, 16), seed, seed) for seed in range(4)]
    with session_of(host, ((8, 8),), half=(0,), depth=1, pool=1) as session:
        assert session.send_frame(frames[0]) is Status.SUCCESS
        _, held = session.recv_frame_list()
        assert session.send_frame(frames[1]) is Status.SEND_MORE_DATA
        assert session.send_frame(frames[2]) is Status.SUCCESS
        assert session.recv_frame_list()[0] is Status.TRY_AGAIN
        held[0].close()
        assert session.send_frame(frames[3]) is Status.SEND_MORE_DATA
        assert session.send_frame(None) is Status.FLUSH_AGAIN
        _, last = session.recv_frame_list()
        assert last[0].pts == 2
        assert session.send_frame(None) is Status.EOS
        last[0].close()


def test_sessions_hand_over_without_a_byte(device: Device):
    info = picture_info("nv12", 127, 35)
    frames = [frame_of(info, seed) for seed in range(2)]
    with (
        session_of(device, SIZES, zerocopy=True) as first,
        session_of(device, ((30, 30), (9, 9)), zerocopy=True, kind=ScalerType.POLYPHASE) as second,
    ):
        made = scale(first, frames)
        moved = repr(device.transfers)
        again = scale(second, [outputs[1] for outputs in made])
        assert repr(device.transfers) == moved
        assert {frame.buffer_type for outputs in again for frame in outputs} == {
            BufferType.DEVICE_ONLY
        }
        for frame, outputs in zip(frames, again, strict=True):
            once = applied(get("resize"), planes(frame), info, {"width": 127, "height": 35})
            values = {"width": 9, "height": 9}
            wanted = applied(get("polyphase"), once, info, values)
            assert all(map(np.array_equal, planes(outputs[1]), wanted))
        close(made + again)


def test_tables_of_the_properties(device: Device, tmp_path):
    random = np.random.default_rng(5)
    across, down = random_coefficients(random), random_coefficients(random)
    info = picture_info("nv12", 64, 36)
    frame = frame_of(info)
    file = write_coefficients(tmp_path / "both.txt", across, down)
    values = {"width": 50, "height": 20, "coefficients": str(file)}
    wanted = applied(get("polyphase"), planes(frame), info, values)
    given = {"horizontal_coefficients": across.tolist(), "vertical_coefficients": down}
    with session_of(device, ((50, 20),), kind=ScalerType.POLYPHASE, **given) as session:
        made = scale(session, [frame])
        assert all(map(np.array_equal, planes(made[0][0]), wanted))
        close(made)


def test_one_table_leaves_the_other_axis_its_own(host: Device, tmp_path):
    table = random_coefficients(np.random.default_rng(5))
    info = picture_info("gray", 64, 36)
    frame = frame_of(info)
    # As many rows as there are: the table of the other axis copies them.
    copy = np.repeat(4096 * np.eye(12, dtype=int)[5:6], 64, 0)
    file = write_coefficients(tmp_path / "across.txt", table, copy)
    values = {"width": 50, "height": 36, "coefficients": str(file)}
    wanted = applied(get("polyphase"), planes(frame), info, values)
    given = {"horizontal_coefficients": table, "kind": ScalerType.POLYPHASE}
    with session_of(host, ((50, 36),), "gray", **given) as session:
        made = scale(session, [frame])
        assert np.array_equal(planes(made[0][0])[0], wanted[0])
        close(made)


def test_sides_that_are_left_out(host: Device):
    frame = frame_of(picture_info("nv12", 64, 36))
    with session_of(host, ((0, 0), (32, 0), (0, 9))) as session:
        (made,) = scale(session, [frame])
        assert [(each.info.width, each.info.height) for each in made] == [
            (64, 36),
            (32, 18),
            (16, 9),
        ]
        assert all(map(np.array_equal, planes(made[0]), planes(frame)))
        close([made])


def test_eight_outputs_of_one_size_share_no_memory(host: Device):
    frame = frame_of(picture_info("nv12", 64, 36))
    with session_of(host, ((32, 18),) * 8, pool=2, depth=1) as session:
        made = scale(session, [frame, frame])
        addresses = [each.planes[0].buffer.paddr for outputs in made for each in outputs]
        assert len(set(addresses)) == 16
        close(made)


def test_pictures_are_received_into_host_memory(device: Device):
    frame = frame_of(picture_info("nv12", 64, 36), pts=5)
    into = [XmaFrame.allocate(picture_info("nv12", *size)) for size in ((32, 18), (16, 9))]
    with session_of(device, ((32, 18), (16, 9)), half=(1,), depth=1) as session:
        wanted = applied(get("resize"), planes(frame), frame.info, {"width": 32, "height": 18})
        for is_due in (True, False):
            assert session.send_frame(frame) is Status.SUCCESS
            assert session.recv_frame_list(into) == (Status.SUCCESS, into)
            assert all(map(np.array_equal, planes(into[0]), wanted))
            assert into[1].do_not_encode is not is_due


def test_side_data_of_another_size_is_left_behind(host: Device):
    frame = frame_of(picture_info("nv12", 64, 36))
    frame.add_side_data(SideData(SideDataType.QP_MAP, bytes(12)))
    frame.add_side_data(SideData(SideDataType.HDR, b"hdr"))
    with session_of(host, ((32, 18),)) as session:
        made = scale(session, [frame])
        assert made[0][0].side_data(SideDataType.QP_MAP) is None
        assert made[0][0].side_data(SideDataType.HDR).buffer == b"hdr"
        close(made)


def test_a_pool_that_is_held_is_told_of(host: Device):
    frames = [frame_of(picture_info("nv12", 16, 16), seed) for seed in range(2)]
    session = session_of(host, ((8, 8),), depth=1, pool=1, timeout=0.05)
    assert session.send_frame(frames[0]) is Status.SUCCESS
    _, held = session.recv_frame_list()
    assert session.send_frame(frames[1]) is Status.SUCCESS
    assert session.recv_frame_list()[0] is Status.TRY_AGAIN
    assert session.send_frame(None) is Status.FLUSH_AGAIN
    with pytest.raises(XmaTimeoutError, match="are held by those who received them"):
        session.recv_frame_list()
    held[0].close()
    session.destroy()


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        ({"cascad": True}, InvalidError, "no parameter 'cascad'; it has cascade"),
        ({"siting": "top"}, KernelError, "left, centre"),
        ({"vertical_coefficients": np.zeros((64, 12), int)}, InvalidError, "for POLYPHASE"),
        (
            {"kind": ScalerType.POLYPHASE, "vertical_coefficients": np.zeros((64, 12), int)},
            InvalidError,
            "vertical_coefficients: the taps of phase 0 add up to 0",
        ),
        (
            {"kind": ScalerType.POLYPHASE, "coefficients": "/no/such"},
            KernelError,
            "/no/such cannot be read",
        ),
    ],
)
def test_wrong_properties_are_refused(host: Device, given, error, message: str):
    frame = frame_of(picture_info("nv12", 16, 16))
    with pytest.raises(error, match=message), session_of(host, ((8, 8),), **given) as session:
        session.send_frame(frame)
    assert not host.buffers


def test_an_output_keeps_the_format(host: Device):
    properties = ScalerProperties(
        plugin="kernel_scaler", input=Port(format="nv12"), outputs=(Port(format="rgb24"),)
    )
    with pytest.raises(InvalidError, match="an output is to be rgb24; convert"):
        ScalerSession(properties, host)


@pytest.mark.parametrize(
    ("name", "kind"), [("cpu", ScalerType.BILINEAR), ("opencl", ScalerType.POLYPHASE)]
)
def test_keeps_the_rules(name: str, kind: ScalerType):
    polyphase = kind is ScalerType.POLYPHASE
    params = {"cascade": polyphase, "zerocopy": polyphase}
    setup = Setup(params=params, properties={"type": kind})
    check_plugin("kernel_scaler", setup, device=opened(name))
