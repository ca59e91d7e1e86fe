"""Tensors: one block of strided samples in one kind of memory."""

import copy
import enum
import itertools
import math
import weakref
from abc import abstractmethod
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Self

from bridges.closable import Closable
from bridges.errors import ClosedError, FormatError
from bridges.named import Named

if TYPE_CHECKING:
    import numpy as np

    from bridges.context import Context

__all__ = ["AccessMode", "MemoryType", "Tensor", "TensorInfo"]


class MemoryType(Named):
    """The kinds of memory that a tensor can live in; the value is the name people read."""

    CPU = "CPU"
    FFMPEG = "FFmpeg"
    GSTREAMER = "GStreamer"
    VAAPI = "VAAPI"
    DMA = "DMA"
    USM = "USM"
    SYCL = "SYCL"
    OPENCL = "OpenCL"
    OPENCV = "OpenCV"
    OPENCV_UMAT = "OpenCV_UMat"
    OPENVINO = "OpenVINO"
    CUDA = "CUDA"
    XRT = "XRT"


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
        if min(self.shape, default=0) < 0:
            raise FormatError(f"a tensor has lengths of 0 or more, got shape {self.shape}")
        if not self.strides and self.shape:
            dense = [self.dtype.itemsize]
            for length in reversed(self.shape[1:]):
                dense.append(dense[-1] * length)
            object.__setattr__(self, "strides", tuple(reversed(dense)))
        if len(self.strides) != len(self.shape):
            raise FormatError(
                f"a tensor of shape {self.shape} needs {len(self.shape)} strides, "
                f"got {self.strides}"
            )

    @cached_property
    def nbytes(self) -> int:
        """Bytes of all samples, padding not counted."""
        return self.dtype.itemsize * math.prod(self.shape)

    @cached_property
    def span(self) -> int:
        """Bytes from the first sample to the end of the last one, padding between counted.

        Strides are taken as non-negative; ``FFmpegContext.wrap`` refuses bottom-up pictures.
        """
        if 0 in self.shape:
            return 0
        last = sum((n - 1) * s for n, s in zip(self.shape, self.strides, strict=True))
        return last + self.dtype.itemsize

    @cached_property
    def is_contiguous(self) -> bool:
        """Whether the samples lie without padding, in C order."""
        return self.strides == TensorInfo(self.shape, self.dtype).strides

    def slice(self, index: slice | tuple[slice, ...]) -> "tuple[TensorInfo, int]":
        """Return the layout of a part, and the bytes from the first sample to the part's first.

        Parameters
        ----------
        index : slice or tuple of slice
            One per dimension, from the slowest on; what is left out is taken whole. Bounds are
            clipped as Python's are; steps are positive.

        Raises
        ------
        FormatError
            The part is empty, a step is negative, or there are more slices than dimensions.
        """
        parts = index if isinstance(index, tuple) else (index,)
        if len(parts) > len(self.shape) or not all(isinstance(part, slice) for part in parts):
            raise FormatError(
                f"a tensor of shape {self.shape} is cut by up to {len(self.shape)} slices, "
                f"not by {index!r}"
            )
        shape, strides, offset = list(self.shape), list(self.strides), 0
        for axis, part in enumerate(parts):
            if part.step == 0:
                raise FormatError(f"{part!r} has a step of 0; steps are 1 or more")
            start, _, step = part.indices(shape[axis])
            length = len(range(*part.indices(shape[axis])))
            if length == 0 or step < 0:
                raise FormatError(f"{part!r} of a dimension of {shape[axis]} is empty or backward")
            offset += start * strides[axis]
            shape[axis], strides[axis] = length, strides[axis] * step
        return TensorInfo(tuple(shape), self.dtype, tuple(strides)), offset


_serials = itertools.count(1)


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
    on_open, on_close : callable, optional
        How a mapping synchronises: the first is called before the holder uses the samples, and
        makes them visible here; the second at ``close()``, and makes written ones visible to the
        parent. A mapping that a cache keeps is opened and closed once for each use.

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
        on_open: Callable[[], None] | None = None,
        on_close: Callable[[], None] | None = None,
    ) -> None:
        self.info = info
        self.context = context
        self.parent = parent
        self.closes_parent = False
        self.on_open = on_open
        self.on_close = on_close
        self._closed = False
        self._serial = 0
        self._owns_native = True
        self._dependants: list[weakref.finalize[Any, Any]] = []

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
        """Let go of the native object; called once, on the tensor that owns it."""

    def __getitem__(self, index: slice | tuple[slice, ...]) -> "Tensor":
        """Return a part of the samples, over the same memory; this tensor is its parent.

        Raises
        ------
        FormatError
            The part is empty or runs backward, or this kind of memory cannot be cut there.
        ClosedError
            The tensor was closed.
        """
        if self._closed:
            raise ClosedError(f"this {self.memory_type.value} tensor was closed; map it again")
        return self._part(*self.info.slice(index))

    def _part(self, info: TensorInfo, offset: int) -> "Tensor":
        """Return a tensor over the samples ``offset`` bytes from the first one."""
        raise FormatError(f"{self.memory_type.value} memory cannot be cut; map it to the CPU first")

    def check_writeable(self) -> None:
        """Refuse a mapping for WRITE where the samples must not change.

        Raises
        ------
        FormatError
            They are read-only.
        """

    def __array__(self, *_: object, **__: object) -> Any:
        """Refuse: NumPy would otherwise make an array of this object, and not of its samples.

        Raises
        ------
        FormatError
            Always; memory that the host can read offers an array of its own.
        """
        raise FormatError(
            f"NumPy cannot read {self.memory_type.value} memory; map the tensor to the CPU first"
        )

    def memory_key(self) -> Hashable | None:
        """Return what identifies the memory for a cache, or None where nothing lasting does.

        Equal keys mean the same memory for as long as either key is alive: a key of memory that is
        recycled under the same name (a surface, a file descriptor) holds a reference to it.
        """
        if self.parent is not None:
            return None
        if not self._serial:
            self._serial = next(_serials)
        return self._serial

    def memory_owner(self) -> object | None:
        """Return what keeps the memory from being used for something else, beyond ``close()``."""
        return self.parent

    def lend(self) -> Self:
        """Return another tensor over the same native object, which stays this tensor's own.

        It has no parent and does not synchronise; the lender must outlive it.
        """
        view = copy.copy(self)
        view.parent = None
        view.closes_parent = view._owns_native = False
        view.on_open = view.on_close = None
        view._serial, view._dependants = 0, []
        return view

    def when_gone(self, callback: Callable[[], None]) -> None:
        """Call ``callback`` once, when this tensor is closed or collected."""
        finalize = weakref.finalize(self, callback)
        finalize.atexit = False
        self._dependants.append(finalize)

    def close(self) -> None:
        """Make written samples visible to the parent and release the memory; may be repeated."""
        if self._closed:
            return
        try:
            if self.on_close is not None:
                self.on_close()
        finally:
            self._closed = True
            self.on_open = self.on_close = None
            for dependant in self._dependants:
                dependant()
            if self._owns_native:
                self._release()
            parent, self.parent = self.parent, None
            if self.closes_parent and isinstance(parent, Tensor):
                parent.close()
