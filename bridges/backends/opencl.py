"""OpenCL's memory: buffers on the devices of any OpenCL runtime."""

import contextlib
import ctypes
import functools
from typing import TYPE_CHECKING, Any

import numpy as np

from bridges.backends.layout import check_samples
from bridges.backends.opencl_devices import (
    OpenCLDevice,
    absence,
    choose,
    describe,
    devices,
    opencl_errors,
)
from bridges.backends.probe import Probe
from bridges.backends.pyopencl_cache import load_pyopencl
from bridges.context import Context
from bridges.errors import FormatError
from bridges.tensor import MemoryType, Tensor, TensorInfo

if TYPE_CHECKING:
    from collections.abc import Callable

    import pyopencl as cl
else:
    cl = load_pyopencl()

__all__ = [
    "SHARED",
    "OpenCLContext",
    "OpenCLDevice",
    "OpenCLTensor",
    "create",
    "devices",
    "host_bytes",
    "opencl_errors",
    "probe",
]


SHARED = cl.mem_flags.READ_WRITE | cl.mem_flags.USE_HOST_PTR
"""Flags of a buffer over host memory. READ_ONLY would make Intel's runtime copy a plane that is not
128-byte aligned, silently; so a READ mapping takes these too, and a kernel that writes to it breaks
its promise."""


def host_bytes(address: int, nbytes: int) -> Any:
    """Return host memory as a flat, writable buffer for pyopencl; it keeps nothing alive."""
    return (ctypes.c_uint8 * nbytes).from_address(address)


class OpenCLTensor(Tensor):
    """A block of samples in an OpenCL buffer.

    Parameters
    ----------
    buffer : pyopencl.Buffer or callable
        The samples start at its first byte. A callable is asked for it when it is first needed:
        often a kernel takes only one plane of a frame that was mapped whole.
    address : int, optional
        Of the host memory that the buffer shares, where that is known.
    keep : object, optional
        What else must live as long as the buffer, such as the owner of that host memory.
    info, context, parent, on_close
        As for `Tensor`.
    """

    memory_type = MemoryType.OPENCL

    def __init__(
        self,
        buffer: "cl.Buffer | Callable[[], cl.Buffer]",
        info: TensorInfo,
        *,
        address: int = 0,
        keep: object | None = None,
        **tensor: Any,
    ) -> None:
        super().__init__(info, **tensor)
        self._buffer: Any = buffer
        self._keep = keep
        self._address = address

    @property
    def native(self) -> cl.Buffer:
        """The ``cl_mem``, as pyopencl's object."""
        return self.handle("cl_mem")

    @property
    def keep(self) -> tuple[object, ...]:
        """What has to live for as long as the samples are used."""
        return self.native, self._keep

    @property
    def address(self) -> int:
        """Where the samples are in host memory; 0 on a device with memory of its own."""
        if not self._address and self.context.shares_host_memory:
            self._address = _mapped_address(self.context.handle("cl_queue"), self.native)
        return self._address

    def _handles(self) -> dict[str, Any]:
        if not isinstance(self._buffer, cl.Buffer):
            self._buffer = self._buffer()
        return {"cl_mem": self._buffer}

    def _part(self, info: TensorInfo, offset: int) -> "OpenCLTensor":
        buffer, address = self.native, self.address
        alignment = buffer.context.devices[0].mem_base_addr_align // 8
        if offset % alignment == 0:
            with opencl_errors(f"cut {info.span} bytes out of a buffer"):
                part = buffer.get_sub_region(offset, info.span)
        elif address:
            with opencl_errors(f"share {info.span} bytes of a buffer's memory"):
                part = cl.Buffer(
                    buffer.context, SHARED, hostbuf=host_bytes(address + offset, info.span)
                )
        else:
            raise FormatError(
                f"{self.context.name} cuts buffers at multiples of {alignment} bytes, and this "
                f"part begins at byte {offset}"
            )
        return OpenCLTensor(
            part,
            info,
            address=address + offset if address else 0,
            keep=self.keep,
            context=self.context,
            parent=self,
        )

    def _release(self) -> None:
        self._buffer = None
        self._keep = None


def _mapped_address(queue: Any, buffer: Any) -> int:
    """Return where the runtime maps a buffer."""
    with opencl_errors("map a buffer"):
        view, _ = cl.enqueue_map_buffer(queue, buffer, cl.map_flags.READ, 0, 1, np.uint8)
        address: int = view.ctypes.data
        view.base.release(queue).wait()
    return address


def _works_in_place(context: Any, queue: Any) -> bool:
    """Return whether a device works on host memory itself, with no copy of its own anywhere.

    By the standard the host sees a device's writes only through a mapping (OpenCL 3.0, 5.2.4); a
    runtime for the processor has nowhere else to put them. It is tried out here, once a context:
    what the device writes must be there when its queue is empty, in a buffer over memory of ours
    that is aligned to nothing, and in a buffer of the runtime's own, at the address that was mapped
    before.
    """
    nbytes, mark = 515, 0xA5
    memory = np.zeros(nbytes + 1, np.uint8)
    ours = cl.Buffer(context, SHARED, hostbuf=host_bytes(memory.ctypes.data + 1, nbytes))
    theirs = cl.Buffer(context, cl.mem_flags.READ_WRITE, nbytes)
    address = _mapped_address(queue, theirs)
    for buffer in (ours, theirs):
        cl.enqueue_fill_buffer(queue, buffer, np.uint8(mark), 0, nbytes)
    queue.finish()
    seen = bytes(host_bytes(address, nbytes))
    return memory.tobytes() == b"\0" + bytes([mark]) * nbytes and seen == bytes([mark]) * nbytes


