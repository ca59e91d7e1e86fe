"""Commands to compute units: who gave them, in which order they run, and what became of them."""

import contextlib
import os
import threading
import time
from collections import deque
from collections.abc import Sequence

from bridges.closable import Closable
from xma_plugins.command import CommandState, CuCommand
from xma_plugins.compute_unit import ComputeUnit
from xma_plugins.drivers.driver import Driver
from xma_plugins.errors import OrderError, XmaTimeoutError
from xma_plugins.load import CommandCount
from xma_plugins.registers import RegisterMap
from xma_plugins.work import FindBuffer, Work
from xma_plugins.workers import Workers

__all__ = ["CommandState", "CuCommand", "Scheduler", "Seat"]


_TOLD_APART = 256
"""Sessions that have left, whose counts are kept each for itself."""

_EARLIER = "earlier sessions"


class Seat:
    """A session's place at a scheduler: its channel, and the commands that it gave.

    Attributes
    ----------
    session : str
        The session's name; no other at the scheduler has it.
    channel_id : int
        Its channel.
    ooo : bool
        Whether its commands may be finished in another order than they were given.
    """

    def __init__(
        self,
        scheduler: "Scheduler",
        session: str,
        unit: ComputeUnit | None,
        channel_id: int,
        ooo: bool,
    ) -> None:
        self.scheduler, self.session = scheduler, session
        self.channel_id, self.ooo = channel_id, ooo
        self.queue: deque[CuCommand] = deque()
        self.pending = 0
        self._unit = unit

    def submit(self, unit: ComputeUnit, registers: bytes) -> CuCommand:
        """Have a compute unit work, and do not wait.

        What is wrong with the registers beyond their number makes the command end in ERROR.

        Raises
        ------
        InvalidError
            The registers are too many, or too few.
        OrderError
            The session has left.
        """
        return self.scheduler.submit(self, unit, RegisterMap(registers))

    def wait_any(
        self, commands: Sequence[CuCommand], timeout_s: float | None = None
    ) -> CuCommand | None:
        """Wait until one of some commands is done; return it, or None where none is in time."""
        return self.scheduler.wait_any(commands, timeout_s)

    def leave(self) -> None:
        """Wait for all commands of the session, and give its channel back; may be repeated."""
        self.scheduler.leave(self)
        if self._unit is not None:
            self._unit.leave_channel(self.session)


