"""What runs in a child process of a batch: one job after another, until nobody asks any more.

Messages are pickled: a `Task` comes in; `Progress` goes out, and `Ended` as the last of each task.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import select
import signal
import threading
import time
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from bridges.errors import DeviceError, PoolTimeoutError, XTranscodeError
from transcode.errors import OutputError, SourceError
from transcode.file_identity import FileIdentity
from transcode.progress import Progress
from transcode.publish import recover
from transcode.transcoder import run_job

if TYPE_CHECKING:
    from types import FrameType

    from transcode.batch.task import OutcomeKind, Task
    from transcode.progress import Event
    from transcode.report import Report

__all__ = ["Ended", "main"]

_PROGRESS_SECONDS = 0.25
_OOM_SCORE = "500"
"""Who is killed where memory is short (proc_pid_oom_score_adj(5)): this process before others."""


@dataclass(frozen=True, kw_only=True)
class Ended:
    """How a task ended, as far as the process that ran it can tell.

    Attributes
    ----------
    kind : OutcomeKind
        In a word.
    report : Report or None
        Of a job that is done.
    error : str
        Why it is not.
    may_help : bool
        Whether another try can end better.
    output : FileIdentity or None
        The file that was published.
    is_last : bool
        Whether this process must not be given another task.
    """

    kind: OutcomeKind
    report: Report | None = None
    error: str = ""
    may_help: bool = False
    output: FileIdentity | None = None
    is_last: bool = False


class _Stopped(BaseException):
    """SIGTERM: the parent wants the task to end, and its files to be cleaned up."""


def main(connection: int, lifeline: int) -> NoReturn:
    """Run tasks; the function that a child process starts with.

    Parameters
    ----------
    connection : int
        Descriptor of a socket to the parent.
    lifeline : int
        Descriptor of a pipe to which nobody writes. The kernel kills this process as soon as its
        other end is closed, whatever the process does then: no child outlives its parent.
    """
    _die_with(lifeline)
    # Ctrl-C reaches all processes of a terminal; the parent says what is to be done about it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, _stop)
    with contextlib.suppress(OSError):  # A container may not allow it.
        Path("/proc/self/oom_score_adj").write_text(_OOM_SCORE)
    parent = Connection(connection)
    while True:
        try:
            task: Task = parent.recv()
        except (EOFError, OSError, _Stopped):
            os._exit(0)
        ended = _run(task, parent)
        parent.send(ended)
        if ended.is_last:
            os._exit(0)


def _die_with(lifeline: int) -> None:
    fcntl.fcntl(lifeline, fcntl.F_SETOWN, os.getpid())
    fcntl.fcntl(lifeline, fcntl.F_SETSIG, signal.SIGKILL)
    flags = fcntl.fcntl(lifeline, fcntl.F_GETFL)
    fcntl.fcntl(lifeline, fcntl.F_SETFL, flags | os.O_ASYNC)
    poll = select.poll()
    poll.register(lifeline, 0)
    if poll.poll(0):  # It was closed before.
        os.kill(os.getpid(), signal.SIGKILL)


def _stop(_number: int, _frame: FrameType | None) -> NoReturn:
    raise _Stopped


def _run(task: Task, parent: Connection) -> Ended:
    told = 0.0

    def tell(event: Event) -> None:
        nonlocal told
        now = time.monotonic()
        if isinstance(event, Progress) and now - told >= _PROGRESS_SECONDS:
            told = now
            parent.send(event)

    path, replaces = str(task.job.outputs[0].path), task.replaces
    try:
        if not task.is_first and recover(path, task.mark):
            if task.may_recover:
                return _recovered(task)
            # The batch's own, and of what the source was before.
            replaces = FileIdentity.of(path)
        os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
        report = run_job(task.job, tell, mark=task.mark, replaces=replaces)
        return Ended(kind="done", report=report, output=FileIdentity.of(path), is_last=_is_busy())
    except _Stopped:
        if recover(path, task.mark):
            return _recovered(task)
        return Ended(kind="interrupted", error="interrupted", is_last=True)
    except OutputError as error:
        # Another process published it meanwhile, one that had been given up for lost?
        if recover(path, task.mark):
            return _recovered(task)
        return Ended(kind="failed", error=str(error), is_last=_is_busy())
    except XTranscodeError as error:
        return Ended(
            kind="failed", error=str(error), may_help=_may_help(error, task), is_last=_is_busy()
        )
    except MemoryError:
        return Ended(kind="failed", error="out of memory", may_help=True, is_last=True)
    except OSError as error:
        words = (error.strerror or str(error)).lower()
        return Ended(kind="failed", error=f"{error.filename or path}: {words}", is_last=True)
    except Exception as error:  # noqa: BLE001 - told to the parent, whatever it is
        text = f"a bug, please report it: {type(error).__name__}: {error}"
        return Ended(kind="failed", error=text, is_last=True)


def _recovered(task: Task) -> Ended:
    """Return that a try before had published its file, and was killed before it could say so."""
    path = str(task.job.outputs[0].path)
    return Ended(kind="done", output=FileIdentity.of(path), is_last=_is_busy())


def _may_help(error: XTranscodeError, task: Task) -> bool:
    """Return whether what failed may do better another time: devices, networks."""
    if isinstance(error, SourceError):
        return "://" in str(task.job.source)
    return isinstance(error, (DeviceError, PoolTimeoutError))


def _is_busy() -> bool:
    """Whether something of the task still goes on: a read or a kernel that never comes back."""
    return any(thread.name.startswith("xtranscode-") for thread in threading.enumerate())
