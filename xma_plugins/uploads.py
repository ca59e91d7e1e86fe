"""Frames of the host on a session's device: in place where it works in host memory, else copies."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from bridges.backends.host_array import array_at
from bridges.closable import Closable
from bridges.edges.countdown import Countdown
from bridges.tensor import Tensor, TensorInfo
from xma_plugins.buffers import BufferObject
from xma_plugins.frames import BufferRef, XmaFrame
from xma_plugins.host_frames import planes_there, to_host

if TYPE_CHECKING:
    from xma_plugins.frame_pool import FramePool
    from xma_plugins.session import Session

__all__ = ["Uploads"]


class Uploads(Closable):
    """Puts pictures where the compute units of one session's device can read them.

    What is there already stays, and is held. Host memory is used in place by devices that work in
    it. Any other device gets copies in device-only buffers of a pool, counted in its
    ``transfers``; what another device has goes through the host. Planes of a picture on the device
    that lie in host memory, since they are the same in every picture, are written there once.

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
        self._constant: dict[int, tuple[Tensor, BufferObject]] = {}

    def take(self, frame: XmaFrame, timeout: float = 0) -> XmaFrame | None:
        """Return a picture on the device, which the caller has to close; its samples are to stay.

        Parameters
        ----------
        frame : XmaFrame
            Wherever it lies.
        timeout : float
            Seconds to wait for a copy that comes back, where all are held.

        Returns
        -------
        XmaFrame or None
            None where all copies that there may be are held.

        Raises
        ------
        InvalidError
            The frame is a dummy.
        BufferUseError
            The frame was closed.
        DeviceError
            The transfer failed.
        """
        device = self._session.device
        planes = planes_there(frame)
        buffers = [plane.buffer for plane in planes if plane.buffer is not None]
        if any(buffer.device is not device for buffer in buffers):
            with to_host(frame) as on_host:
                return self.take(on_host, timeout)
        if len(buffers) == len(planes):
            return frame.reference()
        if device.driver.shares_host_memory:
            return self._in_place(frame)
        return self._completed(frame) if buffers else self._copy(frame, timeout)

    def _in_place(self, frame: XmaFrame) -> XmaFrame:
        session, held = self._session, frame.reference()
        adopted: list[BufferObject] = []

        def end() -> None:
            for buffer in adopted:
                buffer.close()
            held.close()

        release = Countdown(sum(plane.buffer is None for plane in held.planes), end)
        refs = []
        try:
            for plane in held.planes:
                if plane.buffer is None:
                    tensor = plane.tensor
                    buffer = session.device.adopt(
                        tensor.handle("data"), tensor.info.span, owner=tensor, holder=session.name
                    )
                    adopted.append(buffer)
                    refs.append(_part(buffer, tensor.info, release))
        except BaseException:
            end()
            raise
        return _made(frame, refs)

    def _copy(self, frame: XmaFrame, timeout: float) -> XmaFrame | None:
        assert frame.info is not None
        info, strides = frame.info, frame.linesize
        if self._pool is None or (info, strides) != self._form:
            if self._pool is not None:
                self._pool.retire()
            self._pool = self._session.frame_pool(info, self._capacity, strides=strides)
            self._form = info, strides
        made = self._pool.acquire(timeout)
        if made is None:
            return None
        try:
            for target, plane in zip(made.planes, frame.planes, strict=True):
                assert target.buffer is not None
                target.buffer.put(_bytes_of(plane.tensor))
        except BaseException:
            made.close()
            raise
        made.describe_as(frame)
        return made

    def _completed(self, frame: XmaFrame) -> XmaFrame:
        """Return a picture of the device with those planes too that lie in host memory."""
        refs = []
        for plane in frame.planes:
            if plane.buffer is None:
                key, tensor = id(plane.tensor), plane.tensor
                if key not in self._constant:
                    buffer = self._session.buffer_alloc(tensor.info.span, device_only=True)
                    buffer.put(_bytes_of(tensor))
                    self._constant[key] = tensor, buffer
                refs.append(_part(self._constant[key][1], tensor.info, None))
        return _made(frame, refs)

    def close(self) -> None:
        """Let go of what can be; the session frees the rest. May be repeated."""
        if self._pool is not None:
            self._pool.retire()
            self._pool = None
        while self._constant:
            _, (_, buffer) = self._constant.popitem()
            self._session.buffer_free(buffer)


def _part(buffer: BufferObject, layout: TensorInfo, release: Countdown | None) -> BufferRef:
    return BufferRef(buffer.view(layout), buffer=buffer, is_clone=True, on_last=release)


def _made(frame: XmaFrame, on_device: Sequence[BufferRef]) -> XmaFrame:
    """Return a frame like another, with other planes for those that lie in host memory."""
    others = iter(on_device)
    refs = []
    for plane in frame.planes:
        if plane.buffer is None:
            refs.append(next(others))
        else:
            plane.retain()
            refs.append(plane)
    made = XmaFrame(frame.info, refs)
    made.describe_as(frame)
    return made


def _bytes_of(tensor: Tensor) -> npt.NDArray[np.uint8]:
    """Return all bytes of a plane in host memory, those between rows too, in place."""
    info = TensorInfo((tensor.info.span,), np.dtype(np.uint8))
    return array_at(tensor.handle("data"), info, owner=tensor, writeable=True)
