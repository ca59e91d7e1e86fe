"""What runs in a child process of a batch: one job after another, until nobody asks any more.

Messages are pickled: a `Task` comes in; `Progress` goes out, and as the last of each task its
`Outcome`, as far as this process can tell, with whether it must not be given another one.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import select
import signal
import threading
import time
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from bridges.errors import DeviceError, PoolTimeoutError, XTranscodeError
from transcode.batch.task import Outcome
from transcode.errors import OutputError, SourceError
from transcode.file_identity import FileIdentity
from transcode.progress import Progress
from transcode.publish import recover
from transcode.transcoder import run_job

if TYPE_CHECKING:
    from types import FrameType

    from transcode.batch.task import Task
    from transcode.progress import Event

__all__ = ["main"]

_PROGRESS_SECONDS = 0.25
_OOM_SCORE = "500"
"""Who is killed where memory is short (proc_pid_oom_score_adj(5)): this process before others."""


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
        outcome, is_broken = _run(task, parent)
        is_last = is_broken or _is_busy()
        parent.send((outcome, is_last))
        if is_last:
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


def _run(task: Task, parent: Connection) -> tuple[Outcome, bool]:
    """Run a task; return how it ended, and whether that may have left this process in disorder."""
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
                return _recovered(path), False
            # The batch's own, and of what the source was before.
            replaces = FileIdentity.of(path)
        os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
        report = run_job(task.job, tell, mark=task.mark, replaces=replaces)
        return Outcome(kind="done", report=report, output=FileIdentity.of(path)), False
    except _Stopped:
        if recover(path, task.mark):
            return _recovered(path), True
        return Outcome(kind="interrupted", error="interrupted"), True
    except OutputError as error:
        # Another process published it meanwhile, one that had been given up for lost?
        if recover(path, task.mark):
            return _recovered(path), False
        return Outcome(kind="failed", error=str(error)), False
    except XTranscodeError as error:
        return Outcome(kind="failed", error=str(error), may_help=_may_help(error, task)), False
    except MemoryError:
        return Outcome(kind="failed", error="out of memory", may_help=True), True
    except OSError as error:
        words = (error.strerror or str(error)).lower()
        return Outcome(kind="failed", error=f"{error.filename or path}: {words}"), True
    except Exception as error:  # noqa: BLE001 - told to the parent, whatever it is
        text = f"a bug, please report it: {type(error).__name__}: {error}"
        return Outcome(kind="failed", error=text), True


def _recovered(path: str) -> Outcome:
    """Return that a try before had published its file, and was killed before it could say so."""
    return Outcome(kind="done", output=FileIdentity.of(path))


def _may_help(error: XTranscodeError, task: Task) -> bool:
    """Return whether what failed may do better another time: devices, networks."""
    if isinstance(error, SourceError):
        return "://" in str(task.job.source)
    return isinstance(error, (DeviceError, PoolTimeoutError))


def _is_busy() -> bool:
    """Whether something of the task still goes on: a read or a kernel that never comes back."""
    return any(thread.name.startswith("xtranscode-") for thread in threading.enumerate())
