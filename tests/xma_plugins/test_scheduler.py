"""Commands: their order, their states, waiting for them, and the load that they are."""

import gc
import threading
import time
from dataclasses import dataclass, field
from dataclasses import replace as replaced

import numpy as np
import pytest

from bridges import Colour, ColourRange, FrameInfo
from bridges.errors import DeviceError
from bridges.formats import pixel_format
from tests.helpers.process import open_files
from tests.helpers.threads import run_together
from tests.xma_plugins.devices import computed, noise, placed, views
from xma_plugins.command import CommandState
from xma_plugins.device import Device
from xma_plugins.drivers import HardwareUnit
from xma_plugins.drivers.host import HostDriver
from xma_plugins.errors import InvalidError, OrderError, XmaTimeoutError
from xma_plugins.load import relative_loads
from xma_plugins.registers import RegisterArgument, RegisterMap

INFO = FrameInfo(pixel_format("gray"), 40, 30, Colour(range=ColourRange.FULL))


@dataclass
class Task:
    """What a unit of `Machine` does: it begins when it is let, and may fail."""

    may_begin: threading.Event = field(default_factory=threading.Event)
    error: Exception | None = None


class Machine(HostDriver):
    """A device whose work is done when the test lets it: by its threads, or by a queue."""

    units = (
        HardwareUnit("a", (RegisterArgument("task", 0x18, "u32"),)),
        HardwareUnit("b", (RegisterArgument("task", 0x18, "u32"),)),
    )

    def __init__(self, *, is_in_order: bool) -> None:
        super().__init__()
        self.is_in_order = is_in_order
        self.tasks: list[Task] = []
        self.done: list[int] = []

    def start(self, unit, registers):
        number = registers.unpack(unit.arguments)["task"]
        task, machine = self.tasks[number], self

        class Event:
            is_done = False

            def wait(self):
                assert task.may_begin.wait(20)
                if number not in machine.done:
                    machine.done.append(number)
                if task.error is not None:
                    raise task.error

        return Event()


def registers_of(task: int) -> bytes:
    return bytes(0x18) + task.to_bytes(4, "little")


class Bench:
    """A machine with as many tasks, and a session on its first unit."""

    def __init__(self, tasks: int, *, is_in_order: bool, ooo: bool = False) -> None:
        self.driver = Machine(is_in_order=is_in_order)
        self.driver.tasks = [Task() for _ in range(tasks)]
        self.device = Device(self.driver, compute_units=[])
        self.unit = self.device.compute_unit(0)
        self.seat = self.device.scheduler.join("filter session 1", self.unit, ooo=ooo)

    def submit(self, task: int):
        return self.seat.submit(self.unit, registers_of(task))

    def let(self, task: int) -> None:
        self.driver.tasks[task].may_begin.set()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for task in self.driver.tasks:
            task.may_begin.set()
        self.seat.leave()
        self.device.close()


@pytest.mark.parametrize("is_in_order", [True, False])
def test_commands_of_a_session_run_in_their_order(is_in_order):
    with Bench(5, is_in_order=is_in_order) as bench:
        commands = [bench.submit(task) for task in range(5)]
        for task in (4, 3, 2, 1):
            bench.let(task)
        assert not commands[4].wait(0.02)
        assert {each.state for each in commands} == {CommandState.QUEUED}
        bench.let(0)
        assert commands[4].wait()
        assert {each.state for each in commands} == {CommandState.COMPLETED}
        assert bench.driver.done == [0, 1, 2, 3, 4]


def test_commands_out_of_order_overlap_on_the_host():
    with Bench(2, is_in_order=False, ooo=True) as bench:
        first, second = bench.submit(0), bench.submit(1)
        bench.let(1)
        assert second.wait(20)
        assert not first.is_done
        assert bench.seat.wait_any([first, second]) is second
        bench.let(0)
        assert first.wait(20)
        assert bench.driver.done == [1, 0]


def test_a_queue_that_is_in_order_stays_so():
    with Bench(2, is_in_order=True, ooo=True) as bench:
        first, second = bench.submit(0), bench.submit(1)
        bench.let(1)
        assert not second.wait(0.02)
        bench.let(0)
        assert second.wait()
        assert first.is_done


def test_sessions_on_one_unit_do_not_wait_for_each_other_on_the_host():
    with Bench(2, is_in_order=False) as bench:
        other = bench.device.scheduler.join("scaler session 2", bench.unit)
        mine = bench.submit(0)
        theirs = other.submit(bench.unit, registers_of(1))
        bench.let(1)
        assert theirs.wait(20)
        assert not mine.is_done
        other.leave()


