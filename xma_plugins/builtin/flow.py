"""How pictures go through compute units: several at once, in order, and never without end."""

from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from xma_plugins.errors import InvalidError, XmaTimeoutError
from xma_plugins.frames import XmaFrame
from xma_plugins.session import Session
from xma_plugins.status import Status

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from xma_plugins.command import CuCommand

__all__ = ["Flow", "Work", "check_depth", "pool_timeout", "run"]


@dataclass(eq=False)
class Work:
    """What becomes of one picture.

    Attributes
    ----------
    commands : list of CuCommand
        Under way.
    made : list of XmaFrame or None
        What they write, for each output; None for one that is not due.
    held : list of XmaFrame
        What they read; let go of when they are done.
    result : object
        What else is to be read when they are done.
    on_drop : callable, optional
        Called where nobody receives what they made, once they are done.
    """

    commands: "list[CuCommand]" = field(default_factory=list)
    made: list[XmaFrame | None] = field(default_factory=list)
    held: list[XmaFrame] = field(default_factory=list)
    result: Any = None
    on_drop: "Callable[[], object] | None" = None

    def release(self) -> None:
        """Let go of what was read."""
        while self.held:
            self.held.pop().close()

    def drop(self) -> None:
        """Wait for the commands, however they end, and let go of everything."""
        for command in self.commands:
            command.wait()
        self.release()
        for frame in self.made:
            if frame is not None:
                frame.close()
        if self.on_drop is not None:
            self.on_drop()


class Start(Protocol):
    """What makes a picture's work."""

    def __call__(self, frame: XmaFrame, timeout: float, /) -> Work | None:
        """Start the commands for a picture.

        Parameters
        ----------
        frame : XmaFrame
            Held by the flow until the work has started.
        timeout : float
            Seconds to wait for frames of the pool that come back.

        Returns
        -------
        Work or None
            None where those who receive hold all frames of the pool.

        Raises
        ------
        XTranscodeError
            The picture cannot be worked on. Nothing of it is held, and the flow lets go of it.
        """


class Flow:
    """The pictures of a session that are under way.

    Parameters
    ----------
    session : Session
        Whose commands.
    start : callable
        Makes the work of a picture.
    depth : int
        How many works are under way at most; a picture is received once so many are.
    timeout : float
        Seconds that a picture waits for those who hold all of the pool, where nothing else can be
        done.

    Raises
    ------
    InvalidError
        ``depth`` is 0.
    """

    def __init__(self, session: Session[Any], start: Start, *, depth: int, timeout: float) -> None:
        self._session, self._start = session, start
        self._depth, self._timeout = check_depth(session, depth), timeout
        self._works: deque[Work] = deque()
        self._waiting: XmaFrame | None = None
        self._has_to_give = self._is_ending = False

    @property
    def is_ended(self) -> bool:
        """Whether the end was sent, and nothing can be received any more."""
        return self._is_ending and not self._works and self._waiting is None

    def send(self, frame: XmaFrame) -> Status:
        """Take a picture and start its work.

        Raises
        ------
        XTranscodeError
            The work of this picture, or of the one that waited before it, could not be started.
            That one was let go of, and this one was not taken.
        """
        if not self._advance() or len(self._works) >= self._depth:
            self._has_to_give = True
            return Status.TRY_AGAIN
        self._waiting = frame.reference()
        if self._advance() and len(self._works) < self._depth:
            return Status.SEND_MORE_DATA
        return Status.SUCCESS

    def end(self) -> None:
        """Take note that nothing will be sent any more."""
        self._is_ending = True

    def receive(self) -> Work | None:
        """Return the oldest work, once it is done; None where nothing can be done now.

        The caller owns what it made.

        Raises
        ------
        XmaTimeoutError
            Those who receive hold all frames of the pool, and give none back.
        XTranscodeError
            A command failed, or the work of the picture that waited could not be started. It was
            let go of; the next call is about the next one.
        """
        self._advance()
        if not self._works and (self._has_to_give or self._is_ending):
            self._wait_for_a_frame()
        if not self._works:
            return None
        work = self._works[0]
        try:
            run(self._session, work.commands)
        except Exception:
            self._has_to_give = False
            self._works.popleft().drop()
            raise
        self._works.popleft()
        work.release()
        self._has_to_give = False
        return work

    def _wait_for_a_frame(self) -> None:
        if not self._advance(self._timeout):
            raise pool_timeout(self._session, self._timeout)

    def _advance(self, timeout: float = 0) -> bool:
        """Start the work of the picture that waits, if that can be; return whether none waits."""
        waiting = self._waiting
        if waiting is not None and len(self._works) < self._depth:
            try:
                work = self._start(waiting, timeout)
            except BaseException:
                # It would fail again, and keep all that come behind it from their start.
                self._has_to_give = False
                self._let_go()
                raise
            if work is not None:
                self._works.append(work)
                self._let_go()
        return self._waiting is None

    def _let_go(self) -> None:
        waiting, self._waiting = self._waiting, None
        if waiting is not None:
            waiting.close()

    def close(self) -> None:
        """Wait for what is under way and let go of it; may be repeated."""
        while self._works:
            self._works.popleft().drop()
        self._let_go()


def check_depth(session: Session[Any], depth: int) -> int:
    """Return how many pictures may be under way; refuse none, since nothing would ever be taken.

    Raises
    ------
    InvalidError
        It is 0.
    """
    if depth < 1:
        raise InvalidError(f"{session.name}: parameter 'depth' is 1 or more, got {depth}")
    return depth


def pool_timeout(session: Session[Any], seconds: float) -> XmaTimeoutError:
    """Return the error of a session that waited for a frame, and got none."""
    return XmaTimeoutError(
        f"{session.name} waited {seconds:g} s for a frame to write into: all of its pool are held "
        "by those who received them; close some, or ask for more by the parameter 'pool'"
    )


def run(session: Session[Any], commands: "Sequence[CuCommand]") -> None:
    """Wait until commands are done.

    Raises
    ------
    XTranscodeError
        One failed: what it failed with.
    """
    session.cu_cmd_status(commands, wait=True)
    for command in commands:
        if command.error is not None:
            raise command.error
