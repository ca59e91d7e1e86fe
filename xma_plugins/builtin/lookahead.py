"""A look-ahead in front of an encoder: it finds scene changes, and what is busy in a picture."""

from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bridges.frame import FrameInfo
from bridges.kernels.kernel import get
from xma_plugins.buffers import BufferType
from xma_plugins.builtin.activity import (
    STEP,
    Samples,
    difference,
    histogram_distance,
    luma,
    qp_map,
    shrunk,
)
from xma_plugins.builtin.flow import run
from xma_plugins.builtin.unit import take_unit
from xma_plugins.errors import InvalidError
from xma_plugins.frames import XmaFrame
from xma_plugins.host_frames import host_side, to_host
from xma_plugins.params import check_port, read_params
from xma_plugins.plugin import FilterPlugin
from xma_plugins.properties import FilterProperties
from xma_plugins.results import Results, planes_of
from xma_plugins.session import Session
from xma_plugins.side_data import SideDataType
from xma_plugins.status import Status
from xma_plugins.uploads import Uploads

if TYPE_CHECKING:
    from xma_plugins.command import CuCommand
    from xma_plugins.compute_unit import ComputeUnit

__all__ = ["Lookahead"]

FilterSession = Session[FilterProperties]

_MAX_DEPTH = 20
"""Pictures; that of Xilinx's look-ahead (Video SDK, U30 Look-Ahead Plugin Reference)."""


@dataclass(eq=False)
class _Held:
    """A picture that is held, and what was found in it.

    ``shrinking`` is the small picture that a command is making of a device-only one.
    """

    frame: XmaFrame
    small: Samples | None = None
    command: "CuCommand | None" = None
    shrinking: XmaFrame | None = None

    def close(self) -> None:
        """Wait for the command, and let go of the pictures."""
        if self.command is not None:
            self.command.wait()
        for frame in (self.frame, self.shrinking):
            if frame is not None:
                frame.close()


