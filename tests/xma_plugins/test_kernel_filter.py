"""kernel_filter: any kernel as a filter session, against the kernel's own reference."""

import numpy as np
import pytest

from bridges import FrameInfo
from bridges.errors import DeviceError, KernelError
from bridges.kernels import get
from bridges.kernels.call import parse_call
from bridges.kernels.load import load
from tests.xma_plugins.device_pictures import (
    DEVICES,
    applied,
    frame_of,
    host_side,
    picture_info,
    planes,
    run,
)
from tests.xma_plugins.devices import opened
from xma_plugins.buffers import BufferType
from xma_plugins.conformance import Setup, check_plugin
from xma_plugins.device import Device, DeviceDescription, open_device
from xma_plugins.errors import InvalidError, NoKernelError, XmaTimeoutError
from xma_plugins.frames import XmaFrame, padded_planes
from xma_plugins.properties import FilterProperties, Port
from xma_plugins.sessions import FilterSession
from xma_plugins.side_data import SideData, SideDataType
from xma_plugins.status import Status


@pytest.fixture(params=DEVICES)
def device(request: pytest.FixtureRequest):
    return opened(request.param)


def session_of(
    device: Device, kernel: object, name: str = "nv12", *, ooo: bool = False, **params: object
) -> FilterSession:
    properties = FilterProperties(
        plugin="kernel_filter",
        input=Port(format=name),
        ooo_execution=ooo,
        params={"kernel": kernel, **params},
    )
    return FilterSession(properties, device)


CALLS = [
    ("invert(amount=0.5)", "nv12", (64, 36)),
    ("invert", "p010le", (35, 17)),
    ("yuv_to_rgb", "yuv420p10le", (35, 17)),
    ("rgb_to_grayscale", "rgb24", (66, 9)),
    ("resize(width=33)", "yuv420p", (127, 35)),
    ("polyphase(width=40, height=40)", "uyvy422", (31, 21)),
    ("rotate(angle=90)", "yuv420p", (34, 18)),
    ("sobel", "gray", (1, 1)),
]


@pytest.mark.parametrize(("call", "name", "size"), CALLS, ids=str)
def test_results_are_those_of_the_kernel(device: Device, call: str, name: str, size):
    kernel, values = parse_call(call)
    info = picture_info(name, *size)
    frames = [frame_of(info, seed, 3000 * seed) for seed in range(3)]
    with session_of(device, call, name) as session:
        for seed, made in enumerate(run(session, frames)):
            wanted = applied(kernel, planes(frames[seed]), info, values)
            assert made.info == kernel.output(info, **values)
            assert (made.pts, made.time_base) == (3000 * seed, frames[seed].time_base)
            assert made.buffer_type is BufferType.DEVICE
            assert all(map(np.array_equal, planes(made), wanted))
            assert all(map(np.array_equal, host_side(made), wanted))
            made.close()
        assert seed == 2


def test_a_chain_of_sessions_moves_no_byte(device: Device):
    info = picture_info("yuv420p10le", 35, 17)
    frames = [frame_of(info, seed, seed) for seed in range(4)]
    calls = "invert(amount=0.3)", "sobel", "resize(width=20)"
    first, second, third = (
        session_of(device, call, "yuv420p10le", zerocopy=True) for call in calls
    )
    with first, second, third:
        found = []
        near = list(run(first, frames[:1]))
        moved = device.transfers.bytes_to_device, device.transfers.bytes_to_host
        for frame in near:
            assert frame.buffer_type is BufferType.DEVICE_ONLY
            assert all(plane.buffer.data is None for plane in frame.planes)
        middle = list(run(second, near))
        last = list(run(third, middle))
        assert (device.transfers.bytes_to_device, device.transfers.bytes_to_host) == moved
        found = planes(last[0])
        for frame in (*near, *middle, *last):
            frame.close()
    wanted, form = planes(frames[0]), info
    for call in calls:
        kernel, values = parse_call(call)
        wanted, form = applied(kernel, wanted, form, values), kernel.output(form, **values)
    assert all(map(np.array_equal, found, wanted))


@pytest.mark.parametrize("ooo", [False, True])
def test_a_kernel_that_takes_the_result_before(device: Device, ooo: bool):
    kernel, values = parse_call("denoise(strength=0.8)")
    info = picture_info("nv12", 34, 18)
    frames = [frame_of(info, seed) for seed in range(4)]
    before = None
    with session_of(device, "denoise", parameters={"strength": 0.8}, ooo=ooo) as session:
        for frame, made in zip(frames, run(session, frames), strict=True):
            before = applied(kernel, planes(frame), info, values, before)
            with made:
                assert all(map(np.array_equal, planes(made), before))