@pytest.mark.parametrize("is_in_order", [True, False])
def test_a_failure_is_kept_and_the_next_command_runs(is_in_order):
    with Bench(2, is_in_order=is_in_order) as bench:
        error = DeviceError("it broke")
        bench.driver.tasks[0].error = error
        failed, fine = bench.submit(0), bench.submit(1)
        bench.let(0)
        bench.let(1)
        assert failed.wait()
        assert fine.wait()
        assert (failed.state, failed.failed, failed.error) == (CommandState.ERROR, True, error)
        assert (fine.state, fine.failed, fine.error) == (CommandState.COMPLETED, False, None)


def test_what_a_card_tells_of_a_failure_is_its_state():
    with Bench(1, is_in_order=True) as bench:
        error = DeviceError("it crashed")
        error.command_state = "PSK_CRASHED"
        bench.driver.tasks[0].error = error
        bench.let(0)
        command = bench.submit(0)
        assert command.wait()
        assert command.state is CommandState.PSK_CRASHED
        assert command.failed


@pytest.mark.parametrize("is_in_order", [True, False])
def test_a_wait_has_a_limit(is_in_order):
    with Bench(1, is_in_order=is_in_order) as bench:
        command = bench.submit(0)
        before = time.thread_time()
        assert not command.wait(0)
        assert not command.wait(0.1)
        assert bench.seat.wait_any([command], 0.01) is None
        assert time.thread_time() - before < 0.05
        with pytest.raises(XmaTimeoutError, match="of filter session 1 are not done after"):
            bench.device.scheduler.finish(0.01)


@pytest.mark.parametrize("is_in_order", [True, False])
def test_leaving_waits_for_the_commands_and_ends_the_session(is_in_order):
    with Bench(3, is_in_order=is_in_order) as bench:
        commands = [bench.submit(task) for task in range(3)]
        threading.Timer(0.02, lambda: [bench.let(task) for task in range(3)]).start()
        bench.seat.leave()
        assert all(each.is_done for each in commands)
        with pytest.raises(OrderError, match="filter session 1 was destroyed"):
            bench.submit(0)
        bench.device.scheduler.join("filter session 1", bench.unit).leave()


def test_a_name_sits_once_and_channels_are_given_back(host):
    unit = host.compute_unit(0)
    seat = host.scheduler.join("one", unit, channel_load=700)
    with pytest.raises(OrderError, match="at work on this device already"):
        host.scheduler.join("one", unit)
    assert unit.channel_load == 700
    seat.leave()
    seat.leave()
    assert unit.channel_load == 0


def test_a_closed_device_takes_no_commands():
    device = Device(HostDriver(), compute_units=["invert"])
    unit = device.compute_unit(0)
    seat = device.scheduler.join("one", unit)
    device.close()
    with pytest.raises(OrderError, match="was closed"):
        seat.submit(unit, unit.pack())
    with pytest.raises(OrderError, match="was closed"):
        device.scheduler.join("two", unit)


def test_closing_waits_for_commands():
    with Bench(1, is_in_order=False) as bench:
        command = bench.submit(0)
        threading.Timer(0.02, lambda: bench.let(0)).start()
        bench.device.close()
        assert command.state is CommandState.COMPLETED


def test_registers_of_a_wrong_size_are_refused_at_once(host):
    unit = host.compute_unit(0)
    seat = host.scheduler.join("one", unit)
    with pytest.raises(InvalidError, match="less than 4096"):
        seat.submit(unit, bytes(4096))
    seat.leave()


def test_buffers_are_held_until_the_command_is_done():
    class Copier(Machine):
        units = (HardwareUnit("copy", (RegisterArgument("to", 0x18, "address"),)),)

        def start(self, unit, registers):
            return super().start(Machine.units[0], RegisterMap(registers_of(0)))

    driver = Copier(is_in_order=True)
    driver.tasks = [Task()]
    with Device(driver, compute_units=[]) as device:
        buffer = device.allocate(64)
        unit = device.compute_unit(0)
        seat = device.scheduler.join("one", unit)
        command = seat.submit(unit, unit.pack(to=buffer.paddr + 8))
        threading.Timer(0.02, driver.tasks[0].may_begin.set).start()
        buffer.free()
        assert command.is_done
        lost = seat.submit(unit, unit.pack(to=buffer.paddr))
        assert lost.failed
        seat.leave()


