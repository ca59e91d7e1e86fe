"""The load of compute units: how busy the commands of each session kept them."""

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

__all__ = ["CommandCount", "CommandLoad", "log_loads", "relative_loads"]

_log = logging.getLogger("xma_plugins")


@dataclass
class CommandCount:
    """What one session had one compute unit do so far.

    Attributes
    ----------
    session, compute_unit : str
        Their names.
    dev_index : int
        The device.
    commands : int
        How many were given.
    pending : int
        How many of them are not done.
    seconds_busy : float
        Time at work on them: of each from when it was given, or from the end of the one that was
        in its way, to its own end.
    queued : int
        The sum, over all commands, of how many were pending when one was given, with that one.
    """

    session: str
    dev_index: int
    compute_unit: str
    commands: int = 0
    pending: int = 0
    seconds_busy: float = 0.0
    queued: int = 0

    def give(self) -> None:
        """Count a command in."""
        self.commands += 1
        self.pending += 1
        self.queued += self.pending

    def add(self, other: "CommandCount") -> None:
        """Count in what another did, whose commands are all done."""
        self.commands += other.commands
        self.seconds_busy += other.seconds_busy
        self.queued += other.queued

    def end(self, seconds: float) -> None:
        """Count a command out."""
        self.pending -= 1
        self.seconds_busy += seconds


@dataclass(frozen=True, slots=True)
class CommandLoad:
    """How one session kept one compute unit busy, beside all others.

    Attributes
    ----------
    session, compute_unit : str
        Their names.
    dev_index : int
        The device.
    commands : int
        How many there were.
    seconds_busy : float
        Time at work on them.
    mean_queue_length : float
        Commands of the session that were pending when it gave one, with that one.
    share : float
        Of the busy time of all sessions on all devices; all shares add up to 1.
    """

    session: str
    dev_index: int
    compute_unit: str
    commands: int
    seconds_busy: float
    mean_queue_length: float
    share: float

    def __str__(self) -> str:
        return (
            f"{self.session} on {self.compute_unit} of device {self.dev_index}: {self.share:.1%} "
            f"of the load, {self.commands} commands, {self.seconds_busy:.3f} s busy, "
            f"{self.mean_queue_length:.2f} queued on average"
        )


def relative_loads(counts: Iterable[CommandCount]) -> list[CommandLoad]:
    """Return the load of each session on each compute unit, the largest first.

    Where no time was measured, shares are those of the commands.
    """
    counted = [each for each in counts if each.commands]
    weights: Sequence[float] = [each.seconds_busy for each in counted]
    if not sum(weights):
        weights = [each.commands for each in counted]
    whole = sum(weights)
    made = [
        CommandLoad(
            each.session,
            each.dev_index,
            each.compute_unit,
            each.commands,
            each.seconds_busy,
            each.queued / each.commands,
            weight / whole,
        )
        for each, weight in zip(counted, weights, strict=True)
    ]
    return sorted(made, key=lambda load: -load.share)


def log_loads(loads: Iterable[CommandLoad]) -> None:
    """Write loads to the log ``xma_plugins``, a line for each."""
    for load in loads:
        _log.info("%s", load)
