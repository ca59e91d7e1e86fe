"""A plugin on one screen, to copy: a filter that holds some pictures back and hands them on."""

from collections import deque
from typing import Any

from xma_plugins.frames import XmaFrame
from xma_plugins.plugin import FilterPlugin
from xma_plugins.session import Session
from xma_plugins.status import Status

__all__ = ["PassThrough"]


class PassThrough(FilterPlugin):
    """Holds up to ``params["depth"]`` pictures, two by default, and hands them on in order."""

    vendor = "xtranscode"
    summary = "hands each picture on: a plugin to copy and change"
    xma_version = (2020, 1)
    uses_device = False

    def init(self, session: Session[Any]) -> None:
        """Make ready: a plugin may keep what it likes in itself."""
        self.frames: deque[XmaFrame] = deque()
        self.depth = int(session.params.get("depth", 2))
        self.is_ending = False

    def send_frame(self, session: Session[Any], frame: XmaFrame) -> Status:
        """Hold the picture; the one that is sent stays its sender's."""
        if frame.is_last_frame:
            self.is_ending = True
            return Status.SUCCESS
        if len(self.frames) == self.depth:
            return Status.TRY_AGAIN  # Nothing was taken: receive, then send the same again.
        self.frames.append(frame.reference())
        return Status.SUCCESS if len(self.frames) == self.depth else Status.SEND_MORE_DATA

    def recv_frame(self, session: Session[Any], frame: XmaFrame) -> Status:
        """Give the oldest picture."""
        if not self.frames:
            return Status.EOS if self.is_ending else Status.TRY_AGAIN
        made = self.frames.popleft()
        if frame.is_dummy:
            frame.take(made)
        else:
            with made:
                frame.copy_from(made)
        return Status.SUCCESS

    def close(self, session: Session[Any]) -> None:
        """Let go of what is left, in the middle of a stream too."""
        while self.frames:
            self.frames.popleft().close()