def test_load_is_counted_for_each_session_and_unit():
    with Bench(6, is_in_order=True) as bench:
        first, second = bench.device.compute_units
        other = bench.device.scheduler.join("admin session 2", None)
        commands = [bench.submit(0), bench.submit(1), bench.submit(2)]
        commands += [other.submit(second, registers_of(task)) for task in (3, 4)]
        commands.append(other.submit(first, registers_of(5)))
        for task in range(6):
            time.sleep(0.002)
            bench.let(task)
        assert commands[-1].wait()
        begun, ended = commands[0].submitted, commands[-1].finished
        other.leave()
        counts = bench.device.scheduler.counts
        loads = {(each.session, each.compute_unit): each for each in relative_loads(counts)}
    assert {key: each.commands for key, each in loads.items()} == {
        ("filter session 1", "a"): 3,
        ("admin session 2", "b"): 2,
        ("admin session 2", "a"): 1,
    }
    assert loads["filter session 1", "a"].mean_queue_length == 2
    assert loads["admin session 2", "b"].mean_queue_length == 1.5
    assert sum(each.share for each in loads.values()) == pytest.approx(1)
    busy = sum(each.seconds_busy for each in loads.values())
    # The queue was never empty, and nothing is counted twice.
    assert busy == pytest.approx(ended - begun, rel=1e-6)
    assert all(count.pending == 0 for count in counts)


def test_shares_without_time_are_those_of_the_commands(host):
    unit = host.compute_unit(name="invert")
    seats = [host.scheduler.join(name, unit) for name in ("one", "two")]
    for seat, number in zip(seats, (3, 1), strict=True):
        for _ in range(number):
            assert seat.submit(unit, unit.pack()).failed
        seat.leave()
    loads = relative_loads(host.scheduler.counts)
    assert [(each.session, each.share) for each in loads] == [("one", 0.75), ("two", 0.25)]
    assert "75.0% of the load, 3 commands" in str(loads[0])
    assert relative_loads([]) == []


def test_sessions_of_many_threads_share_a_device(device):
    unit = device.compute_unit(name="invert")
    picture = noise(INFO)
    (expected,) = computed(unit.kernel, INFO, picture, [])

    def session(number):
        for turn in range(6):
            seat = device.scheduler.join(f"session {number}.{turn}", unit, ooo=turn % 2 == 1)
            with (
                placed(device, INFO, picture) as (_, source),
                placed(device, INFO) as (out, target),
            ):
                registers = unit.pack(source=source, target=target)
                commands = [seat.submit(unit, registers) for _ in range(3)]
                assert all(each.wait() for each in commands)
                assert not any(each.failed for each in commands)
                out.read()
                np.testing.assert_array_equal(views(out, target)[0], expected)
            seat.leave()

    session(-1)
    files = open_files()
    threads = threading.active_count()
    run_together(session, range(32))
    assert open_files() == files
    assert threading.active_count() <= threads + 2
    assert device.buffers == ()
    assert all(bank.used == 0 for bank in device.banks)
    counts = [each for each in device.scheduler.counts if each.session.startswith("session ")]
    assert sum(each.commands for each in counts) == 33 * 18
    device.scheduler.finish(0)


def test_pictures_of_every_size_go_in_order_through_one_session(device):
    unit = device.compute_unit(name="invert")
    seat = device.scheduler.join("one", unit)
    small = replaced(INFO, width=1, height=1)
    for info in (small, INFO, small):
        with (
            placed(device, info, noise(info)) as (_, source),
            placed(device, info) as (_, between),
            placed(device, info) as (out, target),
        ):
            seat.submit(unit, unit.pack(source=source, target=between))
            assert seat.submit(unit, unit.pack(source=between, target=target)).wait()
            out.read()
            np.testing.assert_array_equal(views(out, target)[0], noise(info)[0])
    seat.leave()


def test_threads_end_with_their_device():
    def ours():
        return [each for each in threading.enumerate() if each.name == "commands of device 77"]

    for forgotten in (False, True):
        device = Device(HostDriver(), 77, compute_units=["invert"])
        unit = device.compute_unit(0)
        seat = device.scheduler.join("one", unit)
        commands = [seat.submit(unit, unit.pack()) for _ in range(3)]
        with placed(device, INFO) as (buffer, planes):
            commands += [seat.submit(unit, unit.pack(source=planes, target=planes))]
            assert commands[-1].wait()
            assert buffer.size
        assert ours()
        seat.leave()
        if not forgotten:
            device.close()
            assert not ours()
        del device, unit, seat, commands, buffer
    gc.collect()
    for thread in ours():
        thread.join(20)
    assert not ours()


def test_what_left_long_ago_is_counted_together():
    with Device(Machine(is_in_order=False)) as device:
        machine = device.driver
        machine.tasks.append(Task())
        machine.tasks[0].may_begin.set()
        unit = device.compute_units[0]
        for number in range(300):
            seat = device.scheduler.join(f"session {number}", unit)
            seat.submit(unit, registers_of(0)).wait()
            seat.leave()
        counts = device.scheduler.counts
        assert len(counts) == 257
        assert sum(count.commands for count in counts) == 300
        told = {count.session: count.commands for count in counts}
        assert told["earlier sessions"] == 300 - 256
        assert told["session 299"] == 1