class Lookahead(FilterPlugin):
    """Hands pictures on, so many later, with what an encoder cannot know.

    A picture is marked ``is_idr`` where a scene changes: where it differs from the one before by
    ``scene_difference`` and more (mean absolute difference of luma, white is 1), *and*
    ``scene_histogram`` and more of its pixels have another luma (distance of histograms), *and* the
    next picture is no nearer to the one before it than to it, as it is after a flash. The first
    picture is left as it is: a stream begins with an IDR picture anyway.

    Every picture gets a QP map, of blocks of 16 pixels; see `qp_map`.

    Nothing is copied, unless it is received into memory of the caller's. Of pictures in device-only
    buffers, the compute unit ``resize`` makes small ones, which are read: a sixteenth of the
    samples. Others are shrunk on the host.

    Its ``params``:

    ==================== ================================================================
    ``lookahead_depth``  pictures that are held, 0 to 20 (8); flashes need 1
    ``spatial_aq_gain``  per cent: 50 is 1 step of the quantiser for twice the variance;
                         0 makes no map (50)
    ``scene_difference`` 0 to 1 (0.06)
    ``scene_histogram``  0 to 1 (0.25)
    ==================== ================================================================
    """

    vendor = "xtranscode"
    summary = "finds scene changes, and makes QP maps, in front of an encoder"
    xma_version = (2020, 1)

    def init(self, session: FilterSession) -> None:
        """Make ready."""
        self._given = given = read_params(
            session,
            lookahead_depth=8,
            spatial_aq_gain=50.0,
            scene_difference=0.06,
            scene_histogram=0.25,
        )
        if given.lookahead_depth > _MAX_DEPTH:
            raise InvalidError(
                f"{session.name} holds up to {_MAX_DEPTH} pictures, asked for "
                f"{given.lookahead_depth}"
            )
        self._session = session
        self._held: deque[_Held] = deque()
        self._before: Samples | None = None
        self._is_ending = False
        self._unit: ComputeUnit | None = None
        self._results = Results(session, given.lookahead_depth + 2, device_only=False)
        self._uploads = Uploads(session)
        if any(unit.kernel == get("resize") for unit in session.device.compute_units):
            self._unit = take_unit(session, get("resize"))

    def send_frame(self, session: FilterSession, frame: XmaFrame) -> Status:
        """Take a picture, and start to look at it; see `FilterPlugin.send_frame`."""
        if frame.is_last_frame:
            self._is_ending = True
            return Status.SUCCESS
        info = check_port(session, session.properties.input, frame.info, "is sent")
        # Of NumPy, the kernel would take longer than what is done on the host.
        is_near = session.device.driver.kind == "cpu"
        held = _Held(frame.reference())
        try:
            if frame.buffer_type is BufferType.DEVICE_ONLY and not is_near:
                self._shrink(held, info)
            else:
                held.small = shrunk(_luma(frame))
        except BaseException:
            held.close()
            raise
        # A picture that is refused is not received: the session may go on with the next.
        self._held.append(held)
        return Status.SUCCESS if self._is_full else Status.SEND_MORE_DATA

    def recv_frame(self, session: FilterSession, frame: XmaFrame) -> Status:
        """Give the oldest picture with what was found in it; see `FilterPlugin.recv_frame`."""
        if not self._held or not (self._is_ending or self._is_full):
            return Status.EOS if self._is_ending else Status.TRY_AGAIN
        held = self._held[0]
        small = self._small(held)
        is_change = self._is_change(small)
        is_flash = is_change and self._is_flash(small)
        if is_change and not is_flash:
            held.frame.is_idr = True
        # What follows a flash is compared with what was before it.
        if not is_flash:
            self._before = small
        self._add_map(held.frame, small)
        made = self._held.popleft().frame
        if frame.is_dummy:
            frame.take(made)
        else:
            self._results.hand_out(made, frame)
        return Status.SUCCESS

    @property
    def _is_full(self) -> bool:
        depth: int = self._given.lookahead_depth
        return len(self._held) > depth

    def close(self, session: FilterSession) -> None:
        """Let go of the pictures that are held."""
        for held in getattr(self, "_held", ()):
            held.close()
        self._held = deque()
        if hasattr(self, "_uploads"):
            self._uploads.close()

    def _shrink(self, held: _Held, info: FrameInfo) -> None:
        """Start to make a small picture of one that the host cannot see."""
        if self._unit is None:
            raise InvalidError(
                f"{self._session.name} cannot look at device-only pictures: "
                f"{self._session.device.name} has no compute unit that runs resize"
            )
        size = {"width": -(-info.width // STEP), "height": -(-info.height // STEP)}
        values = get("resize").check({**size, "filter": "bilinear"})
        form = get("resize").output(info, **values)
        assert isinstance(form, FrameInfo)
        held.shrinking = self._results.acquire(form)
        assert held.shrinking is not None
        source = self._uploads.take(held.frame)
        assert source is not None
        # What it takes from another device alone is held by the command.
        with source:
            registers = self._unit.pack(
                channel_id=self._session.properties.channel_id,
                source=planes_of(source),
                target=planes_of(held.shrinking),
                **values,
            )
        held.command = self._session.schedule_cu_cmd(registers)

    def _small(self, held: _Held) -> Samples:
        """Return the small picture, once it is there."""
        if held.small is None:
            assert held.command is not None
            assert held.shrinking is not None
            run(self._session, [held.command])
            with XmaFrame() as read:
                self._results.hand_out(held.shrinking, read)
                held.shrinking = None
                held.small = _luma(read)
        return held.small

    def _is_change(self, small: Samples) -> bool:
        """Whether the oldest picture differs as much from the one before as a new scene."""
        before, given = self._before, self._given
        return (
            before is not None
            and before.shape == small.shape
            and difference(before, small) >= given.scene_difference
            and histogram_distance(before, small) >= given.scene_histogram
        )

    def _is_flash(self, small: Samples) -> bool:
        """Whether the picture after the oldest one is like the one before it."""
        if self._before is None or len(self._held) == 1:
            return False
        following = self._small(self._held[1])
        return following.shape == small.shape and (
            difference(self._before, following) < difference(small, following)
        )

    def _add_map(self, frame: XmaFrame, small: Samples) -> None:
        info, gain = frame.info, self._given.spatial_aq_gain / 50
        if gain and info is not None:
            steps = qp_map(small, info.width, info.height, gain)
            frame.put_side_data(SideDataType.QP_MAP, steps)


def _luma(frame: XmaFrame) -> Samples:
    """Return the luma of a picture; of buffers with a side on the host, what that has."""
    assert frame.info is not None
    if frame.buffer_type is not BufferType.DEVICE:
        with to_host(frame) as on_host:
            return luma([plane.tensor.handle("array") for plane in on_host.planes], frame.info)
    return luma([host_side(plane) for plane in frame.planes], frame.info)
