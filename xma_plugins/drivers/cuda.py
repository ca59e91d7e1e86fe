"""CUDA devices: memory and kernels of NVIDIA GPUs, in the order of the context's stream."""

import numpy as np
import numpy.typing as npt
from cuda.bindings import driver

from bridges.backends import cuda
from bridges.backends.cuda import CUDAContext, CUDATensor
from bridges.backends.cuda_driver import check, cuda_errors
from bridges.kernels.runtime import create_runtime
from bridges.tensor import Tensor, TensorInfo
from xma_plugins.drivers.driver import BYTE, Driver

__all__ = ["CUDADriver", "create", "over", "selectors"]


class CUDADriver(Driver):
    """One GPU, with one stream.

    Parameters
    ----------
    context : CUDAContext
        The device.
    """

    kind = "cuda"

    def __init__(self, context: CUDAContext) -> None:
        with context.current:
            nbytes = check(driver.cuDeviceTotalMem(context.ordinal), "tell a device's memory")
        super().__init__(context, create_runtime(context), int(nbytes))
        self._device = context

    def allocate(self, nbytes: int, *, bank: int = 0, device_only: bool = False) -> Tensor:
        """Return new memory; see `Driver.allocate`."""
        return self._device.allocate(TensorInfo((nbytes,), BYTE))

    def view(self, tensor: Tensor, info: TensorInfo, offset: int = 0) -> Tensor:
        """Return some of a tensor's memory in another form; see `Driver.view`."""
        assert isinstance(tensor, CUDATensor)
        return CUDATensor(
            tensor.handle("data") + offset,
            info,
            owner=tensor.owner,
            context=self._device,
            parent=tensor,
        )

    def address(self, tensor: Tensor) -> int:
        """Return the device pointer."""
        address: int = tensor.handle("data")
        return address

    def host_side(self, tensor: Tensor) -> None:
        """Return None: the host does not reach the device's memory."""

    def host_memory(self, nbytes: int) -> npt.NDArray[np.uint8]:
        """Return page-locked memory of a pool; see `Driver.host_memory`."""
        return self._device.pinned(nbytes)

    def write(self, tensor: Tensor, offset: int, data: npt.NDArray[np.uint8]) -> None:
        """Carry bytes to the device; see `Driver.write`."""
        action = f"copy {data.nbytes} bytes to {self.name}"
        there, stream = tensor.handle("data") + offset, self._device.stream_handle
        with self._device.current:
            check(driver.cuMemcpyHtoDAsync(there, data.ctypes.data, data.nbytes, stream), action)
            check(driver.cuStreamSynchronize(stream), action)

    def read(self, tensor: Tensor, offset: int, out: npt.NDArray[np.uint8]) -> None:
        """Carry bytes to the host; see `Driver.read`."""
        action = f"copy {out.nbytes} bytes from {self.name}"
        there, stream = tensor.handle("data") + offset, self._device.stream_handle
        with self._device.current:
            check(driver.cuMemcpyDtoHAsync(out.ctypes.data, there, out.nbytes, stream), action)
            check(driver.cuStreamSynchronize(stream), action)

    def finish(self) -> None:
        """Wait for the stream."""
        with cuda_errors(f"finish the work on {self.name}"), self._device.current:
            self._device.stream.sync()


def create(selector: str = "") -> CUDADriver:
    """Open a device; see `bridges.backends.cuda.create`."""
    return CUDADriver(cuda.create(selector))


def over(context: CUDAContext) -> CUDADriver:
    """Return a driver for a device that is open."""
    return CUDADriver(context)


def selectors() -> tuple[str, ...]:
    """Return what selects each device of this machine."""
    return tuple(str(number) for number in range(len(cuda.probe().devices)))
