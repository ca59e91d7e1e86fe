"""Replay: a trace is played again, call by call, and the answers are compared."""

import os
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING

from xma_plugins.conformance.check import class_of, on_device
from xma_plugins.conformance.player import Player
from xma_plugins.conformance.rule import RuleBrokenError
from xma_plugins.conformance.trace import Scene, Step, Trace

if TYPE_CHECKING:
    from bridges.frame import FrameInfo
    from xma_plugins.device import Device
    from xma_plugins.plugin import Plugin

__all__ = ["Difference", "replay"]


@dataclass(frozen=True, slots=True)
class Difference:
    """A call that is answered otherwise than before.

    Attributes
    ----------
    scenario, session, step
        Which call, as the trace has it.
    call : str
        What was called.
    before, now : str
        The answers.
    """

    scenario: str
    session: int
    step: int
    call: str
    before: str
    now: str

    def __str__(self) -> str:
        return (
            f"{self.call} answered {self.before!r} and now {self.now!r}, at step {self.step} of "
            f"scenario {self.scenario}"
        )


def replay(
    trace: Trace | str | os.PathLike[str],
    plugin: "str | type[Plugin]",
    *,
    device: "Device | str" = "cpu",
    scenario: str = "",
    timeout: float = 30.0,
) -> list[Difference]:
    """Make the calls of a trace again, and say where the answers differ.

    Sessions that worked at the same time are played one after the other.

    Parameters
    ----------
    trace : Trace or path
        What `check` recorded.
    plugin : str or type
        Whose answers to compare.
    device : Device or str
        Where it works.
    scenario : str
        Which alone to play; by default all.
    timeout : float
        As of `check`; a call that never returns is not found here.

    Returns
    -------
    list of Difference
        None where all is as it was. A scene ends with its first difference: what follows was
        called because of the old answer.

    Raises
    ------
    InvalidError
        The file is no trace.
    """
    recorded = trace if isinstance(trace, Trace) else Trace.read(trace)
    made = class_of(plugin)
    found: list[Difference] = []
    forms: list[FrameInfo] = []
    with ExitStack() as opened:
        where = on_device(device, opened)
        for scene in recorded.scenes:
            if scenario in ("", scene.scenario):
                again = Scene(scene.scenario, scene.session, scene.setup)
                is_of_the_form = scene.setup == recorded.scenes[0].setup
                player = Player(
                    made,
                    again,
                    device=where,
                    timeout=timeout,
                    forms=forms if is_of_the_form else [],
                )
                found += _difference(player, scene)
    return found


def _difference(player: Player, scene: Scene) -> list[Difference]:
    try:
        for step in scene.steps:
            if not step.answer:
                return []  # It never returned.
            now = _answer(player, step)
            if now != step.answer:
                at = scene.scenario, scene.session, step.number
                return [Difference(*at, str(step), step.answer, now)]
        return []
    finally:
        player.give_up()


def _answer(player: Player, step: Step) -> str:
    try:
        if step.call == "illegal":
            call, *words = step.argument.split()
            player.illegal(call, *map(int, words))
        else:
            player.play(step.call, step.argument)
    except RuleBrokenError:
        pass  # The answer is what counts.
    return player.scene.steps[-1].answer
