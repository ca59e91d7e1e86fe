"""Sessions: from their creation to their end, whatever happens between."""

from __future__ import annotations

import contextlib
import gc
import logging
import threading
import time
import weakref

import pytest

from bridges.errors import DeviceError
from tests.helpers.threads import run_together
from tests.xma_plugins.pictures import picture
from xma_plugins.compute_unit import UnitDescription
from xma_plugins.device import DeviceDescription, open_device
from xma_plugins.drivers import BankDescription
from xma_plugins.errors import (
    BufferUseError,
    ChannelCapacityError,
    InvalidError,
    NoKernelError,
    OrderError,
    PluginError,
    XmaError,
)
from xma_plugins.frames import XmaFrame
from xma_plugins.plugin import XMA_VERSION, AdminPlugin, FilterPlugin, KernelPlugin
from xma_plugins.properties import (
    AdminProperties,
    EncoderProperties,
    FilterProperties,
    KernelProperties,
    Port,
    ScalerProperties,
)
from xma_plugins.sessions import (
    AdminSession,
    EncoderSession,
    FilterSession,
    KernelSession,
    ScalerSession,
)
from xma_plugins.skeleton import PassThrough
from xma_plugins.status import Status

PORT = Port(format="yuv420p", width=33, height=17)


class Free(KernelPlugin):
    """Calls whatever a test writes to it, with its session."""

    xma_version = XMA_VERSION

    def write(self, session, parameters):
        self.made = parameters["call"](session)

    def read(self, session):
        return {"made": self.made}


class FreeAdmin(Free, AdminPlugin):
    kind = AdminPlugin.kind


@pytest.fixture
def device():
    """Return a device whose ``crop`` is wired to its second bank; what is left is a failure."""
    units = [UnitDescription("crop", connectivity={"source": 1, "target": 1}), "invert"]
    banks = [BankDescription("first", 1 << 20), BankDescription("second", 1 << 20)]
    with open_device(DeviceDescription("cpu", compute_units=units, banks=banks)) as opened:
        yield opened
        assert opened.buffers == ()
        assert [bank.used for bank in opened.banks] == [0, 0]
        assert {unit.channel_load for unit in opened.compute_units} == {0}


def kernel_session(device, plugin=Free, **given):
    return KernelSession(KernelProperties(plugin=plugin, **given), device)


def do(session, call):
    """Call something as the session's plugin would."""
    session.write({"call": call})
    return session.read()["made"]


def filter_session(device, plugin=PassThrough, port=PORT, **given):
    return FilterSession(FilterProperties(plugin=plugin, input=port, **given), device)


def registers(session):
    """Return the register map of a copy, and the buffer that it lies in."""
    unit = session.compute_unit
    from bridges.formats import pixel_format
    from bridges.frame import FrameInfo
    from xma_plugins.registers import Planes

    info = FrameInfo(pixel_format("gray"), 16, 16)
    buffer = session.buffer_alloc(512)
    source = Planes(info, (buffer.paddr,))
    target = Planes(info, (buffer.paddr + 256,))
    return unit.pack(source=source, target=target), buffer


# Creation.


def test_properties_tell_what_was_taken(device):
    with kernel_session(device, cu_name="crop", channel_id=3, channel_load=400) as session:
        taken = session.properties
        assert (taken.cu_index, taken.cu_name, taken.ddr_bank_index) == (0, "crop", 1)
        assert (taken.dev_index, taken.channel_id) == (device.index, 3)
        assert device.compute_units[0].channel_load == 400
    with kernel_session(device, cu_index=1) as session:
        assert (session.properties.cu_name, session.properties.ddr_bank_index) == ("invert", 0)
    with kernel_session(device, cu_name="invert", ddr_bank_index=1) as session:
        assert session.properties.ddr_bank_index == 1
    with kernel_session(device) as session:
        assert (session.properties.cu_index, session.properties.ddr_bank_index) == (-1, 0)
        assert session.compute_unit is None


