"""XRT cards: the memory banks and compute units that an xclbin gives them.

XRT's C library is called, and not pyxrt: that is made for the system's own Python, is not there
where XRT comes as a package of Debian, and with NumPy 2 reads every byte of a buffer back as 1.

On XRT's device without hardware everything here works but the work itself: commands complete, and
no kernel has run; a transfer carries nothing; all buffers tell the same address; none is exported
or imported. What a card does there could not be tried.
"""

import os
from pathlib import Path

import numpy as np
import numpy.typing as npt

from bridges.backends import xrt
from bridges.backends.xrt import XRTContext, XRTTensor
from bridges.backends.xrt_kernel import XRTCommand, XRTKernel
from bridges.errors import DeviceError
from bridges.native.xrt import RunState
from bridges.tensor import Tensor, TensorInfo
from xma_plugins.drivers.driver import BYTE, BankDescription, Driver, HardwareUnit
from xma_plugins.errors import NoKernelError
from xma_plugins.registers import RegisterArgument, RegisterMap
from xma_plugins.xclbin import Argument, Unit, Xclbin

__all__ = ["CommandFailedError", "XRTDriver", "XRTEvent", "create", "selectors"]


class XRTDriver(Driver):
    """One card.

    It has no memory and no compute units before an xclbin is loaded.

    Parameters
    ----------
    context : XRTContext
        The device.
    xclbin : str or Path, optional
        What to load.

    Attributes
    ----------
    xclbin : Xclbin or None
        What is loaded.

    Raises
    ------
    FormatError
        The file is no xclbin.
    DeviceError
        The card does not load it.
    """

    kind = "xrt"
    # Commands of several compute units end in any order.
    is_in_order = False

    def __init__(self, context: XRTContext, xclbin: str | Path | None = None) -> None:
        super().__init__(context, None, 0)
        self._card = context
        self.xclbin: Xclbin | None = None
        self.shares_host_memory = context.shares_host_memory
        self._units: dict[str, tuple[int, HardwareUnit]] = {}
        self._kernels: dict[str, XRTKernel] = {}
        self._running: list[XRTEvent] = []
        if xclbin is not None:
            self.load_xclbin(xclbin)

    def load_xclbin(self, path: str | os.PathLike[str]) -> None:
        """Load an xclbin; what was loaded before has to be unused.

        Raises
        ------
        FormatError, DeviceError
            As at construction.
        OSError
            The file cannot be read.
        """
        content = Path(path).read_bytes()
        found = Xclbin.parse(content, str(path))
        self._close_kernels()
        self._card.load_xclbin(content)
        self.xclbin = found
        self.memory_nbytes = sum(bank.nbytes for bank in found.banks if bank.is_used)
        self._units = {
            unit.name: (index, _hardware_unit(unit)) for index, unit in enumerate(found.units)
        }

    @property
    def banks(self) -> tuple[BankDescription, ...]:
        """The banks of the xclbin; one that is not used holds nothing."""
        if self.xclbin is None:
            return super().banks
        return tuple(
            BankDescription(bank.name, bank.nbytes if bank.is_used else 0)
            for bank in self.xclbin.banks
        )

    @property
    def units(self) -> tuple[HardwareUnit, ...]:
        """The compute units of the xclbin."""
        return tuple(unit for _, unit in self._units.values())

    def allocate(self, nbytes: int, *, bank: int = 0, device_only: bool = False) -> Tensor:
        """Return new memory on a bank; see `Driver.allocate`."""
        info = TensorInfo((nbytes,), BYTE)
        tensor = self._card.allocate(info, memory_group=bank, device_only=device_only)
        if not device_only:
            np.asarray(tensor)[...] = 0
        return tensor

    def view(self, tensor: Tensor, info: TensorInfo, offset: int = 0) -> Tensor:
        """Return some of a tensor's memory in another form; see `Driver.view`."""
        assert isinstance(tensor, XRTTensor)
        return XRTTensor(
            tensor.bo, info, offset=tensor.offset + offset, context=self._card, parent=tensor
        )

    def address(self, tensor: Tensor) -> int | None:
        """Return where the card sees the first byte; None where no card is behind it."""
        if self._card.xrt.mode == "noop":
            return None
        address: int = tensor.handle("address")
        return address

    def host_side(self, tensor: Tensor) -> npt.NDArray[np.uint8] | None:
        """Return XRT's own host memory of the buffer; None where it is device-only."""
        assert isinstance(tensor, XRTTensor)
        return None if tensor.bo.device_only else np.asarray(tensor)

    def write(self, tensor: Tensor, offset: int, data: npt.NDArray[np.uint8]) -> None:
        """Carry bytes of the host's side to the card by DMA; see `Driver.write`."""
        assert isinstance(tensor, XRTTensor)
        there = self._host_part(tensor, offset, data.nbytes)
        if there.ctypes.data != data.ctypes.data:
            there[...] = data
        tensor.bo.to_device(tensor.offset + offset, data.nbytes)

    def read(self, tensor: Tensor, offset: int, out: npt.NDArray[np.uint8]) -> None:
        """Carry bytes from the card to the host's side by DMA; see `Driver.read`."""
        assert isinstance(tensor, XRTTensor)
        there = self._host_part(tensor, offset, out.nbytes)
        tensor.bo.from_device(tensor.offset + offset, out.nbytes)
        if there.ctypes.data != out.ctypes.data:
            out[...] = there

    def _host_part(self, tensor: XRTTensor, offset: int, nbytes: int) -> npt.NDArray[np.uint8]:
        side = self.host_side(tensor)
        if side is None:
            raise DeviceError(
                f"a device-only buffer of {self.name} has no host's side to carry bytes to or from"
            )
        return side[offset : offset + nbytes]

    def export(self, tensor: Tensor) -> int:
        """Return a file descriptor of a buffer, for other devices; it stays the buffer's own.

        Raises
        ------
        DeviceError
            The card's driver exports none.
        """
        assert isinstance(tensor, XRTTensor)
        return tensor.bo.exported

    def import_descriptor(self, descriptor: int, nbytes: int) -> Tensor:
        """Return a tensor over memory of another device; see `XRTContext.import_descriptor`."""
        return self._card.import_descriptor(descriptor, TensorInfo((nbytes,), BYTE))

    def start(self, unit: HardwareUnit, registers: RegisterMap) -> "XRTEvent":
        """Start a compute unit with a register map, and do not wait; see `Driver.start`."""
        index, _ = self._units.get(unit.name, (-1, unit))
        if index < 0:
            raise NoKernelError(
                f"{self.name} has no compute unit {unit.name!r}; its xclbin has "
                f"{', '.join(self._units) or 'none, as there is none loaded'}"
            )
        self._running = [each for each in self._running if not each.is_done]
        event = XRTEvent(XRTCommand(self.kernel(unit.name), index, registers))
        self._running.append(event)
        return event

    def kernel(self, name: str) -> XRTKernel:
        """Return a compute unit as XRT has it, to give its runs arguments one by one.

        Parameters
        ----------
        name : str
            As in `units`. The driver closes it.

        Raises
        ------
        DeviceNotFoundError
            There is none of that name.
        """
        if name not in self._kernels:
            kernel, _, instance = name.partition(":")
            self._kernels[name] = XRTKernel(self._card, kernel, instance)
        return self._kernels[name]

    def finish(self) -> None:
        """Wait for every command that was started."""
        running, self._running = self._running, []
        for event in running:
            event.wait()

    def _close_kernels(self) -> None:
        for event in self._running:
            event.command.close()
        self._running.clear()
        for kernel in self._kernels.values():
            kernel.close()
        self._kernels.clear()

    def close(self) -> None:
        """Wait for the card and let go of it; may be repeated."""
        if not self._closed:
            self._close_kernels()
        super().close()


