"""kernel: a compute kernel on every picture, where the picture lies."""

import threading
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Self

from bridges.backends.cpu import CPUContext
from bridges.closable import Closable
from bridges.context import Context
from bridges.element import ElementDescription, ParameterDescription, Transform
from bridges.frame import Frame, FrameInfo, MediaFrame, TensorFrame
from bridges.kernels import Runtime, create_runtime, parse_call
from bridges.kernels.recipe import Info
from bridges.pools import BufferPool, Lease, Pool
from bridges.tensor import MemoryType

__all__ = ["KernelTransform"]


class KernelTransform(Transform):
    """Runs a kernel on pictures in the memory of its device, into memory of the same device.

    The device is the first of ``contexts`` that runs kernels; where no context is given, it is
    host memory. Results lie in buffers that are used again once a result was closed.
    """

    description = ElementDescription(
        name="kernel",
        summary="a compute kernel on every picture",
        parameters=(
            ParameterDescription(
                "call", str, "the kernel, such as rgb_to_grayscale or name(key=value)"
            ),
        ),
        inputs=(MemoryType.CPU, MemoryType.OPENCL, MemoryType.SYCL, MemoryType.CUDA),
        outputs=(MemoryType.CPU, MemoryType.OPENCL, MemoryType.SYCL, MemoryType.CUDA),
    )

    def __init__(self, contexts: Sequence[Context] = (), **parameters: object) -> None:
        super().__init__(contexts, **parameters)
        self._kernel, self._values = parse_call(self.parameters["call"])
        able = [given for given in contexts if given.memory_type in self.description.inputs]
        self._context = (able or list(contexts) or [CPUContext()])[0]
        self._runtime: Runtime = create_runtime(self._context)
        self._form: Info | None = None
        self._pool: Pool[MediaFrame] | None = None
        self._previous: Frame | None = None

    def process(self, frame: MediaFrame) -> MediaFrame:
        """Return the kernel's result; see `Transform.process`."""
        self.check_frame(frame, (self._context.memory_type,))
        assert isinstance(frame, Frame)
        info = self._kernel.output(frame.info, **self._values)
        lease = _SharedLease(self._pool_for(info).acquire())
        result = _over(info, lease)
        result.metadata = list(frame.metadata)
        try:
            self._runtime.run(self._kernel, frame, result, self._values, previous=self._previous)
        except BaseException:
            result.close()
            raise
        if self._kernel.takes_previous:
            self._forget_previous()
            kept = _over(info, lease)
            assert isinstance(kept, Frame)
            self._previous = kept
        return result

    def _forget_previous(self) -> None:
        previous, self._previous = self._previous, None
        if previous is not None:
            previous.close()

    def _pool_for(self, info: Info) -> Pool[MediaFrame]:
        form = replace(info, pts=None, time_base=None)
        if self._pool is None or form != self._form:
            self.close()
            self._form = form
            self._pool = BufferPool(lambda: self._allocate(form))
        return self._pool

    def _allocate(self, form: Info) -> MediaFrame:
        if isinstance(form, FrameInfo):
            return Frame(form, [self._context.allocate(plane) for plane in form.planes])
        return TensorFrame(form, [self._context.allocate(each) for each in form.tensors])

    def close(self) -> None:
        """Let go of free buffers; results stay good until they are closed."""
        self._forget_previous()
        pool, self._pool = self._pool, None
        if pool is not None:
            pool.close()


class _SharedLease(Closable):
    """A lease that ends with the last of the frames over it: each is one more to close it."""

    def __init__(self, lease: Lease[MediaFrame]) -> None:
        self.tensors = lease.buffer.tensors
        self._lease, self._frames = lease, 0
        self._lock = threading.Lock()

    def share(self) -> Self:
        """Return this, for one frame more."""
        with self._lock:
            self._frames += 1
        return self

    def close(self) -> None:
        """Be closed by one frame; the last gives the buffer back."""
        with self._lock:
            self._frames -= 1
            is_last = self._frames == 0
        if is_last:
            self._lease.close()


def _over(info: Info, lease: _SharedLease) -> Frame | TensorFrame:
    """Return a frame over the buffer of a lease."""
    tensors = [tensor.lend() for tensor in lease.tensors]
    kind: Any = Frame if isinstance(info, FrameInfo) else TensorFrame
    made: Frame | TensorFrame = kind(info, tensors, parent=lease.share())
    made.closes_parent = True
    return made
