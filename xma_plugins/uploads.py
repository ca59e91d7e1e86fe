"""Frames of the host on a session's device: in place where it works in host memory, else copies."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from bridges.backends.host_array import array_at
from bridges.closable import Closable
from bridges.tensor import Tensor, TensorInfo
from xma_plugins.buffers import BufferObject, BufferType
from xma_plugins.errors import InvalidError
from xma_plugins.frames import XmaFrame
from xma_plugins.host_frames import to_host

if TYPE_CHECKING:
    from xma_plugins.frame_pool import FramePool
    from xma_plugins.session import Session

__all__ = ["Uploads"]


class Uploads(Closable):
    """Puts pictures where the compute units of one session's device can read them.

    What is there already stays, and is held. Host memory is used in place by devices that work in
    it. Any other device gets copies in device-only buffers of a pool, counted in its
    ``transfers``; what another device has goes through the host.

    Parameters
    ----------
    session : Session
        Whose device and buffers.
    capacity : int
        How many copies there are at most.
    """

    def __init__(self, session: "Session[Any]", capacity: int = 16) -> None:
        self._session, self._capacity = session, capacity
        self._pool: FramePool | None = None
        self._form: object = None

    def take(self, frame: XmaFrame) -> XmaFrame | None:
        """Return a picture on the device, which the caller has to close; its samples are to stay.

        Returns
        -------
        XmaFrame or None
            None where all copies that there may be are held.

        Raises
        ------
        InvalidError
            The frame is a dummy.
        DeviceError
            The transfer failed.
        """
        device = self._session.device
        if frame.is_dummy or frame.info is None:
            raise InvalidError("a frame without planes is no picture; receive into it first")
        if frame.buffer_type is not BufferType.HOST:
            if all(plane.buffer and plane.buffer.device is device for plane in frame.planes):
                return frame.reference()
            with to_host(frame) as on_host:
                return self.take(on_host)
        blocks = [_bytes_of(plane.tensor) for plane in frame.planes]
        if device.driver.shares_host_memory:
            return self._in_place(frame, blocks)
        return self._copy(frame, blocks)

    def _in_place(self, frame: XmaFrame, blocks: Sequence[npt.NDArray[np.uint8]]) -> XmaFrame:
        assert frame.info is not None
        session, held = self._session, frame.reference()
        buffers: list[BufferObject] = []

        def end() -> None:
            for buffer in buffers:
                buffer.close()
            held.close()

        try:
            for block in blocks:
                buffers.append(session.device.adopt(block, holder=session.name))
            made = XmaFrame.from_device_buffers(
                frame.info, buffers, strides=_strides(frame), is_clone=True, on_last=end
            )
        except BaseException:
            end()
            raise
        made.describe_as(frame)
        return made

    def _copy(self, frame: XmaFrame, blocks: Sequence[npt.NDArray[np.uint8]]) -> XmaFrame | None:
        info, strides = frame.info, _strides(frame)
        assert info is not None
        form = info.format, info.width, info.height, info.colour, strides
        if self._pool is None or form != self._form:
            if self._pool is not None:
                self._pool.retire()
            self._pool = self._session.frame_pool(info, self._capacity, strides=strides)
            self._form = form
        made = self._pool.acquire()
        if made is None:
            return None
        for plane, block in zip(made.planes, blocks, strict=True):
            assert plane.buffer is not None
            plane.buffer.put(block)
        made.describe_as(frame)
        return made

    def close(self) -> None:
        """Let go of what can be; the session frees the rest. May be repeated."""
        if self._pool is not None:
            self._pool.retire()
            self._pool = None


def _strides(frame: XmaFrame) -> tuple[int, ...]:
    return tuple(plane.tensor.info.strides[0] for plane in frame.planes)


def _bytes_of(tensor: Tensor) -> npt.NDArray[np.uint8]:
    """Return all bytes of a plane in host memory, those between rows too, in place."""
    info = TensorInfo((tensor.info.span,), np.dtype(np.uint8))
    return array_at(tensor.handle("data"), info, owner=tensor, writeable=True)
