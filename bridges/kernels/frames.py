"""What frames have to be for a kernel to take them, alike on every runtime."""

from bridges.errors import FormatError
from bridges.frame import Frame, FrameInfo, MediaFrame
from bridges.kernels.kernel import Kernel, Value
from bridges.tensor import TensorInfo

__all__ = ["check_frames", "previous_for"]


def previous_for(kernel: Kernel, source: Frame, previous: Frame | None) -> Frame | None:
    """Return the previous result that a kernel takes, if it does.

    A picture that has none before it is its own.
    """
    if not kernel.takes_previous:
        return None
    return source if previous is None else previous


def check_frames(
    kernel: Kernel,
    source: Frame,
    target: MediaFrame,
    previous: Frame | None,
    values: dict[str, Value],
) -> None:
    """Refuse frames that a kernel does not take.

    Raises
    ------
    FormatError
        A format is not among the kernel's, a size is not what the kernel makes, a plane's layout
        does not fit its format, or a frame is its own target where that cannot be.
    KernelError
        The kernel does not take the picture with these parameters.
    """
    if source.info.format.name not in kernel.formats_read:
        raise FormatError(f"{kernel.name} does not read {source.info.format.name}")
    made = kernel.output(source.info, **values)
    for given, dense in zip(source.tensors, source.info.planes, strict=True):
        _check_plane(given.info, dense)
    if isinstance(made, FrameInfo):
        if not isinstance(target, Frame):
            raise FormatError(f"{kernel.name} makes pictures; its target has to be a Frame")
        _check_picture(kernel, made, target)
        expected = target.info.planes
        if previous is not None and previous.form != target.form:
            raise FormatError(
                f"{kernel.name} takes a previous result of the target's own form {target.form}, "
                f"got {previous.form}"
            )
    else:
        expected = made.tensors
        if [(each.shape, each.dtype) for each in expected] != [
            (tensor.info.shape, tensor.info.dtype) for tensor in target.tensors
        ]:
            raise FormatError(f"{kernel.name} makes {made}, which does not fit {target.info}")
    for index in kernel.written(target.info):
        info = target.tensors[index].info
        _check_plane(info, expected[index])
        if info.shape[0] > 1 and info.strides[0] < expected[index].strides[0]:
            raise FormatError(f"the target's rows overlap: {info.strides} bytes apart")
    _check_apart(kernel, source, target)


def _check_picture(kernel: Kernel, made: FrameInfo, target: Frame) -> None:
    if target.info.format.name not in kernel.formats_written:
        raise FormatError(
            f"{kernel.name} does not write {target.info.format.name}; it writes "
            f"{' '.join(kernel.formats_written)}"
        )
    sizes = [(info.width, info.height) for info in (made, target.info)]
    if sizes[0] != sizes[1]:
        raise FormatError(f"{kernel.name} makes {sizes[0]}, but was given a target of {sizes[1]}")


def _check_apart(kernel: Kernel, source: Frame, target: MediaFrame) -> None:
    shared = {id(tensor) for tensor in source.tensors} & {id(tensor) for tensor in target.tensors}
    if shared and not (isinstance(target, Frame) and kernel.in_place(source.info, target.info)):
        raise FormatError(f"{kernel.name} cannot write into the picture that it reads")


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
