"""Tensors: one block of strided samples in one kind of memory."""

import enum
import math
from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bridges.closable import Closable
from bridges.errors import ClosedError, FormatError

if TYPE_CHECKING:
    import numpy as np

    from bridges.context import Context

__all__ = ["AccessMode", "MemoryType", "Tensor", "TensorInfo"]


class MemoryType(enum.Enum):
    """The kinds of memory that a tensor can live in; the value is the name people read."""

    CPU = "CPU"
    FFMPEG = "FFmpeg"
    OPENCL = "OpenCL"


class AccessMode(enum.Flag):
    """What the holder of a mapping will do with the samples."""

    READ = enum.auto()
    WRITE = enum.auto()
    READ_WRITE = READ | WRITE


@dataclass(frozen=True)
class TensorInfo:
    """Shape, sample type and memory layout of a tensor.

    Attributes
    ----------
    shape : tuple of int
        Samples per dimension, slowest first: ``(rows, columns)`` or ``(rows, columns, channels)``.
    dtype : numpy.dtype
        Type of one sample.
    strides : tuple of int
        Bytes from one index to the next, per dimension; ``()`` asks for the dense layout.
    """

    shape: tuple[int, ...]
    dtype: "np.dtype[Any]"
    strides: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if not self.strides:
            dense = [self.dtype.itemsize]
            for length in reversed(self.shape[1:]):
                dense.append(dense[-1] * length)
            object.__setattr__(self, "strides", tuple(reversed(dense)))
        if len(self.strides) != len(self.shape):
            raise FormatError(
                f"a tensor of shape {self.shape} needs {len(self.shape)} strides, "
                f"got {self.strides}"
            )

    @property
    def nbytes(self) -> int:
        """Bytes of all samples, padding not counted."""
        return self.dtype.itemsize * math.prod(self.shape)

    @property
    def span(self) -> int:
        """Bytes from the first sample to the end of the last one, padding between counted.

        Strides are taken as non-negative; ``FFmpegContext.wrap`` refuses bottom-up pictures.
        """
        if 0 in self.shape:
            return 0
        last = sum((n - 1) * s for n, s in zip(self.shape, self.strides, strict=True))
        return last + self.dtype.itemsize

    @property
    def is_contiguous(self) -> bool:
        """Whether the samples lie without padding, in C order."""
        return self.strides == TensorInfo(self.shape, self.dtype).strides


class Tensor(Closable):
    """A block of samples in one kind of memory: owned, or borrowed from ``parent``, never both.

    Parameters
    ----------
    info : TensorInfo
        Layout of the samples.
    context : Context
        The device that the memory belongs to.
    parent : object, optional
        What owns the memory, where this tensor does not. It is kept alive until ``close()``.
    on_close : callable, optional
        Called once at ``close()`` before the parent is let go; a mapping uses it to make written
        samples visible to its parent.

    Attributes
    ----------
    closes_parent : bool
        Whether ``close()`` also closes the parent: true for the later links of a chain of mappings.
    """

    memory_type: MemoryType

    def __init__(
        self,
        info: TensorInfo,
        *,
        context: "Context",
        parent: object | None = None,
        on_close: Callable[[], None] | None = None,
    ) -> None:
        self.info = info
        self.context = context
        self.parent = parent
        self.closes_parent = False
        self._on_close = on_close
        self._closed = False

    @property
    def closed(self) -> bool:
        """Whether ``close()`` was called."""
        return self._closed

    def handle(self, key: str) -> Any:
        """Return a native handle, such as ``"data"`` (an address) or ``"cl_mem"``.

        Raises
        ------
        ClosedError
            The tensor was closed.
        KeyError
            The tensor has no such handle; the message lists those it has.
        """
        if self._closed:
            raise ClosedError(f"this {self.memory_type.value} tensor was closed; map it again")
        handles = self._handles()
        if key not in handles:
            raise KeyError(
                f"{self.memory_type.value} tensor has no handle {key!r}, only {sorted(handles)}"
            )
        return handles[key]

    @abstractmethod
    def _handles(self) -> dict[str, Any]:
        """Return every native handle by key."""

    @abstractmethod
    def _release(self) -> None:
        """Let go of the native object; called once."""

    def close(self) -> None:
        """Make written samples visible to the parent and release the memory; may be repeated."""
        if self._closed:
            return
        try:
            if self._on_close is not None:
                self._on_close()
        finally:
            self._closed = True
            self._on_close = None
            self._release()
            parent, self.parent = self.parent, None
            if self.closes_parent and isinstance(parent, Tensor):
                parent.close()
