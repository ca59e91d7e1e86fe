"""Compute units of XRT devices: opened by name, told what to do, started and waited for.

A run is given arguments one by one, or a command the bytes of the registers as they are. The former
is XRT's own way, ``xrtRunStart``; the latter is what XMA does, and takes the interface below it,
``xclExecBuf``, with a command packet as ert.h has it.
"""

import ctypes as c
import struct
import threading
import time
from typing import Any

from bridges.backends.xrt import XRTContext, XRTTensor
from bridges.closable import Closable
from bridges.errors import ClosedError, DeviceError, DeviceNotFoundError
from bridges.native.xrt import FLAG_COMMAND, NO_BUFFER, RunState, last_error

__all__ = ["MAX_REGISTERS", "XRTCommand", "XRTKernel", "XRTRun"]

MAX_REGISTERS = 4032
"""Bytes; ``MAX_KERNEL_REGMAP_SIZE`` of XMA: the rest of a packet is its head."""

_NO_OFFSET = 0xFFFFFFFF
"""What ``xrtKernelArgOffset`` returns of an argument that is not there."""

_MASK_BITS = 32
_PACKET_NBYTES = 4096
_STATE = 0xF
_ERT_CU, _START_CU = 3, 0
"""A packet's type and opcode: work for a compute unit."""

_LONGEST_NAP = 1e-3
"""Seconds between two looks at a command."""


class XRTKernel(Closable):
    """One compute unit, opened for use beside others that have it open.

    Parameters
    ----------
    context : XRTContext
        The device, with an xclbin loaded.
    kernel, instance : str
        Such as ``"copy"`` and ``"copy_1"``.

    Raises
    ------
    DeviceNotFoundError
        The xclbin that is loaded has no such compute unit.
    """

    _handle = 0

    def __init__(self, context: XRTContext, kernel: str, instance: str) -> None:
        self.context = context
        self.name = f"{kernel}:{instance}"
        self._library = context.xrt.library
        device = context.handle("xrt_device")
        self._handle = self._library.xrtPLKernelOpen(
            device, context.xclbin_id, f"{kernel}:{{{instance}}}".encode()
        )
        if not self._handle:
            raise DeviceNotFoundError(
                f"{context.name} has no compute unit {self.name}; the xclbin that is loaded tells "
                "which there are"
            )

    @property
    def handle(self) -> int:
        """The ``xrtKernelHandle``."""
        if not self._handle:
            raise ClosedError(f"the compute unit {self.name} was closed; open it again")
        return self._handle

    def bank(self, argument: int) -> int | None:
        """Return the memory group that an argument is wired to; None of what is no pointer."""
        group: int = self._library.xrtKernelArgGroupId(self.handle, argument)
        return None if group < 0 else group

    def offset(self, argument: int) -> int:
        """Return where an argument is in the register map, in bytes.

        Raises
        ------
        DeviceError
            There is no such argument.
        """
        offset: int = self._library.xrtKernelArgOffset(self.handle, argument)
        if offset == _NO_OFFSET:
            raise DeviceError(f"the compute unit {self.name} has no argument {argument}")
        return offset

    def close(self) -> None:
        """Close it; may be repeated."""
        handle, self._handle = self._handle, 0
        if handle:
            self._library.xrtKernelClose(handle)

    def __del__(self) -> None:
        self.close()


class XRTRun(Closable):
    """A compute unit's work, told by arguments. It may be started again once it is done.

    Parameters
    ----------
    kernel : XRTKernel
        It stays open for as long as this is used.

    Raises
    ------
    DeviceError
        XRT cannot make one.
    """

    _handle = 0

    def __init__(self, kernel: XRTKernel) -> None:
        self._kernel = kernel
        self._library = kernel.context.xrt.library
        self._keep: dict[int, object] = {}
        self._handle = self._library.xrtRunOpen(kernel.handle)
        if not self._handle:
            raise DeviceError(f"XRT cannot make a run of {kernel.name}: {last_error()}")

    @property
    def handle(self) -> int:
        """The ``xrtRunHandle``."""
        if not self._handle:
            raise ClosedError(f"the run of {self._kernel.name} was closed; make another one")
        return self._handle

    def set_argument(self, index: int, value: "XRTTensor | c._SimpleCData[Any]") -> None:
        """Tell one argument.

        Parameters
        ----------
        index : int
            Its place among the kernel's arguments.
        value : XRTTensor or a ctypes object
            A buffer, from its beginning on; or a number of the very C type that the argument is of,
            such as ``ctypes.c_uint32(7)``.

        Raises
        ------
        DeviceError
            There is no such argument, or XRT does not take it.
        """
        given: object = value
        if isinstance(value, XRTTensor):
            # XRT hands the kernel the address of the buffer, and knows of no offset.
            if value.offset:
                raise DeviceError(
                    f"argument {index} of {self._kernel.name} begins {value.offset} bytes inside "
                    "of its buffer; a run takes whole buffers, a register map any address"
                )
            given = c.c_void_p(value.bo.handle)
        if self._library.xrtRunSetArg(self.handle, index, given):
            raise DeviceError(f"XRT does not take argument {index} of {self._kernel.name}")
        self._keep[index] = value

    def start(self) -> None:
        """Start it, and do not wait.

        Raises
        ------
        DeviceError
            XRT does not take it; it may be under way.
        """
        if self._library.xrtRunStart(self.handle):
            raise DeviceError(f"XRT does not start {self._kernel.name}: {last_error()}")

    @property
    def state(self) -> RunState:
        """Where it is."""
        return RunState(self._library.xrtRunState(self.handle))

    def wait(self, timeout: float) -> RunState:
        """Wait until it is done, ``timeout`` seconds at most, and return where it is then."""
        # Zero would be for ever.
        milliseconds = max(1, round(timeout * 1000))
        return RunState(self._library.xrtRunWaitFor(self.handle, milliseconds))

    def close(self) -> None:
        """Let go of it; may be repeated."""
        handle, self._handle = self._handle, 0
        if handle:
            self._library.xrtRunClose(handle)
        self._keep.clear()

    def __del__(self) -> None:
        self.close()