def test_the_result_before_is_forgotten_where_the_form_changes(host: Device):
    kernel, values = parse_call("denoise")
    infos = [picture_info("nv12", *size) for size in ((16, 16), (24, 8), (24, 8))]
    frames = [frame_of(info, seed) for seed, info in enumerate(infos)]
    with session_of(host, "denoise") as session:
        made = list(run(session, frames))
        first = applied(kernel, planes(frames[1]), infos[1], values)
        assert all(map(np.array_equal, planes(made[1]), first))
        second = applied(kernel, planes(frames[2]), infos[2], values, first)
        assert all(map(np.array_equal, planes(made[2]), second))
        for frame in made:
            frame.close()


def test_numbers_travel_with_their_picture(device: Device):
    info = picture_info("yuv420p", 35, 17)
    frames = [frame_of(info, seed) for seed in range(3)]
    with session_of(device, "statistics", "yuv420p") as session:
        for frame, made in zip(frames, run(session, frames), strict=True):
            with made:
                numbers = made.side_data(SideDataType.CUSTOM_DATA).buffer
                arrays = planes(frame)
                assert [plane.tensor for plane in made.planes] == [
                    plane.tensor for plane in frame.planes
                ]
                assert numbers["sum"].tolist() == [int(array.sum()) for array in arrays]
                assert numbers["maximum"].tolist() == [int(array.max()) for array in arrays]


def test_a_kernel_of_ones_own_is_put_on_the_device(device: Device, tmp_path):
    path = tmp_path / "my.cl"
    path.write_text(
        "/* darken: halves.\n * param by: int = 2 in [1, 9]   how much\n */\n"
        "DEVICE pixel darken(pixel p, i32 x, i32 y, i32 by) {\n"
        "    p.r /= by; p.g /= by; p.b /= by; return p;\n}\n"
    )
    frame = frame_of(picture_info("gbrp", 8, 8))
    # The other device is for all tests, as it is.
    with open_device(device.driver.kind) as own:
        for kernel in (f"{path}(by=3)", load(str(path))):
            params = {} if isinstance(kernel, str) else {"parameters": {"by": 3}}
            with session_of(own, kernel, "gbrp", **params) as session:
                if own.driver.kind == "cpu":
                    with pytest.raises(KernelError, match="NumPy"):
                        list(run(session, [frame]))
                    continue
                assert session.compute_unit.name.startswith("darken")
                for made in run(session, [frame]):
                    with made:
                        for plane, source in zip(planes(made), planes(frame), strict=True):
                            assert np.abs(plane - source / 3.0).max() < 1


def test_times_flags_and_side_data_go_along(host: Device):
    frame = frame_of(picture_info("nv12", 8, 8), pts=-(1 << 40))
    frame.is_idr = True
    frame.add_side_data(SideData(SideDataType.HDR, b"hdr"))
    with session_of(host, "invert") as session:
        (made,) = run(session, [frame])
        assert (made.pts, made.is_idr) == (-(1 << 40), True)
        assert made.side_data(SideDataType.HDR).buffer == b"hdr"
        made.close()


def test_pictures_are_received_into_host_memory(device: Device):
    info = picture_info("yuv420p10le", 35, 17)
    frame, into = frame_of(info, pts=7), XmaFrame.allocate(info)
    for zerocopy in (False, True):
        with session_of(device, "invert", "yuv420p10le", zerocopy=zerocopy, depth=1) as session:
            assert session.send_frame(frame) is Status.SUCCESS
            assert session.recv_frame(into) == (Status.SUCCESS, into)
            wanted = applied(get("invert"), planes(frame), info, {})
            assert into.pts == 7
            assert all(map(np.array_equal, planes(into), wanted))


def test_commands_under_way_are_bounded(host: Device):
    frames = [frame_of(picture_info("nv12", 8, 8), seed) for seed in range(6)]
    with session_of(host, "invert", depth=3) as session:
        said = [session.send_frame(frame) for frame in frames[:3]]
        assert said == [Status.SEND_MORE_DATA, Status.SEND_MORE_DATA, Status.SUCCESS]
        for frame in frames[3:]:
            status, made = session.recv_frame()
            assert status is Status.SUCCESS
            made.close()
            assert session.send_frame(frame) is Status.SUCCESS


