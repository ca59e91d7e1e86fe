"""The order in which a session may be called: what each return code allows next.

The codes are explained in ``xma.h`` (XRT 2.13); see `Status`. A caller who leaves the order gets an
`OrderError` that names it, a plugin that answers what it must not a `PluginError`.
"""

import enum

from xma_plugins.errors import OrderError, PluginError
from xma_plugins.status import Status, name_of

__all__ = ["Order"]


class _Phase(enum.Enum):
    OPEN = "open"
    ENDING = "ending"
    ENDED = "ended"


_END = object()
"""Stands for the frame that ends a stream: every one of them is the same."""


class Order:
    """What may be called next on one session that takes something and gives something.

    Parameters
    ----------
    session : str
        What the session is called, for messages.
    send, receive : str
        The names of its calls.
    ends_by_send : bool
        Whether EOS comes from sending, as of a scaler, and not from receiving.
    """

    def __init__(self, session: str, send: str, receive: str, *, ends_by_send: bool) -> None:
        self._session, self._send, self._receive = session, send, receive
        self.ends_by_send = ends_by_send
        self._phase = _Phase.OPEN
        self._may_send: object | None = None
        """What alone may be sent; None for anything."""
        self._send_refusal = ""
        self._receive_refusal = f"nothing was sent yet; call {send} first"
        self._sent: Status | None = None
        self._received = False

    @property
    def ended(self) -> bool:
        """Whether the plugin said that nothing will come any more."""
        return self._phase is _Phase.ENDED

    def before_send(self, item: object, is_end: bool) -> None:
        """Check that ``item`` may be sent."""
        if self._phase is _Phase.ENDED:
            raise self._error(self._send, "the stream has ended; destroy the session")
        if self._send_refusal:
            raise self._error(self._send, self._send_refusal)
        if self._phase is _Phase.ENDING and not is_end:
            raise self._error(self._send, "the end was sent; receive until EOS")
        if self._may_send is not None and (_END if is_end else item) is not self._may_send:
            raise self._error(
                self._send,
                f"the last one was not taken (it returned {name_of(self._sent)}); send the "
                "same again",
            )

    def after_send(self, status: Status, item: object, is_end: bool) -> None:
        """Note what a plugin answered to what was sent."""
        allowed = _AT_END if is_end else _OF_SEND
        if status not in allowed and not (self.ends_by_send and is_end and status in _ENDS):
            raise self._broken(self._send, status, "at the end" if is_end else "to a picture")
        self._sent, self._received = status, False
        self._may_send, self._send_refusal, self._receive_refusal = None, "", ""
        if is_end and status is not Status.TRY_AGAIN and status is not Status.RESEND_AND_RECV:
            self._phase = _Phase.ENDING
        if status in _ENDS:
            self._phase = _Phase.ENDED
        elif status is Status.SEND_MORE_DATA:
            self._receive_refusal = (
                f"{self._send} returned SEND_MORE_DATA: there is nothing to receive; send the next"
            )
        elif status is Status.RESEND_AND_RECV:
            self._may_send = _END if is_end else item
        else:
            if status is Status.TRY_AGAIN or status is Status.FLUSH_AGAIN:
                self._may_send = _END if is_end else item
            self._send_refusal = (
                f"{self._send} returned {status.name}; call {self._receive} before it"
            )

    def after_refusal(self) -> None:
        """Note that a plugin raised at what was sent: nobody has to send that again."""
        self._may_send = None

    def before_receive(self) -> None:
        """Check that something may be received."""
        if self._phase is _Phase.ENDED:
            raise self._error(self._receive, "the stream has ended; destroy the session")
        if self._receive_refusal:
            raise self._error(self._receive, self._receive_refusal)

    def after_receive(self, status: Status) -> None:
        """Note what a plugin answered when something was asked of it."""
        is_ending = self._phase is _Phase.ENDING
        if status not in _OF_RECEIVE and not (is_ending and status in _ENDS):
            raise self._broken(self._receive, status, "before the end was sent")
        if status is Status.SUCCESS:
            self._received = True
        elif status in _ENDS:
            self._phase = _Phase.ENDED
            return
        elif self._sent is Status.TRY_AGAIN and not self._received:
            raise PluginError(
                f"{self._session} answers TRY_AGAIN to {self._send} and to {self._receive}, so "
                "that it can neither take nor give; its plugin has to do one of them"
            )
        elif not is_ending:
            self._receive_refusal = (
                f"{self._receive} returned {status.name}: there is nothing left; send first"
            )
        # Once the end was taken there is no more to send; after FLUSH_AGAIN, and where it was
        # refused, it is sent once more.
        over = is_ending and self._sent is Status.SUCCESS and not self.ends_by_send
        self._send_refusal = "the end was sent; receive until EOS" if over else ""

    def _error(self, call: str, why: str) -> OrderError:
        return OrderError(f"{call} of {self._session} is out of order: {why}")

    def _broken(self, call: str, status: Status, when: str) -> PluginError:
        return PluginError(
            f"{self._session}: its plugin answers {name_of(status)} to {call} {when}, which "
            "has no meaning there"
        )


_ENDS = frozenset((Status.END_OF_FILE, Status.EOS))
_OF_SEND = frozenset(
    (Status.SUCCESS, Status.SEND_MORE_DATA, Status.TRY_AGAIN, Status.RESEND_AND_RECV)
)
_AT_END = frozenset((Status.SUCCESS, Status.FLUSH_AGAIN, Status.TRY_AGAIN, Status.RESEND_AND_RECV))
_OF_RECEIVE = frozenset((Status.SUCCESS, Status.TRY_AGAIN, Status.SEND_MORE_DATA))
