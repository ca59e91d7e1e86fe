"""XRT's C API for devices, buffer objects and kernels, in ``libxrt_coreutil``.

XRT loads the library that drives a device, ``<XILINX_XRT>/lib/libxrt_core.so.2`` or one that
emulates a device, when the first device is asked for. Where it does not find it, XRT 2.13 ends the
whole process: so this module looks first. Once loaded, libraries and environment are settled.
"""

import ctypes as c
import enum
import functools
import os
from dataclasses import dataclass
from pathlib import Path

from bridges.errors import DeviceNotFoundError
from bridges.native.loading import Prototype, declare

__all__ = [
    "FLAG_COMMAND",
    "FLAG_DEVICE_ONLY",
    "FLAG_HOST_ONLY",
    "FLAG_NONE",
    "NO_BUFFER",
    "SYNC_FROM_DEVICE",
    "SYNC_TO_DEVICE",
    "XRT",
    "RunState",
    "core_name",
    "last_error",
    "load",
]

FLAG_NONE, FLAG_DEVICE_ONLY, FLAG_HOST_ONLY, FLAG_COMMAND = 0, 1 << 28, 1 << 29, 1 << 31
"""``XRT_BO_FLAGS_*`` of xrt_mem.h; the last is ``XRT_BO_FLAGS_EXECBUF``."""

NO_BUFFER = 0xFFFFFFFF
"""``XRT_NULL_BO`` of xrt.h."""

SYNC_TO_DEVICE, SYNC_FROM_DEVICE = 0, 1
"""``enum xclBOSyncDirection`` of xrt.h."""


class RunState(enum.IntEnum):
    """``enum ert_cmd_state`` of ert.h: where a command is."""

    NEW = 1
    QUEUED = 2
    RUNNING = 3
    COMPLETED = 4
    ERROR = 5
    ABORT = 6
    SUBMITTED = 7
    TIMEOUT = 8
    NO_RESPONSE = 9
    SOFT_KERNEL_ERROR = 10
    SOFT_KERNEL_CRASHED = 11

    @property
    def is_final(self) -> bool:
        """Whether nothing will change any more."""
        return self not in _PENDING


_PENDING = (RunState.NEW, RunState.QUEUED, RunState.RUNNING, RunState.SUBMITTED)

_CORES = {"": "core", "noop": "noop", "sw_emu": "swemu", "hw_emu": "hwemu"}
"""What XRT loads for each value of XCL_EMULATION_MODE, empty where it is not set."""

# xrt/xrt_device.h, xrt/xrt_bo.h and xrt/xrt_kernel.h of XRT 2.13; 2.17 declares the same.
_PROTOTYPES: dict[str, Prototype] = {
    "xrtDeviceOpen": (c.c_void_p, [c.c_uint]),
    "xrtDeviceClose": (c.c_int, [c.c_void_p]),
    "xrtDeviceLoadXclbin": (c.c_int, [c.c_void_p, c.c_char_p]),
    "xrtDeviceGetXclbinUUID": (c.c_int, [c.c_void_p, c.c_char_p]),
    "xrtDeviceToXclDevice": (c.c_void_p, [c.c_void_p]),
    "xrtBOAlloc": (c.c_void_p, [c.c_void_p, c.c_size_t, c.c_uint64, c.c_uint32]),
    "xrtBOAllocUserPtr": (
        c.c_void_p,
        [c.c_void_p, c.c_void_p, c.c_size_t, c.c_uint64, c.c_uint32],
    ),
    "xrtBOAddress": (c.c_uint64, [c.c_void_p]),
    "xrtBOExport": (c.c_int32, [c.c_void_p]),
    "xrtBOFree": (c.c_int, [c.c_void_p]),
    "xrtBOImport": (c.c_void_p, [c.c_void_p, c.c_int32]),
    "xrtBOMap": (c.c_void_p, [c.c_void_p]),
    "xrtBOSize": (c.c_size_t, [c.c_void_p]),
    "xrtBOSync": (c.c_int, [c.c_void_p, c.c_int, c.c_size_t, c.c_size_t]),
    "xrtPLKernelOpen": (c.c_void_p, [c.c_void_p, c.c_char_p, c.c_char_p]),
    "xrtKernelClose": (c.c_int, [c.c_void_p]),
    "xrtKernelArgGroupId": (c.c_int, [c.c_void_p, c.c_int]),
    "xrtKernelArgOffset": (c.c_uint32, [c.c_void_p, c.c_int]),
    "xrtRunOpen": (c.c_void_p, [c.c_void_p]),
    "xrtRunStart": (c.c_int, [c.c_void_p]),
    "xrtRunState": (c.c_int, [c.c_void_p]),
    "xrtRunWaitFor": (c.c_int, [c.c_void_p, c.c_uint]),
    "xrtRunClose": (c.c_int, [c.c_void_p]),
    # What follows is of the argument's own type.
    "xrtRunSetArg": (c.c_int, [c.c_void_p, c.c_int]),
}

# xrt.h: the interface below, in the device's own library, for commands as the hardware has them.
_DRIVER_PROTOTYPES: dict[str, Prototype] = {
    "xclAllocBO": (c.c_uint, [c.c_void_p, c.c_size_t, c.c_int, c.c_uint]),
    "xclMapBO": (c.c_void_p, [c.c_void_p, c.c_uint, c.c_bool]),
    "xclUnmapBO": (c.c_int, [c.c_void_p, c.c_uint, c.c_void_p]),
    "xclFreeBO": (None, [c.c_void_p, c.c_uint]),
    "xclExecBuf": (c.c_int, [c.c_void_p, c.c_uint]),
}


@dataclass(frozen=True, slots=True)
class XRT:
    """XRT as it was loaded.

    Attributes
    ----------
    library : ctypes.CDLL
        ``libxrt_coreutil``, with prototypes set; see xrt/xrt_device.h, xrt/xrt_bo.h and
        xrt/xrt_kernel.h.
    driver : ctypes.CDLL
        The library that drives the devices; see xrt.h.
    device_count : int
        Devices that the driver has found.
    mode : str
        Empty for real devices, else how they are emulated: ``"noop"``, ``"sw_emu"``, ``"hw_emu"``.
    """

    library: c.CDLL
    driver: c.CDLL
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
    declare(driver, _DRIVER_PROTOTYPES)
    return XRT(library, driver, driver.xclProbe(), mode)


def core_name(mode: str) -> str:
    """Return what the library that drives devices is called in a mode, such as ``"core"``."""
    return _CORES[mode]


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
