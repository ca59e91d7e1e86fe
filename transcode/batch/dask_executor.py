"""Tasks in child processes of the workers of a Dask cluster."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import threading
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from bridges.closable import Closable
from transcode.batch.child import Children
from transcode.batch.task import Outcome
from transcode.errors import ClusterError, JobError
from transcode.manifest_template import is_url
from transcode.progress import Progress
from transcode.report import plain

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator

    from transcode.batch.task import OnTaskProgress, Task
    from transcode.job import Job

__all__ = ["DaskExecutor"]

_TELL_SECONDS = 1.0
_ASK_SECONDS = 2.0
_ANSWER_SECONDS = 5.0
_AHEAD = 2
"""Tasks handed out per thread of the cluster, so that a worker has its next one at once."""


class DaskExecutor(Closable):
    """The workers of a Dask cluster; each runs tasks in child processes of its own.

    A worker that is lost loses nothing: Dask gives its tasks to another one. Slots are resources
    of the workers (``dask worker --resources "cuda=2"``).

    Parameters
    ----------
    address : str
        ``"tcp://host:8786"``, or ``"local"`` for worker processes of this program's own.
    workers : int
        How many of these.
    slots : collection of str
        What tasks may take; in a cluster that was there before, resources of its workers.
    mark : str
        With what the marks of this batch's tasks start.
    tell : callable
        Called with each task's progress, from another thread.

    Raises
    ------
    ClusterError
        There is no scheduler.
    JobError
        Dask is not installed.
    """

    def __init__(
        self,
        address: str,
        *,
        workers: int,
        slots: Collection[str],
        mark: str,
        tell: OnTaskProgress,
    ) -> None:
        try:
            import distributed
        except ImportError as error:
            raise JobError(
                "a cluster needs Dask, which is not installed; try: pip install 'xtranscode[batch]'"
            ) from error
        # Workers of one machine share its devices: they cannot count them one by one.
        self.keeps_slots = address != "local"
        self._slots = frozenset(slots) if self.keeps_slots else frozenset()
        self._lacking: frozenset[str] = frozenset()
        self._mark = mark
        self._topic = f"xtranscode-{mark}"
        self._cluster: Any = None
        self._futures: set[Any] = set()
        self._threads, self._asked = 0, float("-inf")
        try:
            if address == "local":
                with _uninterrupted():
                    self._cluster = distributed.LocalCluster(
                        n_workers=workers,
                        threads_per_worker=1,
                        processes=True,
                        dashboard_address=None,
                    )
            self._client: Any = distributed.Client(
                self._cluster or address, timeout=_ANSWER_SECONDS, set_as_default=False
            )
        except (OSError, ValueError) as error:
            self._close_cluster()
            raise ClusterError(f"no Dask scheduler answers at {address}: {error}") from error
        self.name = f"the Dask cluster at {self._client.scheduler.address}"

        def told(event: tuple[float, Any]) -> None:
            number, fields = event[1]
            tell(number, Progress(**fields))

        self._client.subscribe_topic(self._topic, told)

    def at_once(self) -> int:
        """Return as many tasks as keep all threads of the cluster busy; 0 without workers."""
        if time.monotonic() - self._asked > _ASK_SECONDS:
            try:
                workers = self._client.scheduler_info(n_workers=-1)["workers"].values()
            except (OSError, RuntimeError, TimeoutError) as error:
                raise self._lost(error) from error
            self._threads = sum(worker["nthreads"] for worker in workers)
            offered = {name for worker in workers for name in worker["resources"]}
            self._lacking = self._slots - offered
            self._asked = time.monotonic()
        return _AHEAD * self._threads

    def obstacle(self) -> str:
        """Say what no worker of the cluster has."""
        if not self._threads:
            return "no worker is there; jobs wait for one"
        if self._lacking:
            name = min(self._lacking)
            return (
                f"no worker offers the slot {name!r}; jobs that take it wait for one "
                f"(dask worker --resources {name}=1)"
            )
        return ""

    def submit(
        self, task: Task, slot: str, on_end: Callable[[Outcome | ClusterError], None]
    ) -> None:
        """Run a task on a worker; see `Executor.submit`."""
        future = self._client.submit(
            _run_on_worker,
            # Dask runs it again by itself where a worker is lost, and tells nobody.
            replace(task, job=_absolute(task.job), is_first=False),
            self._topic,
            key=f"{task.mark}-{task.attempt}",
            resources={slot: 1} if slot in self._slots else None,
            pure=False,
        )
        self._futures.add(future)
        future.add_done_callback(lambda ended: self._end(ended, on_end))

    def _end(self, future: Any, on_end: Callable[[Outcome | ClusterError], None]) -> None:
        self._futures.discard(future)
        try:
            on_end(self._outcome(future))
        except Exception as error:  # noqa: BLE001 - Dask would log it, and the batch wait for ever
            on_end(self._lost(error))
        future.release()

    def _outcome(self, future: Any) -> Outcome | ClusterError:
        if future.status == "finished":
            outcome: Outcome = future.result()
            return outcome
        if future.status == "error":
            # KilledWorker: the workers that it was given to were lost, one after the other.
            error = future.exception()
            return Outcome(kind="lost", error=f"{type(error).__name__}: {error}", may_help=True)
        return self._lost(future.status)

    def _lost(self, why: object) -> ClusterError:
        return ClusterError(f"the connection to {self.name} was lost ({why}); go on with --resume")

    def stop(self) -> None:
        """Have all tasks of this batch end soon."""
        with contextlib.suppress(OSError, RuntimeError, TimeoutError):
            self._client.cancel(list(self._futures))
            self._client.run(_stop_on_worker, self._mark)

    def close(self) -> None:
        """Let go of the cluster; may be repeated."""
        self._client.close()
        self._close_cluster()

    def _close_cluster(self) -> None:
        if self._cluster is not None:
            self._cluster.close()


@contextlib.contextmanager
def _uninterrupted() -> Iterator[None]:
    """Have processes that are started ignore Ctrl-C, which reaches all of a terminal's."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _absolute(job: Job) -> Job:
    """Return a job that means the same files in any folder."""
    (output,) = job.outputs
    source = str(job.source)
    return replace(
        job,
        source=source if is_url(source) else os.path.abspath(source),
        outputs=(replace(output, path=os.path.abspath(output.path)),),
        filters=tuple(
            # Those of a file are "folder/my.cl:tint(amount=0.3)".
            f"{os.path.abspath(match[1])}:{match[2]}" if match else text
            for text in job.filters
            for match in [re.fullmatch(r"([^:(]*\.\w+):(.*)", text, re.DOTALL)]
        ),
    )


_children = Children()
"""Those of a Dask worker; the kernel ends them when the worker ends."""


def _run_on_worker(task: Task, topic: str) -> Outcome:
    from distributed import get_worker

    worker, told = get_worker(), 0.0

    def tell(number: int, progress: Progress) -> None:
        nonlocal told
        if time.monotonic() - told >= _TELL_SECONDS:
            told = time.monotonic()
            worker.log_event(topic, (number, plain(progress)))

    return _children.run(task, tell)


def _stop_on_worker(mark: str) -> None:
    _children.stop(mark)
