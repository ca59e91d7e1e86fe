"""Page-locked memory that kernels write their results to by themselves, and how far they are."""

import ctypes
from typing import Any

import numpy.typing as npt

from bridges.backends.cuda import CUDAContext
from bridges.backends.cuda_driver import check_code, quick
from bridges.backends.cuda_pinned import PinnedPool
from bridges.closable import Closable
from bridges.errors import DeviceError
from bridges.tensor import TensorInfo

__all__ = ["Landings"]

_MARKS = 1 << 32
"""Marks are counted in 32 bits, and begin anew."""


class Landings(Closable):
    """Arrays of one layout, of page-locked memory that the host and the device see.

    The device tells by a number in such memory how far it is: looking there is no call of the
    driver. One thread at a time takes and marks; any may wait.

    Parameters
    ----------
    context : CUDAContext
        The device, and the stream on which kernels run.
    info : TensorInfo
        Layout of each array, with no gaps.

    Raises
    ------
    DeviceError
        There is too little memory that can be locked, or this device writes no marks.
    """

    def __init__(self, context: CUDAContext, info: TensorInfo) -> None:
        self._context, self._nbytes = context, info.nbytes
        self._shape, self._dtype = info.shape, info.dtype
        self._stream = context.stream_handle
        # One of its own: what is written later than somebody let go of it hurts nobody.
        self._pool = PinnedPool(context.current)
        self._memory = self._pool.take(ctypes.sizeof(ctypes.c_uint32))
        self._reached = ctypes.c_uint32.from_buffer(self._memory)
        self._reached.value = self._last = 0
        try:
            with context.current:
                self.mark()  # Some devices may not.
        except BaseException:
            self._pool.close()
            raise

    def take(self) -> tuple[int, npt.NDArray[Any]] | None:
        """Return the address of new memory, which host and device have alike, and an array over it.

        The memory goes back to its pool once nobody refers to the array. None: there is too little
        that can be locked.
        """
        try:
            memory = self._pool.take(self._nbytes)
        except DeviceError:
            return None
        return memory.address, memory.array(self._shape, self._dtype)

    def mark(self) -> int:
        """Have the device tell once it is through with all work so far; return the mark.

        The context has to be current.

        Raises
        ------
        DeviceError
            The device refused.
        """
        self._last = (self._last + 1) % _MARKS
        write = quick().cuStreamWriteValue32_v2
        code = write(self._stream, self._memory.address, self._last, 0)
        if code:
            check_code(code, "write a mark")
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
        """Wait for the device, and unlock memory that nobody has; arrays stay good.

        May be repeated.
        """
        if not self._context.closed:
            self._context.wait()
        self._pool.close()