@pytest.mark.parametrize(("bank", "taken"), [(-1, 1), (0, 0)])
def test_a_plugin_that_chooses_its_compute_unit_gets_its_bank(device, bank, taken):
    class Chooses(Free):
        def init(self, session):
            session.use_compute_unit("crop")

    with kernel_session(device, Chooses, ddr_bank_index=bank) as session:
        assert session.compute_unit is device.compute_units[0]
        assert session.properties.ddr_bank_index == taken
        with pytest.raises(OrderError, match="chooses its compute unit in init"):
            do(session, lambda own: own.use_compute_unit("invert"))


@pytest.mark.parametrize(
    ("given", "kind", "message"),
    [
        ({"cu_name": "corp"}, NoKernelError, "has no compute unit 'corp'; did you mean crop"),
        ({"cu_index": 2}, InvalidError, "no compute unit 2"),
        ({"ddr_bank_index": 2}, InvalidError, "has no memory bank 2"),
        ({"plugin": "nosuch"}, PluginError, "no plugin 'nosuch'"),
        ({"plugin": "copy_filter"}, PluginError, "copy_filter is for filter sessions, not for k"),
        ({"plugin": PassThrough}, PluginError, "PassThrough is for filter sessions"),
        ({"plugin": int}, PluginError, "is no plugin: it does not inherit"),
    ],
)
def test_what_is_not_there(device, given, kind, message):
    with pytest.raises(kind, match=message):
        kernel_session(device, **{"plugin": Free, **given})


def test_properties_of_another_kind(device):
    properties = EncoderProperties(plugin="copy_encoder", format="nv12", width=2, height=2)
    with pytest.raises(PluginError, match="is made with FilterProperties, got EncoderProperties"):
        FilterSession(properties, device)


@pytest.mark.parametrize(
    ("version", "message"),
    [
        (None, "does not say which interface"),
        ((2019, 1), "was written for version 2019.1"),
        ((XMA_VERSION[0], XMA_VERSION[1] + 1), "was written for version"),
    ],
)
def test_plugins_of_another_version(device, version, message):
    given = {} if version is None else {"xma_version": version}
    given |= {"write": Free.write, "read": Free.read}
    with pytest.raises(PluginError, match=message):
        kernel_session(device, type("Old", (KernelPlugin,), given))


def test_a_plugin_that_is_not_whole(device):
    class Half(FilterPlugin):
        xma_version = XMA_VERSION

    with pytest.raises(PluginError, match="plugin Half lacks recv_frame, send_frame"):
        filter_session(device, Half)


def test_a_channel_that_is_full(device):
    with (
        kernel_session(device, cu_name="crop", channel_load=700),
        pytest.raises(ChannelCapacityError, match="300 are left"),
    ):
        kernel_session(device, cu_name="crop", channel_load=301)
    with kernel_session(device, cu_name="crop", channel_load=1000):
        pass


@pytest.mark.parametrize("error", [InvalidError("no"), ValueError("no"), KeyboardInterrupt()])
def test_an_init_that_fails_leaves_nothing(device, error):
    closed = []

    class Fails(Free):
        def init(self, session):
            self.buffer = session.buffer_alloc(100)
            self.pool = session.frame_pool(picture().info, 2)
            self.frame = self.pool.acquire()
            raise error

        def close(self, session):
            closed.append(session.state)
            session.buffer_free(self.buffer)

    wanted = PluginError if type(error) is ValueError else type(error)
    with pytest.raises(wanted) as caught:
        kernel_session(device, Fails, cu_name="crop", channel_load=1000)
    if wanted is PluginError:
        assert caught.value.__cause__ is error
        assert "init of kernel session" in str(caught.value)
    assert len(closed) == 1


def test_a_plugin_that_cannot_even_be_made_leaves_nothing(device):
    class Fails(Free):
        def __init__(self):
            raise RuntimeError("not today")

    with pytest.raises(RuntimeError):
        kernel_session(device, Fails, cu_name="crop", channel_load=1000)


