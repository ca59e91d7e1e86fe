"""An application at one session: it makes calls one by one, and looks at what they answer."""

import contextlib
import functools
import re
import time
import traceback
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

from bridges.errors import XTranscodeError
from xma_plugins.conformance.account import Account
from xma_plugins.conformance.inbox import Inbox
from xma_plugins.conformance.outbox import ENDS, TAKEN, Outbox
from xma_plugins.conformance.pictures import pts_of
from xma_plugins.conformance.rule import Rule, RuleBrokenError
from xma_plugins.conformance.watch import Watch, watched
from xma_plugins.errors import BufferUseError, OrderError, PluginError
from xma_plugins.kinds import SessionType
from xma_plugins.plugin import Plugin
from xma_plugins.sessions import (
    AdminSession,
    DecoderSession,
    EncoderSession,
    FilterSession,
    KernelSession,
    ScalerSession,
)
from xma_plugins.status import Status, name_of

if TYPE_CHECKING:
    from bridges.frame import FrameInfo
    from xma_plugins.conformance.trace import Scene
    from xma_plugins.device import Device

__all__ = ["Player"]

T = TypeVar("T")

_SESSIONS: dict[SessionType, Any] = {
    each.kind: each
    for each in (
        AdminSession,
        DecoderSession,
        EncoderSession,
        FilterSession,
        KernelSession,
        ScalerSession,
    )
}
_RELEASES = {"release", "free", "buffer_free"}
_IDLE_SECONDS = 0.001
_ENDLESS = 64
"""So many times more comes out than was sent of a plugin that never ends."""