def test_a_pool_that_is_held_makes_the_sender_wait(host: Device):
    info = picture_info("nv12", 8, 8)
    frames = [frame_of(info, seed) for seed in range(4)]
    with session_of(host, "invert", depth=1, pool=2, timeout=0.05) as session:
        held = []
        for frame in frames[:2]:
            assert session.send_frame(frame) is Status.SUCCESS
            held.append(session.recv_frame()[1])
        # It is taken, and waits for one that is held.
        assert session.send_frame(frames[2]) is Status.SUCCESS
        assert session.recv_frame() == (Status.TRY_AGAIN, None)
        assert session.send_frame(frames[3]) is Status.TRY_AGAIN
        held.pop(0).close()
        for frame in frames[2:]:
            status, made = session.recv_frame()
            assert status is Status.SUCCESS
            wanted = applied(get("invert"), planes(frame), info, {})
            assert all(map(np.array_equal, planes(made), wanted))
            made.close()
            if frame is frames[2]:
                assert session.send_frame(frames[3]) is Status.SUCCESS
        held.pop().close()


def test_a_pool_that_is_never_given_back_is_told_of(host: Device):
    frames = [frame_of(picture_info("nv12", 8, 8), seed) for seed in range(2)]
    session = session_of(host, "invert", depth=1, pool=1, timeout=0.05)
    assert session.send_frame(frames[0]) is Status.SUCCESS
    _, held = session.recv_frame()
    assert session.send_frame(frames[1]) is Status.SUCCESS
    assert session.recv_frame()[0] is Status.TRY_AGAIN
    assert session.send_frame(None) is Status.SUCCESS
    with pytest.raises(XmaTimeoutError, match=r"all of its pool are held.*parameter 'pool'"):
        session.recv_frame()
    held.close()
    session.destroy()


class Application:
    """Gives frames to write into, over buffers of its own, and counts those that came back."""

    def __init__(self, device: Device) -> None:
        self._device = device
        self.asked: list[tuple[FrameInfo, object]] = []
        self.back = 0

    def __call__(self, info: FrameInfo, written: object) -> XmaFrame:
        self.asked.append((info, written))
        buffers = [
            self._device.allocate(layout.span, device_only=True, holder="the application")
            for layout in padded_planes(info)
        ]

        def end() -> None:
            self.back += 1
            for buffer in buffers:
                buffer.close()

        return XmaFrame.from_device_buffers(info, buffers, is_clone=True, on_last=end)


def test_results_are_written_into_what_the_application_gives(device: Device):
    given, info = Application(device), picture_info("nv12", 34, 18)
    frames = [frame_of(info, seed, seed) for seed in range(3)]
    before = device.buffers, device.transfers.nbytes
    with session_of(device, "invert", zerocopy=True, depth=2, pool=1, into=given) as session:
        # More than a pool of one could hold.
        results = list(run(session, frames))
        uploaded = device.transfers.nbytes - before[1]
        for frame, made in zip(frames, results, strict=True):
            assert made.pts == frame.pts
            wanted = applied(get("invert"), planes(frame), info, {})
            assert all(map(np.array_equal, planes(made), wanted))
        assert {each.holder for each in device.buffers} - {each.holder for each in before[0]} == {
            "the application"
        }
        assert given.back == 0
        for made in results:
            made.close()
        assert given.back == 3
    assert device.buffers == before[0]
    assert uploaded == 0 or not device.driver.shares_host_memory
    assert [form for form, _ in given.asked] == [info] * 3


def test_what_is_written_of_a_frame_is_told_to_whom_gives_it(host: Device):
    given, info = Application(host), picture_info("nv12", 8, 8)
    properties = FilterProperties(
        plugin="kernel_filter",
        input=Port(format="nv12"),
        output=Port(format="nv12"),
        params={"kernel": "rgb_to_grayscale", "zerocopy": True, "into": given},
    )
    with FilterSession(properties, host) as session:
        (made,) = run(session, [frame_of(info)])
        made.close()
    assert [list(written) for _, written in given.asked] == [[0]]


def test_what_a_start_that_failed_was_given_goes_back(host: Device, monkeypatch):
    given, info = Application(host), picture_info("nv12", 8, 8)
    frame = frame_of(info)
    with session_of(host, "invert", zerocopy=True, depth=1, into=given) as session:

        def refuse(registers: bytes) -> None:
            raise InvalidError("no such command")

        monkeypatch.setattr(session, "schedule_cu_cmd", refuse)
        for count in (1, 2):
            with pytest.raises(InvalidError, match="no such command"):
                session.send_frame(frame)
            assert given.back == len(given.asked) == count
        monkeypatch.undo()
        (made,) = run(session, [frame])
        wanted = applied(get("invert"), planes(frame), info, {})
        assert all(map(np.array_equal, planes(made), wanted))
        made.close()
    assert given.back == 3
    assert all(plane.refcount == 1 for plane in frame.planes)


