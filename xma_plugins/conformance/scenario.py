"""The scenarios: every order of calls that is allowed, and every one that is not."""

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from xma_plugins.conformance.outbox import ENDS, TAKEN
from xma_plugins.conformance.player import Player
from xma_plugins.conformance.rule import Rule, RuleBrokenError
from xma_plugins.conformance.stage import RefusedError, Stage, UnusableError
from xma_plugins.conformance.stream import finish, play_stream, send_one
from xma_plugins.conformance.watch import InjectedError
from xma_plugins.kinds import SessionType
from xma_plugins.plugin import Plugin
from xma_plugins.status import Status

__all__ = ["SCENARIOS", "Scenario", "scenarios"]

_MAX_ALLOCATIONS = 32
_SMALLEST = ((1, 1), (2, 2), (4, 4), (16, 16), (32, 32), (64, 64), (128, 128), (160, 160))


def _first(stage: Stage) -> Player:
    """Return a player with a session, of which nobody knows yet whether it can be made."""
    player = stage.player()
    try:
        player.create()
    except RuleBrokenError as error:
        if error.rule is Rule.LEGAL_CALLS:
            raise UnusableError from error.__cause__
        raise
    return player


def _stream(stage: Stage) -> None:
    player = _first(stage)
    play_stream(player, stage.count)
    player.destroy()
    stage.expected = player.inbox.results


def _compared(stage: Stage, player: Player, **how: Any) -> None:
    """Play the stream in another way; what comes of it has to be the same."""
    play_stream(player, stage.count, **how)
    player.destroy()
    stage.compare(player)


def _open(stage: Stage) -> None:
    player = stage.player()
    player.create()
    _compared(stage, player, closes_early=False)


def _storm(stage: Stage) -> None:
    player = stage.player()
    player.create()
    _compared(stage, player, is_storm=True)


def _own(stage: Stage) -> None:
    player = stage.player()
    player.create()
    stage.may_refuse(lambda: _compared(stage, player, how="own"))


def _device(stage: Stage) -> None:
    player = stage.player()
    player.create("device")
    stage.may_refuse(lambda: _compared(stage, player))


def _one(stage: Stage) -> None:
    player = stage.player()
    player.create()
    play_stream(player, 1)
    player.destroy()


def _none(stage: Stage) -> None:
    player = stage.player()
    player.create()
    play_stream(player, 0)
    player.destroy()


def _cut(stage: Stage) -> None:
    """Destroy sessions after one picture, two, and so on; the stream never ends."""
    for count in range(1, min(stage.count, 4) + 1):
        player = stage.player()
        player.create()
        for index in range(count):
            send_one(player, index)
        player.destroy()
        player.close_all()


def _unused(stage: Stage) -> None:
    player = stage.player()
    player.create()
    player.destroy()
    player.destroy()


def _init(stage: Stage) -> None:
    """Have ``init`` fail, at each of its allocations and then at its end."""
    for number in range(1, _MAX_ALLOCATIONS + 1):
        player = stage.player()
        try:
            player.create("failing", number)
        except RuleBrokenError as error:
            is_ours = isinstance(error.__cause__, InjectedError)
            if not is_ours and error.rule is not Rule.LEGAL_CALLS:
                raise
        failure = player.watch.close_error
        if failure is not None:
            raise RuleBrokenError(
                player.rule_of("close", failure), f"close after a failed init: {failure!r}"
            )
        stage.check_left()
        if player.watch.allocations < number:
            return


def _order(stage: Stage) -> None:
    player = stage.player()
    player.create()
    player.illegal("receive")
    # The last one is never sent, but where it is not allowed.
    for index in range(stage.count - 1):
        _send_watchfully(player, index)
    status = player.end()
    if status not in ENDS:
        player.illegal("send", stage.count - 1)
        player.illegal("end")
    if status is Status.SUCCESS and player.plugin.kind is not SessionType.SCALER:
        while player.receive() not in ENDS:
            player.release()
            player.wait("receiving at the end")
    elif status not in ENDS:
        player.receive()
        player.release()
        finish(player)
    _refuses_all(player, stage.count - 1)
    player.destroy()
    _refuses_all(player, stage.count - 1)
    player.close_all()


def _send_watchfully(player: Player, index: int) -> None:
    """Send a picture, and try after each answer what it does not allow."""
    while True:
        status = player.send(index)
        if status is Status.SEND_MORE_DATA:
            player.illegal("receive")
        else:
            if status is Status.RESEND_AND_RECV:
                player.illegal("send", index + 1)
            else:
                player.illegal("send", index + (status is Status.SUCCESS))
                player.illegal("end")
            received = player.receive()
            if received is Status.SUCCESS and status is Status.TRY_AGAIN:
                player.illegal("send", index + 1)
            elif received is not Status.SUCCESS and status is Status.SUCCESS:
                player.illegal("receive")
            player.release()
        if status in TAKEN and not player.outbox.has_rest(index):
            player.close(index)
            return
        player.wait(f"send answers {status.name}")


