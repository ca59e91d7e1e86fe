"""Where tasks run: what a batch asks of it, and child processes of this one."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Protocol

from bridges.closable import Closable
from transcode.batch.child import Children
from transcode.batch.task import Outcome

if TYPE_CHECKING:
    from collections.abc import Callable

    from transcode.batch.task import OnTaskProgress, Task
    from transcode.errors import ClusterError

__all__ = ["Executor", "LocalExecutor"]


class Executor(Protocol):
    """What a batch asks of the place where its tasks run.

    Attributes
    ----------
    name : str
        For people.
    keeps_slots : bool
        Whether it minds itself how many tasks a device takes at once.
    """

    name: str
    keeps_slots: bool

    def at_once(self) -> int:
        """Return how many tasks to hand out at once; it may change, and be 0 for a while."""

    def obstacle(self) -> str:
        """Say what keeps tasks waiting that were handed out; empty where nothing does."""

    def submit(
        self, task: Task, slot: str, on_end: Callable[[Outcome | ClusterError], None]
    ) -> None:
        """Run a task; ``on_end`` is called once, in some thread, unless the executor is closed.

        Parameters
        ----------
        task : Task
            What to run.
        slot : str
            The kind of slot that it takes; empty where it takes none.
        on_end : callable
            Called with how it ended, or with the error that ends the whole batch.
        """

    def stop(self) -> None:
        """Have all tasks end soon."""

    def close(self) -> None:
        """Wait for what still ends, and let go of processes and connections; may be repeated."""


class LocalExecutor(Closable):
    """Child processes of this process.

    Parameters
    ----------
    workers : int
        How many at once.
    tell : callable
        Called with each task's progress, from several threads.
    """

    keeps_slots = False

    def __init__(self, workers: int, tell: OnTaskProgress) -> None:
        self.name = f"{workers} local process{'es' if workers > 1 else ''}"
        self._workers = workers
        self._tell = tell
        self._children = Children()
        self._threads = ThreadPoolExecutor(workers, thread_name_prefix="batch")

    def at_once(self) -> int:
        """Return the number of workers."""
        return self._workers

    def obstacle(self) -> str:
        """Return nothing: processes are started when they are needed."""
        return ""

    def submit(
        self, task: Task, slot: str, on_end: Callable[[Outcome | ClusterError], None]
    ) -> None:
        """Run a task in a child process; see `Executor.submit`."""

        def end(future: Future[Outcome]) -> None:
            if future.cancelled():
                on_end(Outcome(kind="interrupted", error="interrupted"))
                return
            error = future.exception()
            if error is None:
                on_end(future.result())
            else:  # No process could be started.
                on_end(
                    Outcome(kind="failed", error=f"{type(error).__name__}: {error}", may_help=True)
                )

        self._threads.submit(self._children.run, task, self._tell).add_done_callback(end)

    def stop(self) -> None:
        """Have all tasks end soon."""
        self._children.stop()

    def close(self) -> None:
        """Wait for the tasks, and end the processes; may be repeated."""
        self._threads.shutdown(cancel_futures=True)
        self._children.close()
