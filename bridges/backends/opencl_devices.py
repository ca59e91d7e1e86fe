"""OpenCL's devices: which there are, and the one that a selector names."""

import functools
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bridges.backends.opencl_vendors import load_failure, load_tbb, vendor_folder, wheel_library
from bridges.backends.probe import BACKENDS
from bridges.backends.pyopencl_cache import load_pyopencl
from bridges.errors import DeviceError, DeviceNotFoundError
from bridges.tensor import MemoryType

if TYPE_CHECKING:
    import pyopencl as cl
else:
    cl = load_pyopencl()

__all__ = ["OpenCLDevice", "absence", "choose", "describe", "devices", "opencl_errors"]

_INSTALL = BACKENDS[MemoryType.OPENCL][1]
_NO_PLATFORM = -1001
"""``CL_PLATFORM_NOT_FOUND_KHR`` of cl_khr_icd: the loader found no runtime."""


@contextmanager
def opencl_errors(action: str) -> Iterator[None]:
    """Translate pyopencl's errors; ``action`` completes "OpenCL cannot ...".

    Raises
    ------
    DeviceError
        The runtime reported a failure.
    """
    try:
        yield
    except cl.Error as error:
        raise DeviceError(f"OpenCL cannot {action}: {error}") from error


@dataclass(frozen=True, slots=True)
class OpenCLDevice:
    """One device of one OpenCL platform.

    Attributes
    ----------
    platform_index, device_index : int
        As a selector names them: ``"0:1"``.
    platform, name, vendor, driver_version : str
        As the runtime reports them.
    kind : str
        ``"gpu"``, ``"cpu"`` or ``"accelerator"``.
    shares_host_memory : bool
        Whether its kernels read and write host memory in place.
    """

    platform_index: int
    device_index: int
    platform: str
    name: str
    vendor: str
    kind: str
    driver_version: str
    shares_host_memory: bool

    def __str__(self) -> str:
        where = f"{self.platform_index}:{self.device_index}"
        return f"{where} {self.platform}: {self.name} ({self.kind}, driver {self.driver_version})"


_KINDS = {cl.device_type.GPU: "gpu", cl.device_type.CPU: "cpu"}
_PREFERENCE = ("gpu", "cpu", "accelerator")
_listing = threading.Lock()

load_tbb()


def _describe(device: Any, platform_index: int, device_index: int) -> OpenCLDevice:
    kind = next((name for bit, name in _KINDS.items() if device.type & bit), "accelerator")
    return OpenCLDevice(
        platform_index=platform_index,
        device_index=device_index,
        platform=device.platform.name.strip(),
        name=device.name.strip(),
        vendor=device.vendor.strip(),
        kind=kind,
        driver_version=device.driver_version.strip(),
        # A GPU with unified memory still copies a host pointer that is not aligned to its pages
        # or cache lines, silently; video planes seldom are.
        shares_host_memory=kind == "cpu",
    )


@functools.cache
def _found() -> tuple[tuple[OpenCLDevice, Any], ...]:
    """Return every device with its native object, in the runtime's order."""
    with vendor_folder():
        try:
            platforms = cl.get_platforms()
        except cl.Error as error:
            if error.code == _NO_PLATFORM:
                return ()
            raise DeviceError(f"OpenCL cannot list its platforms: {error}") from error
    found = []
    for platform_index, platform in enumerate(platforms):
        try:
            native = platform.get_devices()
        except cl.Error as error:
            if error.code == cl.status_code.DEVICE_NOT_FOUND:
                continue
            raise DeviceError(f"OpenCL cannot list {platform.name}'s devices: {error}") from error
        found += [
            (_describe(device, platform_index, index), device)
            for index, device in enumerate(native)
        ]
    return tuple(found)


def _listed() -> tuple[tuple[OpenCLDevice, Any], ...]:
    with _listing:
        return _found()


def devices() -> tuple[OpenCLDevice, ...]:
    """Return every OpenCL device of this machine, in the runtimes' own order.

    Raises
    ------
    DeviceError
        A runtime failed while it listed its devices.
    """
    return tuple(device for device, _ in _listed())


def absence() -> tuple[str, str]:
    """Return why there is no device at all, and what to do."""
    library = wheel_library()
    if library is None:
        return "no OpenCL runtime is installed", _INSTALL
    failure = load_failure(library)
    if failure:
        return f"the OpenCL runtime {library} does not load: {failure}", (
            "pip install intel-cmplr-lib-rt" if "cannot open shared object" in failure else _INSTALL
        )
    return (
        f"OpenCL found no device, though {library} is there; OCL_ICD_VENDORS hides it, or OpenCL "
        "was first used before bridges.backends.opencl"
    ), "unset OCL_ICD_VENDORS OCL_ICD_FILENAMES"


def describe(native: Any) -> OpenCLDevice:
    """Return what is known of a device; its indices are -1 where no loader lists it."""
    known = [device for device, other in _listed() if other == native]
    return known[0] if known else _describe(native, -1, -1)


def choose(selector: str) -> Any:
    """Return the ``pyopencl.Device`` that a selector names; see `OpenCLContext.create`.

    Raises
    ------
    DeviceNotFoundError
        There is none; the message lists those there are, or what to install.
    """
    found = _listed()
    if not found:
        reason, remedy = absence()
        raise DeviceNotFoundError(f"no OpenCL device {selector!r}: {reason}; try: {remedy}")
    platform, _, device = selector.partition(":")
    matching = [
        (entry, native)
        for entry, native in found
        if (
            str(entry.platform_index) == platform
            if platform.isdecimal()
            else platform.lower() in entry.platform.lower()
        )
        and device in ("", str(entry.device_index))
    ]
    if not matching:
        there = "; ".join(str(entry) for entry, _ in found)
        raise DeviceNotFoundError(
            f"no OpenCL device {selector!r}; there is {there}. Name one as platform:device, such "
            f"as opencl:{found[0][0].platform_index}:{found[0][0].device_index}, or by a part of "
            "its platform's name"
        )
    return min(matching, key=lambda pair: _rank(pair[0]))[1]


def _rank(device: OpenCLDevice) -> tuple[int, bool]:
    # PoCL comes with distributions and is often older; another runtime was installed on purpose.
    return _PREFERENCE.index(device.kind), device.platform == "Portable Computing Language"
