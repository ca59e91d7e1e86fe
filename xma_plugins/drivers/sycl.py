"""SYCL devices: buffers are unified shared memory (USM)."""

import numpy as np
import numpy.typing as npt

from bridges.backends import sycl
from bridges.backends.host_array import array_at
from bridges.backends.sycl import SyclContext, SyclTensor, sycl_errors
from bridges.errors import FormatError
from bridges.kernels.runtime import create_runtime
from bridges.tensor import Tensor, TensorInfo
from xma_plugins.drivers.driver import BYTE, Driver

__all__ = ["SyclDriver", "create", "over", "selectors"]


class SyclDriver(Driver):
    """One SYCL device, with one in-order queue.

    A device for the processor works in host memory, and the queue is waited for where bytes would
    be carried. Any other gets device memory, and transfers are copies.

    Parameters
    ----------
    context : SyclContext
        The device.
    """

    kind = "sycl"

    def __init__(self, context: SyclContext) -> None:
        nbytes = int(context.queue.sycl_device.global_mem_size)
        super().__init__(context, create_runtime(context), nbytes)
        self._device = context
        self.shares_host_memory = context.shares_host_memory and context.usm_type != "device"

    def allocate(self, nbytes: int, *, bank: int = 0, device_only: bool = False) -> Tensor:
        """Return new memory; see `Driver.allocate`."""
        tensor = self._device.allocate(TensorInfo((nbytes,), BYTE))
        if self.shares_host_memory:
            tensor.host_array().fill(0)
        return tensor

    def adopt(self, address: int, nbytes: int, owner: object) -> Tensor:
        """Return memory of somebody else's, where that is host memory; see `Driver.adopt`."""
        if not self.shares_host_memory:
            return super().adopt(address, nbytes, owner)
        refusal = self._device.host_memory_refusal
        if refusal:
            raise FormatError(f"{self.name} takes no memory that SYCL did not allocate: {refusal}")
        native = self._device.system_memory(address, nbytes, owner)
        info = TensorInfo((nbytes,), BYTE)
        return SyclTensor(native, info, usm_type="system", context=self.context)

    def view(self, tensor: Tensor, info: TensorInfo, offset: int = 0) -> Tensor:
        """Return some of a tensor's memory in another form; see `Driver.view`."""
        assert isinstance(tensor, SyclTensor)
        memory, usm_type = tensor.memory, tensor.usm_type
        if offset:
            memory = self._device.native_memory(
                memory._pointer + offset, info.span, memory, usm_type=usm_type
            )
        return SyclTensor(memory, info, usm_type=usm_type, context=self.context, parent=tensor)

    def address(self, tensor: Tensor) -> int:
        """Return where the first byte is."""
        address: int = tensor.handle("data")
        return address

    def host_side(self, tensor: Tensor) -> npt.NDArray[np.uint8] | None:
        """Return the memory itself, where the host reaches it."""
        if not self.shares_host_memory:
            return None
        memory = tensor.handle("usm_memory")
        return array_at(memory._pointer, tensor.info, owner=memory, writeable=True)

    def write(self, tensor: Tensor, offset: int, data: npt.NDArray[np.uint8]) -> None:
        """Carry bytes to the device; see `Driver.write`."""
        if not self.shares_host_memory:
            there = self.view(tensor, TensorInfo((data.nbytes,), BYTE), offset)
            with sycl_errors(f"copy {data.nbytes} bytes to {self.name}"):
                self._device.queue.memcpy(there.handle("usm_memory"), data, data.nbytes)
        self.finish()

    def read(self, tensor: Tensor, offset: int, out: npt.NDArray[np.uint8]) -> None:
        """Carry bytes to the host; see `Driver.read`."""
        if not self.shares_host_memory:
            there = self.view(tensor, TensorInfo((out.nbytes,), BYTE), offset)
            with sycl_errors(f"copy {out.nbytes} bytes from {self.name}"):
                self._device.queue.memcpy(out, there.handle("usm_memory"), out.nbytes)
        self.finish()

    def finish(self) -> None:
        """Wait for the queue."""
        self._device.finish()


def create(selector: str = "") -> SyclDriver:
    """Open a device; see `bridges.backends.sycl.create`."""
    context = sycl.create(selector)
    if context.shares_host_memory:
        return SyclDriver(context)
    context.close()
    return SyclDriver(sycl.create(selector, usm_type="device"))


def over(context: SyclContext) -> SyclDriver:
    """Return a driver for a device that is open."""
    return SyclDriver(context)


def selectors() -> tuple[str, ...]:
    """Return what selects each device of this machine that kernels run on."""
    return tuple(
        each.selector for each in sycl.devices() if each.backend in ("opencl", "level_zero")
    )
