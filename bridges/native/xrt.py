"""XRT's C API for devices and buffer objects, in ``libxrt_coreutil``.

XRT loads the library that drives a device, ``<XILINX_XRT>/lib/libxrt_core.so.2`` or one that
emulates a device, when the first device is asked for. Where it does not find it, XRT 2.13 ends the
whole process: so this module looks first. Once loaded, libraries and environment are settled.
"""

import ctypes as c
import functools
import os
from dataclasses import dataclass
from pathlib import Path

from bridges.errors import DeviceNotFoundError
from bridges.native.loading import Prototype, declare

__all__ = [
    "FLAG_HOST_ONLY",
    "FLAG_NONE",
    "SYNC_FROM_DEVICE",
    "SYNC_TO_DEVICE",
    "XRT",
    "last_error",
    "load",
]

FLAG_NONE, FLAG_HOST_ONLY = 0, 1 << 29
"""``XRT_BO_FLAGS_*`` of xrt_mem.h."""

SYNC_TO_DEVICE, SYNC_FROM_DEVICE = 0, 1
"""``enum xclBOSyncDirection`` of xrt.h."""

_CORES = {"": "core", "noop": "noop", "sw_emu": "swemu", "hw_emu": "hwemu"}
"""What XRT loads for each value of XCL_EMULATION_MODE, empty where it is not set."""

# xrt/xrt_device.h and xrt/xrt_bo.h of XRT 2.13; 2.17 declares the same.
_PROTOTYPES: dict[str, Prototype] = {
    "xrtDeviceOpen": (c.c_void_p, [c.c_uint]),
    "xrtDeviceClose": (c.c_int, [c.c_void_p]),
    "xrtBOAlloc": (c.c_void_p, [c.c_void_p, c.c_size_t, c.c_uint64, c.c_uint32]),
    "xrtBOAllocUserPtr": (
        c.c_void_p,
        [c.c_void_p, c.c_void_p, c.c_size_t, c.c_uint64, c.c_uint32],
    ),
    "xrtBOAddress": (c.c_uint64, [c.c_void_p]),
    "xrtBOExport": (c.c_int32, [c.c_void_p]),
    "xrtBOFree": (c.c_int, [c.c_void_p]),
    "xrtBOMap": (c.c_void_p, [c.c_void_p]),
    "xrtBOSize": (c.c_size_t, [c.c_void_p]),
    "xrtBOSync": (c.c_int, [c.c_void_p, c.c_int, c.c_size_t, c.c_size_t]),
}


@dataclass(frozen=True, slots=True)
class XRT:
    """XRT as it was loaded.

    Attributes
    ----------
    library : ctypes.CDLL
        ``libxrt_coreutil``, with prototypes set; see xrt/xrt_device.h and xrt/xrt_bo.h.
    device_count : int
        Devices that the driver has found.
    mode : str
        Empty for real devices, else how they are emulated: ``"noop"``, ``"sw_emu"``, ``"hw_emu"``.
    """

    library: c.CDLL
    device_count: int
    mode: str


@functools.cache
def load() -> XRT:
    """Load XRT, once; a failure is not remembered.

    Raises
    ------
    DeviceNotFoundError
        XRT is not installed, or its environment is not set up.
    """
    try:
        library = c.CDLL("libxrt_coreutil.so.2", use_errno=True)
    except OSError as error:
        raise DeviceNotFoundError(f"XRT is not installed: {error}") from error
    mode = os.environ.get("XCL_EMULATION_MODE", "")
    driver = c.CDLL(str(_driver(mode)))
    driver.xclProbe.restype = c.c_uint
    declare(library, _PROTOTYPES)
    return XRT(library, driver.xclProbe(), mode)


def _driver(mode: str) -> Path:
    """Return the library that XRT itself is going to load for its devices."""
    if mode not in _CORES:
        raise DeviceNotFoundError(
            f"XCL_EMULATION_MODE is {mode!r}, and XRT knows {', '.join(filter(None, _CORES))}; "
            "unset it for real devices"
        )
    home = os.environ.get("XILINX_XRT")
    if not home:
        raise DeviceNotFoundError("XRT is installed, but XILINX_XRT is not set")
    path = Path(home, "lib", f"libxrt_{_CORES[mode]}.so.2")
    if not path.is_file():
        raise DeviceNotFoundError(f"XILINX_XRT is {home}, but there is no {path}")
    return path


def last_error() -> str:
    """Return the text of what the last call of this thread set ``errno`` to."""
    number = c.get_errno()
    return os.strerror(number) if number else "no reason given"
