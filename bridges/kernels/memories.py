"""Tables and scratch memory of launches, on one device."""

import threading
import weakref
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from bridges.context import Context
from bridges.kernels.launch import Scratch, Table
from bridges.kernels.plan import Step
from bridges.tensor import Tensor, TensorInfo

__all__ = ["Memories"]


class Memories:
    """What launches use beside frames: tables are put there once, scratch memory once a thread.

    Both are let go of with the plan that names them.

    Parameters
    ----------
    context : Context
        The device.
    handle : str
        The key of the native handle by which entry points take memory.
    upload : callable
        Copies a dense array of bytes into a tensor of the device, and waits.
    """

    def __init__(
        self,
        context: Context,
        handle: str,
        upload: Callable[[Tensor, npt.NDArray[np.uint8]], None],
    ) -> None:
        self._context, self._handle, self._upload = context, handle, upload
        self._tables: weakref.WeakKeyDictionary[Table, Tensor] = weakref.WeakKeyDictionary()
        self._lock = threading.Lock()
        self._thread = threading.local()

    def arguments(self, step: Step, planes: Sequence[Any]) -> list[Any]:
        """Return the native handles that a step's ``memories`` stand for, in their order.

        Parameters
        ----------
        step : Step
            What is launched.
        planes : sequence
            The native handles of the plan's tensors.
        """
        return [
            planes[memory] if isinstance(memory, int) else self._find(memory).handle(self._handle)
            for _, memory in step.memories
        ]

    def _find(self, memory: Table | Scratch) -> Tensor:
        return self._table(memory) if isinstance(memory, Table) else self._scratch(memory)

    def _table(self, table: Table) -> Tensor:
        with self._lock:
            tensor = self._tables.get(table)
            if tensor is None:
                content = np.ascontiguousarray(table.array).reshape(-1).view(np.uint8)
                tensor = self._allocate(content.nbytes)
                self._upload(tensor, content)
                self._tables[table] = tensor
        return tensor

    def _scratch(self, scratch: Scratch) -> Tensor:
        # A run may be on the queue still when its thread enqueues the next one that uses the same
        # memory. The queue is in order: the launches of the one are done before the other's begin.
        # Those of two threads may take turns on it, hence a memory for each thread.
        if not hasattr(self._thread, "scratch"):
            self._thread.scratch = weakref.WeakKeyDictionary()
        mine: weakref.WeakKeyDictionary[Any, Tensor] = self._thread.scratch
        tensor = mine.get(scratch)
        if tensor is None:
            tensor = mine[scratch] = self._allocate(scratch.nbytes)
        return tensor

    def _allocate(self, nbytes: int) -> Tensor:
        return self._context.allocate(TensorInfo((nbytes,), np.dtype(np.uint8)))