class Scheduler(Closable):
    """Has a device run the commands of all sessions. Thread-safe.

    Commands of one session run in the order in which they were given, unless it has them out of
    order. Where the device has a queue that is in order (`Driver.is_in_order`), everything is put
    there at once, and the order stays whatever a session says. On the host each session has a
    queue of its own, and threads that are as many as the processor's run them; what is out of
    order runs as soon as a thread is free.

    Parameters
    ----------
    driver : Driver
        Of the device.
    find_buffer : callable
        Returns the buffer that an address is in, or raises `InvalidError`.
    dev_index : int
        The device's number, for the report on its load.
    """

    def __init__(self, driver: Driver, find_buffer: FindBuffer, *, dev_index: int = 0) -> None:
        self._driver, self._find, self._dev_index = driver, find_buffer, dev_index
        self._changed = threading.Condition()
        self._seats: dict[str, Seat] = {}
        self._counts: dict[tuple[str, int], CommandCount] = {}
        self._left: deque[str] = deque()
        self._in_flight: deque[CuCommand] = deque()
        self._last_finished = 0.0
        self._closed = False
        self._pid = os.getpid()
        # Where there is a queue, one thread waits for it; the others do the work themselves.
        threads = 1 if driver.is_in_order else max(os.cpu_count() or 1, 2)
        self._workers = Workers(threads, f"commands of device {dev_index}")

    def join(
        self,
        session: str,
        unit: ComputeUnit | None,
        *,
        channel_id: int = 0,
        channel_load: int = 0,
        ooo: bool = False,
    ) -> Seat:
        """Let a session in.

        Parameters
        ----------
        session : str
            Its name.
        unit : ComputeUnit or None
            What is to run its commands; None where there is none yet, or many.
        channel_id, channel_load : int
            What it takes of ``unit``; see `ComputeUnit.take_channel`.
        ooo : bool
            Whether its commands may be finished in another order than they were given.

        Raises
        ------
        NoChannelError, ChannelCapacityError
            The compute unit has no such channel, or too little is left of it.
        OrderError
            The device was closed, or a session of that name is here.
        """
        seat = Seat(self, session, unit, channel_id, ooo)
        with self._changed:
            self._check_open()
            if session in self._seats:
                raise OrderError(f"{session} is at work on this device already")
            if unit is not None:
                unit.take_channel(session, channel_id, channel_load)
            self._seats[session] = seat
        return seat

    @property
    def counts(self) -> tuple[CommandCount, ...]:
        """What each session had each compute unit do, those that have left included."""
        with self._changed:
            return tuple(self._counts.values())

    def submit(self, seat: Seat, unit: ComputeUnit, registers: RegisterMap) -> CuCommand:
        """Have a compute unit work; see `Seat.submit`."""
        with self._changed:
            self._check_open()
            if self._seats.get(seat.session) is not seat:
                raise OrderError(f"{seat.session} was destroyed, and gives no more commands")
            key = seat.session, unit.index
            count = self._counts.get(key)
            if count is None:
                count = CommandCount(seat.session, self._dev_index, unit.name)
                self._counts[key] = count
            command = CuCommand(seat, unit, count)
            count.give()
            seat.pending += 1
        try:
            command.work = Work(unit, registers, self._find, self._driver)
            if self._driver.is_in_order:
                self._enqueue(command)
            else:
                self._queue(seat, command)
        except Exception as error:  # noqa: BLE001 - The command tells of it.
            self._end(command, error)
        return command

    def _enqueue(self, command: CuCommand) -> None:
        """Put a command on the device's own queue."""
        assert command.work is not None
        command.event = command.work.start()
        with self._changed:
            self._in_flight.append(command)
        self._workers.submit(self._end_through, command)

    def _end_through(self, command: CuCommand) -> None:
        """Wait for a command on the device's queue, and end it and all before it."""
        while True:
            with self._changed:
                if command.is_done:
                    return
                oldest = self._in_flight[0]
                event = oldest.event
            error = None
            try:
                assert event is not None
                event.wait()
            except Exception as failure:  # noqa: BLE001 - The command tells of it.
                error = failure
            self._end(oldest, error)

    def _queue(self, seat: Seat, command: CuCommand) -> None:
        """Have one of the host's threads run a command, after those of its session."""
        if seat.ooo:
            self._workers.submit(self._run, command)
            return
        with self._changed:
            seat.queue.append(command)
            is_first = len(seat.queue) == 1
        if is_first:
            self._workers.submit(self._run_next, seat)

    def _run_next(self, seat: Seat) -> None:
        self._run(seat.queue[0])
        with self._changed:
            seat.queue.popleft()
            there_is_more = bool(seat.queue)
        if there_is_more:
            # Behind what others gave meanwhile.
            self._workers.submit(self._run_next, seat)

    def _run(self, command: CuCommand) -> None:
        command.started = time.perf_counter()
        error = None
        try:
            assert command.work is not None
            command.work.start().wait()
        except Exception as failure:  # noqa: BLE001 - The command tells of it.
            error = failure
        self._end(command, error)

    def _end(self, command: CuCommand, error: BaseException | None) -> None:
        """Note what became of a command, once, and let go of its buffers."""
        with self._changed:
            if command.is_done:
                return
            command.finished = now = time.perf_counter()
            if command.event is not None:
                self._in_flight.remove(command)
                # What was in its way on the queue was another's work.
                command.started = min(max(command.submitted, self._last_finished), now)
                self._last_finished = now
            command.count.end(now - command.started if command.started else 0.0)
            command.error = error
            work, command.work, command.event = command.work, None, None
            # Cards tell more of what went wrong.
            known = "COMPLETED" if error is None else getattr(error, "command_state", "ERROR")
            command.state = CommandState[known]
            command.seat.pending -= 1
            self._changed.notify_all()
        if work is not None:
            work.close()

    def wait(self, command: CuCommand, timeout_s: float | None = None) -> bool:
        """Wait until a command is done; see `CuCommand.wait`."""
        if timeout_s is None and command.event is not None:
            # In the runtime, which is quicker than to be told by the thread that waits there.
            self._end_through(command)
        return self.wait_any([command], timeout_s) is not None

    def wait_any(
        self, commands: Sequence[CuCommand], timeout_s: float | None = None
    ) -> CuCommand | None:
        """Wait until one of some commands is done; see `Seat.wait_any`."""

        def done() -> CuCommand | None:
            return next((each for each in commands if each.is_done), None)

        with self._changed:
            return self._changed.wait_for(done, timeout_s)

    def leave(self, seat: Seat) -> None:
        """Wait for all commands of a session, and take no more from it; see `Seat.leave`."""
        with self._changed:
            if self._seats.get(seat.session) is seat:
                self._changed.wait_for(lambda: not seat.pending)
                del self._seats[seat.session]
                self._left.append(seat.session)
                if len(self._left) > _TOLD_APART:
                    self._fold(self._left.popleft())

    def _fold(self, session: str) -> None:
        """Count what a session did among all that left long ago."""
        for key in [key for key in self._counts if key[0] == session]:
            count = self._counts.pop(key)
            folded = _EARLIER, key[1]
            if folded not in self._counts:
                self._counts[folded] = CommandCount(_EARLIER, count.dev_index, count.compute_unit)
            self._counts[folded].add(count)

    def finish(self, timeout_s: float | None = None) -> None:
        """Wait for all commands of all sessions.

        Raises
        ------
        XmaTimeoutError
            They are not done in time.
        """
        with self._changed:
            seats = self._seats.values()
            if not self._changed.wait_for(lambda: not any(s.pending for s in seats), timeout_s):
                raise XmaTimeoutError(
                    f"commands of {', '.join(s.session for s in seats if s.pending)} are not done "
                    f"after {timeout_s} s"
                )

    def settle(self, timeout_s: float) -> None:
        """Wait for all commands and end the threads, as far as that can be done in time."""
        if self._pid != os.getpid():
            return
        with contextlib.suppress(XmaTimeoutError):
            self.finish(timeout_s)
            self._workers.close()

    def check_process(self) -> None:
        """Refuse to work in a process that was forked off: no runtime takes devices along.

        Raises
        ------
        OrderError
            The device was opened by the parent.
        """
        if os.getpid() != self._pid:
            raise OrderError(
                f"{self._driver.name} was opened by process {self._pid}, and this is its fork "
                f"{os.getpid()}: call initialize() here, or start processes by spawn"
            )

    def _check_open(self) -> None:
        self.check_process()
        if self._closed:
            raise OrderError(
                f"{self._driver.name} was closed, and takes no more commands; open it again"
            )

    def close(self) -> None:
        """Take no more commands, and wait for those under way; may be repeated."""
        with self._changed:
            if self._closed:
                return
            self._closed = True
        if self._pid == os.getpid():
            self.finish()
            self._workers.close()
