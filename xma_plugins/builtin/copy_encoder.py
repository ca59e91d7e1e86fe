"""An encoder whose coded data are the samples themselves: the shape of one, without a codec.

It asks for the ends of its commands by ``cu_cmd_status``; `CopyFilter` has the other style.
"""

from collections import deque
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from bridges.kernels.kernel import get
from xma_plugins.builtin.flow import Flow, Work
from xma_plugins.builtin.unit import take_unit
from xma_plugins.frames import BufferRef, XmaDataBuffer, XmaFrame
from xma_plugins.host_frames import host_side
from xma_plugins.params import check_port, read_params
from xma_plugins.plugin import EncoderPlugin
from xma_plugins.properties import EncoderProperties, Port
from xma_plugins.results import Results, planes_of
from xma_plugins.session import Session
from xma_plugins.status import Status
from xma_plugins.uploads import Uploads

if TYPE_CHECKING:
    from xma_plugins.buffers import BufferObject

__all__ = ["CopyEncoder"]

EncoderSession = Session[EncoderProperties]


class CopyEncoder(EncoderPlugin):
    """Gives each picture's samples as its data, in any pixel format.

    Planes follow one another, with neither rows nor planes padded: what FFmpeg calls rawvideo. A
    compute unit copies pictures out of the buffers they lie in, device-only ones too; others are
    written to the device first.

    Its ``params``:

    ============== =========================================================================
    ``zerocopy``   whether data is given in buffers of the device, with a side on the host
                   (false); otherwise in memory of the host
    ``depth``      pictures that are taken before data has to be received, 1 or more (2)
    ============== =========================================================================
    """

    vendor = "xtranscode"
    summary = "gives the samples of each picture as its data"
    xma_version = (2020, 1)

    def init(self, session: EncoderSession) -> None:
        """Find the compute unit; memory is taken with the first picture."""
        given = read_params(session, zerocopy=False, depth=2)
        properties = session.properties
        self._port = Port(
            format=properties.format, width=properties.width, height=properties.height
        )
        self._unit = take_unit(session, get("crop"))  # All of a picture: a copy.
        self._gives_buffers = given.zerocopy
        self._free: dict[int, deque[BufferObject]] = {}
        # Copies are read and given back at once: as many as are under way are enough.
        self._uploads = Uploads(session, given.depth)
        self._results = Results(session, given.depth, device_only=False)
        self._session = session
        self._flow = Flow(session, self._start, depth=given.depth, timeout=0)

    def send_frame(self, session: EncoderSession, frame: XmaFrame) -> Status:
        """Take a picture and start to copy it."""
        if frame.is_last_frame:
            self._flow.end()
            return Status.SUCCESS
        check_port(session, self._port, frame.info, "is sent")
        return self._flow.send(frame)

    def _start(self, frame: XmaFrame, timeout: float) -> Work | None:
        assert frame.info is not None
        made = self._results.acquire(frame.info, timeout)
        if made is None:
            return None
        work = Work(made=[made])
        try:
            source = self._uploads.take(frame)
            assert source is not None  # There are as many uploads as works.
            work.held.append(source)
            made.describe_as(frame)
            registers = self._unit.pack(
                channel_id=self._session.properties.channel_id,
                source=planes_of(source),
                target=planes_of(made),
            )
            work.commands.append(self._session.schedule_cu_cmd(registers))
        except BaseException:
            work.drop()
            raise
        return work

    def recv_data(self, session: EncoderSession, data: XmaDataBuffer) -> Status:
        """Give the samples of the oldest picture, once they are copied."""
        work = self._flow.receive()
        if work is None:
            return Status.EOS if self._flow.is_ended else Status.TRY_AGAIN
        (made,) = work.made
        assert made is not None
        with made:
            samples = np.concatenate([_read(session, plane) for plane in made.planes])
            data.pts = made.pts
        if self._gives_buffers:
            self._give_buffer(session, samples, data)
        else:
            data.data = samples
        return Status.SUCCESS

    def _give_buffer(
        self, session: EncoderSession, samples: npt.NDArray[np.uint8], data: XmaDataBuffer
    ) -> None:
        """Give data in a buffer, which comes back when its receiver closes it."""
        free = self._free.setdefault(samples.nbytes, deque())
        buffer = free.popleft() if free else session.buffer_alloc(samples.nbytes)
        try:
            assert buffer.data is not None
            buffer.data[:] = samples
            session.buffer_write(buffer, samples.nbytes)
            data.attach(buffer, on_last=lambda: free.append(buffer))
        except BaseException:
            free.append(buffer)
            raise

    def close(self, session: EncoderSession) -> None:
        """Wait for what is under way, and let go of it."""
        if hasattr(self, "_flow"):
            self._flow.close()
            self._uploads.close()
            for free in self._free.values():
                while free:
                    session.buffer_free(free.popleft())


def _read(session: EncoderSession, plane: BufferRef) -> npt.NDArray[np.uint8]:
    """Return the samples of a plane, row after row, as bytes."""
    assert plane.buffer is not None
    session.buffer_read(plane.buffer, plane.buffer.size)
    return np.ascontiguousarray(host_side(plane)).reshape(-1).view(np.uint8)
