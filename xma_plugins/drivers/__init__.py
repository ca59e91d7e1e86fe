"""Drivers: what a device does with bytes and kernels, a module for each framework."""

import importlib
from collections.abc import Sequence
from typing import Any, Protocol

from bridges.context import Context
from bridges.device import DeviceName
from xma_plugins.drivers.driver import BYTE, BankDescription, Driver, HardwareUnit
from xma_plugins.errors import NoDeviceError

__all__ = [
    "BYTE",
    "BankDescription",
    "Driver",
    "HardwareUnit",
    "driver_of",
    "open_driver",
    "selectors",
]

_MODULES = {"cpu": "host", "opencl": "opencl", "sycl": "sycl", "cuda": "cuda", "xrt": "xrt"}
"""Kinds of devices, each with its module here. One has ``create(selector)``, which opens a device,
and ``selectors()``, which names those that are there."""


class _Module(Protocol):
    def create(self, selector: str) -> Driver: ...

    def over(self, context: Any) -> Driver: ...

    def selectors(self) -> Sequence[str]: ...


def open_driver(name: str) -> Driver:
    """Open a device.

    Parameters
    ----------
    name : str
        ``cpu``, ``opencl[:platform[:device]]``, ``sycl[:filter]``, ``cuda[:n]``, ``xrt[:n]``; or
        ``auto`` for the best OpenCL device, or the host where there is none.

    Raises
    ------
    NoDeviceError
        No device of that name is there, or its framework is not; the message says what to do.
    DeviceError
        It cannot be opened.
    """
    try:
        asked = DeviceName.parse(name)
        if asked.kind == "auto":
            return _best()
        if asked.kind not in _MODULES:
            raise NoDeviceError(
                f"device {name!r} runs no compute units; name one of {', '.join(_MODULES)}"
            )
        driver: Driver = _module(asked.kind).create(asked.selector)
    except (ImportError, LookupError) as error:
        if isinstance(error, NoDeviceError):
            raise
        raise NoDeviceError(f"there is no device {name!r}: {error}") from error
    return driver


def _best() -> Driver:
    """Return the best OpenCL device, a GPU before a CPU, or else the host."""
    try:
        return open_driver("opencl")
    except NoDeviceError:
        return open_driver("cpu")


def driver_of(context: Context) -> Driver:
    """Return a driver for a device that is open, as a context of `bridges`; it owns the context.

    Raises
    ------
    NoDeviceError
        It is of a kind that runs no kernels.
    """
    kind = context.memory_type.value.lower()
    if kind not in ("cpu", "opencl", "sycl", "cuda"):
        raise NoDeviceError(
            f"{context.name} runs no kernels; use the CPU, an OpenCL, a SYCL or a CUDA device"
        )
    made: Driver = _module(kind).over(context)
    return made


def selectors() -> list[str]:
    """Return the name of every device of this machine, the host first."""
    found = []
    for kind in _MODULES:
        try:
            names = _module(kind).selectors()
        except ImportError:
            continue
        found += [f"{kind}:{each}" if each else kind for each in names]
    return found


def _module(kind: str) -> "_Module":
    module: Any = importlib.import_module(f"xma_plugins.drivers.{_MODULES[kind]}")
    made: _Module = module
    return made
