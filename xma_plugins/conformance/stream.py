"""How an application sends a stream through a session, by what each answer allows."""

from xma_plugins.conformance.outbox import ENDS
from xma_plugins.conformance.player import Player
from xma_plugins.kinds import SessionType
from xma_plugins.status import Status

__all__ = ["finish", "play_stream", "send_one"]

_REFUSALS = (Status.TRY_AGAIN, Status.RESEND_AND_RECV)


def play_stream(
    player: Player,
    count: int,
    *,
    how: str = "dummy",
    closes_early: bool = True,
    is_storm: bool = False,
) -> None:
    """Send pictures, receive what comes of them, and end the stream.

    Parameters
    ----------
    player : Player
        Whose session is open.
    count : int
        How many pictures or packets.
    how : str
        What to receive into; see `Player.receive`.
    closes_early : bool
        Whether each picture is closed as soon as it was taken, and not at the end.
    is_storm : bool
        Whether to receive as little as is allowed, and to keep it until sending is refused.
    """
    for index in range(count):
        send_one(player, index, how=how, closes_early=closes_early, is_storm=is_storm)
    player.release()
    finish(player, how)
    player.close_all()


def send_one(
    player: Player,
    index: int,
    *,
    how: str = "dummy",
    closes_early: bool = True,
    is_storm: bool = False,
) -> None:
    """Send one picture until it is taken, and receive what then has to be received."""
    while True:
        status = player.send(index)
        is_taken = status not in _REFUSALS
        if not is_taken:
            player.release()
            player.wait(f"send answers {status.name}")
        elif closes_early and not player.outbox.has_rest(index):
            player.close(index)
        if status is not Status.SEND_MORE_DATA:
            _drain(player, how, is_storm)
        if is_taken and not player.outbox.has_rest(index):
            return


def _drain(player: Player, how: str, is_storm: bool) -> Status:
    """Receive all that there is, or in a storm one thing."""
    while True:
        status = player.receive(how)
        if is_storm or status is not Status.SUCCESS:
            return status
        player.release()


def finish(player: Player, how: str = "dummy") -> None:
    """Send the end until it is taken, and receive the rest."""
    while True:
        status = player.end()
        if status in ENDS:
            return
        if status is Status.FLUSH_AGAIN:
            status = _drain(player, how, is_storm=True)
        elif status in _REFUSALS or player.plugin.kind is SessionType.SCALER:
            status = _drain(player, how, is_storm=False)
        else:
            status = _receive_rest(player, how)
        player.release()
        if status in ENDS:
            return
        player.wait("the end is told")


def _receive_rest(player: Player, how: str) -> Status:
    while True:
        status = player.receive(how)
        player.release()
        if status in ENDS:
            return status
        if status is not Status.SUCCESS:
            player.wait(f"receive answers {status.name} at the end")
