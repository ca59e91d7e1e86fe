"""What a device does with bytes and kernels: the one place that knows its framework."""

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import numpy.typing as npt

from bridges.closable import Closable
from bridges.context import Context
from bridges.errors import FormatError
from bridges.frame import Frame, TensorFrame
from bridges.kernels.kernel import Kernel, Value
from bridges.kernels.runtime import Runtime
from bridges.tensor import Tensor, TensorInfo
from xma_plugins.errors import NoKernelError
from xma_plugins.registers import RegisterArgument, RegisterMap

if TYPE_CHECKING:
    from bridges.kernels.runtime import Event

__all__ = ["BYTE", "BankDescription", "Driver", "HardwareUnit"]

BYTE: "np.dtype[Any]" = np.dtype(np.uint8)
"""What buffers are made of."""


@dataclass(frozen=True)
class BankDescription:
    """One memory bank of a device.

    Attributes
    ----------
    name : str
        What people call it.
    nbytes : int
        How much it holds.
    """

    name: str
    nbytes: int


@dataclass(frozen=True)
class HardwareUnit:
    """A compute unit that is part of the hardware, and runs no kernel of `bridges.kernels`.

    Attributes
    ----------
    name : str
        As the hardware's own description has it, such as ``"encoder_1"``.
    arguments : tuple of RegisterArgument
        What its register map holds, in the order of the kernel's arguments.
    connectivity : mapping
        Name of a pointer argument > index of the memory bank that it is wired to.
    """

    name: str
    arguments: tuple[RegisterArgument, ...]
    connectivity: Mapping[str, int] = field(default_factory=dict)


