"""Devices: memory banks, compute units, and the commands that these run."""

import atexit
import difflib
import logging
import os
import threading
import weakref
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from bridges.closable import Closable
from bridges.device import DeviceName
from bridges.kernels.kernel import Kernel, names
from bridges.tensor import Tensor, TensorInfo
from xma_plugins.bank import Addresses, MemoryBank, Transfers
from xma_plugins.buffers import BufferObject
from xma_plugins.compute_unit import ComputeUnit, UnitDescription
from xma_plugins.drivers import BYTE, BankDescription, Driver, HardwareUnit, open_driver
from xma_plugins.errors import InvalidError, NoKernelError, OrderError
from xma_plugins.scheduler import Scheduler

__all__ = [
    "MAX_COMPUTE_UNITS",
    "Device",
    "DeviceDescription",
    "MemoryBank",
    "Transfers",
    "once_settled",
    "open_device",
]

MAX_COMPUTE_UNITS = 128
"""Of a device; XMA's limit."""

_log = logging.getLogger("xma_plugins")


@dataclass(frozen=True)
class DeviceDescription:
    """A device that is to be opened, and what is to be on it.

    Attributes
    ----------
    name : str
        ``auto``, ``cpu``, ``opencl[:platform[:device]]``, ``sycl[:filter]``, ``cuda[:n]``,
        ``xrt[:n]``.
    compute_units : sequence of UnitDescription, Kernel or str, optional
        What runs there; by default all kernels of `bridges.kernels`, or what a card has.
    banks : sequence of BankDescription, optional
        How its memory is divided; by default not at all, or as a card has it.
    xclbin : str or path-like, optional
        What to load onto an XRT card, which has neither memory banks nor compute units before.
    """

    name: str = "opencl"
    compute_units: Sequence[UnitDescription | Kernel | str] | None = None
    banks: Sequence[BankDescription] | None = None
    xclbin: str | os.PathLike[str] | None = None

    def __post_init__(self) -> None:
        if isinstance(self.compute_units, str):
            object.__setattr__(self, "compute_units", (self.compute_units,))
        if self.xclbin is not None and DeviceName.parse(self.name).kind != "xrt":
            raise InvalidError(f"an xclbin is for XRT cards, and {self.name} is none")


