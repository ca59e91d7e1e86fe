"""What tells one state of a file from another."""

from __future__ import annotations

import os
from typing import NamedTuple

__all__ = ["FileIdentity"]


class FileIdentity(NamedTuple):
    """What tells one state of a file from another, without reading it.

    Attributes
    ----------
    nbytes : int
        Its size.
    mtime_ns : int
        When it was written, in nanoseconds.
    inode : int
        Its number in the file system.
    """

    nbytes: int
    mtime_ns: int
    inode: int

    @classmethod
    def of(cls, path: str) -> FileIdentity | None:
        """Return that of a file; None where there is none, or it is a URL."""
        try:
            status = os.stat(path)
        except (OSError, ValueError):
            return None
        return cls(status.st_size, status.st_mtime_ns, status.st_ino)