class OpenCLContext(Context):
    """One OpenCL device, with one in-order queue.

    Parameters
    ----------
    context : pyopencl.Context
        Of one device.
    queue : pyopencl.CommandQueue
        Of that context, and in-order.
    name : str, optional
        What people call it; by default the platform and the device.

    Attributes
    ----------
    device : OpenCLDevice
        What is known of the device.
    finish : callable
        Wait for all kernels and copies on the queue; also once the context was closed.

    Raises
    ------
    DeviceError
        The runtime failed.
    """

    memory_type = MemoryType.OPENCL

    def __init__(self, context: cl.Context, queue: cl.CommandQueue, *, name: str = "") -> None:
        super().__init__()
        native = context.devices[0]
        self.device = device = describe(native)
        self.name = name or f"{device.platform}: {device.name}"
        self._native: dict[str, Any] = {
            "cl_context": context,
            "cl_device": native,
            "cl_queue": queue,
        }
        # It holds the queue, so that a mapping can be finished after its context was closed.
        self.finish: Callable[[], None] = functools.partial(_finish, queue, self.name)
        with opencl_errors(f"try out {device}"):
            self.shares_host_memory = device.shares_host_memory and _works_in_place(context, queue)

    @classmethod
    def create(cls, selector: str = "") -> "OpenCLContext":
        """Open a device.

        Parameters
        ----------
        selector : str
            ``"0"`` (a platform), ``"0:1"`` (a device of it), a part of a platform's name, or empty
            for the best device there is: a GPU before a CPU, and any runtime before PoCL.

        Raises
        ------
        DeviceNotFoundError
            There is no such device; the message lists those there are, or what to install.
        DeviceError
            The runtime cannot open the device.
        """
        native = choose(selector)
        with opencl_errors(f"open {describe(native)}"):
            context = cl.Context([native])
            queue = cl.CommandQueue(context)
        return cls(context, queue)

    @property
    def native(self) -> cl.Context:
        """The ``cl_context``, as pyopencl's object."""
        return self.handle("cl_context")

    @property
    def queue(self) -> cl.CommandQueue:
        """The in-order queue that mappings and kernels share."""
        return self.handle("cl_queue")

    def _handles(self) -> dict[str, Any]:
        return self._native

    def _derive(self, memory_type: MemoryType) -> Context | None:
        # Where the other framework is not installed, there is nothing to derive.
        with contextlib.suppress(ImportError):
            if memory_type is MemoryType.OPENVINO:
                from bridges.backends.openvino_opencl import derive

                return derive(self)
            if memory_type is MemoryType.OPENCV_UMAT:
                from bridges.backends.opencv_umat import over

                return over(self)
        return None

    def allocate(self, info: TensorInfo) -> OpenCLTensor:
        """Return a tensor in a new buffer on the device; the samples start undefined.

        Raises
        ------
        FormatError
            The layout is empty or runs backward.
        DeviceError
            The device has too little memory.
        """
        check_samples("an OpenCL buffer", info)
        with opencl_errors(f"allocate {info.span} bytes on {self.name}"):
            buffer = cl.Buffer(self.native, cl.mem_flags.READ_WRITE, info.span)
        return OpenCLTensor(buffer, info, context=self)

    def wrap(self, buffer: cl.Buffer, info: TensorInfo) -> OpenCLTensor:
        """Return a tensor over a buffer of this context, without a copy.

        Raises
        ------
        FormatError
            The layout is empty or runs backward, the samples do not fit into the buffer, or it
            belongs to another ``cl_context``.
        """
        check_samples("an OpenCL buffer", info)
        if buffer.size < info.span:
            raise FormatError(f"a buffer of {buffer.size} bytes does not hold {info.span} bytes")
        if buffer.context != self.native:
            raise FormatError(f"this buffer belongs to another context than {self.name}")
        return OpenCLTensor(buffer, info, context=self)

    def close(self) -> None:
        """Wait for the device and release it; may be repeated.

        Tensors that are still open stay usable: each holds the native context itself.
        """
        if not self._closed:
            self.finish()
        super().close()
        self._native = {}


def _finish(queue: Any, name: str) -> None:
    with opencl_errors(f"finish the work on {name}"):
        queue.finish()


def create(selector: str = "") -> OpenCLContext:
    """Open a device; see `OpenCLContext.create`."""
    return OpenCLContext.create(selector)


def probe() -> Probe:
    """Report pyopencl and the devices that it finds."""
    found = devices()
    if not found:
        reason, remedy = absence()
        return Probe("opencl", False, reason, remedy)
    return Probe(
        "opencl", True, f"pyopencl {cl.VERSION_TEXT}", devices=tuple(str(entry) for entry in found)
    )