class Device(Closable):
    """An accelerator, or the host itself. Several sessions and threads share it.

    Parameters
    ----------
    driver : Driver
        What knows its framework. The device owns it.
    index : int
        Its number among those that were initialized.
    compute_units : sequence of UnitDescription, Kernel or str, optional
        As of `DeviceDescription`.
    banks : sequence of BankDescription, optional
        As of `DeviceDescription`.

    Attributes
    ----------
    index : int
        As above.
    name : str
        What people call it.
    driver : Driver
        As above.
    banks : tuple of MemoryBank
        By index.
    compute_units : tuple of ComputeUnit
        By index; at most 128.
    scheduler : Scheduler
        Has the compute units work.
    transfers : Transfers
        What was carried so far.

    Raises
    ------
    InvalidError
        There are too many compute units, two of one name, or wired to a bank that is not there; or
        banks are described of a card, which has its own.
    KernelError
        There is no such kernel.
    """

    def __init__(
        self,
        driver: Driver,
        index: int = 0,
        *,
        compute_units: Sequence[UnitDescription | Kernel | str] | None = None,
        banks: Sequence[BankDescription] | None = None,
    ) -> None:
        self.index, self.driver, self.name = index, driver, driver.name
        if banks is not None and driver.units:
            raise InvalidError(f"{driver.name} has banks of its own; leave banks out")
        described = driver.banks if banks is None else tuple(banks)
        self.banks = tuple(MemoryBank(number, each) for number, each in enumerate(described))
        self.compute_units: tuple[ComputeUnit, ...] = ()
        self.transfers = Transfers()
        self._addresses = Addresses()
        self._lock = threading.Lock()
        self._closed = False
        for unit in driver.units:
            self._add(unit)
        if compute_units is None:
            compute_units = names() if driver.runtime is not None else ()
        for each in compute_units:
            self.add_compute_unit(each)
        self.scheduler = Scheduler(driver, self._addresses.find, dev_index=index)
        # Whole: the end of the process waits for its commands.
        _open_devices.add(self)

    def __repr__(self) -> str:
        return f"<{self}{', closed' if self._closed else ''}>"

    def __str__(self) -> str:
        return f"device {self.index} ({self.name})"

    @property
    def closed(self) -> bool:
        """Whether ``close()`` was called."""
        return self._closed

    def check_process(self) -> None:
        """Refuse to work in a process that was forked off; see `Scheduler.check_process`."""
        self.scheduler.check_process()

    # Compute units.

    def add_compute_unit(
        self, kernel: UnitDescription | Kernel | str, name: str = ""
    ) -> ComputeUnit:
        """Put a kernel on the device, as loading an xclbin does.

        Parameters
        ----------
        kernel : UnitDescription, Kernel or str
            What it is to run.
        name : str
            By which sessions find it; by default the kernel's, with a number where that is taken.

        Raises
        ------
        InvalidError
            There are 128 already, or one of that name; or it is wired to a bank that is not there.
        KernelError
            There is no such kernel.
        NoKernelError
            The device runs only what it is made of.
        """
        if self.driver.runtime is None:
            raise NoKernelError(
                f"{self} runs the compute units of its hardware alone: "
                f"{', '.join(each.name for each in self.compute_units) or 'it has none'}"
            )
        given = kernel if isinstance(kernel, UnitDescription) else UnitDescription(kernel)
        return self._add(UnitDescription(given.kernel, name or given.name, given.connectivity))

    def _add(self, what: UnitDescription | HardwareUnit) -> ComputeUnit:
        with self._lock:
            number = len(self.compute_units)
            if number >= MAX_COMPUTE_UNITS:
                raise InvalidError(
                    f"{self} has {number} compute units, and no device has more than "
                    f"{MAX_COMPUTE_UNITS}"
                )
            unit = ComputeUnit(number, what, bank_count=len(self.banks))
            taken = {each.name for each in self.compute_units}
            if unit.name in taken:
                if what.name:
                    raise InvalidError(f"{self} has a compute unit {unit.name!r} already")
                free = (f"{unit.name}_{k}" for k in range(2, MAX_COMPUTE_UNITS + 2))
                unit.name = next(name for name in free if name not in taken)
            self.compute_units = (*self.compute_units, unit)
        return unit

    def compute_unit(self, index: int = -1, name: str = "") -> ComputeUnit:
        """Return a compute unit by its index; where that is -1, by its name.

        Raises
        ------
        InvalidError
            There is neither an index nor a name, or the index is out of range.
        NoKernelError
            There is none of that name.
        """
        units = self.compute_units
        if index == -1 and name:
            for unit in units:
                if unit.name == name:
                    return unit
            there = [unit.name for unit in units]
            close = difflib.get_close_matches(name, there, n=1)
            hint = f"did you mean {close[0]}? " if close else ""
            raise NoKernelError(
                f"{self} has no compute unit {name!r}; {hint}there is {', '.join(there) or 'none'}"
            )
        if not 0 <= index < len(units):
            asked = "no compute unit was named" if index == -1 else f"no compute unit {index}"
            raise InvalidError(
                f"{asked} on {self}: give an index from 0 to {len(units) - 1}, or -1 and a name"
            )
        return units[index]

    # Memory.

    def bank(self, index: int) -> MemoryBank:
        """Return a memory bank.

        Raises
        ------
        InvalidError
            There is none of that index; the message lists those there are.
        """
        if not 0 <= index < len(self.banks):
            there = ", ".join(f"{each.index} ({each.name})" for each in self.banks)
            raise InvalidError(f"{self} has no memory bank {index}; there is {there}")
        return self.banks[index]

    def default_bank(self, compute_unit: ComputeUnit | None = None) -> int:
        """Return the bank that most arguments of a compute unit are wired to; 0 without one."""
        return 0 if compute_unit is None else compute_unit.default_bank

    def allocate(
        self, nbytes: int, *, bank: int = 0, device_only: bool = False, holder: str = ""
    ) -> BufferObject:
        """Return a new buffer; its side on the host starts zeroed.

        Parameters
        ----------
        nbytes : int
            At least 1.
        bank : int
            The memory bank.
        device_only : bool
            Whether it has no side on the host.
        holder : str
            Who it is for, for messages.

        Raises
        ------
        InvalidError
            There is no such bank, or no bytes are asked for.
        DeviceError
            The bank is full, and the message says of what; or the device failed.
        OrderError
            The device was closed, or this process was forked off the one that opened it.
        """
        holder = holder or "the application"
        self._check_open(holder)
        if nbytes < 1:
            raise InvalidError(f"{holder} asks for a buffer of {nbytes} bytes; ask for 1 or more")
        where = self.bank(bank)
        where.take(nbytes, holder)
        try:
            tensor = self.driver.allocate(nbytes, bank=bank, device_only=device_only)
            address = self.driver.address(tensor)
            buffer = BufferObject(
                self,
                tensor,
                bank_index=bank,
                paddr=where.make_up_address(nbytes) if address is None else address,
                device_only=device_only,
                holder=holder,
            )
        except BaseException:
            where.give_back(nbytes, holder)
            raise
        self._addresses.add(buffer)
        return buffer

    def adopt(self, address: int, nbytes: int, *, owner: object, holder: str = "") -> BufferObject:
        """Return a device-only buffer over host memory of somebody else's, in place.

        Parameters
        ----------
        address : int
            Of the first byte; any.
        nbytes : int
            At least 1.
        owner : object
            What keeps the memory where it is. The buffer holds it.
        holder : str
            Who it is for, for messages.

        Raises
        ------
        FormatError
            The device does not work in host memory.
        OrderError
            The device was closed, or this process was forked off the one that opened it.
        """
        self._check_open(holder)
        return self._adopted(self.driver.adopt(address, nbytes, owner), holder)

    def adopt_tensor(self, tensor: Tensor, *, holder: str = "") -> BufferObject:
        """Return a device-only buffer over memory of the device that is somebody else's, in place.

        Parameters
        ----------
        tensor : Tensor
            Of the driver's own context, such as a mapper returns. It has to stay open for as long
            as the buffer is used, which holds it.
        holder : str
            Who it is for, for messages.

        Raises
        ------
        OrderError
            As of `adopt`.
        """
        self._check_open(holder)
        whole = TensorInfo((tensor.info.span,), BYTE)
        return self._adopted(self.driver.view(tensor, whole), holder)

    def _adopted(self, tensor: Tensor, holder: str) -> BufferObject:
        buffer = BufferObject(
            self,
            tensor,
            bank_index=0,
            # Not its own: the same memory may be adopted twice.
            paddr=self.banks[0].make_up_address(tensor.info.nbytes),
            device_only=True,
            holder=holder or "the application",
            is_adopted=True,
        )
        self._addresses.add(buffer)
        return buffer

    def _check_open(self, holder: str) -> None:
        self.check_process()
        if self._closed:
            asking = holder or "the application"
            raise OrderError(f"{asking} asks for a buffer of {self}, which was closed")

    def forget(self, buffer: BufferObject, freed_at: str) -> None:
        """Take a buffer off the books; it was freed at some line of code."""
        self._addresses.remove(buffer, freed_at)
        if not buffer.is_adopted:
            self.banks[buffer.bank_index].give_back(buffer.size, buffer.holder)

    def buffer_at(self, address: int) -> BufferObject:
        """Return the buffer that an address is in; ``address - paddr`` is the offset into it.

        Raises
        ------
        InvalidError
            It is in none; in a `BufferUseError`, the message says who freed the one it was in.
        """
        return self._addresses.find(address)

    @property
    def buffers(self) -> tuple[BufferObject, ...]:
        """All buffers that are not freed."""
        return self._addresses.all()

    def close(self) -> None:
        """Wait for all commands, free all buffers and let go of the device; may be repeated.

        Buffers that nobody freed are told of in the log ``xma_plugins``.
        """
        with self._lock:
            if self._closed:
                return
            self._closed = True
        self.scheduler.close()
        leaked: Counter[str] = Counter()
        for buffer in self.buffers:
            leaked[buffer.holder] += buffer.size
            buffer.close()
        for holder, nbytes in leaked.items():
            _log.warning("%s: %s never freed buffers of %d bytes", self, holder, nbytes)
        self.driver.close()