class Driver(Closable):
    """One device of one framework. Several threads may share it.

    A driver is told sizes and offsets that were checked: it checks nothing twice. What its
    framework reports is raised as `bridges.errors.DeviceError`.

    Attributes
    ----------
    kind : str
        ``"cpu"``, ``"opencl"``, ``"sycl"``, ``"cuda"`` or ``"xrt"``, as in a device's name.
    name : str
        What people call the device.
    context : Context
        Whose memory the tensors are in.
    runtime : Runtime or None
        Runs the kernels of `bridges.kernels`; None where only `units` are there to run.
    shares_host_memory : bool
        Whether the host's side of a buffer is the device's memory itself, so that a transfer
        carries no byte.
    is_in_order : bool
        Whether the device runs what is enqueued one after the other, in that order, and `enqueue`
        returns at once. Where it does not, `enqueue` may return when the work is done, and is
        called from as many threads as are to work at once.
    memory_nbytes : int
        How much memory the device has.
    """

    kind: ClassVar[str]
    is_in_order: bool = True
    shares_host_memory: bool = False

    def __init__(self, context: Context, runtime: Runtime | None, memory_nbytes: int) -> None:
        self._closed = False
        self.context = context
        self.runtime = runtime
        self.name = context.name
        self.memory_nbytes = memory_nbytes

    @property
    def closed(self) -> bool:
        """Whether ``close()`` was called."""
        return self._closed

    @property
    def banks(self) -> tuple[BankDescription, ...]:
        """The memory banks, by index: one with all of the memory, where there is but one kind."""
        return (BankDescription("memory", self.memory_nbytes),)

    @property
    def units(self) -> tuple[HardwareUnit, ...]:
        """The compute units that the hardware itself has; none, where kernels are programs."""
        return ()

    @abstractmethod
    def allocate(self, nbytes: int, *, bank: int = 0, device_only: bool = False) -> Tensor:
        """Return new memory of the device.

        Parameters
        ----------
        nbytes : int
            At least 1.
        bank : int
            Index into `banks`; it means something only where these are real.
        device_only : bool
            Whether the host will never ask for its side of the memory.

        Returns
        -------
        Tensor
            Of shape ``(nbytes,)`` and dtype uint8, at an address that is a multiple of 64 at
            least. Its contents are undefined, but zero where `host_side` shows it.

        Raises
        ------
        DeviceError
            The device has too little memory.
        """

    def adopt(self, address: int, nbytes: int, owner: object) -> Tensor:
        """Return host memory of somebody else's as memory of the device, in place.

        Parameters
        ----------
        address : int
            Of the first byte; any.
        nbytes : int
            At least 1.
        owner : object
            What keeps the memory where it is. The tensor holds it.

        Raises
        ------
        FormatError
            The device does not work in host memory; see `shares_host_memory`.
        """
        raise FormatError(
            f"{self.name} does not work in host memory; allocate a buffer and write into it"
        )

    @abstractmethod
    def view(self, tensor: Tensor, info: TensorInfo, offset: int = 0) -> Tensor:
        """Return some of a tensor's memory in another form; cheap, and it owns nothing.

        Parameters
        ----------
        tensor : Tensor
            As `allocate` made it. It is the parent of what is returned.
        info : TensorInfo
            Shape, dtype and strides.
        offset : int
            Bytes from the first byte of ``tensor`` to the first sample; all samples are inside.

        Raises
        ------
        FormatError
            The device cannot address memory from there on; the message names the alignment.
        """

    @abstractmethod
    def address(self, tensor: Tensor) -> int | None:
        """Return where the device sees the first byte; None where its framework does not tell."""

    @abstractmethod
    def host_side(self, tensor: Tensor) -> npt.NDArray[np.uint8] | None:
        """Return the host's side of a tensor's memory, of shape ``(nbytes,)``.

        It is the memory itself where `shares_host_memory`, or host memory that the framework keeps
        beside it; None where there is neither, and a buffer then has host memory of its own.
        """

    def host_memory(self, nbytes: int) -> npt.NDArray[np.uint8]:
        """Return host memory that bytes of the device are carried to, as quickly as can be.

        Returns
        -------
        numpy.ndarray
            Of shape ``(nbytes,)``, with undefined contents.
        """
        return np.empty(nbytes, np.uint8)

    @abstractmethod
    def write(self, tensor: Tensor, offset: int, data: npt.NDArray[np.uint8]) -> None:
        """Carry bytes from the host to the device, and wait until they are there.

        It comes after what was enqueued before.

        Parameters
        ----------
        tensor : Tensor
            As `allocate` made it.
        offset : int
            Bytes from its first byte.
        data : numpy.ndarray
            Dense; of 1 byte or more. It is the part of `host_side` from ``offset`` on, where there
            is one.

        Raises
        ------
        DeviceError
            The transfer failed.
        """

    @abstractmethod
    def read(self, tensor: Tensor, offset: int, out: npt.NDArray[np.uint8]) -> None:
        """Carry bytes from the device to the host, and wait until they are there; as `write`."""

    def enqueue(
        self,
        kernel: Kernel,
        source: Frame,
        target: Frame | TensorFrame,
        parameters: Mapping[str, Value],
        previous: Frame | None,
    ) -> "Event":
        """Start a kernel on frames of the device's memory; see `bridges.kernels.Runtime.enqueue`.

        The frames have to stay open until the event is done.

        Raises
        ------
        NoKernelError
            The device runs only what it is made of.
        KernelError, FormatError, DeviceError
            As a runtime raises them.
        """
        if self.runtime is None:
            raise NoKernelError(
                f"{self.name} runs its own compute units alone, and {kernel.name} is a kernel for "
                "OpenCL, SYCL, CUDA and the host; choose one of those devices"
            )
        return self.runtime.enqueue(kernel, source, target, parameters, previous=previous)

    def start(self, unit: HardwareUnit, registers: RegisterMap) -> "Event":
        """Start one of `units` with the register map as it is.

        Raises
        ------
        NoKernelError
            The device has no such unit.
        DeviceError
            The device failed.
        """
        raise NoKernelError(f"{self.name} has no compute unit {unit.name} of its own")

    @abstractmethod
    def finish(self) -> None:
        """Wait for everything that was enqueued.

        Raises
        ------
        DeviceError
            Some of it failed.
        """

    def close(self) -> None:
        """Wait for the device and let go of it; may be repeated."""
        if self._closed:
            return
        self._closed = True
        self.context.close()