def test_a_close_that_fails_too_does_not_hide_why_init_failed(device):
    class Fails(Free):
        def init(self, session):
            raise InvalidError("the first failure")

        def close(self, session):
            raise InvalidError("the second failure")

    with pytest.raises(InvalidError, match="the first failure"):
        kernel_session(device, Fails)


# States.


def test_a_session_is_open_until_it_is_destroyed(device):
    session = filter_session(device)
    assert session.state == "open"
    assert repr(session) == f"<filter session {session.id} (PassThrough), open>"
    with picture() as frame:
        assert session.send_frame(frame) is Status.SEND_MORE_DATA
    session.destroy()
    session.destroy()
    session.close()
    assert session.state == "destroyed"
    for call in (lambda: session.send_frame(None), session.recv_frame):
        with pytest.raises(OrderError, match="the session is destroyed"):
            call()
    with pytest.raises(OrderError, match="buffer_alloc of filter session"):
        session.buffer_alloc(1)


def test_what_is_wrong_with_one_item_leaves_the_session_open(device):
    def refuse(_):
        raise InvalidError("no")

    with kernel_session(device) as session:
        with pytest.raises(InvalidError, match="no"):
            do(session, refuse)
        assert session.state == "open"
        do(session, lambda _: None)


@pytest.mark.parametrize("error", [XmaError("no"), ZeroDivisionError("no")])
def test_after_a_failure_a_session_can_only_be_destroyed(device, error):
    def fail(_):
        raise error

    with kernel_session(device) as session:
        wanted = PluginError if type(error) is ZeroDivisionError else XmaError
        with pytest.raises(wanted) as caught:
            do(session, fail)
        if wanted is PluginError:
            assert caught.value.__cause__ is error
        assert session.state == "failed"
        with pytest.raises(OrderError, match="the session failed; destroy it"):
            session.read()
    assert session.state == "destroyed"


def test_calls_and_time_are_counted(device):
    with filter_session(device, params={"depth": 1}) as session:
        calls, seconds = session.calls, session.seconds
        with picture(pts=5) as frame:
            session.send_frame(frame)
        _, got = session.recv_frame()
        got.close()
        assert session.calls == calls + 2
        assert session.seconds > seconds


def test_ids_grow(device):
    with filter_session(device) as first, filter_session(device) as second:
        assert second.id > first.id
        assert f"filter session {first.id} (PassThrough)" == first.name


# What is sent and received.


def test_a_stream(device):
    with filter_session(device) as session:
        with pytest.raises(OrderError, match="nothing was sent yet"):
            session.recv_frame()
        sent = [picture(seed=number, pts=1 << 40 | number) for number in range(3)]
        assert session.send_frame(sent[0]) is Status.SEND_MORE_DATA
        assert session.send_frame(sent[1]) is Status.SUCCESS
        status, got = session.recv_frame()
        assert (status, got.pts) == (Status.SUCCESS, 1 << 40)
        got.close()
        session.send_frame(sent[2])
        assert session.recv_frame()[1].close() is None
        assert session.send_frame(XmaFrame.last()) is Status.SUCCESS
        assert not session.ended
        assert session.recv_frame()[1].close() is None
        assert session.recv_frame() == (Status.EOS, None)
        assert session.ended
        for frame in sent:
            frame.close()


def test_no_dummies_are_sent(device):
    with filter_session(device) as session:
        with pytest.raises(InvalidError, match="send None at the end"):
            session.send_frame(XmaFrame())
        closed = picture()
        closed.close()
        with pytest.raises(BufferUseError, match="a frame that was closed was sent"):
            session.send_frame(closed)
        assert session.state == "open"


