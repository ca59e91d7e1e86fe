"""The plugin: one instance for each session, with the four methods of a filter."""

from typing import Any

import numpy as np

from xma_plugins import FilterPlugin, InvalidError, Session, Status, XmaFrame, to_host

__all__ = ["Trails"]


class Trails(FilterPlugin):
    """Lets what is bright fade over ``params["fade"]``, from 0 to below 1: 0.9 by default."""

    vendor = "samples"
    summary = "lets bright things leave a trail that fades"
    xma_version = (2020, 1)
    uses_device = False

    def init(self, session: Session[Any]) -> None:
        """Make ready."""
        self.fade = float(session.params.get("fade", 0.9))
        if not 0 <= self.fade < 1:
            raise InvalidError(f"fade is from 0 to below 1, got {self.fade}")
        self.trail: Any = None
        self.made: XmaFrame | None = None
        self.is_ending = False

    def send_frame(self, session: Session[Any], frame: XmaFrame) -> Status:
        """Make a picture that is at least as bright as what is left of those before."""
        if frame.is_last_frame:
            self.is_ending = True
            return Status.SUCCESS
        if self.made is not None:
            return Status.TRY_AGAIN  # Nothing was taken: receive first.
        assert frame.info is not None
        self.made = XmaFrame.allocate(frame.info)
        with to_host(frame) as seen:
            self.made.copy_from(seen)  # Samples, time, flags and side data.
        luma = np.asarray(self.made.planes[0].tensor)
        if self.trail is None:
            self.trail = np.zeros(luma.shape)
        self.trail = np.maximum(self.trail * self.fade, luma)
        luma[...] = self.trail
        return Status.SUCCESS

    def recv_frame(self, session: Session[Any], frame: XmaFrame) -> Status:
        """Give that picture."""
        if self.made is None:
            return Status.EOS if self.is_ending else Status.TRY_AGAIN
        made, self.made = self.made, None
        if frame.is_dummy:
            frame.take(made)
        else:
            with made:
                frame.copy_from(made)
        return Status.SUCCESS

    def close(self, session: Session[Any]) -> None:
        """Let go of what nobody received, in the middle of a stream too."""
        if self.made is not None:
            self.made.close()
