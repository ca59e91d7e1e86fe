"""What an application sends: pictures or packets, each the same object until it was taken."""

from typing import TYPE_CHECKING, Any

from xma_plugins.conformance.pictures import Counter, picture
from xma_plugins.conformance.rule import Rule, RuleBrokenError
from xma_plugins.errors import BufferUseError
from xma_plugins.frames import XmaDataBuffer, XmaFrame
from xma_plugins.kinds import SessionType
from xma_plugins.status import Status, name_of

if TYPE_CHECKING:
    from xma_plugins.conformance.setup import Setup
    from xma_plugins.device import Device

__all__ = ["ENDS", "TAKEN", "Outbox", "check_held"]

TAKEN = (Status.SUCCESS, Status.SEND_MORE_DATA)
"""Answers to something that was taken."""

ENDS = (Status.EOS, Status.END_OF_FILE)
"""Answers of a stream that is over."""


class Outbox:
    """What one application sends to its session.

    Parameters
    ----------
    kind : SessionType
        Of the session.
    setup : Setup
        What there is to send.
    device : Device
        Where pictures lie, once ``is_on_device`` says so.

    Attributes
    ----------
    planes : Counter
        Planes of pictures that are held.
    is_on_device : bool
        Whether pictures are made in device buffers.
    """

    def __init__(self, kind: SessionType, setup: "Setup", device: "Device") -> None:
        self._kind, self._setup, self._device = kind, setup, device
        self.planes = Counter()
        self.is_on_device = False
        self._open: dict[int, XmaFrame | XmaDataBuffer] = {}
        self._rest: dict[int, memoryview] = {}

    @property
    def numbers(self) -> tuple[int, ...]:
        """What is not closed yet."""
        return tuple(self._open)

    def send(self, session: Any, number: int | None) -> Any:
        """Send a picture or a packet, or what is left of it; None is the end.

        Returns
        -------
        Status
            What the plugin answers, which may be anything.

        Raises
        ------
        RuleBrokenError
            A decoder says that it took what cannot be.
        """
        item = None if number is None else self._item(number)
        if self._kind is not SessionType.DECODER:
            return session.send_frame(item)
        status, used = session.send_data(item)
        if number is not None:
            self._note_bytes(number, status, used)
        return status

    def _item(self, number: int) -> XmaFrame | XmaDataBuffer:
        item = self._open.get(number)
        if item is None:
            if self._kind is SessionType.DECODER:
                data, pts = self._setup.packets[number]
                item = XmaDataBuffer(self._rest.get(number, data), pts=pts)
            else:
                where = self._device if self.is_on_device else None
                item = picture(self._setup, number, self.planes, where)
            self._open[number] = item
        return item

    def _note_bytes(self, number: int, status: Any, used: Any) -> None:
        data = memoryview(self._rest.get(number, self._setup.packets[number][0]))
        is_taken = status in TAKEN
        lowest, highest = (1, data.nbytes) if is_taken else (0, 0)
        if not (isinstance(used, int) and lowest <= used <= highest):
            raise RuleBrokenError(
                Rule.BYTES_TAKEN,
                f"send_data answers {name_of(status)} and that it took {used} of {data.nbytes} "
                "bytes",
            )
        if is_taken:
            self._rest.pop(number, None)
            if used < data.nbytes:
                self._rest[number] = data[used:]
                self.close(number)

    def has_rest(self, number: int) -> bool:
        """Whether part of a packet was not taken yet."""
        return number in self._rest

    def check_held(self, number: int) -> None:
        """Check that a plugin did not let go of what is still held here."""
        item = self._open.get(number)
        if isinstance(item, XmaFrame):
            check_held(item, "sender")

    def close(self, number: int) -> None:
        """Close what was sent."""
        self._open.pop(number).close()


def check_held(frame: XmaFrame, who: str) -> None:
    """Check that a plugin did not let go of what somebody else holds.

    Raises
    ------
    RuleBrokenError
        It did.
    """
    try:
        is_held = all(plane.refcount for plane in frame.planes)
    except BufferUseError:
        is_held = False
    if not is_held:
        raise RuleBrokenError(
            Rule.RELEASE, f"the plugin let go of a picture that its {who} still holds"
        )