def test_as_many_frames_as_outputs(device):
    outputs = (PORT, PORT)
    properties = ScalerProperties(plugin="kernel_scaler", input=PORT, outputs=outputs)
    with ScalerSession(properties, device) as session:
        with pytest.raises(InvalidError, match="has 2 outputs, got 1 frames"):
            session.recv_frame_list([XmaFrame()])
        assert session.state == "open"


# Buffers.


def test_buffers(device):
    with kernel_session(device, cu_name="crop") as session:
        buffer = session.buffer_alloc(100)
        assert (buffer.size, buffer.bank_index, buffer.holder) == (100, 1, session.name)
        assert buffer.data.tolist() == [0] * 100
        buffer.data[:3] = 1, 2, 3
        session.buffer_write(buffer, 3)
        session.buffer_read(buffer, 0)
        session.buffer_read(buffer, 3)
        for call in (session.buffer_write, session.buffer_read):
            with pytest.raises(InvalidError, match="are not inside of this buffer"):
                call(buffer, 100, 1)
        session.buffer_free(buffer)
        with pytest.raises(BufferUseError, match="was freed at"):
            session.buffer_free(buffer)
        other = session.buffer_alloc_ddr(8, 0, device_only=True)
        assert (other.bank_index, other.data) == (0, None)
        session.buffer_free(other)


def test_a_buffer_on_the_bank_of_an_argument(device):
    with kernel_session(device, cu_name="crop", ddr_bank_index=0) as session:
        names = [each.name for each in session.compute_unit.arguments]
        buffer = session.buffer_alloc_arg_num(64, names.index("target_plane0"))
        assert buffer.bank_index == 1
        session.buffer_free(buffer)
        for number in (-1, len(names), names.index("source_width")):
            with pytest.raises(InvalidError, match="pointers are"):
                session.buffer_alloc_arg_num(64, number)
    with kernel_session(device) as session, pytest.raises(NoKernelError):
        session.buffer_alloc_arg_num(64, 0)


def test_a_bank_that_is_full_says_who_has_it(device):
    with kernel_session(device) as session, kernel_session(device) as other:
        buffer = other.buffer_alloc(1 << 20)
        with pytest.raises(DeviceError, match=rf"{other.name.split(' (')[0]} .* 1048576"):
            session.buffer_alloc(1)
        other.buffer_free(buffer)


def test_a_buffer_of_another_session(device):
    with kernel_session(device) as session, kernel_session(device) as other:
        buffer = other.buffer_alloc(16)
        with pytest.raises(BufferUseError) as caught:
            session.buffer_free(buffer)
        assert other.name in str(caught.value)
        other.buffer_free(buffer)


def test_buffers_that_a_plugin_left_are_told_of_and_freed(device):
    session = kernel_session(device)
    buffers = [session.buffer_alloc(10), session.buffer_alloc(20)]
    with pytest.raises(BufferUseError, match="its plugin did not free 2 buffers of 30 bytes"):
        session.destroy()
    for buffer in buffers:
        with pytest.raises(BufferUseError):
            _ = buffer.data


def test_frames_that_are_held_past_the_end_are_told_of(device):
    session, other = filter_session(device, "copy_filter"), filter_session(device)
    with picture() as frame:
        session.send_frame(frame)
    session.send_frame(None)
    _, got = session.recv_frame()
    other.send_frame(got)
    with pytest.raises(BufferUseError) as caught:
        session.destroy()
    assert f"1 of its frames are still held, by {other.name}" in str(caught.value)
    assert session.state == "destroyed"
    with pytest.raises(BufferUseError, match=r"copy_filter\) was freed"):
        got.frame()
    got.close()
    other.destroy()


def test_a_frame_that_the_application_holds_past_the_end(device):
    session = filter_session(device, "copy_filter")
    with picture() as frame:
        session.send_frame(frame)
    session.send_frame(None)
    _, got = session.recv_frame()
    with pytest.raises(BufferUseError, match="1 of its frames are still held, by the application"):
        session.destroy()
    got.close()


