"""The functions of libxma2api, and what has to be there before it can be loaded.

The library names none of those it needs: XRT's, and the one that drives the cards, have to be in
the process for all to see.
"""

import ctypes as c
import functools
import threading
from collections.abc import Sequence
from pathlib import Path

from bridges.errors import DeviceNotFoundError
from bridges.native import xrt
from bridges.native.loading import Prototype, declare, loaded_library
from xma_plugins.errors import (
    ChannelCapacityError,
    InvalidError,
    NoChannelError,
    NoDeviceError,
    NoKernelError,
    OrderError,
    PluginError,
    XmaError,
    XmaTimeoutError,
)
from xma_plugins.native.structures import PROPERTIES, SESSIONS, DataBuffer, Frame, FrameProperties
from xma_plugins.native.structures import XclbinParameter as _Parameter
from xma_plugins.status import Status
from xma_plugins.xclbin import Xclbin

__all__ = [
    "PREFIXES",
    "check",
    "check_initialized",
    "finalize",
    "initialize",
    "load",
    "load_plugin_side",
    "num_devices",
]

_FRAME, _DATA, _FORMAT = c.POINTER(Frame), c.POINTER(DataBuffer), c.POINTER(FrameProperties)
_INT = c.POINTER(c.c_int32)

# xma.h, xmabuffers.h and the headers of the sessions, in the folder xma2 of XRT 2.13.
_PROTOTYPES: dict[str, Prototype] = {
    "xma_initialize": (c.c_int32, [c.POINTER(_Parameter), c.c_int32]),
    "xma_num_devices": (c.c_int32, []),
    "xma_exit": (None, []),
    "xma_get_default_ddr_index": (c.c_int32, [c.c_int32, c.c_int32, c.c_char_p]),
    "xma_frame_planes_get": (c.c_int32, [_FORMAT]),
    "xma_frame_alloc": (_FRAME, [_FORMAT, c.c_bool]),
    "xma_frame_free": (None, [_FRAME]),
    "xma_frame_add_side_data": (c.c_int32, [_FRAME, c.c_void_p]),
    "xma_frame_get_side_data": (c.c_void_p, [_FRAME, c.c_int]),
    "xma_frame_remove_side_data": (c.c_int32, [_FRAME, c.c_void_p]),
    "xma_frame_remove_side_data_type": (c.c_int32, [_FRAME, c.c_int]),
    "xma_frame_clear_all_side_data": (None, [_FRAME]),
    "xma_side_data_alloc": (c.c_void_p, [c.c_void_p, c.c_int, c.c_size_t, c.c_int32]),
    "xma_side_data_free": (None, [c.c_void_p]),
    "xma_side_data_inc_ref": (c.c_int32, [c.c_void_p]),
    "xma_side_data_dec_ref": (c.c_int32, [c.c_void_p]),
    "xma_side_data_get_refcount": (c.c_int32, [c.c_void_p]),
    "xma_side_data_get_buffer": (c.c_void_p, [c.c_void_p]),
    "xma_side_data_get_size": (c.c_size_t, [c.c_void_p]),
    "xma_data_buffer_alloc": (_DATA, [c.c_size_t, c.c_bool]),
    "xma_data_buffer_free": (None, [_DATA]),
    "xma_enc_session_send_frame": (c.c_int32, [c.c_void_p, _FRAME]),
    "xma_enc_session_recv_data": (c.c_int32, [c.c_void_p, _DATA, _INT]),
    "xma_dec_session_send_data": (c.c_int32, [c.c_void_p, _DATA, _INT]),
    "xma_dec_session_get_properties": (c.c_int32, [c.c_void_p, _FORMAT]),
    "xma_dec_session_recv_frame": (c.c_int32, [c.c_void_p, _FRAME]),
    "xma_scaler_session_send_frame": (c.c_int32, [c.c_void_p, _FRAME]),
    "xma_scaler_session_recv_frame_list": (c.c_int32, [c.c_void_p, c.POINTER(_FRAME)]),
    "xma_filter_session_send_frame": (c.c_int32, [c.c_void_p, _FRAME]),
    "xma_filter_session_recv_frame": (c.c_int32, [c.c_void_p, _FRAME]),
    "xma_kernel_session_write": (c.c_int32, [c.c_void_p, c.c_void_p, c.c_int32]),
    "xma_kernel_session_read": (c.c_int32, [c.c_void_p, c.c_void_p, _INT]),
}

