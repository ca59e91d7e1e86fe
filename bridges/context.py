"""Contexts: one device of one framework, which owns or wraps memory."""

from abc import abstractmethod
from typing import Any

from bridges.closable import Closable
from bridges.errors import ClosedError, NoRouteError
from bridges.tensor import MemoryType, Tensor, TensorInfo

__all__ = ["Context"]


class Context(Closable):
    """One device of one framework.

    Attributes
    ----------
    memory_type : MemoryType
        The kind of memory that its tensors live in.
    name : str
        What people call the device, such as ``"Intel OpenCL: AMD EPYC"``.
    shares_host_memory : bool
        Whether kernels of this device can read and write host memory in place.
    """

    memory_type: MemoryType
    name: str
    shares_host_memory: bool = False

    def __init__(self) -> None:
        self._closed = False

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name}{', closed' if self._closed else ''}>"

    @property
    def closed(self) -> bool:
        """Whether ``close()`` was called."""
        return self._closed

    def handle(self, key: str) -> Any:
        """Return a native handle of the device, such as ``"cl_context"``.

        Raises
        ------
        ClosedError
            The context was closed.
        KeyError
            There is no such handle; the message lists those there are.
        """
        if self._closed:
            raise ClosedError(f"the {self.memory_type.value} context {self.name} was closed")
        handles = self._handles()
        if key not in handles:
            raise KeyError(
                f"{self.memory_type.value} context has no handle {key!r}, only {sorted(handles)}"
            )
        return handles[key]

    def _handles(self) -> dict[str, Any]:
        return {}

    @abstractmethod
    def allocate(self, info: TensorInfo) -> Tensor:
        """Return a new tensor that owns its memory; the samples start undefined."""

    def derive(self, memory_type: MemoryType) -> "Context":
        """Return a context of another framework on the same physical device.

        Raises
        ------
        NoRouteError
            That framework cannot reach this device, or is not installed; the message says what can
            be derived.
        ClosedError
            The context was closed.
        """
        if self._closed:
            raise ClosedError(f"the {self.memory_type.value} context {self.name} was closed")
        if memory_type is self.memory_type:
            return self
        derived = self._derive(memory_type)
        if derived is None and self.shares_host_memory:
            from bridges.backends.cpu import on_the_host

            # Whoever works in host memory is on the processor, as the others that do.
            derived = on_the_host(memory_type)
        if derived is None:
            raise NoRouteError(
                f"no {memory_type.value} context can be derived from the {self.memory_type.value} "
                f"context {self.name}: they do not share a device here"
            )
        return derived

    def _derive(self, memory_type: MemoryType) -> "Context | None":
        """Return a context of ``memory_type`` on this device; None where there is none."""
        return None

    def close(self) -> None:
        """Release the device; may be repeated."""
        self._closed = True
