"""What was sent and what came out: that nothing is lost, doubled, or takes another's time."""

from collections.abc import Sequence

from xma_plugins.conformance.pictures import marked
from xma_plugins.conformance.rule import Rule, RuleBrokenError
from xma_plugins.conformance.setup import Setup
from xma_plugins.frames import XmaDataBuffer, XmaFrame
from xma_plugins.kinds import SessionType

__all__ = ["Account"]


class Account:
    """Pictures on their way through one session, by their times.

    Parameters
    ----------
    kind : SessionType
        Coded data comes in the order of decoding, pictures in the order in which they are shown;
        the side data of pictures goes with them, but not through a codec.
    setup : Setup
        Whether every picture comes out once.
    """

    def __init__(self, kind: SessionType, setup: Setup) -> None:
        self._kind, self._setup = kind, setup
        self._open: dict[int | None, int] = {}
        self._done: set[int | None] = set()
        self._last: int | None = None

    def sent(self, pts: int | None, index: int) -> None:
        """Note that something was taken."""
        self._open[pts] = index

    def received(self, items: Sequence[XmaFrame | XmaDataBuffer]) -> None:
        """Note what came out for one picture, and check it.

        Raises
        ------
        RuleBrokenError
            It is not what has to come.
        """
        # What stayed a dummy was not due.
        items = [each for each in items if isinstance(each, XmaDataBuffer) or not each.is_dummy]
        times = {item.pts for item in items}
        if len(times) > 1:
            raise RuleBrokenError(Rule.TIME, f"outputs of one picture have the times {times}")
        if not times or not self._setup.is_one_to_one:
            return
        (pts,) = times
        if pts not in self._open:
            if pts in self._done:
                raise RuleBrokenError(Rule.COUNT, f"the picture of pts {pts} came twice")
            raise RuleBrokenError(
                Rule.TIME, f"a picture has pts {pts}, and none that was sent has; {self._missing()}"
            )
        index = self._open.pop(pts)
        self._done.add(pts)
        if self._kind is SessionType.ENCODER:
            return
        if pts is not None and self._last is not None and pts < self._last:
            raise RuleBrokenError(
                Rule.TIME, f"the picture of pts {pts} came after that of {self._last}"
            )
        self._last = pts
        if self._kind is not SessionType.DECODER:
            self._check_marks(items, index)

    @staticmethod
    def _check_marks(items: Sequence[XmaFrame | XmaDataBuffer], index: int) -> None:
        for item in items:
            mark = marked(item) if isinstance(item, XmaFrame) else None
            if mark != index:
                has = "lost its side data" if mark is None else f"has that of picture {mark}"
                raise RuleBrokenError(Rule.SIDE_DATA, f"picture {index} {has}")

    def end(self) -> None:
        """Check that nothing is missing.

        Raises
        ------
        RuleBrokenError
            Something is.
        """
        if self._open and self._setup.is_one_to_one:
            raise RuleBrokenError(
                Rule.COUNT, f"the stream ended with pictures missing: {self._missing()}"
            )

    def _missing(self) -> str:
        times = ", ".join(map(str, list(self._open)[:4]))
        return f"{len(self._open)} on their way, of pts {times}" if times else "none is on its way"