class CommandFailedError(DeviceError):
    """A command that ended in another way than it should, or not in time.

    Attributes
    ----------
    command_state : str
        What XMA calls that: ``"ERROR"``, ``"ABORT"``, ``"TIMEOUT"``, ``"PSK_ERROR"`` or
        ``"PSK_CRASHED"``.
    """

    def __init__(self, message: str, state: RunState) -> None:
        super().__init__(message)
        self.command_state = _COMMAND_STATES.get(state, "ERROR")


_COMMAND_STATES = {
    RunState.ABORT: "ABORT",
    RunState.TIMEOUT: "TIMEOUT",
    RunState.SOFT_KERNEL_ERROR: "PSK_ERROR",
    RunState.SOFT_KERNEL_CRASHED: "PSK_CRASHED",
}


class XRTEvent:
    """A command that was started; an `Event`.

    Parameters
    ----------
    command : XRTCommand
        What was started.
    """

    def __init__(self, command: XRTCommand) -> None:
        self.command = command

    @property
    def is_done(self) -> bool:
        """Whether there is nothing to wait for any more, failures included; it never blocks."""
        return self.command.state.is_final

    def wait(self, timeout: float | None = None) -> None:
        """Wait until it is done.

        Parameters
        ----------
        timeout : float, optional
            Seconds, after which it is given up; the command may go on.

        Raises
        ------
        CommandFailedError
            The command failed, or took longer.
        """
        state, name = self.command.wait(timeout), self.command.kernel.name
        if not state.is_final:
            raise CommandFailedError(
                f"{name} is {state.name} after {timeout} seconds", RunState.TIMEOUT
            )
        if state is not RunState.COMPLETED:
            raise CommandFailedError(
                f"{name} ended as {state.name}; see dmesg and xbutil examine", state
            )


def _hardware_unit(unit: Unit) -> HardwareUnit:
    known = [(each, kind) for each in unit.arguments if (kind := _type_of(each))]
    return HardwareUnit(
        unit.name,
        tuple(RegisterArgument(each.name, each.offset, kind) for each, kind in known),
        {each.name: unit.banks[each.index] for each, _ in known if each.index in unit.banks},
    )


def _type_of(argument: Argument) -> str:
    """Return what a register map calls an argument; empty where it has no register."""
    if argument.kind in ("global", "constant"):
        return "address"
    if argument.kind != "scalar":
        return ""
    if argument.nbytes == 8:
        return "f64" if argument.type == "double" else "i64"
    # A register is the least there is, also of a char; of a float it holds the bits.
    return "u32" if argument.nbytes <= 4 else ""


def create(selector: str = "") -> XRTDriver:
    """Open a card, with no xclbin loaded; see `bridges.backends.xrt.create`."""
    return XRTDriver(xrt.create(selector))


def selectors() -> tuple[str, ...]:
    """Return nothing: a card does nothing before it is opened with an xclbin."""
    return ()
