"""Coded data between an application and plugins, over host memory or a device buffer.

As ``XmaDataBuffer`` of ``xmabuffers.h`` (XRT 2.13) has it.
"""

from collections.abc import Callable
from typing import Any, Self

from bridges.closable import Closable
from xma_plugins.buffers import BufferObject, BufferType
from xma_plugins.errors import BufferUseError, InvalidError
from xma_plugins.frames import checked_pts

__all__ = ["XmaDataBuffer"]


class XmaDataBuffer(Closable):
    """Coded data, in host memory or in a device buffer.

    Parameters
    ----------
    data : bytes-like object or None
        The data, such as an ``av.Packet``; None for a dummy that a plugin will fill.
    buffer : BufferObject, optional
        The device buffer that the data lies in.
    pts : int or None
        Time; any whole number of 64 bits.
    poc : int
        Picture order count.
    is_eof : bool
        Whether it is the end, and holds nothing.
    is_clone : bool
        Whether the device buffer stays its owner's.
    """

    def __init__(
        self,
        data: Any = None,
        *,
        buffer: BufferObject | None = None,
        pts: int | None = None,
        poc: int = 0,
        is_eof: bool = False,
        is_clone: bool = False,
    ) -> None:
        self._data, self.buffer = data, buffer
        self.pts, self.poc, self.is_eof = checked_pts(pts), poc, is_eof
        self.is_clone = is_clone
        self._on_last: Callable[[], None] | None = None
        self._closed = False

    @classmethod
    def last(cls) -> Self:
        """Return the buffer that ends a stream; it holds nothing."""
        return cls(is_eof=True)

    @property
    def data(self) -> Any:
        """The data: what it was made of, or the host's side of the device buffer.

        Raises
        ------
        BufferUseError
            The buffer was closed, or its device buffer was freed.
        """
        if self._closed:
            raise BufferUseError("this data buffer was closed")
        if self._data is None and self.buffer is not None:
            return self.buffer.data
        return self._data

    @data.setter
    def data(self, data: Any) -> None:
        self._data = data

    @property
    def alloc_size(self) -> int:
        """Bytes of the data."""
        if self.buffer is not None and self._data is None:
            return self.buffer.size
        return 0 if self._data is None else memoryview(self._data).nbytes

    @property
    def buffer_type(self) -> BufferType:
        """Where the data lies; NO_BUFFER of a dummy."""
        if self.buffer is not None:
            only = self.buffer.device_only_buffer
            return BufferType.DEVICE_ONLY if only else BufferType.DEVICE
        return BufferType.NO_BUFFER if self._data is None else BufferType.HOST

    def attach(
        self,
        buffer: BufferObject,
        *,
        is_clone: bool = False,
        on_last: Callable[[], None] | None = None,
    ) -> None:
        """Give a dummy a device buffer; ``on_last`` is called at its end instead of freeing it."""
        if self.buffer_type is not BufferType.NO_BUFFER:
            raise InvalidError("this data buffer has memory of its own; copy into it")
        self.buffer, self.is_clone, self._on_last = buffer, is_clone, on_last

    def close(self) -> None:
        """Let go of the data, and free a device buffer that is this one's own; may be repeated."""
        if self._closed:
            return
        self._closed = True
        self._data = None
        buffer, self.buffer = self.buffer, None
        if self._on_last is not None:
            self._on_last()
        elif buffer is not None and not self.is_clone:
            buffer.free()
