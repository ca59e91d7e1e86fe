"""What the runtimes that compile the portable sources do alike: each adds its framework's calls."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from types import MappingProxyType
from typing import Any, Generic, TypeVar

import numpy as np
import numpy.typing as npt

from bridges.context import Context
from bridges.frame import Frame, MediaFrame
from bridges.kernels.kernel import Kernel
from bridges.kernels.launch import WORD
from bridges.kernels.memories import Memories
from bridges.kernels.plan import Planner, Step
from bridges.kernels.runtime import Event
from bridges.tensor import Tensor

__all__ = ["CompiledRuntime", "NativeEvent"]

Entry = TypeVar("Entry")


class NativeEvent(ABC):
    """An `Event` over one of a framework that has a method ``wait``.

    Parameters
    ----------
    native : object
        The framework's.
    working : callable
        Translates the framework's errors; see `CompiledRuntime._working`.
    action : str
        Completes "It cannot ...".
    keep : object
        Held until it was waited for.
    """

    def __init__(
        self,
        native: Any,
        working: Callable[[str], AbstractContextManager[None]],
        action: str,
        keep: object,
    ) -> None:
        self._native, self._working, self._action = native, working, action
        self._keep: object | None = keep

    @property
    @abstractmethod
    def is_done(self) -> bool:
        """Whether the work has ended, well or not."""

    def wait(self) -> None:
        """Wait until the work has ended; raise what it failed with."""
        try:
            self._native.wait()
        except Exception:
            # Not around the wait itself: entering costs a run on a small frame 3 to 5 percent.
            with self._working(self._action):
                raise
        self._keep = None


class CompiledRuntime(ABC, Generic[Entry]):
    """Compiles kernels for one device, keeps them, and runs them on the context's own queue.

    Parameters
    ----------
    context : Context
        The device.
    framework, device : str
        What its name is made of.
    handle : str
        The key of the native handle by which entry points take memory.
    """

    def __init__(self, context: Context, framework: str, device: str, *, handle: str) -> None:
        self.context = context
        self.name = f"{framework}: {device}"
        self._handle = handle
        self._planner = Planner(context.memory_type, self.name)
        self._memories = Memories(context, handle, self._upload)

    def run(
        self,
        kernel: Kernel,
        source: Frame,
        target: MediaFrame,
        parameters: Mapping[str, object] = MappingProxyType({}),
        *,
        previous: Frame | None = None,
    ) -> None:
        """Run a kernel and wait until it is done; see `Runtime.run`."""
        # The queue is in order, and others may have work on it: what is theirs is theirs.
        self._start(kernel, source, target, parameters, previous).wait()

    def enqueue(
        self,
        kernel: Kernel,
        source: Frame,
        target: MediaFrame,
        parameters: Mapping[str, object] = MappingProxyType({}),
        *,
        previous: Frame | None = None,
    ) -> Event:
        """Put a kernel on the context's queue, and do not wait; see `Runtime.enqueue`."""
        event = self._start(kernel, source, target, parameters, previous)
        self._flush()
        return event

    def _start(
        self,
        kernel: Kernel,
        source: Frame,
        target: MediaFrame,
        parameters: Mapping[str, object],
        previous: Frame | None,
    ) -> Event:
        plan, tensors = self._planner.find(kernel, source, target, previous, parameters)
        planes = [tensor.handle(self._handle) for tensor in tensors]
        addresses = map(self._address, tensors, planes)
        steps = plan.steps(not any(address % WORD for address in addresses))
        entries = [self._entry(kernel, step) for step in steps]
        self._follow(tensors)
        action = f"run {kernel.name} on {self.context.name}"
        with self._working(action):
            launched = [self._memories.arguments(step, planes) for step in steps]
            for step, entry, memories in zip(steps, entries, launched, strict=True):
                last = self._launch(entry, step, memories)
            # The plan keeps entry points and tables; `launched` scratch memory.
            return self._event(last, action, (plan, tensors, launched))

    @abstractmethod
    def _address(self, tensor: Tensor, memory: Any) -> int:
        """Return where samples start, as far as that tells how they are aligned."""

    @abstractmethod
    def _entry(self, kernel: Kernel, step: Step) -> Entry:
        """Return the entry point of a step, compiled if it has to be."""

    def _follow(self, tensors: Iterable[Tensor]) -> None:
        """Have the queue wait for those of other contexts that samples are made on."""

    @abstractmethod
    def _working(self, action: str) -> AbstractContextManager[None]:
        """Translate the framework's errors; ``action`` completes "It cannot ..."."""

    @abstractmethod
    def _launch(self, entry: Entry, step: Step, memories: list[Any]) -> Any:
        """Put a step on the queue, and return what the framework returns."""

    @abstractmethod
    def _event(self, last: Any, action: str, keep: object) -> Event:
        """Return what waits for the last launch; it holds ``keep`` until then."""

    def _flush(self) -> None:
        """Have the device begin, where it might not before somebody waits."""

    @abstractmethod
    def _upload(self, tensor: Tensor, content: npt.NDArray[np.uint8]) -> None:
        """Copy dense bytes into a tensor of the device, and wait."""
