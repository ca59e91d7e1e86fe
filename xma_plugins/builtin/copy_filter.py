"""A filter that copies each picture on the device: how a plugin runs a compute unit.

It asks for the ends of its commands by ``is_work_item_done``; `CopyEncoder` has the other style.
"""

from collections import deque
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bridges.kernels.kernel import get
from xma_plugins.builtin.flow import check_depth, pool_timeout
from xma_plugins.builtin.unit import take_unit
from xma_plugins.errors import XmaTimeoutError
from xma_plugins.frames import XmaFrame
from xma_plugins.params import check_port, read_params
from xma_plugins.plugin import FilterPlugin
from xma_plugins.properties import FilterProperties
from xma_plugins.results import Results, planes_of
from xma_plugins.session import Session
from xma_plugins.status import Status
from xma_plugins.uploads import Uploads

if TYPE_CHECKING:
    from xma_plugins.command import CuCommand

__all__ = ["CopyFilter"]

FilterSession = Session[FilterProperties]


@dataclass(frozen=True, eq=False)
class _Copy:
    """A picture that is being copied: what is read, what is written, and the command."""

    source: XmaFrame
    made: XmaFrame
    command: "CuCommand"


class CopyFilter(FilterPlugin):
    """Copies each picture by a compute unit, in any pixel format.

    Pictures in buffers of the session's device are read where they are, others are written to it
    once, unless it works in host memory. The sample of packed 4:2:2 beside an odd last column,
    which says nothing, repeats that column's.

    Its ``params``:

    ============== =========================================================================
    ``zerocopy``   whether copies stay in device-only buffers (false); otherwise they are read
                   back to the host's side of theirs
    ``depth``      pictures that are taken before one has to be received, 1 or more (2)
    ``pool``       copies that are held at most, 1 or more (4)
    ``timeout``    seconds to wait for a copy that is held, where nothing else is left (10)
    ============== =========================================================================
    """

    vendor = "xtranscode"
    summary = "copies each picture on the device"
    xma_version = (2020, 1)

    def init(self, session: FilterSession) -> None:
        """Find the compute unit; memory is taken with the first picture."""
        given = read_params(session, zerocopy=False, depth=2, pool=4, timeout=10.0)
        # A crop that takes all of the picture is a copy.
        self._unit = take_unit(session, get("crop"))
        self._depth, self._timeout = check_depth(session, given.depth), given.timeout
        self._uploads = Uploads(session, self._depth)
        self._results = Results(session, given.pool, device_only=given.zerocopy)
        self._waiting: deque[XmaFrame] = deque()
        self._running: deque[_Copy] = deque()
        self._told = 0
        """Ends of commands that were told of, and whose pictures were not received yet."""
        self._was_refused = self._is_ending = False

    def send_frame(self, session: FilterSession, frame: XmaFrame) -> Status:
        """Take a picture, and start its copy where one can be written."""
        if frame.is_last_frame:
            self._is_ending = True
            return Status.SUCCESS
        if len(self._waiting) + len(self._running) >= self._depth:
            self._was_refused = True
            return Status.TRY_AGAIN
        check_port(session, session.properties.input, frame.info, "is sent")
        mine = frame.reference()
        self._waiting.append(mine)
        try:
            self._start(session)
        except BaseException:
            # Where it was one before it that failed, this one is not taken either.
            if mine in self._waiting:
                self._waiting.pop().close()
            raise
        is_full = len(self._waiting) + len(self._running) == self._depth
        return Status.SUCCESS if is_full else Status.SEND_MORE_DATA

    def recv_frame(self, session: FilterSession, frame: XmaFrame) -> Status:
        """Give the oldest copy, once it is done."""
        self._start(session)
        if self._waiting and not self._running:
            # Those who received copies hold all of them. They may send more first, unless that
            # was refused already: one of the two has to go on.
            if not (self._was_refused or self._is_ending):
                return Status.TRY_AGAIN
            self._start(session, self._timeout)
            if not self._running:
                raise pool_timeout(session, self._timeout)
        if not self._running:
            return Status.EOS if self._is_ending else Status.TRY_AGAIN
        self._wait(session, self._running[0].command)
        self._was_refused = False
        done = self._running.popleft()
        done.source.close()
        if session.work_item_return_code([done.command]) and done.command.error is not None:
            done.made.close()
            raise done.command.error
        self._results.hand_out(done.made, frame)
        return Status.SUCCESS

    def _start(self, session: FilterSession, timeout: float = 0) -> None:
        """Start the copies of pictures that wait, for as many as there are frames to copy into.

        A picture whose copy cannot be started is let go of: it would fail again.
        """
        while self._waiting:
            try:
                copy = self._copy(session, self._waiting[0], timeout)
            except BaseException:
                self._was_refused = False
                self._waiting.popleft().close()
                raise
            if copy is None:
                return
            self._running.append(copy)
            self._waiting.popleft().close()

    def _copy(self, session: FilterSession, frame: XmaFrame, timeout: float) -> _Copy | None:
        """Start to copy a picture; return None where there is no frame to copy into."""
        assert frame.info is not None
        made = self._results.acquire(frame.info, timeout)
        if made is None:
            return None
        with ExitStack() as held:
            held.enter_context(made)
            source = self._uploads.take(frame)
            assert source is not None  # There are as many uploads as pictures under way.
            held.enter_context(source)
            made.describe_as(frame)
            registers = self._unit.pack(
                channel_id=session.properties.channel_id,
                source=planes_of(source),
                target=planes_of(made),
            )
            command = session.schedule_work_item(registers)
            held.pop_all()
        return _Copy(source, made, command)

    def _wait(self, session: FilterSession, command: "CuCommand") -> None:
        """Wait until a command is done; every end is told once, and of any command."""
        while not (command.is_done and self._told):
            if not session.is_work_item_done(round(1000 * self._timeout)):
                raise XmaTimeoutError(
                    f"{session.name} waited {self._timeout:g} s for {self._unit.name}"
                )
            self._told += 1
        self._told -= 1

    def close(self, session: FilterSession) -> None:
        """Wait for what is under way, and let go of all pictures."""
        if not hasattr(self, "_running"):  # init failed.
            return
        while self._running:
            copy = self._running.popleft()
            copy.command.wait()
            copy.source.close()
            copy.made.close()
        while self._waiting:
            self._waiting.popleft().close()
        self._uploads.close()
