"""Which frames a video has: their times, in the order they are shown, and the key frames."""

from __future__ import annotations

import contextlib
from bisect import bisect_left, bisect_right
from dataclasses import dataclass
from typing import TYPE_CHECKING

import av

from transcode.container import error_text
from transcode.errors import SourceError

if TYPE_CHECKING:
    from fractions import Fraction

    from av.container import InputContainer
    from av.packet import Packet
    from av.video.stream import VideoStream

__all__ = ["FrameIndex", "read_index"]


@dataclass(frozen=True)
class FrameIndex:
    """The frames of a video stream, without their samples.

    Attributes
    ----------
    pts : tuple of int
        When each is shown, in units of ``time_base``; they increase.
    keys : tuple of int
        The ``pts`` of those that decoding can begin with.
    time_base : Fraction
        Seconds a unit.
    """

    pts: tuple[int, ...]
    keys: tuple[int, ...]
    time_base: Fraction

    def __len__(self) -> int:
        return len(self.pts)

    def time(self, number: int) -> Fraction:
        """Return when a frame is shown, in seconds after the first one."""
        return (self.pts[number] - self.pts[0]) * self.time_base

    def number_of(self, pts: int) -> int | None:
        """Return which frame is shown at a time stamp; None where none begins there."""
        number = bisect_left(self.pts, pts)
        return number if number < len(self.pts) and self.pts[number] == pts else None

    def shown_at(self, seconds: Fraction) -> int:
        """Return which frame is on the screen so many seconds after the first one's time.

        The first frame is shown before it too, and the last one for ever.
        """
        ticks = self.pts[0] + seconds / self.time_base
        return max(bisect_right(self.pts, ticks) - 1, 0)

    def first_from(self, seconds: Fraction) -> int:
        """Return the first frame at or after a time; as many as there are, where none is."""
        return bisect_left(self.pts, self.pts[0] + seconds / self.time_base)

    def key_of(self, number: int) -> int:
        """Return the frame that decoding a frame begins with: the last key frame at or before it.

        The first frame, where there is none.
        """
        place = bisect_right(self.keys, self.pts[number]) - 1
        return bisect_left(self.pts, self.keys[place]) if place >= 0 else 0


def read_index(container: InputContainer, stream: VideoStream, path: str) -> FrameIndex:
    """Read the times of a stream's packets, to the end of the file; one frame is decoded.

    What cannot be decoded because the file begins between two key frames is left out.

    Parameters
    ----------
    container : av.container.InputContainer
        It stands at its beginning, and has to be sought back.
    stream : av.VideoStream
        One of its streams.
    path : str
        What to call it in messages.

    Raises
    ------
    SourceError
        It cannot be read, or has packets without times.
    """
    shown, keys = [], []
    first: int | None = None
    try:
        for packet in container.demux(stream):
            if not packet.size or packet.is_discard:
                continue
            if packet.pts is None:
                raise SourceError(
                    f"{path}: its packets have no times, so that frames cannot be found by number "
                    "or time; read them in order, or remux it"
                )
            shown.append(packet.pts)
            if packet.is_keyframe:
                keys.append(packet.pts)
            if first is None:
                first = _first_pts(packet)
    except av.FFmpegError as error:
        raise SourceError(f"{path}: {error_text(path, error)}") from error
    if not shown or not stream.time_base:
        raise SourceError(f"{path}: no frame")
    if first in shown:
        shown, keys = ([pts for pts in each if pts >= first] for each in (shown, keys))
    return FrameIndex(tuple(sorted(set(shown))), tuple(sorted(keys)), stream.time_base)


def _first_pts(packet: Packet[VideoStream]) -> int | None:
    """Return the time stamp of the frame that a packet gives, where it gives one."""
    with contextlib.suppress(av.FFmpegError):
        for frame in packet.decode():
            return frame.pts
    return None
