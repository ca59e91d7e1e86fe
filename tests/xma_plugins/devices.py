"""Devices of every kind that is here, and work for them."""

import functools
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import MappingProxyType

import numpy as np

from bridges import FrameInfo
from bridges.backends.opencl import OpenCLContext
from bridges.backends.opencl import probe as probe_opencl
from bridges.kernels import Kernel
from tests.bridges.memories.sycl import sycl_backend
from tests.helpers.require import require
from xma_plugins.buffers import BufferObject
from xma_plugins.command import CuCommand
from xma_plugins.compute_unit import ComputeUnit
from xma_plugins.device import Device, open_device
from xma_plugins.registers import Planes, lay_out

KINDS = ("cpu", "opencl", "opencl copies", "sycl", "sycl copies", "cuda")
"""Those that copy pretend to have memory of their own, where no machine has such a device."""


@functools.cache
def opened(kind: str) -> Device:
    """Return a device for all tests, or skip."""
    if kind.startswith("opencl"):
        found = probe_opencl()
        require("opencl", found.available, f"{found.reason}; try: {found.remedy}")
        from xma_plugins.drivers.opencl import OpenCLDriver

        context = OpenCLContext.create()
        context.shares_host_memory &= kind == "opencl"
        return Device(OpenCLDriver(context))
    if kind.startswith("sycl"):
        backend = sycl_backend()
        from xma_plugins.drivers.sycl import SyclDriver

        return Device(SyclDriver(backend.create(usm_type="device" if "copies" in kind else "")))
    if kind == "cuda":
        from tests.bridges.memories.cuda import needs_cuda

        needs_cuda()
    return open_device(kind)


def noise(info: FrameInfo, seed: int = 0) -> list[np.ndarray]:
    """Return the planes of a picture of random codes."""
    random = np.random.default_rng(seed)
    codes = [random.integers(0, 1 << info.format.bits, plane.shape) for plane in info.planes]
    return [(code << info.format.shift).astype(info.format.dtype) for code in codes]


def views(buffer: BufferObject, planes: Planes) -> list[np.ndarray]:
    """Return planes that lie in one buffer as arrays of its host side."""
    assert buffer.data is not None
    return [
        np.ndarray(
            layout.shape, layout.dtype, buffer.data.data, address - buffer.paddr, layout.strides
        )
        for address, layout in zip(planes.addresses, planes.layouts, strict=True)
    ]


@contextmanager
def placed(device: Device, info, content=()) -> Iterator[tuple[BufferObject, Planes]]:
    """Put planes into a new buffer of a device."""
    _, nbytes = lay_out(info)
    buffer = device.allocate(nbytes, holder="the test")
    planes, _ = lay_out(info, buffer.paddr)
    for array, values in zip(views(buffer, planes), content, strict=False):
        array[...] = values
    buffer.write()
    try:
        yield buffer, planes
    finally:
        buffer.close()


def run_command(device: Device, unit: ComputeUnit, registers: bytes) -> CuCommand:
    """Run one command and wait for it."""
    seat = device.scheduler.join("test session", unit)
    try:
        command = seat.submit(unit, registers)
        assert command.wait()
        return command
    finally:
        seat.leave()


def computed(
    kernel: Kernel,
    info: FrameInfo,
    planes: list[np.ndarray],
    previous: list[np.ndarray],
    parameters: Mapping[str, object] = MappingProxyType({}),
) -> list[np.ndarray]:
    """Return what the NumPy reference makes."""
    values = kernel.check(parameters)
    made = kernel.output(info, **parameters)
    layouts = made.planes if isinstance(made, FrameInfo) else made.tensors
    out = [np.zeros(each.shape, each.dtype) for each in layouts]
    kernel.compute([*planes, *previous], info, made, out, values)
    return out
