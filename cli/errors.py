"""What ends a command: failures as one line and an exit code, signals as an exception.

Nothing here imports the packages below, so that ``xtranscode --version`` stays quick.
"""

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType

__all__ = [
    "BROKEN_PIPE_CODE",
    "Failure",
    "Interrupted",
    "failure_of",
    "one_line",
    "signals_interrupt",
]

BROKEN_PIPE_CODE = 128 + signal.SIGPIPE
"""What a shell reports of a program that died writing to a pipe that nobody reads."""

_SHOW_CURSOR = b"\x1b[?25h\n"  # A progress bar hides it.

_SIGNALS = {
    signal.SIGINT: "interrupted",
    signal.SIGTERM: "terminated",
    signal.SIGHUP: "the terminal was closed",
}


class Interrupted(BaseException):
    """A signal asked the command to stop; raised in the main thread, wherever that stands.

    It is no `KeyboardInterrupt`, which click would take for its own.
    """

    def __init__(self, number: int) -> None:
        super().__init__(_SIGNALS.get(signal.Signals(number), "stopped"))
        self.exit_code = 128 + number


@contextmanager
def signals_interrupt() -> Iterator[None]:
    """Raise `Interrupted` for the first signal, so that the command cleans up.

    The second only says so, because an exception would interrupt the cleaning; the third ends
    the process at once. A signal that the caller of the process ignores (``nohup``) stays ignored.
    """
    seen = 0

    def stop(number: int, _frame: FrameType | None) -> None:
        nonlocal seen
        seen += 1
        if seen == 1:
            raise Interrupted(number)
        if seen > 2:
            if os.isatty(2):
                os.write(2, _SHOW_CURSOR)
            os._exit(128 + number)
        # No buffered writing in a signal handler: it may have interrupted just that.
        os.write(2, b"xtranscode: cleaning up; once more to stop at once\n")

    numbers = [n for n in _SIGNALS if signal.getsignal(n) != signal.SIG_IGN]
    for number in numbers:
        signal.signal(number, stop)
    try:
        yield
    finally:
        for number in numbers:
            signal.signal(number, signal.SIG_DFL)


@dataclass(frozen=True)
class Failure:
    """Why a command failed.

    Attributes
    ----------
    message : str
        One line, without the program's name.
    exit_code : int
        1 for a failure, 2 for a command or job that cannot be run as it is written.
    is_bug : bool
        Whether the error was not foreseen.
    """

    message: str
    exit_code: int
    is_bug: bool = False


def failure_of(error: BaseException) -> Failure:
    """Say what an exception means to the user."""
    # What was never imported was never raised: looking here keeps the packages unloaded.
    foreseen = getattr(sys.modules.get("bridges.errors"), "XTranscodeError", ())
    wrong_job = getattr(sys.modules.get("transcode.errors"), "JobError", ())
    if isinstance(error, Interrupted):
        return Failure(str(error), error.exit_code)
    if isinstance(error, wrong_job):
        return Failure(one_line(str(error)), 2)
    if isinstance(error, foreseen):
        return Failure(one_line(str(error)), 1)
    if isinstance(error, OSError):
        words = (error.strerror or str(error)).lower()
        return Failure(one_line(f"{error.filename}: {words}" if error.filename else words), 1)
    if isinstance(error, MemoryError):
        return Failure("out of memory", 1)
    if isinstance(error, ImportError):
        return Failure(one_line(f"the installation is incomplete: {error}"), 1)
    text = f"a bug, please report it: {type(error).__name__}: {error}{_place(error)}"
    return Failure(one_line(text), 1, is_bug=True)


def _place(error: BaseException) -> str:
    """Return where an error was raised: ``" (pipeline.py, line 12)"``."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    if trace is None:
        return ""
    file = os.path.basename(trace.tb_frame.f_code.co_filename)
    return f" ({file}, line {trace.tb_lineno})"


def one_line(text: str) -> str:
    """Show line ends and control characters of ``text``, which may hold a file's name, as codes."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in " ".join(text.split("\n")))
