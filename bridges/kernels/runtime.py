"""What every runtime of kernels offers, and the choice of one."""

from typing import Protocol

from bridges.context import Context
from bridges.errors import FormatError, NoRouteError
from bridges.frame import Frame
from bridges.kernels.kernel import Kernel
from bridges.tensor import MemoryType, TensorInfo

__all__ = ["Runtime", "check_frames", "create_runtime"]


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

    def run(self, kernel: Kernel, source: Frame, target: Frame, **parameters: object) -> None:
        """Run a kernel and wait until it is done.

        Parameters
        ----------
        kernel : Kernel
            What to run.
        source : Frame
            Read; of one of ``kernel.formats_read``.
        target : Frame
            Its first plane is written, in its own format and range; the others are left alone.
        **parameters
            As the kernel declares them.

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


def check_frames(kernel: Kernel, source: Frame, target: Frame) -> None:
    """Refuse frames that a kernel does not take.

    Raises
    ------
    FormatError
        A format is not among the kernel's, sizes differ, or a plane's layout does not fit its
        format.
    """
    if source.info.format.name not in kernel.formats_read:
        raise FormatError(f"{kernel.name} does not read {source.info.format.name}")
    if target.info.format.name not in kernel.formats_written:
        raise FormatError(
            f"{kernel.name} does not write {target.info.format.name}; it writes gray, planar and "
            "semi-planar YUV"
        )
    sizes = [(frame.info.width, frame.info.height) for frame in (source, target)]
    if sizes[0] != sizes[1]:
        raise FormatError(f"{kernel.name} keeps the size, but was given {sizes[0]} to {sizes[1]}")
    for given, dense in zip(source.tensors, source.info.planes, strict=True):
        _check_plane(given.info, dense)
    written = target.info.planes[0]
    _check_plane(target.tensors[0].info, written)
    if written.shape[0] > 1 and target.tensors[0].info.strides[0] < written.strides[0]:
        raise FormatError(
            f"the target's rows overlap: {target.tensors[0].info.strides} bytes apart"
        )


def _check_plane(given: TensorInfo, dense: TensorInfo) -> None:
    # The stride of a dimension of length one means nothing.
    inner = [
        (length, stride, expected)
        for length, stride, expected in zip(given.shape, given.strides, dense.strides, strict=False)
    ][1:]
    if (given.shape, given.dtype) != (dense.shape, dense.dtype) or any(
        length > 1 and stride != expected for length, stride, expected in inner
    ):
        raise FormatError(
            f"a plane of shape {dense.shape} and type {dense.dtype} with samples side by side is "
            f"needed, got {given.shape} of {given.dtype} with strides {given.strides}"
        )
