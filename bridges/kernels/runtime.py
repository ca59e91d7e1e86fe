"""What every runtime of kernels offers, and the choice of one."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Protocol

from bridges.context import Context
from bridges.errors import NoRouteError
from bridges.frame import Frame, FrameInfo, MediaFrame, TensorFrame
from bridges.kernels.kernel import Kernel
from bridges.tensor import MemoryType

__all__ = ["Event", "Runtime", "apply", "create_runtime"]


class Event(Protocol):
    """A kernel that was enqueued. Several threads may wait for it.

    It keeps alive what the launches need of the runtime: hold it until it is done.
    """

    @property
    def is_done(self) -> bool:
        """Whether there is nothing to wait for any more, failures included; it never blocks."""

    def wait(self) -> None:
        """Wait until the kernel is done, while other threads go on; may be repeated.

        Raises
        ------
        DeviceError
            The device failed. In host memory there is none: what the reference raises is raised.
        """


class Runtime(Protocol):
    """Runs kernels on one device. Several threads may share it.

    Attributes
    ----------
    context : Context
        The device; frames given to ``run`` lie in its memory.
    name : str
        What people call it, such as ``"OpenCL: AMD EPYC (Intel(R) OpenCL)"``.
    """

    context: Context
    name: str

    def run(
        self,
        kernel: Kernel,
        source: Frame,
        target: MediaFrame,
        parameters: Mapping[str, object] = MappingProxyType({}),
        *,
        previous: Frame | None = None,
    ) -> None:
        """Run a kernel and wait until it is done.

        Parameters
        ----------
        kernel : Kernel
            What to run.
        source : Frame
            Read; of one of ``kernel.formats_read``.
        target : Frame or TensorFrame
            Written: the planes that ``kernel.written`` names, in the target's own format and
            range; the others are left alone.
        parameters : mapping
            As the kernel declares them; those left out take their defaults.
        previous : Frame, optional
            The kernel's result for the picture before, for a kernel that takes it; a picture that
            has none before it is its own.

        Raises
        ------
        KernelError
            A parameter is wrong, or the source does not compile.
        FormatError
            The kernel does not take these frames.
        ClosedError
            A frame was closed.
        DeviceError
            The device failed.
        """

    def enqueue(
        self,
        kernel: Kernel,
        source: Frame,
        target: MediaFrame,
        parameters: Mapping[str, object] = MappingProxyType({}),
        *,
        previous: Frame | None = None,
    ) -> Event:
        """Put a kernel on the device's queue, and do not wait.

        It begins when all that was put there before is done, so that it may read what they write.
        Frames have to stay open until it is done, and so has the memory that they lie in: that
        they are referred to by the event alone does not promise it. What they are mapped from sees
        the result when the mapping is closed after that.

        Parameters and what is raised are those of `run`; `Event.wait` raises what comes to light
        later.

        Returns
        -------
        Event
            Tells when the kernel is done.
        """


def create_runtime(context: Context) -> Runtime:
    """Return the runtime for the kind of memory that a context is of.

    Raises
    ------
    NoRouteError
        No runtime works on that memory.
    DeviceNotFoundError
        The runtime's compiler is not installed.
    """
    if context.memory_type is MemoryType.OPENCL:
        from bridges.kernels.opencl import OpenCLRuntime

        return OpenCLRuntime(context)
    if context.memory_type is MemoryType.SYCL:
        from bridges.kernels.sycl import SyclRuntime

        return SyclRuntime(context)
    if context.memory_type is MemoryType.CPU:
        from bridges.kernels.host import NumPyRuntime

        return NumPyRuntime(context)
    if context.memory_type is MemoryType.CUDA:
        from bridges.kernels.cuda import CUDARuntime

        return CUDARuntime(context)
    raise NoRouteError(
        f"no runtime runs kernels on {context.memory_type.value} memory; map the frames to CPU, "
        "OpenCL, SYCL or CUDA"
    )


def apply(
    runtime: Runtime,
    kernel: Kernel,
    source: Frame,
    parameters: Mapping[str, object] = MappingProxyType({}),
    *,
    previous: Frame | None = None,
) -> Frame | TensorFrame:
    """Return what a kernel makes of a picture, in new memory of the runtime's device.

    Parameters are those of `Runtime.run`, and so is what is raised.

    Returns
    -------
    Frame or TensorFrame
        A picture with the time of its source; or numbers, for a kernel that makes those.
    """
    made = kernel.output(source.info, **parameters)
    allocate = runtime.context.allocate
    target: Frame | TensorFrame
    if isinstance(made, FrameInfo):
        target = Frame(made, list(map(allocate, made.planes)))
    else:
        target = TensorFrame(made, list(map(allocate, made.tensors)))
    try:
        runtime.run(kernel, source, target, parameters, previous=previous)
    except BaseException:
        target.close()
        raise
    return target
