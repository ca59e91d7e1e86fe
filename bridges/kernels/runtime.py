"""What every runtime of kernels offers, and the choice of one."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Protocol

from bridges.context import Context
from bridges.errors import NoRouteError
from bridges.frame import Frame, FrameInfo, MediaFrame, TensorFrame
from bridges.kernels.kernel import Kernel
from bridges.tensor import MemoryType

__all__ = ["Runtime", "apply", "create_runtime"]


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
    is_picture = isinstance(made, FrameInfo)
    layouts = made.planes if isinstance(made, FrameInfo) else made.tensors
    kind: Any = Frame if is_picture else TensorFrame
    target: Frame | TensorFrame = kind(made, [runtime.context.allocate(each) for each in layouts])
    try:
        runtime.run(kernel, source, target, parameters, previous=previous)
    except BaseException:
        target.close()
        raise
    return target