class XRTCommand(Closable):
    """A command packet with the bytes of a compute unit's registers, on its way.

    What is at the addresses in the registers has to live until it is done. Several threads may wait
    for it.

    Parameters
    ----------
    kernel : XRTKernel
        The compute unit.
    index : int
        The bit that stands for it in a command.
    registers : bytes
        From the first register on: a multiple of 4, `MAX_REGISTERS` at most. The first 16 bytes are
        the hardware's own and are written by it.

    Raises
    ------
    DeviceError
        There are too many registers, or XRT does not take the command.
    """

    _buffer = NO_BUFFER

    def __init__(self, kernel: XRTKernel, index: int, registers: bytes) -> None:
        if len(registers) > MAX_REGISTERS:
            raise DeviceError(
                f"a command of XRT has up to {MAX_REGISTERS} bytes of registers, got "
                f"{len(registers)} for {kernel.name}"
            )
        self.kernel = kernel
        self._lock = threading.Lock()
        self._state = RunState.NEW
        self._driver = kernel.context.xrt.driver
        device = kernel.context.handle("xrt_device")
        # The device is open for as long as its kernel is.
        self._device = kernel.context.xrt.library.xrtDeviceToXclDevice(device)
        self._buffer = self._driver.xclAllocBO(self._device, _PACKET_NBYTES, 0, FLAG_COMMAND)
        if self._buffer == NO_BUFFER:
            raise DeviceError(f"XRT has no memory for a command of {kernel.name}: {last_error()}")
        self._address = self._driver.xclMapBO(self._device, self._buffer, True)
        if not self._address:
            self._free()
            raise DeviceError(f"XRT cannot map a command of {kernel.name}: {last_error()}")
        packet = _packet(index, registers)
        c.memmove(self._address, packet, len(packet))
        if self._driver.xclExecBuf(self._device, self._buffer):
            reason = last_error()
            self._state = RunState.ERROR
            self._free()
            raise DeviceError(f"XRT does not start {kernel.name}: {reason}")

    @property
    def state(self) -> RunState:
        """Where it is."""
        with self._lock:
            if self._buffer != NO_BUFFER:
                header = c.c_uint32.from_address(self._address).value
                # A scheduler may not have said so yet.
                self._state = RunState(header & _STATE or RunState.NEW)
                if self._state.is_final:
                    self._free()
            return self._state

    def wait(self, timeout: float | None = None) -> RunState:
        """Wait until it is done, ``timeout`` seconds at most, and return where it is then.

        It looks at the packet from time to time, as XMA does (its CPU mode 2): ``xclExecWait``
        tells of any command's end, to one waiter alone.
        """
        end = None if timeout is None else time.monotonic() + timeout
        nap = 1e-5
        while not (state := self.state).is_final:
            if end is not None and time.monotonic() >= end:
                break
            time.sleep(nap)
            nap = min(2 * nap, _LONGEST_NAP)
        return state

    def _free(self) -> None:
        buffer, self._buffer = self._buffer, NO_BUFFER
        if self._address:
            self._driver.xclUnmapBO(self._device, buffer, self._address)
        self._driver.xclFreeBO(self._device, buffer)

    def close(self) -> None:
        """Wait until it is done, and let go of the packet; may be repeated."""
        self.wait()


def _packet(index: int, registers: bytes) -> bytes:
    """Return ``struct ert_start_kernel_cmd`` of ert.h."""
    masks = [0] * (index // _MASK_BITS + 1)
    masks[-1] = 1 << index % _MASK_BITS
    words = len(masks) + len(registers) // 4
    header = RunState.NEW | len(masks) - 1 << 10 | words << 12 | _START_CU << 23 | _ERT_CU << 28
    return struct.pack(f"<I{len(masks)}I", header, *masks) + registers
