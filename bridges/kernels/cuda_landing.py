"""Page-locked memory that results are carried to by the device itself, and how far it is."""

import ctypes
import functools
import sys
import threading
from collections import deque
from typing import Any

import numpy.typing as npt
from cuda.core import ObjectCode

from bridges.backends.cuda import CUDAContext, CUDAMemory
from bridges.backends.cuda_driver import check_code, cuda_errors
from bridges.backends.cuda_launch import CUDALaunch
from bridges.backends.cuda_pinned import PinnedMemory, PinnedPool
from bridges.closable import Closable
from bridges.errors import DeviceError
from bridges.kernels.nvrtc import build_source
from bridges.tensor import TensorInfo

__all__ = ["Landings"]

_MARKS = 1 << 32
"""Marks are counted in 32 bits, and begin anew."""

_WORD = 16
"""Bytes that a thread carries at a time."""

_THREADS = 1024

_CARRY = """
extern "C" __global__ void carry(
    uint4 *target, const uint4 *source, unsigned count, volatile unsigned *reached, unsigned mark)
{
    for (unsigned word = threadIdx.x; word < count; word += blockDim.x)
        target[word] = source[word];
    __syncthreads();
    if (threadIdx.x == 0) {
        __threadfence_system();
        *reached = mark;
    }
}
"""
"""For one block of threads, which is as fast as many. While all multiprocessors wrote to the host
at a time, NVDEC was seen to decode a sixth less."""

_AGAIN = 4
"""Blocks that are lent in turn: one in the caller's hands, one ahead, and some that linger."""

_loading = threading.Lock()


class Landings(Closable):
    """Arrays of one layout in page-locked memory, which a device carries its results to.

    A number in such memory tells how far the device is: looking there is no call of the driver.
    One thread at a time takes and carries; any may wait.

    Parameters
    ----------
    context : CUDAContext
        The device, and the stream on which results are computed and carried.
    info : TensorInfo
        Layout of each array, with no gaps.

    Attributes
    ----------
    source : int
        Address on the device of what is carried next, a multiple of 256. It may be written again
        in the order of the stream.

    Raises
    ------
    DeviceError
        There is too little memory, of the device or to be locked.
    DeviceNotFoundError, KernelError
        As of `bridges.kernels.nvrtc.build_source`.
    """

    def __init__(self, context: CUDAContext, info: TensorInfo) -> None:
        self._context = context
        self._shape, self._dtype = info.shape, info.dtype
        words = -(-info.nbytes // _WORD)
        self._nbytes = words * _WORD
        self._staging: CUDAMemory | None = CUDAMemory(context, self._nbytes)
        self.source = self._staging.address
        # One of its own: what is carried later than somebody let go of it hurts nobody.
        self._pool = PinnedPool(context.current)
        self._memory = self._pool.take(ctypes.sizeof(ctypes.c_uint32))
        self._reached = ctypes.c_uint32.from_buffer(self._memory)
        self._reached.value = self._last = 0
        self._lent: deque[PinnedMemory] = deque()
        self._slots = (ctypes.c_uint64 * 5)(0, self.source, words, self._memory.address, 0)
        first, size = ctypes.addressof(self._slots), ctypes.sizeof(ctypes.c_uint64)
        pointers = (ctypes.c_void_p * 5)(*range(first, first + 5 * size, size))
        self._kernel = _carrier(context)
        self._launch = CUDALaunch(
            int(self._kernel.handle),
            (1, 1, 1),
            (_THREADS, 1, 1),
            context.stream_handle,
            pointers,
        )

    def take(self) -> tuple[int, npt.NDArray[Any]] | None:
        """Return the address of memory, which host and device have alike, and an array over it.

        It is lent again once nobody refers to it by the array or by parts of that. None: there is
        too little that can be locked.
        """
        # To give memory back and to take it again is a fourth of what Python does for a frame.
        memory = self._lent.popleft() if len(self._lent) == _AGAIN else None
        nobodys = object()
        if memory is None or sys.getrefcount(memory) > sys.getrefcount(nobodys):
            try:
                memory = self._pool.take(self._nbytes)
            except DeviceError:
                return None
        self._lent.append(memory)
        return memory.address, memory.array(self._shape, self._dtype)

    def carry(self, address: int) -> int:
        """Have the device carry what is at `source` to an address that was taken; return a mark.

        Raises
        ------
        DeviceError
            The device refused.
        """
        self._last = (self._last + 1) % _MARKS
        self._slots[0], self._slots[4] = address, self._last
        code = self._launch.start()
        if code:
            check_code(code, "carry a result to the host")
        return self._last

    def wait(self, mark: int) -> None:
        """Return as soon as the device is there; other threads go on meanwhile.

        Raises
        ------
        DeviceError
            Some work failed.
        """
        # Counted in a circle, a mark that is not reached yet lies before the number there.
        if (self._reached.value - mark) % _MARKS >= _MARKS // 2:
            self._context.wait()

    def close(self) -> None:
        """Wait for the device, and let go of memory that nobody has; arrays stay good.

        May be repeated.
        """
        try:
            if not self._context.closed:
                self._context.wait()
        finally:
            self._lent.clear()
            self._staging = None
            self._pool.close()


def _carrier(context: CUDAContext) -> Any:
    """Return the kernel that carries, loaded once for each device."""
    major, minor = context.device.compute_capability
    with _loading, context.current:
        return _loaded(context.cuda_handle, f"sm_{major}{minor}")


@functools.cache
def _loaded(cuda_context: int, architecture: str) -> Any:
    code = build_source(_CARRY, "carry", architecture)
    with cuda_errors("load what carries results"):
        return ObjectCode.from_cubin(code, name="carry").get_kernel("carry")