PREFIXES = {
    "encoder": "xma_enc",
    "decoder": "xma_dec",
    "scaler": "xma_scaler",
    "filter": "xma_filter",
    "kernel": "xma_kernel",
}
"""What the functions of each kind of session begin with."""

_ERRORS: dict[int, type[XmaError]] = {
    error.code: error
    for error in (
        XmaError,
        InvalidError,
        NoKernelError,
        NoDeviceError,
        XmaTimeoutError,
        NoChannelError,
        ChannelCapacityError,
    )
}
_lock = threading.Lock()
_state = {"is_initialized": False}


@functools.cache
def load() -> c.CDLL:
    """Load libxma2api, once, with its prototypes set; a failure is not remembered.

    Raises
    ------
    DeviceNotFoundError
        It is not installed, or XRT is not, or its environment is not set up.
    """
    mode = xrt.load().mode
    for prefix in ("libxrt_coreutil", f"libxrt_{xrt.core_name(mode)}"):
        c.CDLL(loaded_library(prefix), mode=c.RTLD_GLOBAL)
    try:
        library = c.CDLL("libxma2api.so.2", mode=c.RTLD_GLOBAL)
    except OSError as error:
        raise DeviceNotFoundError(f"libxma2api of XRT cannot be loaded: {error}") from error
    declare(library, _PROTOTYPES)
    for kind, prefix in PREFIXES.items():
        session = c.POINTER(SESSIONS[kind])
        properties = c.POINTER(PROPERTIES[kind])
        declare(
            library,
            {
                f"{prefix}_session_create": (session, [properties]),
                f"{prefix}_session_destroy": (c.c_int32, [session]),
            },
        )
    return library


@functools.cache
def load_plugin_side() -> c.CDLL:
    """Load libxma2plugin, which compiled plugins call, for all to see.

    Raises
    ------
    DeviceNotFoundError
        As of `load`.
    """
    load()
    try:
        return c.CDLL("libxma2plugin.so.2", mode=c.RTLD_GLOBAL)
    except OSError as error:
        raise DeviceNotFoundError(f"libxma2plugin of XRT cannot be loaded: {error}") from error


def num_devices() -> int:
    """Return how many cards libxma2api finds.

    Raises
    ------
    DeviceNotFoundError
        As of `load`.
    """
    found: int = load().xma_num_devices()
    return max(found, 0)


def initialize(xclbins: Sequence[tuple[str | Path, int]]) -> None:
    """Load xclbins onto cards, and start libxma2api's threads; once in a process.

    Parameters
    ----------
    xclbins : sequence of (path, int)
        What to load, and the number of the card.

    Raises
    ------
    OrderError
        It was called before.
    NoDeviceError
        There is no such card.
    FormatError
        A file is no xclbin.
    XmaError
        libxma2api refuses; XRT's log tells why.
    """
    library = load()
    with _lock:
        if _state["is_initialized"]:
            raise OrderError("libxma2api was initialized before, and can be once in a process")
        count = num_devices()
        for path, number in xclbins:
            # What it cannot read ends the process.
            Xclbin.read(path)
            if not 0 <= number < count:
                raise NoDeviceError(f"there is no card {number}; libxma2api finds {count}")
        asked = [_Parameter(str(path).encode(), number) for path, number in xclbins]
        if library.xma_initialize((_Parameter * len(asked))(*asked), len(asked)):
            raise XmaError(
                "libxma2api refuses to be initialized; is there an xclbin for each card, with "
                "each argument wired to one bank, and libxma2plugin.so in XILINX_XRT's lib? "
                "See what it printed"
            )
        _state["is_initialized"] = True


def check_initialized() -> None:
    """Refuse to go on before `initialize`."""
    if not _state["is_initialized"]:
        raise OrderError("call xma_plugins.native.initialize before sessions with native plugins")


def finalize() -> None:
    """Stop libxma2api's threads; it cannot be initialized again. It may be repeated."""
    with _lock:
        if _state["is_initialized"]:
            load().xma_exit()


def check(code: int, call: str) -> Status:
    """Return a function's code as a status.

    Raises
    ------
    XmaError
        The one that the code stands for.
    PluginError
        It stands for nothing.
    """
    if code < 0:
        raise _ERRORS.get(code, XmaError)(f"{call} failed with {code}; see XRT's log")
    try:
        return Status(code)
    except ValueError as error:
        raise PluginError(f"{call} returned {code}, which has no meaning") from error
