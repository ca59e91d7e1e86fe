"""Frames in device buffers, of which there are so many: what plugins give out again and again."""

import functools
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from bridges.backends.cpu import CPUContext
from bridges.backends.host_array import array_over
from bridges.closable import Closable
from bridges.edges.countdown import Countdown
from bridges.errors import PoolTimeoutError
from bridges.formats import PixelFormat
from bridges.frame import FrameInfo
from bridges.pools import BufferPool, LimitPool
from bridges.tensor import Tensor, TensorInfo
from xma_plugins.errors import InvalidError
from xma_plugins.frames import BufferRef, XmaFrame, padded_planes

if TYPE_CHECKING:
    from xma_plugins.buffers import BufferObject
    from xma_plugins.session import Session

__all__ = ["FramePool", "constant_plane"]


class _Buffers(Closable):
    """The buffers of one frame."""

    def __init__(self, session: "Session[Any]") -> None:
        self._session = session
        self.planes: list[BufferObject] = []

    def close(self) -> None:
        while self.planes:
            self._session.buffer_free(self.planes.pop())


class FramePool:
    """Lends frames, and gets each back once nobody holds any of its planes. Thread-safe.

    `Session.frame_pool` makes it.

    Parameters
    ----------
    session : Session
        Whose buffers the frames are made of.
    info : FrameInfo
        Format, size and colour.
    capacity : int
        How many there are at most; they are made as they are needed.
    device_only : bool
        Whether the buffers have no side on the host.
    strides : sequence of int, optional
        Bytes from row to row in each plane; by default as `xma_plugins.frames.padded_planes` has
        them.
    written : sequence of int, optional
        The planes that will be written; by default all. The others are the same in every frame,
        in host memory: chroma of no colour, alpha of full opacity.
    """

    def __init__(
        self,
        session: "Session[Any]",
        info: FrameInfo,
        capacity: int,
        *,
        device_only: bool,
        strides: Sequence[int] | None = None,
        written: Sequence[int] | None = None,
    ) -> None:
        if capacity < 1:
            raise InvalidError(f"a pool has 1 frame or more, got {capacity}")
        self._session, self.info, self.capacity = session, info, capacity
        self._device_only = device_only
        self._layouts = padded_planes(info, strides)
        self._constant = {
            index: constant_plane(info.format, index, layout)
            for index, layout in enumerate(self._layouts)
            if written is not None and index not in written
        }
        self._behind = BufferPool(self._make)
        self._pool = LimitPool(self._behind, capacity)
        self._lent: dict[int, tuple[_Buffers, tuple[BufferRef, ...]]] = {}

    def _make(self) -> _Buffers:
        made = _Buffers(self._session)
        try:
            for index, layout in enumerate(self._layouts):
                if index not in self._constant:
                    made.planes.append(
                        self._session.buffer_alloc(layout.span, device_only=self._device_only)
                    )
        except BaseException:
            made.close()
            raise
        return made

    def acquire(self, timeout: float | None = 0) -> XmaFrame | None:
        """Return a frame whose samples are undefined, or None where all are lent.

        Parameters
        ----------
        timeout : float or None
            Seconds to wait for one to come back; None without end.

        Raises
        ------
        ClosedError
            The pool was closed.
        """
        try:
            lease = self._pool.acquire(timeout)
        except PoolTimeoutError:
            return None
        buffers, key = lease.buffer, id(lease)

        def give_back() -> None:
            self._lent.pop(key, None)
            lease.close()

        release = Countdown(len(buffers.planes), give_back)
        planes, left = [], iter(buffers.planes)
        for index, layout in enumerate(self._layouts):
            constant = self._constant.get(index)
            if constant is not None:
                planes.append(BufferRef(constant, is_clone=True))
                continue
            buffer = next(left)
            planes.append(
                BufferRef(buffer.view(layout), buffer=buffer, is_clone=True, on_last=release)
            )
        self._lent[key] = buffers, tuple(planes)
        return XmaFrame(self.info, planes)

    @property
    def made(self) -> int:
        """How many frames were made so far."""
        return self._behind.created

    @property
    def lent(self) -> int:
        """How many frames are held by somebody."""
        return len(self._lent)

    def retire(self) -> None:
        """Lend no more, and free the buffers: of frames that are held, as they come back."""
        self._pool.close()

    def close(self) -> str:
        """Free the buffers of all frames, those that are held too; may be repeated.

        Returns
        -------
        str
            Who still held frames, which they cannot use any more; empty where nobody did.
        """
        self.retire()
        held = [self._lent.pop(key) for key in list(self._lent)]
        for buffers, _ in held:
            buffers.close()
        if not held:
            return ""
        holders = sorted({plane.held_by for _, planes in held for plane in planes})
        return f"{len(held)} of its frames are still held, by {', '.join(holders)}"


@functools.lru_cache(16)
def constant_plane(pixels: PixelFormat, index: int, layout: TensorInfo) -> Tensor:
    """Return a plane that says nothing, in host memory: no colour, or full opacity; black luma.

    Many frames share it. Chroma is offset by half the code range, ``1 << (bits - 1)``, in limited
    and in full range (ITU-T H.273, equations 31 to 36).
    """
    channels = set(pixels.planes[index].channels)
    value = 0
    if channels <= {"U", "V"}:
        value = 1 << (pixels.bits - 1)
    elif channels == {"A"}:
        value = (1 << pixels.bits) - 1
    memory = np.empty(layout.span, np.uint8)
    plane = array_over(memory, layout)
    plane[...] = value << pixels.shift
    return CPUContext().wrap(plane)
