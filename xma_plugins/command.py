"""Commands to compute units, as whoever gave them sees them."""

import itertools
import time
from typing import TYPE_CHECKING

from xma_plugins.code import Code
from xma_plugins.compute_unit import ComputeUnit
from xma_plugins.load import CommandCount

if TYPE_CHECKING:
    from bridges.kernels.runtime import Event
    from xma_plugins.scheduler import Seat
    from xma_plugins.work import Work

__all__ = ["CommandState", "CuCommand"]

_numbers = itertools.count(1)


class CommandState(Code):
    """What became of a command; numbered as ``XmaCmdState`` of ``xmaplugin.h`` (XRT 2.13)."""

    QUEUED = 1
    """Not done yet."""
    COMPLETED = 2
    ERROR = 3
    """It failed; `CuCommand.error` tells why."""
    ABORT = 4
    """The hardware was told to drop it. This and what follows, hardware alone reports."""
    TIMEOUT = 5
    PSK_ERROR = 6
    PSK_CRASHED = 7


class CuCommand:
    """One command to a compute unit. Several threads may wait for it.

    Attributes
    ----------
    number : int
        Its number in this process, from 1.
    session : str
        Who gave it.
    channel_id : int
        The session's channel.
    compute_unit : ComputeUnit
        What runs it.
    state : CommandState
        QUEUED until it is done.
    error : BaseException or None
        Why it failed.
    submitted, started, finished : float
        Of `time.perf_counter`, in seconds; 0 where that is still to come.
    seat, count, work, event
        The scheduler's own; the last two are let go of when it is done.
    """

    def __init__(self, seat: "Seat", compute_unit: ComputeUnit, count: CommandCount) -> None:
        self.number = next(_numbers)
        self.session, self.channel_id = seat.session, seat.channel_id
        self.compute_unit = compute_unit
        self.state = CommandState.QUEUED
        self.error: BaseException | None = None
        self.submitted, self.started, self.finished = time.perf_counter(), 0.0, 0.0
        self.seat, self.count = seat, count
        self.work: Work | None = None
        self.event: Event | None = None

    @property
    def is_done(self) -> bool:
        """Whether it is over, however it went."""
        return self.state is not CommandState.QUEUED

    @property
    def failed(self) -> bool:
        """Whether it is over, and failed."""
        return self.state not in (CommandState.QUEUED, CommandState.COMPLETED)

    def wait(self, timeout_s: float | None = None) -> bool:
        """Wait until it is done, while other threads go on; return whether it is.

        Parameters
        ----------
        timeout_s : float, optional
            Seconds to wait at most; by default there is no end.
        """
        return self.seat.scheduler.wait(self, timeout_s)

    def __repr__(self) -> str:
        return (
            f"<command {self.number} of {self.session} to {self.compute_unit.name}: "
            f"{self.state.name}>"
        )
