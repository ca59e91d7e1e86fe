"""Running kernels on pictures with guards, on any runtime, and comparing with the reference."""

from collections.abc import Mapping
from contextlib import ExitStack
from typing import Any

import numpy as np

from bridges import AccessMode, Frame, MemoryType, TensorFrame, create_mapper
from bridges.backends.cpu import CPUContext
from bridges.frame import FrameInfo
from bridges.kernels import Kernel, Runtime
from tests.bridges.picture import Picture

__all__ = ["check_kernel", "expected_planes", "run_kernel", "target_for"]


def target_for(kernel: Kernel, info: FrameInfo, values: Mapping[str, Any], **layout: int) -> Any:
    """Return a place for what a kernel makes: a `Picture`, or a frame of numbers."""
    made = kernel.output(info, **values)
    if isinstance(made, FrameInfo):
        return Picture.create(made, **layout)
    arrays = [np.full(each.shape, 7, each.dtype) for each in made.tensors]
    return TensorFrame(made, [CPUContext().wrap(array) for array in arrays])


def run_kernel(
    runtime: Runtime,
    kernel: Kernel,
    source: Picture,
    target: Any,
    values: Mapping[str, Any],
    previous: Picture | None = None,
) -> None:
    """Run a kernel on frames of host memory, brought as near as the runtime needs it.

    ``target`` may be the source: the kernel then runs in place.
    """
    written = target.frame if isinstance(target, Picture) else target
    before = None if previous is None else previous.frame
    if runtime.context.memory_type is MemoryType.CPU:
        runtime.run(kernel, source.frame, written, values, previous=before)
        return
    with ExitStack() as stack:
        if runtime.context.memory_type is MemoryType.CUDA:
            from tests.bridges.cuda_work import numbers_on_device, on_device

            def near(frame: Any, _: AccessMode) -> Any:
                put = on_device if isinstance(frame, Picture) else numbers_on_device
                return stack.enter_context(put(runtime.context, frame))

            frames = source, target, previous
        else:
            mapper = create_mapper([CPUContext(), runtime.context])

            def near(frame: Any, access: AccessMode) -> Any:
                return stack.enter_context(mapper.map(frame, access))

            frames = source.frame, written, before
        in_place = target is source
        read = near(frames[0], AccessMode.READ_WRITE if in_place else AccessMode.READ)
        made = read if in_place else near(frames[1], AccessMode.READ_WRITE)
        last = None if previous is None else near(frames[2], AccessMode.READ)
        runtime.run(kernel, read, made, values, previous=last)


def expected_planes(
    kernel: Kernel,
    source: Picture,
    target: Any,
    values: Mapping[str, Any],
    previous: Picture | None = None,
) -> list[np.ndarray | None]:
    """Return what the reference makes; None for planes that the kernel leaves alone."""
    frame: Frame | TensorFrame = target.frame if isinstance(target, Picture) else target
    written = kernel.written(frame.info)
    out = [
        np.zeros(tensor.info.shape, tensor.info.dtype) if index in written else None
        for index, tensor in enumerate(frame.tensors)
    ]
    if kernel.takes_previous and previous is None:
        previous = source
    pictures = [source] if previous is None else [source, previous]
    planes = [array.copy() for picture in pictures for array in picture.arrays]
    kernel.compute(planes, source.frame.info, frame.info, out, kernel.check(values))
    return out


def check_kernel(
    runtime: Runtime,
    kernel: Kernel,
    source: Picture,
    target: Any,
    values: Mapping[str, Any],
    previous: Picture | None = None,
) -> None:
    """Run a kernel; its result has to be the reference's, bit by bit, and nothing else changes."""
    expected = expected_planes(kernel, source, target, values, previous)
    before = [array.copy() for array in source.arrays]
    untouched = [array.copy() for array in _arrays(target)]
    run_kernel(runtime, kernel, source, target, values, previous)
    for index, (found, wanted) in enumerate(zip(_arrays(target), expected, strict=True)):
        wanted = untouched[index] if wanted is None else wanted
        assert np.array_equal(found, wanted), _difference(found, wanted)
    if target is not source:
        assert all(map(np.array_equal, source.arrays, before))
    for picture in (source, target, previous):
        assert not isinstance(picture, Picture) or picture.guards_hold()


def _arrays(target: Any) -> list[np.ndarray]:
    if isinstance(target, Picture):
        return target.arrays
    return [tensor.handle("array") for tensor in target.tensors]


def _difference(found: np.ndarray, wanted: np.ndarray) -> str:
    places = np.argwhere(found != wanted)
    first = tuple(places[0])
    return (
        f"{len(places)} of {found.size} samples differ, the first at {first}: "
        f"{found[first]}, not {wanted[first]}"
    )