def test_one_who_has_none_to_give_fails_the_session_which_holds_nothing(host: Device):
    def given(info: FrameInfo, written: object) -> XmaFrame:
        raise DeviceError("no surface is left")

    frame, before = frame_of(picture_info("nv12", 8, 8)), host.buffers
    with (
        session_of(host, "invert", zerocopy=True, depth=1, into=given) as session,
        pytest.raises(DeviceError, match="no surface is left"),
    ):
        session.send_frame(frame)
    assert host.buffers == before
    assert all(plane.refcount == 1 for plane in frame.planes)


def test_a_session_may_be_closed_in_the_middle(device: Device):
    frames = [frame_of(picture_info("nv12", 64, 36), seed) for seed in range(3)]
    before = len(device.buffers)
    session = session_of(device, "denoise", depth=3)
    for frame in frames:
        session.send_frame(frame)
    session.destroy()
    assert len(device.buffers) == before
    # What was sent is its sender's again.
    assert all(plane.refcount == 1 for frame in frames for plane in frame.planes)


def test_a_picture_of_another_device_is_carried_over(host: Device, device: Device):
    info = picture_info("nv12", 34, 18)
    frame = frame_of(info)
    with (
        session_of(host, "invert", zerocopy=True) as first,
        session_of(device, "sobel") as second,
    ):
        for near in run(first, [frame]):
            for made in run(second, [near]):
                wanted = applied(get("invert"), planes(frame), info, {})
                wanted = applied(get("sobel"), wanted, info, {})
                assert all(map(np.array_equal, planes(made), wanted))
                made.close()
            near.close()


@pytest.mark.parametrize(
    ("kernel", "params", "error", "message"),
    [
        (None, {}, InvalidError, "needs a kernel"),
        (3, {}, InvalidError, "needs a kernel"),
        ("nosuch", {}, KernelError, "nosuch"),
        ("invert(amount=7)", {}, KernelError, "between 0 and 1"),
        ("invert", {"parameters": {"much": 1}}, KernelError, "no parameter 'much'"),
        ("invert", {"parameters": 3}, InvalidError, "takes a mapping"),
        ("invert", {"dept": 3}, InvalidError, "no parameter 'dept'; it has kernel"),
        ("invert", {"depth": -1}, InvalidError, "'depth' takes a whole number from 0 on, got -1"),
        ("invert", {"zerocopy": 1}, InvalidError, "'zerocopy' takes true or false"),
        ("rgb_to_yuv", {}, KernelError, "rgb_to_yuv does not read nv12"),
    ],
)
def test_wrong_parameters_are_refused(host: Device, kernel, params, error, message: str):
    with pytest.raises(error, match=message):
        session_of(host, kernel, **params)
    assert not host.buffers


def test_what_is_not_declared_is_refused(host: Device):
    port, small = (Port(format="nv12", width=size, height=size) for size in (16, 8))
    given = {"plugin": "kernel_filter", "params": {"kernel": "invert"}}
    for properties, message in (
        (FilterProperties(input=small, **given), "is sent nv12 of 16x16.*nv12 of 8x8"),
        (FilterProperties(input=port, output=small, **given), "makes nv12 of 16x16.*nv12 of 8x8"),
    ):
        with FilterSession(properties, host) as session:
            frame = frame_of(picture_info("nv12", 16, 16))
            with pytest.raises(InvalidError, match=message):
                session.send_frame(frame)


def test_the_compute_unit_has_to_run_the_kernel():
    with open_device(DeviceDescription("cpu", compute_units=["sobel", "invert"])) as device:
        given = {"plugin": "kernel_filter", "input": Port(format="nv12")}
        params = {"kernel": "invert"}
        with pytest.raises(InvalidError, match=r"compute unit sobel.*is sobel; leave cu_name"):
            FilterSession(FilterProperties(cu_name="sobel", params=params, **given), device)
        with FilterSession(FilterProperties(cu_index=1, params=params, **given), device) as session:
            assert session.compute_unit.name == "invert"
        with pytest.raises(NoKernelError, match="nosuch"):
            FilterSession(FilterProperties(cu_name="nosuch", params=params, **given), device)


@pytest.mark.parametrize(
    ("name", "kernel", "zerocopy"),
    [
        ("cpu", "invert", False),
        ("cpu", "denoise", True),
        ("cpu", "statistics", False),
        ("opencl", "denoise", False),
        ("opencl", "resize(width=30)", True),
        ("opencl", "statistics", True),
    ],
)
def test_keeps_the_rules(name: str, kernel: str, zerocopy: bool):
    setup = Setup(params={"kernel": kernel, "zerocopy": zerocopy})
    check_plugin("kernel_filter", setup, device=opened(name))
