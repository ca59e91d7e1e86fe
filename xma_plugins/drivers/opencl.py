"""OpenCL devices: buffers over host memory where the device works in it, else of its own."""

import numpy as np
import numpy.typing as npt
import pyopencl as cl

from bridges.backends import opencl
from bridges.backends.host_array import array_at
from bridges.backends.opencl import (
    SHARED,
    OpenCLContext,
    OpenCLTensor,
    host_bytes,
    opencl_errors,
)
from bridges.errors import FormatError
from bridges.kernels.runtime import create_runtime
from bridges.tensor import Tensor, TensorInfo
from xma_plugins.drivers.driver import BYTE, Driver
from xma_plugins.drivers.host import host_block

__all__ = ["OpenCLDriver", "create", "over", "selectors"]


class OpenCLDriver(Driver):
    """One OpenCL device, with one in-order queue.

    A device for the processor works in host memory: a buffer is a page-aligned block of it, and
    the queue is waited for where bytes would be carried.

    Parameters
    ----------
    context : OpenCLContext
        The device.
    """

    kind = "opencl"

    def __init__(self, context: OpenCLContext) -> None:
        native = context.handle("cl_device")
        super().__init__(context, create_runtime(context), int(native.global_mem_size))
        self._device = context
        self._alignment = max(int(native.mem_base_addr_align) // 8, 1)
        self.shares_host_memory = context.shares_host_memory

    def allocate(self, nbytes: int, *, bank: int = 0, device_only: bool = False) -> Tensor:
        """Return new memory; see `Driver.allocate`."""
        info = TensorInfo((nbytes,), BYTE)
        if not self.shares_host_memory:
            return self._device.allocate(info)
        block = host_block(nbytes)
        return self._over(block.ctypes.data, info, keep=block)

    def adopt(self, address: int, nbytes: int, owner: object) -> Tensor:
        """Return memory of somebody else's, where that is host memory; see `Driver.adopt`."""
        if not self.shares_host_memory:
            return super().adopt(address, nbytes, owner)
        return self._over(address, TensorInfo((nbytes,), BYTE), keep=(owner,))

    def _over(
        self, address: int, info: TensorInfo, *, keep: object, parent: Tensor | None = None
    ) -> OpenCLTensor:
        """Return a tensor over host memory; its buffer is made when a command asks for it."""
        native, name, nbytes = self._device.native, self.name, info.span

        def make() -> cl.Buffer:
            with opencl_errors(f"share {nbytes} bytes of host memory with {name}"):
                return cl.Buffer(native, SHARED, hostbuf=host_bytes(address, nbytes))

        return OpenCLTensor(
            make, info, address=address, keep=keep, context=self.context, parent=parent
        )

    def view(self, tensor: Tensor, info: TensorInfo, offset: int = 0) -> Tensor:
        """Return some of a tensor's memory in another form; see `Driver.view`."""
        assert isinstance(tensor, OpenCLTensor)
        address = tensor.address + offset if self.shares_host_memory else 0
        if not offset:
            return OpenCLTensor(
                lambda: tensor.native,
                info,
                address=address,
                keep=tensor,
                context=self.context,
                parent=tensor,
            )
        if not offset % self._alignment:
            with opencl_errors(f"address {info.span} bytes from byte {offset} of a buffer"):
                part = tensor.native.get_sub_region(offset, info.span)
            return OpenCLTensor(
                part, info, address=address, keep=tensor, context=self.context, parent=tensor
            )
        if not address:
            raise FormatError(
                f"{self.name} addresses parts of a buffer at multiples of {self._alignment} "
                f"bytes, and this one begins at byte {offset}; begin planes at such multiples"
            )
        return self._over(address, info, keep=tensor, parent=tensor)

    def address(self, tensor: Tensor) -> int | None:
        """Return where the host memory is that a buffer shares; OpenCL tells no other address."""
        assert isinstance(tensor, OpenCLTensor)
        return tensor.address if self.shares_host_memory else None

    def host_side(self, tensor: Tensor) -> npt.NDArray[np.uint8] | None:
        """Return the block of host memory that a buffer shares."""
        assert isinstance(tensor, OpenCLTensor)
        if not self.shares_host_memory:
            return None
        _, keep = tensor.keep
        if isinstance(keep, np.ndarray):
            return keep
        # Somebody else's.
        return array_at(tensor.address, tensor.info, owner=keep, writeable=True)

    def write(self, tensor: Tensor, offset: int, data: npt.NDArray[np.uint8]) -> None:
        """Carry bytes to the device; see `Driver.write`."""
        if self.shares_host_memory:
            self.finish()
            return
        with opencl_errors(f"copy {data.nbytes} bytes to {self.name}"):
            cl.enqueue_copy(self._device.queue, tensor.handle("cl_mem"), data, dst_offset=offset)

    def read(self, tensor: Tensor, offset: int, out: npt.NDArray[np.uint8]) -> None:
        """Carry bytes to the host; see `Driver.read`."""
        if self.shares_host_memory:
            self.finish()
            return
        with opencl_errors(f"copy {out.nbytes} bytes from {self.name}"):
            cl.enqueue_copy(self._device.queue, out, tensor.handle("cl_mem"), src_offset=offset)

    def finish(self) -> None:
        """Wait for the queue."""
        self._device.finish()


def create(selector: str = "") -> OpenCLDriver:
    """Open a device; see `OpenCLContext.create`."""
    return OpenCLDriver(OpenCLContext.create(selector))


def over(context: OpenCLContext) -> OpenCLDriver:
    """Return a driver for a device that is open."""
    return OpenCLDriver(context)


def selectors() -> tuple[str, ...]:
    """Return what selects each device of this machine."""
    return tuple(f"{each.platform_index}:{each.device_index}" for each in opencl.devices())
