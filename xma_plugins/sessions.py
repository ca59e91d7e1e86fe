"""The six kinds of sessions, as an application uses them."""

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from bridges.closable import Closable
from bridges.frame import FrameInfo
from xma_plugins.errors import BufferUseError, DataError, InvalidError, NoKernelError
from xma_plugins.frames import XmaDataBuffer, XmaFrame
from xma_plugins.kinds import SessionType
from xma_plugins.order import Order
from xma_plugins.properties import (
    AdminProperties,
    DecoderProperties,
    EncoderProperties,
    FilterProperties,
    KernelProperties,
    Properties,
    ScalerProperties,
)
from xma_plugins.session import Session
from xma_plugins.status import Status

if TYPE_CHECKING:
    from xma_plugins.compute_unit import ComputeUnit
    from xma_plugins.device import Device

__all__ = [
    "AdminSession",
    "DecoderSession",
    "EncoderSession",
    "FilterSession",
    "KernelSession",
    "ScalerSession",
]

P = TypeVar("P", bound=Properties)


class _Stream(Session[P], Generic[P]):
    """A session that takes and gives in the order that `xma_plugins.order` holds."""

    _send: str
    _receive: str

    def __init__(self, properties: P, device: "Device | None" = None) -> None:
        super().__init__(properties, device)
        self._order = Order(
            self.name,
            self._send,
            self._receive,
            ends_by_send=self.kind is SessionType.SCALER,
        )

    @property
    def ended(self) -> bool:
        """Whether all was flushed: nothing will come any more."""
        return self._order.ended

    def through(self, items: Iterable[Any]) -> Iterator[Any]:
        """Send each item and then the end, and yield all that is received.

        It follows whatever the plugin answers. What was sent is closed once it was taken; what is
        yielded is the caller's to close.

        Parameters
        ----------
        items : iterable
            What the session takes: frames, or data.

        Raises
        ------
        XTranscodeError
            As of sending and receiving.

        Examples
        --------
        >>> for scaled in scaler.through(decoder.through(packets)):  # doctest: +SKIP
        ...     ...
        """
        send, receive = getattr(self, self._send), getattr(self, self._receive)
        for item in itertools.chain(items, [None]):
            is_taken = False
            while not is_taken:
                answer = send(item)
                sent = answer[0] if isinstance(answer, tuple) else answer
                if sent is not Status.SEND_MORE_DATA and not self.ended:
                    status, made = receive()
                    while status is Status.SUCCESS:
                        yield made
                        status, made = receive()
                # A scaler is told of its end until it says that there is no more.
                again = sent in _NOT_TAKEN or (item is None and self._order.ends_by_send)
                is_taken = self.ended or not again
            if isinstance(item, Closable):
                item.close()

    def _give(self, callback: Callable[..., Status], frame: XmaFrame | None) -> Status:
        """Send a frame, or the end."""
        self._enter(self._send)
        try:
            is_end = frame is None or (isinstance(frame, XmaFrame) and frame.is_last_frame)
            item = _LAST_FRAME if is_end else self._checked(frame)
            self._order.before_send(item, is_end)
            try:
                status = self._call(callback, self._send, item)
            except InvalidError:
                self._order.after_refusal()
                raise
            self._order.after_send(status, item, is_end)
            return status
        finally:
            self._turn.release()

    def _checked(self, frame: object) -> XmaFrame:
        """Return what can be sent, and note who has it."""
        if not isinstance(frame, XmaFrame):
            raise InvalidError(
                f"{self.name} takes an XmaFrame, got {type(frame).__name__}; "
                "xma_plugins.builtin.libav_frame.from_av makes one of a picture of PyAV"
            )
        if frame.closed:
            raise BufferUseError(
                f"a frame that was closed was sent to {self.name}; close it behind"
            )
        if frame.is_dummy:
            raise InvalidError(
                f"a frame without planes was sent to {self.name}; send None at the end"
            )
        frame.hand_to(self.name)
        return frame

    def _take(self, callback: Callable[..., Status], into: Any) -> Status:
        """Receive into a frame or a data buffer, or into a list of them."""
        self._enter(self._receive)
        try:
            self._order.before_receive()
            try:
                status = self._call(callback, self._receive, into)
            except InvalidError:
                # It stands for what would have been received.
                self._order.after_receive(Status.SUCCESS)
                raise
            self._order.after_receive(status)
            return status
        finally:
            self._turn.release()


