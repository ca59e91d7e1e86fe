"""Damage of a source: what is done about it, and how an early end is found."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING

import av

from transcode.errors import SourceError

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.video.stream import VideoStream

    from transcode.notices import Notices

__all__ = ["Damage", "missing_end"]

_TOLD = 8
"""How many damages are told one by one; the rest is only counted."""


class Damage:
    """Fails at the first damage, or keeps what is good and counts the rest.

    Parameters
    ----------
    path : str
        The source, for messages.
    keep : bool
        Whether to go on.
    notices : Notices
        Told of what is kept in spite of damage.

    Attributes
    ----------
    count : int
        Packets and pictures found damaged so far.
    """

    def __init__(self, path: str, *, keep: bool, notices: Notices) -> None:
        self._path, self._keep, self._notices = path, keep, notices
        self.count = 0

    def found(self, what: str, error: Exception | None = None, *, at_all: bool = True) -> None:
        """Take a damage.

        Parameters
        ----------
        what : str
            What is damaged, and where.
        error : Exception, optional
            Its cause.
        at_all : bool
            Whether any frame could be decoded so far.

        Raises
        ------
        SourceError
            Damage is not to be kept.
        """
        self.count += 1
        if self._keep:
            if self.count <= _TOLD:
                self._notices.add(f"damaged: {what}")
        elif at_all:
            raise SourceError(f"{self._path}: {what}; say --damaged keep to go on") from error
        else:
            raise SourceError(f"{self._path}: no frame could be decoded: {what}") from error

    def report(self) -> None:
        """Tell the total, where there is any."""
        if self.count:
            what = "packet or picture" if self.count == 1 else "packets or pictures"
            self._notices.add(f"damaged: {self.count} {what} in all")


def missing_end(
    container: InputContainer, video: VideoStream, packets: int, reached: Fraction
) -> str:
    """Return in words how a source ends before its own index or header says; empty if it does not.

    Parameters
    ----------
    container, video
        The source, read to its end.
    packets : int
        Video packets that were there.
    reached : Fraction
        The end of the last packet of any stream, in seconds.
    """
    names = container.format.name.split(",")
    indexed = len(video.index_entries) if "mp4" in names else 0
    if packets < indexed:
        return f"it breaks off: its index has {indexed} frames, {packets} are there"
    if "matroska" in names and container.duration:
        promised = Fraction(container.duration, av.time_base)
        # Headers count in milliseconds, and a last frame's own duration is often left out.
        if reached < promised * Fraction(98, 100) - Fraction(1, 2):
            return (
                f"it breaks off: its header says {float(promised):.2f} s, "
                f"{float(reached):.2f} s are there"
            )
    return ""