class Player:
    """Makes the calls of one scene.

    A call that a plugin answers against the rules raises `RuleBrokenError`; the answer is in the
    trace all the same.

    Parameters
    ----------
    plugin : type
        The plugin's class.
    scene : Scene
        What the session is made with; calls are recorded in it.
    device : Device
        Where it works.
    timeout : float
        Seconds that a stream may go on without a picture before it is taken to be endless.
    forms : list of FrameInfo
        Of what is received, as far as it is known: needed to receive into frames of one's own.

    Attributes
    ----------
    watch : Watch
        What reached the plugin.
    outbox : Outbox
        What is sent.
    inbox : Inbox
        What is received.
    """

    def __init__(
        self,
        plugin: type[Plugin],
        scene: "Scene",
        *,
        device: "Device",
        timeout: float,
        forms: "list[FrameInfo]",
    ) -> None:
        self.plugin, self.scene, self.setup = plugin, scene, scene.setup
        self.device, self.timeout = device, timeout
        self.watch = Watch()
        self.outbox = Outbox(plugin.kind, scene.setup, device)
        self.inbox = Inbox(plugin.kind, forms)
        self.session: Any = None
        self._taken = 0
        self._account = Account(plugin.kind, scene.setup)
        self._went_on_at = time.monotonic()

    # What an application calls. Arguments are words and numbers, so that a trace can hold them.

    def play(self, call: str, argument: str) -> Any:
        """Make a call as a trace has it."""
        words = [int(word) if word.isdecimal() else word for word in argument.split()]
        return getattr(self, call)(*words)

    def create(self, how: str = "", number: int = 0) -> None:
        """Make the session.

        Parameters
        ----------
        how : str
            ``"device"`` to send pictures in device buffers; ``"failing"`` to have ``init`` fail.
        number : int
            Of the allocation that fails; see `Watch`.
        """
        self.outbox.is_on_device = how == "device"
        self.watch = Watch(number if how == "failing" else 0)
        plugin = watched(self.plugin, self.watch)
        properties = self.setup.session_properties(plugin, self.scene.session)

        def work() -> tuple[None, str]:
            self.session = _SESSIONS[self.plugin.kind](properties, self.device)
            return None, "open"

        self._make("create", f"{how} {number or ''}".strip(), work)

    def send(self, index: int) -> Status:
        """Send picture or packet number ``index``, or what is left of it."""
        status: Status = self._make("send", str(index), lambda: self._sent(index))
        self.outbox.check_held(index)
        if status in TAKEN:
            self._go_on()
            self._taken += 1
            if not self.outbox.has_rest(index):
                self._account.sent(pts_of(self.setup, index), index)
        return status

    def end(self) -> Status:
        """Send the end."""
        status: Status = self._make("end", "", lambda: self._sent(None))
        if status in ENDS:
            self._account.end()
        return status

    def _sent(self, index: int | None) -> tuple[Any, str]:
        status = self.outbox.send(self.session, index)
        return status, name_of(status)

    def receive(self, how: str = "dummy") -> Status:
        """Receive into dummies, or into frames of the application's ``"own"``, and keep it."""

        def work() -> tuple[Status, str]:
            status, got = self.inbox.receive(self.session, how)
            if status is not Status.SUCCESS:
                return status, name_of(status)
            text = self.inbox.look(self.session, got)
            self._account.received(got)
            count = len(self.inbox.results)
            if count > _ENDLESS * (self._taken + _ENDLESS):
                raise RuleBrokenError(
                    Rule.END, f"{count} results came of {self._taken} that were sent"
                )
            return status, f"SUCCESS {text}"

        status: Status = self._make("receive", how, work)
        if status is Status.SUCCESS:
            self._go_on()
        elif status in ENDS:
            self._account.end()
        return status

    def close(self, index: int) -> None:
        """Close a picture that was sent."""

        def work() -> tuple[None, str]:
            self.outbox.close(index)
            return None, "closed"

        self._make("close", str(index), work)

    def release(self) -> None:
        """Close all that was received."""

        def work() -> tuple[None, str]:
            while self.inbox:
                self.inbox.take_out().close()
            return None, "closed"

        if self.inbox:
            self._make("release", "", work)

    def write(self) -> None:
        """Write the parameters of the setup."""
        self._make("write", "", lambda: (self.session.write(self.setup.parameters), "written"))

    def read(self) -> None:
        """Read parameters."""

        def work() -> tuple[None, str]:
            found = self.session.read()
            if not hasattr(found, "keys"):
                raise RuleBrokenError(
                    Rule.STATUS, f"read gives {type(found).__name__}, and no mapping"
                )
            return None, str(dict(found))

        self._make("read", "", work)

    def destroy(self) -> None:
        """Destroy the session."""
        self._make("destroy", "", lambda: (self.session.destroy(), "destroyed"))

    def illegal(self, call: str, *arguments: Any) -> None:
        """Make a call that is out of order; the session has to refuse it."""
        before = self.watch.count
        argument = " ".join(map(str, (call, *arguments)))
        with self.scene.step("illegal", argument) as step:
            try:
                self._raw(call, *arguments)
                step.answer = "was let through"
            except OrderError:
                step.answer = "OrderError"
            except Exception as error:  # noqa: BLE001 - Told of below.
                step.answer = _text(error)
        if self.watch.count != before or step.answer != "OrderError":
            raise RuleBrokenError(Rule.ILLEGAL_CALLS, f"{argument} {step.answer}")

    def _raw(self, call: str, *arguments: Any) -> None:
        match call:
            case "send":
                self.outbox.send(self.session, arguments[0])
            case "end":
                self.outbox.send(self.session, None)
            case "receive":
                self.inbox.receive(self.session, "dummy")
            case "read":
                self.session.read()
            case "write":
                self.session.write(self.setup.parameters)

    # How it is done.

    def _make(self, call: str, argument: str, work: Callable[[], tuple[T, str]]) -> T:
        """Make a call, record it, and raise what it breaks."""
        with self.scene.step(call, argument) as step:
            try:
                value, step.answer = work()
                return value
            except RuleBrokenError as error:
                step.answer = str(error)
                raise
            except Exception as error:
                step.answer = _text(error)
                raise RuleBrokenError(self.rule_of(call, error), step.answer) from error

    def rule_of(self, call: str, error: Exception) -> Rule:
        """Return the rule that an error of a call speaks of."""
        if isinstance(error, BufferUseError):
            names = {frame.name for frame in traceback.extract_tb(error.__traceback__)}
            if names & _RELEASES:
                return Rule.RELEASE
            return Rule.BUFFERS if call == "destroy" else Rule.REFERENCE
        watch = self.watch
        raised = watch.close_error if call in ("destroy", "close") else watch.raised
        if not isinstance(raised or error, XTranscodeError):
            # Where nothing was raised, the session could not read the answer.
            return Rule.ERRORS if raised is not None or call == "create" else Rule.STATUS
        if raised is None and isinstance(error, PluginError) and call != "create":
            # The plugin answered, and the session did not like it.
            asked_more = call == "receive" and watch.answer is Status.TRY_AGAIN
            return Rule.BOTH_SIDES if asked_more else Rule.STATUS
        return Rule.LEGAL_CALLS

    def _go_on(self) -> None:
        self._went_on_at = time.monotonic()

    def wait(self, doing: str) -> None:
        """Wait a moment, where a stream does not go on.

        Raises
        ------
        RuleBrokenError
            It does not for too long.
        """
        if time.monotonic() - self._went_on_at > self.timeout:
            raise RuleBrokenError(
                Rule.END, f"{doing} for {self.timeout:g} s, and nothing came of it"
            )
        time.sleep(_IDLE_SECONDS)

    def give_up(self) -> None:
        """Let go of everything after a failure, whatever that says."""
        while self.inbox:
            _quietly(self.inbox.take_out().close)
        for number in self.outbox.numbers:
            _quietly(functools.partial(self.outbox.close, number))
        if self.session is not None:
            _quietly(self.session.destroy)

    def close_all(self) -> None:
        """Close what was sent and what was received."""
        self.release()
        for index in self.outbox.numbers:
            self.close(index)


def _text(error: BaseException) -> str:
    """Return an error's kind and message, without what differs from run to run."""
    return f"{type(error).__name__}: {re.sub(r'session [0-9]+', 'session', str(error))}"


def _quietly(call: Callable[[], object]) -> None:
    with contextlib.suppress(Exception):  # A rule was broken: this is what it left.
        call()