def test_who_held_a_frame_last_is_told(device):
    session, other = filter_session(device, "copy_filter"), filter_session(device)
    with picture() as frame:
        session.send_frame(frame)
    session.send_frame(None)
    _, got = session.recv_frame()
    other.send_frame(got)
    got.close()
    other.send_frame(None)
    _, got = other.recv_frame()
    other.destroy()
    with pytest.raises(BufferUseError, match="1 of its frames are still held, by the application"):
        session.destroy()
    got.close()


def test_what_goes_wrong_at_the_end_does_not_hide_why(device, caplog):
    caplog.set_level(logging.WARNING, "xma_plugins")

    def fail(session):
        session.buffer_alloc(10)
        raise KeyError("why")

    with pytest.raises(KeyError, match="why"), kernel_session(device) as session:
        fail(session)
    assert "did not free 1 buffers of 10 bytes" in caplog.text
    with pytest.raises(BufferUseError), kernel_session(device) as session:
        session.buffer_alloc(10)


def test_a_close_that_fails(device):
    class Fails(Free):
        def init(self, session):
            session.buffer_alloc(10)

        def close(self, session):
            raise OSError("stuck")

    session = kernel_session(device, Fails, cu_name="crop", channel_load=1000)
    with pytest.raises(PluginError, match=r"close of kernel session .* failed: OSError"):
        session.destroy()
    assert session.state == "destroyed"
    session.destroy()


# Commands.


def test_work_items(device):
    with kernel_session(device, cu_name="crop") as session:
        content, buffer = registers(session)
        buffer.data[:256] = 7
        session.buffer_write(buffer, 256)
        with pytest.raises(OrderError, match="no command is under way"):
            session.is_work_item_done(0)
        commands = [session.schedule_work_item(content) for _ in range(3)]
        assert [session.is_work_item_done(5000) for _ in commands] == [True] * 3
        assert session.work_item_return_code(commands) == 0
        with pytest.raises(OrderError, match="no command is under way"):
            session.is_work_item_done(0)
        session.buffer_read(buffer, 512)
        assert buffer.data[256:].tolist() == [7] * 256
        session.buffer_free(buffer)


def test_styles_of_completion_are_not_mixed(device):
    with kernel_session(device, cu_name="crop") as session:
        content, buffer = registers(session)
        command = session.schedule_work_item(content)
        assert session.is_work_item_done(5000)
        with pytest.raises(OrderError, match=r"cu_cmd_status of .* it asks by is_work_item_done"):
            session.cu_cmd_status([command])
        session.buffer_free(buffer)
    with kernel_session(device, cu_name="crop") as session:
        content, buffer = registers(session)
        command = session.schedule_cu_cmd(content)
        assert [state.name for state in session.cu_cmd_status([command])] == ["COMPLETED"]
        with pytest.raises(OrderError, match=r"is_work_item_done of .* it asks by cu_cmd_status"):
            session.is_work_item_done(0)
        session.buffer_free(buffer)


def test_a_command_that_fails_is_counted(device):
    with kernel_session(device, cu_name="crop") as session:
        content, buffer = registers(session)
        good = session.schedule_cu_cmd(content)
        wrong = session.schedule_cu_cmd(session.compute_unit.pack())
        states = [state.name for state in session.cu_cmd_status([good, wrong])]
        assert states == ["COMPLETED", "ERROR"]
        assert session.work_item_return_code([good, wrong]) == 1
        assert isinstance(wrong.error, InvalidError)
        session.buffer_free(buffer)


