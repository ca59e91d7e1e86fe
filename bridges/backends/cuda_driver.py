"""NVIDIA's driver as the CUDA backend and its edges call it: errors, devices, layouts of copies."""

import ctypes
import functools
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from cuda.bindings import driver
from cuda.core._utils.cuda_utils import CUDAError

from bridges.errors import DeviceError, DeviceNotFoundError, FormatError
from bridges.native.loading import Prototype, declare
from bridges.tensor import TensorInfo

__all__ = [
    "DEVICE_MEMORY",
    "HOST_MEMORY",
    "LEGACY_STREAM",
    "Current",
    "absence",
    "busy",
    "check",
    "check_code",
    "copy_rows",
    "cuda_errors",
    "device_names",
    "quick",
    "rows_of",
]

LEGACY_STREAM = 1
"""``CU_STREAM_LEGACY`` of cuda.h, by which DLPack too names the legacy default stream."""

HOST_MEMORY = driver.CUmemorytype.CU_MEMORYTYPE_HOST
DEVICE_MEMORY = driver.CUmemorytype.CU_MEMORYTYPE_DEVICE

_SUCCESS = driver.CUresult.CUDA_SUCCESS
_DRIVER = "libcuda.so.1"
_INSTALL = "apt install nvidia-driver"


def check(result: tuple[Any, ...], action: str) -> Any:
    """Return what a driver call returned; ``action`` completes "CUDA cannot ...".

    Raises
    ------
    DeviceError
        The call failed.
    """
    if result[0] != _SUCCESS:
        raise DeviceError(f"CUDA cannot {action}: {_text(result[0])}")
    return result[1] if len(result) > 1 else None


def _text(code: Any) -> str:
    failure, text = driver.cuGetErrorString(code)
    name = getattr(code, "name", str(code))
    return name if failure or text is None else f"{name}, {text.decode()}"


@contextmanager
def cuda_errors(action: str) -> Iterator[None]:
    """Translate cuda-core's errors; ``action`` completes "CUDA cannot ...".

    Raises
    ------
    DeviceError
        The driver reported a failure.
    """
    try:
        yield
    except (CUDAError, RuntimeError) as error:
        raise DeviceError(f"CUDA cannot {action}: {error}") from error


_QUICK: dict[str, Prototype] = {
    "cuCtxPopCurrent_v2": (ctypes.c_int, [ctypes.c_void_p]),
    "cuCtxPushCurrent_v2": (ctypes.c_int, [ctypes.c_void_p]),
    "cuEventRecord": (ctypes.c_int, [ctypes.c_void_p, ctypes.c_void_p]),
    "cuLaunchKernelEx": (ctypes.c_int, [ctypes.c_void_p] * 4),
    "cuMemFreeAsync": (ctypes.c_int, [ctypes.c_uint64, ctypes.c_void_p]),
    "cuStreamWaitEvent": (ctypes.c_int, [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_uint]),
}


@functools.cache
def _library(kind: type[ctypes.CDLL]) -> Any:
    library = kind(_DRIVER)
    declare(library, _QUICK)
    return library


_busy: deque[None] = deque()


@contextmanager
def busy() -> Iterator[None]:
    """Have other threads' calls of `quick` give the GIL away inside the block.

    For work that keeps the driver's lock for long, such as to make a decoder: who waits for that
    lock with the GIL stops all threads.
    """
    _busy.append(None)
    try:
        yield
    finally:
        _busy.pop()


def quick() -> Any:
    """Return the driver for calls that return at once, which then keep the GIL.

    To give it away and take it again costs more than such a call; where many threads want it, a
    hundred times as much.
    """
    return _library(ctypes.CDLL) if _busy else _library(ctypes.PyDLL)


def check_code(code: int, action: str) -> None:
    """Check what a call of `quick` returned, as `check` does.

    Raises
    ------
    DeviceError
        The call failed.
    """
    if code:
        raise DeviceError(f"CUDA cannot {action}: {_text(driver.CUresult(code))}")


class Current:
    """Makes a CUDA context the calling thread's in a ``with`` block, and none of ours after it.

    There may be blocks within one another.
    """

    def __init__(self, context: Any) -> None:
        self._context = int(context)

    def __enter__(self) -> None:
        code = quick().cuCtxPushCurrent_v2(self._context)
        if code:
            check_code(code, "enter its context")

    def __exit__(self, *_: object) -> None:
        quick().cuCtxPopCurrent_v2(None)


def rows_of(info: TensorInfo) -> tuple[int, int, int]:
    """Return how many rows a tensor has, the bytes of each, and the bytes from one to the next.

    Raises
    ------
    FormatError
        The tensor is empty, rows run backward or overlap, or the samples of one are not side by
        side.
    """
    nbytes = info.nbytes
    if nbytes and info.is_contiguous:
        return 1, nbytes, nbytes
    if nbytes:
        inner = TensorInfo(info.shape[1:], info.dtype)
        pitch = info.strides[0] if info.shape[0] > 1 else inner.nbytes
        if info.strides[1:] == inner.strides and pitch >= inner.nbytes:
            return info.shape[0], inner.nbytes, pitch
    raise FormatError(
        f"CUDA copies rows of samples that lie side by side, got shape {info.shape} with strides "
        f"{info.strides}; copy the array first"
    )


End = tuple[Any, int, int]
"""One end of a copy: its kind of memory, its address, and the bytes from row to row."""


def copy_rows(source: End, target: End, rows: int, row: int) -> Any:
    """Describe a copy of rows for ``cuMemcpy2DAsync``.

    Parameters
    ----------
    source, target : tuple
        `HOST_MEMORY` or `DEVICE_MEMORY`, the address, and the bytes from one row to the next.
    rows, row : int
        How many rows, and the bytes of each.
    """
    copy = driver.CUDA_MEMCPY2D()
    copy.srcMemoryType, address, copy.srcPitch = source
    if source[0] is HOST_MEMORY:
        copy.srcHost = address
    else:
        copy.srcDevice = address
    copy.dstMemoryType, address, copy.dstPitch = target
    if target[0] is HOST_MEMORY:
        copy.dstHost = address
    else:
        copy.dstDevice = address
    copy.WidthInBytes, copy.Height = row, rows
    return copy


def absence() -> tuple[str, str]:
    """Return why there is no device, and what to do; empty where there is one."""
    try:
        ctypes.CDLL(_DRIVER)
    except OSError:
        return f"no NVIDIA driver: {_DRIVER} not found", _INSTALL
    code, *_ = driver.cuInit(0)
    if code != _SUCCESS:
        return f"NVIDIA's driver finds no device: {_text(code)}", "nvidia-smi"
    return "", ""


def device_names() -> tuple[str, ...]:
    """Return every CUDA device of this machine, each as its ordinal and name.

    Raises
    ------
    DeviceNotFoundError
        There is no driver, or it finds no device.
    """
    reason, remedy = absence()
    if reason:
        raise DeviceNotFoundError(f"no CUDA device: {reason}; try: {remedy}")
    count = check(driver.cuDeviceGetCount(), "count its devices")
    names = (check(driver.cuDeviceGetName(128, index), "name a device") for index in range(count))
    return tuple(f"{index} {name.split(bytes(1))[0].decode()}" for index, name in enumerate(names))
