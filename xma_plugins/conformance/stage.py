"""Where one scenario is played: the players of it, and what they must not leave behind."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from bridges.errors import XTranscodeError
from xma_plugins.conformance.pictures import HOLDER
from xma_plugins.conformance.player import Player
from xma_plugins.conformance.rule import Rule, RuleBrokenError
from xma_plugins.errors import BufferUseError
from xma_plugins.kinds import SessionType

if TYPE_CHECKING:
    from bridges.frame import FrameInfo
    from xma_plugins.conformance.setup import Setup
    from xma_plugins.conformance.trace import Trace
    from xma_plugins.device import Device
    from xma_plugins.plugin import Plugin

__all__ = ["RefusedError", "Stage", "UnusableError"]


class RefusedError(Exception):
    """A plugin does not do what it need not do, and says so."""


class UnusableError(Exception):
    """A plugin cannot be made with this setup: its cause says why."""


class Stage:
    """Where scenarios are played, one after the other.

    Parameters
    ----------
    plugin : type
        Who is tried.
    setup : Setup
        With what.
    device : Device
        Where.
    timeout : float
        As of `Player`.
    trace : Trace
        Records all calls.

    Attributes
    ----------
    scenario : str
        Which is played.
    expected : list of str
        What comes of the whole stream, once that was seen.
    notes : list of str
        What else is to be told of the scenario.
    current : Player or None
        Whose call was the latest.
    """

    def __init__(
        self,
        plugin: "type[Plugin]",
        setup: "Setup",
        *,
        device: "Device",
        timeout: float,
        trace: "Trace",
    ) -> None:
        self.plugin, self.setup, self.device = plugin, setup, device
        self.timeout, self.trace = timeout, trace
        self.scenario = ""
        self.expected: list[str] | None = None
        self.notes: list[str] = []
        self.current: Player | None = None
        self._players: list[Player] = []
        self._forms: list[FrameInfo] = []
        self._buffers_before = 0

    @property
    def count(self) -> int:
        """How many pictures or packets there are."""
        if self.plugin.kind is SessionType.DECODER:
            return len(self.setup.packets)
        return self.setup.pictures

    @property
    def knows_forms(self) -> bool:
        """Whether it is known what pictures are received."""
        return bool(self._forms)

    def begin(self, scenario: str) -> None:
        """Begin a scenario."""
        self.scenario, self.notes, self.current, self._players = scenario, [], None, []
        self._buffers_before = len(self.device.buffers)

    def player(self, setup: "Setup | None" = None, session: int = 0) -> Player:
        """Return an application for one session of the scenario."""
        scene = self.trace.scene(self.scenario, session, setup or self.setup)
        made = Player(
            self.plugin,
            scene,
            device=self.device,
            timeout=self.timeout,
            # Pictures of another size come in another form.
            forms=self._forms if setup is None else [],
        )
        self._players.append(made)
        self.current = made
        return made

    def compare(self, player: Player) -> None:
        """Check that a stream gave what it gives otherwise."""
        found = player.inbox.results
        if self.expected is None or found == self.expected:
            return
        for number, (got, wanted) in enumerate(zip(found, self.expected, strict=False)):
            if got != wanted:
                raise RuleBrokenError(
                    Rule.SAME_RESULT, f"result {number} is {got}, and otherwise {wanted}"
                )
        raise RuleBrokenError(
            Rule.SAME_RESULT,
            f"{len(found)} results came, and otherwise {len(self.expected)}",
        )

    def may_refuse(self, play: Callable[[], None]) -> None:
        """Play what a plugin may refuse.

        Raises
        ------
        RefusedError
            It does, by an error that says why.
        """
        try:
            play()
        except RuleBrokenError as error:
            cause = error.__cause__
            is_refusal = isinstance(cause, XTranscodeError) and not isinstance(
                cause, BufferUseError
            )
            if error.rule is not Rule.LEGAL_CALLS or not is_refusal:
                raise
            raise RefusedError(str(cause)) from error

    def drop(self) -> None:
        """Let go of all sessions, whatever state they are in."""
        for player in self._players:
            player.give_up()
        for buffer in self.device.buffers:
            if buffer.holder == HOLDER:
                buffer.close()

    def check_left(self) -> None:
        """Check that the sessions, which are destroyed, left nothing behind.

        Raises
        ------
        RuleBrokenError
            They did.
        """
        for player in self._players:
            if player.outbox.planes.held:
                self.current = player
                raise RuleBrokenError(
                    Rule.PLANES,
                    f"{player.outbox.planes.held} planes of pictures that were sent are still held",
                )
            marks = sum(mark.refcount > 0 for mark in player.outbox.planes.marks)
            if marks:
                self.current = player
                raise RuleBrokenError(Rule.PLANES, f"side data of {marks} pictures is still held")
        left = self.device.buffers
        if len(left) > self._buffers_before:
            holders = ", ".join(sorted({buffer.holder for buffer in left}))
            raise RuleBrokenError(
                Rule.BUFFERS, f"{len(left) - self._buffers_before} buffers are left, of {holders}"
            )
