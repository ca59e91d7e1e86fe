"""Frames of devices as the host sees them: in place where it can, else carried over."""

from typing import Any

import numpy.typing as npt

from bridges.backends.cpu import CPUContext
from bridges.backends.host_array import array_over
from bridges.edges.countdown import Countdown
from xma_plugins.errors import InvalidError
from xma_plugins.frames import BufferRef, XmaFrame

__all__ = ["host_side", "planes_there", "to_host"]

_HOST = CPUContext()


def to_host(frame: XmaFrame) -> XmaFrame:
    """Return a picture in host memory; it waits for the commands that make it.

    Host memory, and that of devices which work in it, stays where it is, and is held. What another
    device has is carried to new memory, and counted in its ``transfers``.

    Raises
    ------
    InvalidError
        The frame is a dummy.
    BufferUseError
        The frame was closed.
    DeviceError
        The transfer failed.
    """
    planes = planes_there(frame)
    # Planes that are the same in all frames lie in host memory as they are.
    on_device = sum(plane.buffer is not None for plane in planes)
    held = frame.reference()
    if not on_device:
        return held
    held.clear_side_data()  # It only keeps the planes.
    release = Countdown(on_device, held.close)
    try:
        refs = [_on_host(plane, release) for plane in planes]
    except BaseException:
        held.close()
        raise
    made = XmaFrame(frame.info, refs)
    made.describe_as(frame)
    return made


def planes_there(frame: XmaFrame) -> tuple[BufferRef, ...]:
    """Return the planes of a picture, which has some.

    Raises
    ------
    InvalidError
        The frame is a dummy.
    BufferUseError
        The frame was closed.
    """
    planes = frame.planes
    if not planes:
        raise InvalidError("a frame without planes is no picture; receive into it first")
    return planes


def host_side(plane: BufferRef) -> npt.NDArray[Any]:
    """Return the samples of a plane as its DEVICE buffer has them on the host's side, in place."""
    assert plane.buffer is not None
    assert plane.buffer.data is not None
    return array_over(plane.buffer.data, plane.tensor.info)


def _on_host(plane: BufferRef, release: Countdown) -> BufferRef:
    """Return a plane in host memory; ``release`` is called once it needs the device's no more."""
    layout, buffer = plane.tensor.info, plane.buffer
    if buffer is None:
        return BufferRef(plane.tensor, is_clone=True)
    block = buffer.in_host_memory()
    if block is not None:
        return BufferRef(_HOST.wrap(array_over(block, layout)), is_clone=True, on_last=release)
    fetched = buffer.device.driver.host_memory(layout.span)
    buffer.get(fetched)
    release()
    return BufferRef(_HOST.wrap(array_over(fetched, layout)))
