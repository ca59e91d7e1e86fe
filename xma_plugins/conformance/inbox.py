"""What an application receives, and what is to be found in it."""

from typing import TYPE_CHECKING, Any

from xma_plugins.conformance.outbox import check_held
from xma_plugins.conformance.pictures import data_digest, digest
from xma_plugins.conformance.rule import Rule, RuleBrokenError
from xma_plugins.frames import XmaDataBuffer, XmaFrame
from xma_plugins.kinds import SessionType

if TYPE_CHECKING:
    from bridges.frame import FrameInfo

__all__ = ["Inbox"]


class Inbox:
    """What one application received, and holds.

    Parameters
    ----------
    kind : SessionType
        Of the session.
    forms : list of FrameInfo
        Of what is received, as far as it is known; what is received first fills it.

    Attributes
    ----------
    results : list of str
        A short text on each thing that was received, the same for the same content.
    """

    def __init__(self, kind: SessionType, forms: "list[FrameInfo]") -> None:
        self._kind, self._forms = kind, forms
        self.results: list[str] = []
        self._kept: list[XmaFrame | XmaDataBuffer] = []

    def __bool__(self) -> bool:
        return bool(self._kept)

    def receive(self, session: Any, how: str) -> tuple[Any, list[XmaFrame | XmaDataBuffer]]:
        """Receive into dummies, or into ``"own"`` frames.

        Returns
        -------
        Status
            What the plugin answers, which may be anything.
        list
            What there is for each output; it is kept.
        """
        own = [XmaFrame.allocate(info) for info in self._forms] if how == "own" else None
        got: list[XmaFrame | XmaDataBuffer]
        if self._kind is SessionType.SCALER:
            status, got = session.recv_frame_list(own)
        else:
            if self._kind is SessionType.ENCODER:
                status, one = session.recv_data()
            else:
                status, one = session.recv_frame(own[0] if own else None)
            got = [] if one is None else [one]
        self._kept += got
        return status, got

    def look(self, session: Any, got: list[XmaFrame | XmaDataBuffer]) -> str:
        """Return what was received, in short.

        Raises
        ------
        RuleBrokenError
            It is nothing, or the plugin has let go of it.
        """
        texts = [self._look(session, number, each) for number, each in enumerate(got)]
        frames = [each for each in got if isinstance(each, XmaFrame) and each.info]
        if len(frames) == len(got) and not self._forms:
            self._forms += [each.info for each in frames if each.info]
        self.results.append(", ".join(texts))
        return self.results[-1]

    def _look(self, session: Any, number: int, each: XmaFrame | XmaDataBuffer) -> str:
        if isinstance(each, XmaFrame) and not each.is_dummy:
            check_held(each, "receiver")
            return f"pts={each.pts} {digest(each)}"
        if isinstance(each, XmaDataBuffer) and each.alloc_size:
            return f"pts={each.pts} {data_digest(each)}"
        if self._kind is SessionType.SCALER and session.properties.outputs[number].is_half_rate:
            return "not due"
        raise RuleBrokenError(Rule.FILLED, f"SUCCESS, and output {number} was left without content")

    def take_out(self) -> XmaFrame | XmaDataBuffer:
        """Return something that is held; it is the caller's to close."""
        return self._kept.pop()