_open_devices: "weakref.WeakSet[Device]" = weakref.WeakSet()

_LAST_SECONDS = 2.0
"""How long the end of the process waits for commands of devices that nobody closed."""

_once_settled: list[Callable[[], None]] = []


def once_settled(call: Callable[[], None]) -> Callable[[], None]:
    """Have something called at the end of the process, behind the commands of open devices."""
    _once_settled.append(call)
    return call


@atexit.register
def _settle() -> None:
    """Have no thread wait in a runtime while that is torn down: Intel's aborts the process."""
    for device in list(_open_devices):
        device.scheduler.settle(_LAST_SECONDS)
    for call in _once_settled:
        call()


def open_device(description: DeviceDescription | str, index: int = 0) -> Device:
    """Open a device.

    Parameters
    ----------
    description : DeviceDescription or str
        Which, and what is to be on it; or its name alone.
    index : int
        Its number.

    Raises
    ------
    NoDeviceError
        It is not there; the message says what to do.
    InvalidError, KernelError
        As of `Device`.
    DeviceError
        It cannot be opened.
    """
    made = DeviceDescription(description) if isinstance(description, str) else description
    driver = open_driver(made.name)
    try:
        if made.xclbin is not None:
            from xma_plugins.drivers.xrt import XRTDriver

            assert isinstance(driver, XRTDriver)
            driver.load_xclbin(made.xclbin)
        return Device(driver, index, compute_units=made.compute_units, banks=made.banks)
    except BaseException:
        driver.close()
        raise
