"""kernel: a compute kernel on every picture, where the picture lies."""

from collections.abc import Sequence

from bridges.backends.cpu import CPUContext
from bridges.context import Context
from bridges.element import ElementDescription, ParameterDescription, Transform
from bridges.errors import FormatError
from bridges.frame import Frame, FrameInfo, MediaFrame
from bridges.kernels import Runtime, create_runtime, parse_call
from bridges.pools import BufferPool, Pool
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
        inputs=(MemoryType.CPU, MemoryType.OPENCL, MemoryType.CUDA),
        outputs=(MemoryType.CPU, MemoryType.OPENCL, MemoryType.CUDA),
    )

    def __init__(self, contexts: Sequence[Context] = (), **parameters: object) -> None:
        super().__init__(contexts, **parameters)
        self._kernel, self._values = parse_call(self.parameters["call"])
        able = [given for given in contexts if given.memory_type in self.description.inputs]
        self._context = (able or list(contexts) or [CPUContext()])[0]
        self._runtime: Runtime = create_runtime(self._context)
        self._form: FrameInfo | None = None
        self._pool: Pool[Frame] | None = None

    def process(self, frame: MediaFrame) -> Frame:
        """Return the kernel's result; see `Transform.process`."""
        self.check_frame(frame, (self._context.memory_type,))
        assert isinstance(frame, Frame)
        info = self._kernel.output(frame.info, **self._values)
        if not isinstance(info, FrameInfo):
            raise FormatError(f"{self._kernel.name} makes numbers, not pictures")
        lease = self._pool_for(info).acquire()
        tensors = [tensor.lend() for tensor in lease.buffer.tensors]
        result = Frame(info, tensors, parent=lease)
        result.closes_parent = True
        result.metadata = list(frame.metadata)
        try:
            self._runtime.run(self._kernel, frame, result, self._values)
        except BaseException:
            result.close()
            raise
        return result

    def _pool_for(self, info: FrameInfo) -> Pool[Frame]:
        form = FrameInfo(info.format, info.width, info.height)
        if self._pool is None or form != self._form:
            self.close()
            self._form = form
            self._pool = BufferPool(lambda: self._allocate(form))
        return self._pool

    def _allocate(self, form: FrameInfo) -> Frame:
        return Frame(form, [self._context.allocate(plane) for plane in form.planes])

    def close(self) -> None:
        """Let go of free buffers; results stay good until they are closed."""
        pool, self._pool = self._pool, None
        if pool is not None:
            pool.close()