def _refuses_all(player: Player, index: int) -> None:
    player.illegal("send", index)
    player.illegal("end")
    player.illegal("receive")


def _two(stage: Stage) -> None:
    """Play the stream in two sessions at once, each in a thread of its own."""
    players = [stage.player(session=number) for number in (0, 1)]
    failures: list[tuple[Player, Exception]] = []
    both_are_open = threading.Barrier(len(players))

    def work(player: Player) -> None:
        try:
            player.create()
            both_are_open.wait()
            if player.plugin.kind in (SessionType.KERNEL, SessionType.ADMIN):
                player.write()
                player.read()
                player.destroy()
            else:
                _compared(stage, player)
        except threading.BrokenBarrierError:
            pass  # The other one cannot be made.
        except Exception as error:  # noqa: BLE001 - Raised below, in the thread of the check.
            failures.append((player, error))
            both_are_open.abort()

    threads = [
        threading.Thread(target=work, args=(each,), name="xtranscode-check-two", daemon=True)
        for each in players
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for player, error in failures:
        stage.current = player
        raise error


def _smallest(stage: Stage) -> None:
    """Play the stream in the smallest size that is taken."""
    for number, size in enumerate(_SMALLEST):
        try:
            _sized(stage, *size)
        except RefusedError:
            if number == len(_SMALLEST) - 1:
                raise
            stage.drop()
            continue
        stage.notes.append("{}x{}".format(*size))
        return


def _odd(stage: Stage) -> None:
    _sized(stage, stage.setup.width | 1, stage.setup.height + 1 | 1)


def _sized(stage: Stage, width: int, height: int) -> None:
    player = stage.player(stage.setup.of_size(width, height))

    def play() -> None:
        player.create()
        play_stream(player, stage.count)
        player.destroy()

    stage.may_refuse(play)


def _written(stage: Stage) -> None:
    player = _first(stage)
    for _ in range(2):
        player.write()
        player.read()
    player.destroy()


def _written_order(stage: Stage) -> None:
    player = stage.player()
    player.create()
    player.destroy()
    player.illegal("write")
    player.illegal("read")


@dataclass(frozen=True)
class Scenario:
    """One way to use a plugin.

    Attributes
    ----------
    name : str
        What it is called.
    summary : str
        What is done.
    kinds : frozenset of SessionType
        What plugins it is for.
    play : callable
        Plays it on a stage.
    """

    name: str
    summary: str
    kinds: frozenset[SessionType]
    play: Callable[[Stage], None]


_TAKE_PICTURES = frozenset((SessionType.ENCODER, SessionType.FILTER, SessionType.SCALER))
_GIVE_PICTURES = frozenset((SessionType.DECODER, SessionType.FILTER, SessionType.SCALER))
_STREAMS = _TAKE_PICTURES | _GIVE_PICTURES
_OTHERS = frozenset((SessionType.KERNEL, SessionType.ADMIN))

SCENARIOS = (
    Scenario("stream", "a stream, received as it comes", _STREAMS, _stream),
    Scenario("written", "parameters are written and read, twice", _OTHERS, _written),
    Scenario("one", "a stream of one picture", _STREAMS, _one),
    Scenario("none", "the end, before anything was sent", _STREAMS, _none),
    Scenario("open", "pictures stay open until the end", _STREAMS, _open),
    Scenario("storm", "as little is received as is allowed, and it is kept", _STREAMS, _storm),
    Scenario("own", "received into frames of the application's own", _GIVE_PICTURES, _own),
    Scenario("device", "pictures lie in device buffers", _TAKE_PICTURES, _device),
    Scenario("order", "every call that is out of order", _STREAMS, _order),
    Scenario("written order", "calls after the end", _OTHERS, _written_order),
    Scenario("cut", "destroyed in the middle of a stream", _STREAMS, _cut),
    Scenario("unused", "destroyed right after it was made", _STREAMS | _OTHERS, _unused),
    Scenario("init", "init fails half-way", _STREAMS | _OTHERS, _init),
    Scenario("two", "two sessions at once, in two threads", _STREAMS | _OTHERS, _two),
    Scenario("smallest", "the smallest pictures that are taken", _TAKE_PICTURES, _smallest),
    Scenario("odd", "an odd width and height", _TAKE_PICTURES, _odd),
)


def scenarios(plugin: type[Plugin]) -> tuple[str, ...]:
    """Return the names of the scenarios for a plugin's kind, in order."""
    return tuple(each.name for each in SCENARIOS if plugin.kind in each.kinds)