_NOT_TAKEN = frozenset((Status.TRY_AGAIN, Status.RESEND_AND_RECV, Status.FLUSH_AGAIN))
_LAST_FRAME = XmaFrame.last()
_LAST_DATA = XmaDataBuffer.last()


class _GivesFrames(_Stream[P], Generic[P]):
    """A session that gives pictures, one at a time."""

    _receive = "recv_frame"

    def recv_frame(self, frame: XmaFrame | None = None) -> tuple[Status, XmaFrame | None]:
        """Receive a picture.

        Parameters
        ----------
        frame : XmaFrame, optional
            What to receive into, in host memory; by default the plugin gives memory of its own.

        Returns
        -------
        Status
            SUCCESS with a picture; TRY_AGAIN without one: send more; EOS: all was flushed.
        XmaFrame or None
            The caller's to close.

        Raises
        ------
        OrderError
            It may not be called now; the message says what may.
        """
        into = XmaFrame() if frame is None else frame
        status = self._take(self.plugin.recv_frame, into)
        if status is Status.SUCCESS:
            into.hand_to("the application")
            return status, into
        return status, None


class _TakesFrames(_Stream[P], Generic[P]):
    """A session that takes pictures."""

    _send = "send_frame"

    def send_frame(self, frame: XmaFrame | None) -> Status:
        """Send a picture, or None at the end.

        Parameters
        ----------
        frame : XmaFrame or None
            It stays the caller's, who may close it as soon as it was taken.

        Returns
        -------
        Status
            SUCCESS: receive. SEND_MORE_DATA: send the next. TRY_AGAIN: nothing was taken; receive,
            then send the same again. RESEND_AND_RECV: the same, where receiving is not a must.
            FLUSH_AGAIN: receive once, then send None again.

        Raises
        ------
        OrderError
            It may not be called now; the message says what may.
        InvalidError
            The frame cannot be worked on, or one before it could not, which had to wait. This one
            was not taken, and the session goes on with the next.
        """
        return self._give(self.plugin.send_frame, frame)


class EncoderSession(_TakesFrames[EncoderProperties]):
    """Pictures in, coded data out."""

    kind = SessionType.ENCODER
    _receive = "recv_data"

    def recv_data(self, data: XmaDataBuffer | None = None) -> tuple[Status, XmaDataBuffer | None]:
        """Receive coded data; see `FilterSession.recv_frame`."""
        into = XmaDataBuffer() if data is None else data
        status = self._take(self.plugin.recv_data, into)
        return status, into if status is Status.SUCCESS else None


class DecoderSession(_GivesFrames[DecoderProperties]):
    """Coded data in, pictures out."""

    kind = SessionType.DECODER
    _send = "send_data"

    def send_data(self, data: Any) -> tuple[Status, int]:
        """Send data, or None at the end.

        Parameters
        ----------
        data : XmaDataBuffer, bytes-like object or None
            Such as an ``av.Packet``. What is sent again after TRY_AGAIN is the same object.

        Returns
        -------
        Status
            As of `EncoderSession.send_frame`.
        int
            How many bytes were taken.

        Raises
        ------
        DataError
            The data is damaged. It counts as taken, and the session goes on.
        """
        self._enter(self._send)
        try:
            is_end = data is None or (isinstance(data, XmaDataBuffer) and data.is_eof)
            item = _LAST_DATA if is_end else _as_data(data)
            self._order.before_send(data, is_end)
            try:
                status, used = self._call(self.plugin.send_data, self._send, item)
            except DataError:
                taken = Status.SUCCESS if is_end else Status.SEND_MORE_DATA
                self._order.after_send(taken, data, is_end)
                raise
            self._order.after_send(status, data, is_end)
            return status, used
        finally:
            self._turn.release()

    def get_properties(self) -> FrameInfo | None:
        """Return what the stream says of its pictures; None before it said so."""
        self._enter("get_properties")
        try:
            info: FrameInfo | None = self._call(self.plugin.get_properties, "get_properties")
        finally:
            self._turn.release()
        return info