def test_only_admin_sessions_choose_compute_units(device):
    with kernel_session(device, cu_name="crop") as session:
        content, buffer = registers(session)
        assert session.schedule_cu_cmd(content, 0).wait()
        with pytest.raises(NoKernelError, match="runs compute unit 0, not 1; an admin session"):
            session.schedule_cu_cmd(content, 1)
        session.buffer_free(buffer)
    with kernel_session(device) as session, pytest.raises(NoKernelError, match="has no compute u"):
        session.schedule_work_item(bytes(64))
    properties = AdminProperties(plugin=FreeAdmin, cu_names=("crop",))
    with AdminSession(properties, device) as session:
        assert session.compute_units == device.compute_units[:1]
        for index in (-1, 1):
            with pytest.raises(NoKernelError, match=f"has no compute unit {index}"):
                session.schedule_cu_cmd(bytes(64), index)
        assert session.schedule_cu_cmd(bytes(64), 0).wait()
    with AdminSession(AdminProperties(plugin=FreeAdmin), device) as session:
        assert session.compute_units == device.compute_units


@pytest.mark.parametrize("content", [bytes(66), bytes(4096), b""])
def test_register_maps_that_do_not_fit(device, content):
    with kernel_session(device, cu_name="crop") as session, pytest.raises(InvalidError):
        session.schedule_work_item(content)


# Threads.


def test_a_session_is_used_by_one_thread_at_a_time(device):
    inside, leave = threading.Event(), threading.Event()

    def stay(_):
        inside.set()
        assert leave.wait(10)

    session = kernel_session(device)
    thread = threading.Thread(target=do, args=(session, stay))
    thread.start()
    assert inside.wait(10)
    try:
        with pytest.raises(OrderError, match="while another thread is in it"):
            session.write({})
        with pytest.raises(OrderError, match=r"destroy of .* while another thread is in it"):
            session.destroy()
        assert session.state == "open"
    finally:
        leave.set()
        thread.join()
    session.destroy()


def test_many_threads_make_use_and_destroy_sessions(device):
    port = Port(format="yuv420p", width=8, height=8)
    ids: list[int] = []

    def work(number):
        for turn in range(4):
            with filter_session(device, "copy_filter", port, channel_id=number % 4) as session:
                ids.append(session.id)
                with picture(width=8, height=8, seed=number, pts=turn) as frame:
                    assert _one(session, frame) == [turn]

    run_together(work, range(32))
    assert len(set(ids)) == 32 * 4


def _one(session, frame):
    """Send one picture and the end; return the times of what comes."""
    session.send_frame(frame)
    session.send_frame(None)
    times = []
    while True:
        status, got = session.recv_frame()
        if status is Status.EOS:
            return times
        times.append(got.pts)
        got.close()


def test_a_session_that_is_gone_is_let_go_of(device):
    session = filter_session(device, "copy_filter")
    session.destroy()
    seen = weakref.ref(session)
    del session
    gc.collect()
    assert seen() is None


def test_an_encoder_gives_data(device):
    properties = EncoderProperties(plugin="copy_encoder", format="yuv420p", width=33, height=17)
    with EncoderSession(properties, device) as session:
        with picture(pts=9) as frame:
            session.send_frame(frame)
        session.send_frame(None)
        status, data = session.recv_data()
        assert (status, data.pts, data.alloc_size) == (Status.SUCCESS, 9, 33 * 17 + 2 * 17 * 9)
        data.close()
        assert session.recv_data() == (Status.EOS, None)


class Closing(Free):
    """Notes what reaches it, and in which order."""

    def init(self, session):
        self.calls = []

    def write(self, session, parameters):
        self.calls.append("write")
        time.sleep(1e-4)
        self.calls.append("written")

    def close(self, session):
        self.calls.append("close")
        time.sleep(1e-4)
        self.calls.append("closed")


def test_destroyed_by_some_threads_while_another_is_at_work(device):
    def work(session, call):
        for _ in range(3):
            with contextlib.suppress(OrderError):
                call()

    for _ in range(60):
        session = kernel_session(device, Closing)
        calls = [lambda s=session: s.write({}), session.destroy, session.destroy]
        run_together(lambda call, s=session: work(s, call), calls)
        session.destroy()
        done = session.plugin.calls
        assert done[-2:] == ["close", "closed"]
        assert done[:-2] == ["write", "written"] * (len(done) // 2 - 1)
        assert session.state == "destroyed"
