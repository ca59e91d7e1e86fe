"""Child processes that run tasks: started, watched, ended by force, used again."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import replace
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING

from bridges.closable import Closable
from transcode.batch.task import Outcome
from transcode.file_identity import FileIdentity
from transcode.progress import Progress
from transcode.publish import recover

if TYPE_CHECKING:
    from transcode.batch.task import Limits, OnTaskProgress, Task

__all__ = ["Child", "Children"]

_WATCH_SECONDS = 0.1
_GRACE_SECONDS = 5.0
"""How long a child that was asked to stop may clean up before it is killed."""
_MOST_PAUSE_SECONDS = 2.0
_IDLE_SHARE = 0.01
"""Less of one processor's time than this counts as none: threads that wait look up now and then."""
_TICKS = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")

_START = (
    "import sys; sys.path[:] = {path!r}; from transcode.batch.child_main import main; main({ends})"
)


class Child(Closable):
    """One process that runs one task after another.

    What ends a task by force ends the process: it takes no other task then.
    """

    def __init__(self) -> None:
        self._said = tempfile.TemporaryFile()  # noqa: SIM115 - closed by close()
        ours, theirs = socket.socketpair()
        lifeline, self._lifeline = os.pipe()
        ends = (theirs.fileno(), lifeline)
        # Notebooks put paths there that are no texts.
        code = _START.format(
            path=[os.fspath(each) for each in sys.path], ends=", ".join(map(str, ends))
        )
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-c", code],
                stdin=subprocess.DEVNULL,
                stdout=self._said,
                stderr=self._said,
                pass_fds=ends,
            )
        except BaseException:
            ours.close()
            os.close(self._lifeline)
            self._said.close()
            raise
        finally:
            theirs.close()
            os.close(lifeline)
        self._connection = Connection(ours.detach())
        self._stopping = False
        self.is_usable = True

    @property
    def pid(self) -> int:
        """The process."""
        return self._process.pid

    @property
    def lives(self) -> bool:
        """Whether the process is there."""
        return self._process.poll() is None

    def run(self, task: Task, tell: OnTaskProgress) -> Outcome:
        """Run a task, and return how it ended; nothing that the task does is raised here.

        Parameters
        ----------
        task : Task
            The one task that this child runs meanwhile.
        tell : callable
            Called in this thread with how far it is.
        """
        self._said.seek(0)
        self._said.truncate()
        watch = _Watch(self.pid, task.limits)
        outcome = None
        try:
            self._connection.send(task)
            while outcome is None:
                if self._connection.poll(_WATCH_SECONDS):
                    message = self._connection.recv()
                    if not isinstance(message, Progress):
                        outcome, is_last = message
                        self.is_usable = not is_last
                        return watch.complete(outcome)
                    watch.saw(message.frames_decoded, message.frames_encoded)
                    tell(task.number, message)
                outcome = watch.verdict()
        except (EOFError, OSError):  # It is gone.
            pass
        self.is_usable = False
        self._end()
        path = str(task.job.outputs[0].path)
        if recover(path, task.mark):
            outcome = Outcome(kind="done", output=FileIdentity.of(path))
        return watch.complete(outcome or self._death())

    def stop(self) -> None:
        """Have the task end soon, from any thread; may be repeated."""
        self._stopping = True
        if self._process.poll() is None:
            self._process.terminate()

    def close(self) -> None:
        """End the process, and wait until it is gone; may be repeated."""
        if not self._said.closed:
            self._connection.close()
            self._end()
            os.close(self._lifeline)
            self._said.close()

    def _end(self) -> None:
        """End the process: kindly, then by force."""
        if self._process.poll() is None:
            self._process.terminate()
        try:
            self._process.wait(_GRACE_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _death(self) -> Outcome:
        """Return what a process died of that ended by itself."""
        code = self._process.returncode
        if self._stopping:
            return Outcome(kind="interrupted", error="interrupted", may_help=True)
        if code == -signal.SIGKILL:
            words = "the process was killed; the kernel does that where memory is short"
            return Outcome(kind="killed", error=words, may_help=True)
        words = f"ended with code {code}" if code >= 0 else str(signal.strsignal(-code))
        return Outcome(kind="crashed", error=f"{words}{self._last_words()}", may_help=True)

    def _last_words(self) -> str:
        self._said.seek(0, os.SEEK_END)
        self._said.seek(max(0, self._said.tell() - 4096))
        lines = self._said.read().decode(errors="replace").split("\n")
        words = [line.strip() for line in lines if line.strip()]
        return f" ({words[-1][:200]})" if words else ""


class _Watch:
    """What a process uses while it runs a task, and whether that is within the limits."""

    def __init__(self, pid: int, limits: Limits) -> None:
        self._process = Path(f"/proc/{pid}")
        self._worker = f"{socket.gethostname()}:{pid}"
        self._limits = limits
        self._started = time.monotonic()
        self._alive = self._looked = self._started
        self._busy = self._processor_seconds()
        self._counts: tuple[int, int] | None = None
        self._peak = 0

    def saw(self, decoded: int, encoded: int) -> None:
        """Take note of frames that were decoded and encoded."""
        counts = decoded, encoded
        if counts != self._counts:
            self._counts = counts
            self._lives()

    def _lives(self) -> None:
        self._alive = time.monotonic()
        self._busy = self._processor_seconds()

    def verdict(self) -> Outcome | None:
        """Return which limit was passed, if any was."""
        now = time.monotonic()
        if now - self._looked > _MOST_PAUSE_SECONDS:
            self._lives()  # This process was stopped itself, and the other one with it.
        self._looked = now
        nbytes = self._resident()
        self._peak = max(self._peak, nbytes)
        limits = self._limits
        if limits.nbytes is not None and nbytes > limits.nbytes:
            words = f"it took {_mib(nbytes)}; its limit is {_mib(limits.nbytes)}"
            return Outcome(kind="memory limit", error=words)
        if limits.seconds is not None and now - self._started > limits.seconds:
            words = f"it took longer than its limit of {limits.seconds:g} s"
            return Outcome(kind="time limit", error=words)
        if limits.stalled_seconds is not None and now - self._alive > limits.stalled_seconds:
            if self._processor_seconds() - self._busy < _IDLE_SHARE * (now - self._alive):
                words = f"no frame and no work for {limits.stalled_seconds:g} s"
                return Outcome(kind="stalled", error=words, may_help=True)
            self._lives()
        return None

    def complete(self, outcome: Outcome) -> Outcome:
        """Return an outcome with what was seen of the process."""
        return replace(
            outcome,
            seconds=time.monotonic() - self._started,
            worker=self._worker,
            peak_nbytes=self._peak,
        )

    def _resident(self) -> int:
        try:
            return int((self._process / "statm").read_text().split()[1]) * _PAGE
        except (OSError, IndexError):
            return 0

    def _processor_seconds(self) -> float:
        """User and system time so far (proc_pid_stat(5), fields 14 and 15)."""
        try:
            fields = (self._process / "stat").read_text().rpartition(")")[2].split()
        except OSError:
            return 0.0
        return (int(fields[11]) + int(fields[12])) / _TICKS


def _mib(nbytes: int) -> str:
    return f"{nbytes / (1 << 20):,.0f} MiB"


class Children(Closable):
    """Children that wait for tasks, shared by threads; there are as many as tasks at once."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._idle: list[Child] = []
        self._busy: dict[str, Child | None] = {}
        self._stopped: set[str] = set()
        self._closed = False

    def run(self, task: Task, tell: OnTaskProgress) -> Outcome:
        """Run a task in a child that is free, or in a new one; see `Child.run`."""
        with self._lock:
            self._busy[task.mark] = None
        child = None
        try:
            child = self._take()
            with self._lock:
                self._busy[task.mark] = child
                if task.mark in self._stopped:
                    child.stop()
            return child.run(task, tell)
        finally:
            with self._lock:
                del self._busy[task.mark]
                self._stopped.discard(task.mark)
                keep = child is not None and child.is_usable and not self._closed
                if keep and child is not None:
                    self._idle.append(child)
            if child is not None and not keep:
                child.close()

    def _take(self) -> Child:
        with self._lock:
            while self._idle:
                child = self._idle.pop()
                if child.lives:
                    return child
                child.close()
        return Child()

    def stop(self, mark: str = "") -> None:
        """Have all tasks end soon whose mark starts with this one."""
        with self._lock:
            found = {of: child for of, child in self._busy.items() if of.startswith(mark)}
            self._stopped |= found.keys()
        for child in found.values():
            if child is not None:
                child.stop()

    def close(self) -> None:
        """End the children that wait; those with a task end after it. May be repeated."""
        with self._lock:
            self._closed = True
            idle, self._idle = self._idle, []
        for child in idle:
            child.close()