class FilterSession(_TakesFrames[FilterProperties], _GivesFrames[FilterProperties]):
    """Pictures in, pictures out."""

    kind = SessionType.FILTER


class ScalerSession(_TakesFrames[ScalerProperties]):
    """Pictures in, each out in several sizes; EOS comes from sending."""

    kind = SessionType.SCALER
    _receive = "recv_frame_list"

    def recv_frame_list(
        self, frames: Sequence[XmaFrame] | None = None
    ) -> tuple[Status, list[XmaFrame]]:
        """Receive a picture for each output.

        Parameters
        ----------
        frames : sequence of XmaFrame, optional
            What to receive into, one for each output; by default the plugin gives memory.

        Returns
        -------
        Status
            As of `FilterSession.recv_frame`, but EOS comes from sending.
        list of XmaFrame
            In the order of the outputs; empty without SUCCESS. One that is a dummy was not due:
            an output at half rate has every second picture.
        """
        outputs = self.properties.outputs
        into = [XmaFrame() for _ in outputs] if frames is None else list(frames)
        if len(into) != len(outputs):
            raise InvalidError(
                f"{self.name} has {len(outputs)} outputs, got {len(into)} frames to receive into"
            )
        status = self._take(self.plugin.recv_frame_list, into)
        if status is not Status.SUCCESS:
            return status, []
        for frame in into:
            frame.hand_to("the application")
        return status, into


class KernelSession(Session[KernelProperties]):
    """Parameters in, parameters out."""

    kind = SessionType.KERNEL

    def write(self, parameters: Mapping[str, Any]) -> None:
        """Hand parameters to the plugin."""
        self._enter("write")
        try:
            self._call(self.plugin.write, "write", parameters)
        finally:
            self._turn.release()

    def read(self) -> Mapping[str, Any]:
        """Return the plugin's parameters."""
        self._enter("read")
        try:
            found: Mapping[str, Any] = self._call(self.plugin.read, "read")
        finally:
            self._turn.release()
        return found


class AdminSession(Session[AdminProperties]):
    """Parameters in and out, over several compute units: each command names its own."""

    kind = SessionType.ADMIN

    write = KernelSession.write
    read = KernelSession.read

    @property
    def compute_units(self) -> "tuple[ComputeUnit, ...]":
        """The compute units that commands may name, in the order of ``cu_names``."""
        names = self.properties.cu_names
        if not names:
            return self.device.compute_units
        return tuple(self.device.compute_unit(-1, name) for name in names)

    def _unit(self, cu_index: int = -1) -> "ComputeUnit":
        units = {unit.index: unit for unit in self.compute_units}
        if cu_index not in units:
            there = ", ".join(f"{index} {unit.name}" for index, unit in units.items())
            raise NoKernelError(
                f"{self.name} has no compute unit {cu_index}; name one by cu_index, of {there}"
            )
        return units[cu_index]


def _as_data(data: Any) -> XmaDataBuffer:
    """Return data as plugins take it."""
    if isinstance(data, XmaDataBuffer):
        return data
    try:
        memoryview(data)
    except TypeError as error:
        raise InvalidError(
            f"a decoder takes an XmaDataBuffer or bytes, got {type(data).__name__}"
        ) from error
    return XmaDataBuffer(data, pts=getattr(data, "pts", None))
