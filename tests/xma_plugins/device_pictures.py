"""Pictures for sessions on devices, and what is in those that they give."""

from collections.abc import Iterator
from fractions import Fraction
from typing import Any

import numpy as np

from bridges.backends.cpu import CPUContext
from bridges.formats import pixel_format
from bridges.frame import Colour, ColourRange, Frame, FrameInfo, Matrix
from bridges.kernels import Kernel, apply, create_runtime
from xma_plugins.buffers import BufferObject
from xma_plugins.device import Device
from xma_plugins.frames import XmaFrame, padded_planes
from xma_plugins.host_frames import host_side as host_side_of
from xma_plugins.host_frames import to_host
from xma_plugins.status import Status

DEVICES = ("cpu", "opencl", "sycl")
"""Of the kinds in `devices`: those that run kernels, each once."""

TIME_BASE = Fraction(1, 90000)


def picture_info(name: str, width: int, height: int) -> FrameInfo:
    is_yuv = not name.startswith(("rgb", "bgr", "gbr"))
    matrix = Matrix.BT709 if is_yuv else Matrix.UNSPECIFIED
    colour = Colour(matrix, ColourRange.LIMITED if is_yuv else ColourRange.FULL)
    return FrameInfo(pixel_format(name), width, height, colour)


def frame_of(info: FrameInfo, seed: int = 0, pts: int | None = None) -> XmaFrame:
    """Return a picture of random codes in host memory."""
    random = np.random.default_rng(seed)
    frame = XmaFrame.allocate(info)
    for plane in frame.planes:
        array = plane.tensor.handle("array")
        array[...] = random.integers(0, 1 << info.format.bits, array.shape) << info.format.shift
    frame.pts, frame.time_base = pts, TIME_BASE
    return frame


def device_frame(device: Device, info: FrameInfo) -> tuple[XmaFrame, list[BufferObject]]:
    """Return a picture of undefined samples in buffers of the application's, and these."""
    buffers = [device.allocate(layout.span) for layout in padded_planes(info)]
    return XmaFrame.from_device_buffers(info, buffers, is_clone=True), buffers


def planes(frame: XmaFrame) -> list[np.ndarray]:
    """Return the samples of a picture, wherever it lies."""
    with to_host(frame) as on_host:
        return [plane.tensor.handle("array").copy() for plane in on_host.planes]


def host_side(frame: XmaFrame) -> list[np.ndarray]:
    """Return the samples on the host's side of a picture in device buffers."""
    return [host_side_of(plane) for plane in frame.planes]


def applied(
    kernel: Kernel, arrays: list[np.ndarray], info: FrameInfo, values: Any, previous: Any = None
) -> list[np.ndarray]:
    """Return what a kernel makes of planes, by its reference."""
    host = CPUContext()
    source = Frame(info, [host.wrap(array) for array in arrays])
    before = None
    if previous is not None:
        before = Frame(kernel.output(info, **values), [host.wrap(array) for array in previous])
    made = apply(create_runtime(host), kernel, source, values, previous=before)
    return [tensor.handle("array") for tensor in made.tensors]


def run(session: Any, frames: list[XmaFrame]) -> Iterator[XmaFrame]:
    """Send pictures in order and yield what comes, in the calling order that codes tell."""
    for frame in frames:
        status = session.send_frame(frame)
        while status is Status.TRY_AGAIN:
            received, made = session.recv_frame()
            assert received is Status.SUCCESS
            yield made
            status = session.send_frame(frame)
        if status is Status.SUCCESS:
            received, made = session.recv_frame()
            if received is Status.SUCCESS:
                yield made
    status = session.send_frame(None)
    assert status is Status.SUCCESS
    while True:
        received, made = session.recv_frame()
        if received is Status.EOS:
            return
        assert received is Status.SUCCESS
        yield made
