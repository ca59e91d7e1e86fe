"""The devices of this process: opened once, and numbered from 0."""

import logging
import os
import threading
from collections.abc import Sequence

from bridges.errors import XTranscodeError
from xma_plugins.device import Device, DeviceDescription, once_settled, open_device
from xma_plugins.drivers import selectors
from xma_plugins.errors import InvalidError, NoDeviceError, OrderError
from xma_plugins.load import CommandLoad, log_loads, relative_loads

__all__ = [
    "MAX_DEVICES",
    "device",
    "exit",
    "get_default_ddr_index",
    "get_session_cmd_load",
    "initialize",
    "num_devices",
]

MAX_DEVICES = 16
"""XMA's limit."""

_log = logging.getLogger("xma_plugins")


class _Opened:
    """What `initialize` opened, and in which process."""

    def __init__(self) -> None:
        self.devices: tuple[Device, ...] | None = None
        self.pid = 0
        self.inherited: list[tuple[Device, ...]] = []

    def here(self) -> tuple[Device, ...]:
        """Return the devices of this process.

        Raises
        ------
        OrderError
            There are none yet, or they are the parent's.
        """
        if self.devices is None:
            raise OrderError("no device was opened: call initialize first")
        if self.pid != os.getpid():
            raise OrderError(
                f"devices were opened by process {self.pid}, and this is its fork {os.getpid()}: "
                "call initialize here, or start processes by spawn, since few runtimes work in a "
                "fork of a process that used them"
            )
        return self.devices


_opened = _Opened()
_lock = threading.RLock()
os.register_at_fork(
    before=_lock.acquire, after_in_parent=_lock.release, after_in_child=_lock.release
)


def initialize(devices: Sequence[str | DeviceDescription] | None = None) -> None:
    """Open the devices that sessions of this process work on.

    Parameters
    ----------
    devices : sequence of str or DeviceDescription, optional
        Which; a device's place is its index. By default the host and every OpenCL, SYCL, CUDA and
        XRT device that there is: those that cannot be opened are told of in the log, and passed by.

    Raises
    ------
    OrderError
        It was called before in this process, and `exit` was not since.
    InvalidError
        None or more than 16 devices are asked for.
    NoDeviceError
        A device is not there.
    DeviceError
        A device cannot be opened.
    """
    with _lock:
        if _opened.devices is not None:
            if _opened.pid == os.getpid():
                raise OrderError(
                    f"initialize was called before, and opened {len(_opened.devices)} devices; "
                    "use these, or call exit first"
                )
            # Never collected: what the parent opened is the parent's to close.
            _opened.inherited.append(_opened.devices)
        opened = _open_all() if devices is None else _open_named(devices)
        _opened.devices, _opened.pid = opened, os.getpid()


def _open_named(devices: Sequence[str | DeviceDescription]) -> tuple[Device, ...]:
    if isinstance(devices, str) or not 1 <= len(devices) <= MAX_DEVICES:
        raise InvalidError(f"initialize takes a list of 1 to {MAX_DEVICES} devices, got {devices}")
    opened: list[Device] = []
    try:
        for index, each in enumerate(devices):
            opened.append(open_device(each, index))
    except BaseException:
        for done in opened:
            done.close()
        raise
    return tuple(opened)


def _open_all() -> tuple[Device, ...]:
    opened: list[Device] = []
    for name in selectors():
        if len(opened) == MAX_DEVICES:
            _log.warning("device %s is left out: %d are open", name, MAX_DEVICES)
            continue
        try:
            opened.append(open_device(name, len(opened)))
        except XTranscodeError as error:
            _log.warning("device %s is left out: %s", name, error)
    return tuple(opened)


def num_devices() -> int:
    """Return how many devices are open.

    Raises
    ------
    OrderError
        `initialize` was not called in this process.
    """
    return len(_opened.here())


def device(index: int) -> Device:
    """Return an open device.

    Raises
    ------
    NoDeviceError
        There is none of that index; the message lists those there are.
    OrderError
        `initialize` was not called in this process.
    """
    devices = _opened.here()
    if not 0 <= index < len(devices):
        there = ", ".join(f"{each.index} {each.name}" for each in devices)
        raise NoDeviceError(f"no device {index}; there is {there}")
    return devices[index]


def get_default_ddr_index(dev_index: int, cu_index: int = -1, cu_name: str = "") -> int:
    """Return the memory bank that sessions with a compute unit use, unless they name another.

    Parameters
    ----------
    dev_index : int
        The device.
    cu_index, cu_name
        The compute unit; see `Device.compute_unit`.

    Raises
    ------
    NoDeviceError, NoKernelError, InvalidError
        There is no such device, or no such compute unit.
    """
    there = device(dev_index)
    return there.default_bank(there.compute_unit(cu_index, cu_name))


def get_session_cmd_load() -> list[CommandLoad]:
    """Return how all sessions so far kept compute units busy, beside each other.

    It is also written to the log ``xma_plugins``, at level INFO.

    Raises
    ------
    OrderError
        `initialize` was not called in this process.
    """
    return _report(_opened.here())


def _report(devices: Sequence[Device]) -> list[CommandLoad]:
    loads = relative_loads(count for each in devices for count in each.scheduler.counts)
    log_loads(loads)
    return loads


@once_settled
def _report_at_end() -> None:
    """Tell of the load where the process ends without `exit`."""
    if _opened.devices is not None and _opened.pid == os.getpid():
        _report(_opened.devices)


def exit() -> None:
    """Close all devices, once their commands are done; then `initialize` may be called again.

    What buffers were never freed, and the load of every session that ran, is written to the log
    ``xma_plugins``. Nothing happens where `initialize` was not called. A process that ends without
    it writes the load alone.
    """
    with _lock:
        devices, _opened.devices = _opened.devices, None
        if devices is None:
            return
        if _opened.pid != os.getpid():
            _opened.inherited.append(devices)
            return
        failure: BaseException | None = None
        for each in devices:
            try:
                each.close()
            except Exception as error:  # noqa: BLE001 - Raised below, once all are closed.
                failure = failure or error
        _report(devices)
    if failure is not None:
        raise failure
