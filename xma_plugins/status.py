"""The flow-control codes of a session's send and receive calls.

Names, numbers and meaning are those of the Xilinx Media Accelerator's public headers (``xma.h``,
XRT 2.13). A failure is an exception and has no code.
"""

from xma_plugins.code import Code

__all__ = ["Status", "name_of"]


class Status(Code):
    """What the caller of ``send_*`` or ``recv_*`` should do next."""

    SUCCESS = 0
    """From send: receive next. From receive: here is one result."""
    SEND_MORE_DATA = 1
    """From send: taken, and nothing to receive yet; send the next."""
    END_OF_FILE = 2
    """From receive: all was flushed; stop."""
    EOS = 3
    """From receive (of a scaler: from send): all was flushed; stop."""
    FLUSH_AGAIN = 4
    """From sending the final null: receive once, then send null again."""
    TRY_AGAIN = 5
    """From send: nothing was taken; receive, then send the same again. From receive: send more."""
    RESEND_AND_RECV = 6
    """From send: receive is allowed, then send the same again."""


def name_of(answer: object) -> str:
    """Return a plugin's answer as people read it, whatever it is."""
    return answer.name if isinstance(answer, Status) else repr(answer)
