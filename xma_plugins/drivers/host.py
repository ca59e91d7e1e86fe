"""The host as a device: NumPy arrays, and the kernels' NumPy references."""

import os
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from bridges.backends.cpu import CPUContext, CPUTensor
from bridges.backends.host_array import array_at, array_over
from bridges.frame import Frame, TensorFrame
from bridges.kernels.kernel import Kernel, Value
from bridges.kernels.runtime import Event, create_runtime
from bridges.tensor import Tensor, TensorInfo
from xma_plugins.drivers.driver import BYTE, Driver

__all__ = ["ALIGNMENT", "HostDriver", "create", "host_block", "over", "selectors"]

ALIGNMENT = 4096
"""Bytes that host memory for devices starts at multiples of: a page, of which runtimes that work
in place ask the most."""


def host_block(nbytes: int) -> npt.NDArray[np.uint8]:
    """Return zeroed host memory that starts at a multiple of `ALIGNMENT`."""
    memory = np.zeros(nbytes + ALIGNMENT, BYTE)
    start = -memory.ctypes.data % ALIGNMENT
    block: npt.NDArray[np.uint8] = memory[start : start + nbytes]
    return block


class _Done:
    """The event of what is done."""

    is_done = True

    def wait(self) -> None:
        """Return at once."""


_DONE = _Done()


class HostDriver(Driver):
    """The host: buffers are arrays, and kernels run on its threads, several at once."""

    kind = "cpu"
    is_in_order = False
    shares_host_memory = True

    def __init__(self) -> None:
        context = CPUContext()
        # Its own queue has but one thread: the scheduler's run kernels themselves.
        runtime = create_runtime(context)
        nbytes = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
        super().__init__(context, runtime, nbytes)
        self._host, self._kernels = context, runtime

    def allocate(self, nbytes: int, *, bank: int = 0, device_only: bool = False) -> Tensor:
        """Return new memory, zeroed; see `Driver.allocate`."""
        return self._host.wrap(host_block(nbytes))

    def adopt(self, address: int, nbytes: int, owner: object) -> Tensor:
        """Return memory of somebody else's; see `Driver.adopt`."""
        info = TensorInfo((nbytes,), BYTE)
        return self._host.wrap(array_at(address, info, owner=owner, writeable=True))

    def view(self, tensor: Tensor, info: TensorInfo, offset: int = 0) -> Tensor:
        """Return some of a tensor's memory in another form; see `Driver.view`."""
        array = array_over(tensor.handle("array"), info, offset)
        return CPUTensor(array, context=self.context, parent=tensor)

    def address(self, tensor: Tensor) -> int:
        """Return where the first byte is."""
        address: int = tensor.handle("data")
        return address

    def host_side(self, tensor: Tensor) -> npt.NDArray[np.uint8]:
        """Return the memory itself."""
        array: npt.NDArray[np.uint8] = tensor.handle("array")
        return array

    def write(self, tensor: Tensor, offset: int, data: npt.NDArray[np.uint8]) -> None:
        """Do nothing: the bytes are there."""

    def read(self, tensor: Tensor, offset: int, out: npt.NDArray[np.uint8]) -> None:
        """Do nothing: the bytes are there."""

    def enqueue(
        self,
        kernel: Kernel,
        source: Frame,
        target: Frame | TensorFrame,
        parameters: Mapping[str, Value],
        previous: Frame | None,
    ) -> Event:
        """Run a kernel in the calling thread; what is returned is done."""
        self._kernels.run(kernel, source, target, parameters, previous=previous)
        return _DONE

    def finish(self) -> None:
        """Do nothing: what was enqueued is done."""


def create(selector: str = "") -> HostDriver:
    """Return the host, which has nothing to select."""
    return HostDriver()


def over(context: CPUContext) -> HostDriver:
    """Return a driver for a device that is open."""
    return HostDriver()


def selectors() -> tuple[str, ...]:
    """Return what selects the host."""
    return ("",)
