"""What compute units write pictures into, and how these are handed to those who receive them."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from bridges.frame import FrameInfo
from xma_plugins.buffers import BufferType
from xma_plugins.frames import XmaFrame
from xma_plugins.host_frames import to_host
from xma_plugins.planes import Planes
from xma_plugins.session import Session

if TYPE_CHECKING:
    from xma_plugins.frame_pool import FramePool

__all__ = ["Results", "planes_of"]


def planes_of(frame: XmaFrame) -> Planes:
    """Return what registers say of a picture in device buffers."""
    assert frame.info is not None
    # What is in no buffer is the same in all frames, and neither read nor written.
    addresses = tuple(0 if each.buffer is None else each.buffer.paddr for each in frame.planes)
    return Planes(frame.info, addresses, frame.linesize)


class Results:
    """Pools of pictures in buffers of a session's device, one for each form.

    Parameters
    ----------
    session : Session
        Whose buffers.
    capacity : int
        How many pictures of a form there are at most.
    device_only : bool
        Whether they have no side on the host.
    """

    _FORMS = 16
    """Of the last pictures; the buffers of others are freed."""

    def __init__(self, session: Session[Any], capacity: int, *, device_only: bool) -> None:
        self._session, self._capacity, self._device_only = session, capacity, device_only
        self._pools: dict[FrameInfo, FramePool] = {}

    def acquire(
        self, info: FrameInfo, timeout: float = 0, *, written: Sequence[int] | None = None
    ) -> XmaFrame | None:
        """Return a picture of undefined samples; None where all of its form are held.

        Parameters
        ----------
        info : FrameInfo
            Its form, without a time.
        timeout : float
            Seconds to wait for one that comes back.
        written : sequence of int, optional
            The planes that will be written, where those are not all; see `FramePool`.
        """
        pool = self._pools.pop(info, None)
        if pool is None:
            if len(self._pools) >= self._FORMS:
                self._pools.pop(next(iter(self._pools))).retire()
            pool = self._session.frame_pool(
                info, self._capacity, device_only=self._device_only, written=written
            )
        self._pools[info] = pool
        return pool.acquire(timeout)

    def hand_out(self, made: XmaFrame, into: XmaFrame) -> None:
        """Give a picture that is done to whoever receives it; ``made`` is closed by that.

        A dummy gets the planes themselves, their side on the host read where they have one. A
        frame in host memory gets a copy.

        Raises
        ------
        InvalidError
            What it is received into has another form, or lies in device buffers.
        """
        if not into.is_dummy:
            with made, to_host(made) as on_host:
                into.copy_from(on_host)
            return
        if made.buffer_type is BufferType.DEVICE:
            for plane in made.planes:
                if plane.buffer is not None:
                    self._session.buffer_read(plane.buffer, plane.buffer.size)
        into.take(made)
