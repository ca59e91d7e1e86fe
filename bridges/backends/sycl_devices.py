"""Which SYCL devices there are: of Intel's runtimes, and of those alone.

SYCL reaches processors through OpenCL, and lists what any OpenCL runtime offers. A runtime that has
no unified shared memory, such as PoCL before version 5, aborts the process when it is asked for
some; so others are kept away from SYCL's loader where that is possible, and passed over in any
case.
"""

import functools
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import dpctl

from bridges.backends.opencl_vendors import load_failure, load_tbb, vendor_folder, wheel_library
from bridges.backends.probe import BACKENDS
from bridges.errors import DeviceError, DeviceNotFoundError
from bridges.tensor import MemoryType

__all__ = ["SyclDevice", "absence", "choose", "devices", "intel_runtimes"]

_INSTALL = BACKENDS[MemoryType.SYCL][1]
_GPU_RUNTIME = b"libigdrcl"
"""Intel's OpenCL library for GPUs, as vendor files name it."""
_PREFERENCE = ("gpu", "cpu", "accelerator")
_listing = threading.Lock()

load_tbb()


@dataclass(frozen=True, slots=True)
class SyclDevice:
    """One device that SYCL reaches.

    Attributes
    ----------
    backend : str
        ``"opencl"``, ``"level_zero"`` or ``"cuda"``.
    kind : str
        ``"gpu"``, ``"cpu"`` or ``"accelerator"``.
    index : int
        Among the devices listed of the same backend and kind.
    name, vendor, driver_version : str
        As the runtime reports them.
    shares_host_memory : bool
        Whether its kernels read and write host memory in place.
    """

    backend: str
    kind: str
    index: int
    name: str
    vendor: str
    driver_version: str
    shares_host_memory: bool

    @property
    def selector(self) -> str:
        """SYCL's filter string, which chooses this device and no other."""
        return f"{self.backend}:{self.kind}:{self.index}"

    def __str__(self) -> str:
        return f"{self.selector} {self.name} (driver {self.driver_version})"


@contextmanager
def intel_runtimes() -> Iterator[None]:
    """Show SYCL's OpenCL loader Intel's runtimes alone, while its first call is made.

    ``OCL_ICD_FILENAMES``, which SYCL's own documents name, only adds to what the loader finds, and
    means nothing to a system's loader that is in the process already; so the folder that any
    loader looks into is replaced. Where the user has set either, nothing is changed.
    """
    # The wheel's runtime for processors stands in for the system's, if there is one.
    with vendor_folder(only=_GPU_RUNTIME):
        yield


def _can_be_used(native: Any) -> bool:
    return bool(
        native.has_aspect_usm_device_allocations
        and native.has_aspect_usm_host_allocations
        # Newer versions of PoCL have unified shared memory; none was tried with SYCL.
        and "Portable Computing Language" not in native.sycl_platform.name
    )


def _describe(native: Any, taken: list[SyclDevice]) -> SyclDevice:
    backend, kind = native.backend.name, native.device_type.name
    return SyclDevice(
        backend=backend,
        kind=kind,
        index=sum((other.backend, other.kind) == (backend, kind) for other in taken),
        name=native.name.strip(),
        vendor=native.vendor.strip(),
        driver_version=native.driver_version.strip(),
        shares_host_memory=kind == "cpu" and bool(native.has_aspect_usm_system_allocations),
    )


@functools.cache
def _found() -> tuple[tuple[tuple[SyclDevice, Any], ...], tuple[str, ...]]:
    """Return the devices with their native objects, and the names of those passed over."""
    with intel_runtimes():
        try:
            natives = dpctl.get_devices()
        except (RuntimeError, ValueError) as error:
            raise DeviceError(f"SYCL cannot list its devices: {error}") from error
    found: list[SyclDevice] = []
    usable = [native for native in natives if _can_be_used(native)]
    for native in usable:
        found.append(_describe(native, found))
    passed_over = [
        f"{native.name.strip()} of {native.sycl_platform.name.strip()}"
        for native in natives
        if not _can_be_used(native)
    ]
    return tuple(zip(found, usable, strict=True)), tuple(passed_over)


def _listed() -> tuple[tuple[tuple[SyclDevice, Any], ...], tuple[str, ...]]:
    with _listing:
        return _found()


def devices() -> tuple[SyclDevice, ...]:
    """Return every SYCL device that can be used, in the runtime's own order.

    Raises
    ------
    DeviceError
        The runtime failed while it listed its devices.
    """
    return tuple(device for device, _ in _listed()[0])


def absence() -> tuple[str, str]:
    """Return why there is no device at all, and what to do."""
    passed_over = _listed()[1]
    library = wheel_library()
    if library is None:
        reason, remedy = "no SYCL device is there", _INSTALL
    elif failure := load_failure(library):
        reason = f"the OpenCL runtime {library} does not load: {failure}"
        # openvino brings an older libtbb, and a process has one library of a name.
        is_in_the_way = "tbb" in failure and "openvino" in sys.modules
        remedy = "import bridges.backends.sycl before openvino" if is_in_the_way else _INSTALL
    else:
        reason = (
            f"SYCL found no device, though {library} is there; OCL_ICD_VENDORS or "
            "ONEAPI_DEVICE_SELECTOR hides it, or dpctl or another user of libOpenCL.so.1, such as "
            "openvino or OpenCV, was first used before bridges.backends.sycl"
        )
        remedy = "unset OCL_ICD_VENDORS OCL_ICD_FILENAMES ONEAPI_DEVICE_SELECTOR"
    if passed_over:
        reason += f"; passed over: {', '.join(passed_over)}, not Intel's and not safe to use"
    return reason, remedy


def choose(selector: str) -> tuple[SyclDevice, Any]:
    """Return the device that a filter string names, with its native object.

    Parameters
    ----------
    selector : str
        ``backend:kind:index``, each part of which may be left out: ``"cpu"``, ``"opencl:gpu"``,
        ``"level_zero:0"``; or empty for the best device there is: a GPU before a CPU.

    Raises
    ------
    DeviceNotFoundError
        There is no such device; the message lists those there are, or what to install.
    """
    found = _listed()[0]
    if not found:
        reason, remedy = absence()
        raise DeviceNotFoundError(f"no SYCL device {selector!r}: {reason}; try: {remedy}")
    parts = [part for part in selector.lower().split(":") if part]
    wanted = {part for part in parts if not part.isdecimal()}
    matching = [pair for pair in found if wanted <= {pair[0].backend, pair[0].kind}]
    matching.sort(key=lambda pair: _PREFERENCE.index(pair[0].kind))
    numbers = [int(part) for part in parts if part.isdecimal()]
    if len(numbers) > 1 or (numbers and numbers[0] >= len(matching)):
        matching = []
    if not matching:
        there = "; ".join(str(device) for device, _ in found)
        raise DeviceNotFoundError(
            f"no SYCL device {selector!r}; there is {there}. Name one as backend:kind:index, such "
            f"as sycl:{found[0][0].selector}"
        )
    return matching[numbers[0] if numbers else 0]
