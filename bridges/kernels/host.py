"""Kernels on the host, by their NumPy references: for machines that have no OpenCL device."""

import threading
import weakref
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor, wait
from functools import partial
from types import MappingProxyType
from typing import Any

from bridges.context import Context
from bridges.frame import Frame, MediaFrame
from bridges.kernels.frames import check_frames, previous_for
from bridges.kernels.kernel import Kernel

__all__ = ["NumPyRuntime"]


class _Event:
    """What `NumPyRuntime.enqueue` returns; `wait` raises what the reference raises."""

    def __init__(self, future: Future[None]) -> None:
        self._future = future

    @property
    def is_done(self) -> bool:
        return self._future.done()

    def wait(self) -> None:
        self._future.result()


class NumPyRuntime:
    """Runs the references themselves, one thread a frame.

    Parameters
    ----------
    context : Context
        Host memory.
    """

    def __init__(self, context: Context) -> None:
        self.context = context
        self.name = "NumPy"
        self._lock = threading.Lock()
        self._pool: ThreadPoolExecutor | None = None
        self._last: Future[None] | None = None

    def run(
        self,
        kernel: Kernel,
        source: Frame,
        target: MediaFrame,
        parameters: Mapping[str, object] = MappingProxyType({}),
        *,
        previous: Frame | None = None,
    ) -> None:
        """Run a kernel in the calling thread; see `Runtime.run`."""
        work = _work(kernel, source, target, parameters, previous)
        last = self._last
        if last is not None:
            # What was enqueued before comes before, as on any queue.
            wait((last,))
        work()

    def enqueue(
        self,
        kernel: Kernel,
        source: Frame,
        target: MediaFrame,
        parameters: Mapping[str, object] = MappingProxyType({}),
        *,
        previous: Frame | None = None,
    ) -> _Event:
        """Have a thread of the runtime's own run a kernel; see `Runtime.enqueue`.

        There is one, which takes kernels in their order.
        """
        work = _work(kernel, source, target, parameters, previous)
        with self._lock:
            if self._pool is None:
                self._pool = ThreadPoolExecutor(1, thread_name_prefix="kernels")
                weakref.finalize(self, self._pool.shutdown, wait=False)
            self._last = self._pool.submit(work)
            return _Event(self._last)


def _work(
    kernel: Kernel,
    source: Frame,
    target: MediaFrame,
    parameters: Mapping[str, object],
    previous: Frame | None,
) -> Callable[[], None]:
    """Return the call that fills a target's planes, once all of it has been checked."""
    values = kernel.check(parameters)
    previous = previous_for(kernel, source, previous)
    check_frames(kernel, source, target, previous, values)
    read = [*source.tensors, *(previous.tensors if previous is not None else ())]
    planes: list[Any] = [tensor.handle("array") for tensor in read]
    written = kernel.written(target.info)
    # What the kernel leaves alone may lie in other memory.
    out: list[Any] = [
        tensor.handle("array") if k in written else None for k, tensor in enumerate(target.tensors)
    ]
    return partial(kernel.compute, planes, source.info, target.info, out, values)
