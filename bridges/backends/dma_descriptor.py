"""File descriptors of shared memory, each with one owner that is counted."""

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property

from bridges.closable import Closable
from bridges.errors import ClosedError, DeviceError
from bridges.native.drm import is_dma_buf

__all__ = ["FileDescriptor", "dma_errors", "open_descriptors"]


@contextmanager
def dma_errors(action: str) -> Iterator[None]:
    """Translate the kernel's errors; ``action`` completes "the kernel cannot ...".

    Raises
    ------
    DeviceError
        The kernel refused.
    """
    try:
        yield
    except (OSError, OverflowError) as error:
        raise DeviceError(f"the kernel cannot {action}: {error}") from error


class FileDescriptor(Closable):
    """The one owner of a file descriptor, which is closed with it.

    Tensors and mappings that use the same descriptor hold the same owner; the last one to let go
    of it closes it.

    Parameters
    ----------
    fd : int
        It becomes this object's.
    """

    _lock = threading.Lock()
    _open = 0

    def __init__(self, fd: int) -> None:
        self._fd = fd
        with FileDescriptor._lock:
            FileDescriptor._open += 1

    @classmethod
    def duplicate(cls, fd: int) -> "FileDescriptor":
        """Return the owner of a new descriptor of what ``fd`` refers to.

        Raises
        ------
        DeviceError
            ``fd`` is not open, or the process has too many open files.
        """
        with dma_errors(f"duplicate file descriptor {fd}"):
            return cls(os.dup(fd))

    @property
    def fd(self) -> int:
        """The descriptor.

        Raises
        ------
        ClosedError
            It was closed.
        """
        if self._fd < 0:
            raise ClosedError("this file descriptor was closed; duplicate it earlier")
        return self._fd

    @cached_property
    def is_dma_buf(self) -> bool:
        """Whether this is a dma-buf, which has to be synchronised, and not a memfd."""
        with dma_errors(f"examine file descriptor {self.fd}"):
            return is_dma_buf(self.fd)

    @cached_property
    def nbytes(self) -> int:
        """The size of the memory in bytes."""
        # On older kernels a dma-buf tells its size only here: its st_size is 0.
        with dma_errors(f"tell the size of the memory behind file descriptor {self.fd}"):
            return os.lseek(self.fd, 0, os.SEEK_END)

    @cached_property
    def identity(self) -> tuple[int, int] | None:
        """Device and inode of the memory, equal for all descriptors of it; None if they lie.

        Another memory can get these numbers once the last descriptor is closed.
        """
        with dma_errors(f"examine file descriptor {self.fd}"):
            # Before Linux 5.3 all dma-bufs have one inode, and nothing tells them apart.
            if os.readlink(f"/proc/self/fd/{self.fd}").startswith("anon_inode:"):
                return None
            file = os.fstat(self.fd)
        return file.st_dev, file.st_ino

    def close(self) -> None:
        """Close the descriptor; may be repeated."""
        with FileDescriptor._lock:
            fd, self._fd = self._fd, -1
            if fd >= 0:
                FileDescriptor._open -= 1
        if fd >= 0:
            os.close(fd)

    def __del__(self) -> None:
        # Absent where construction was interrupted.
        if getattr(self, "_fd", -1) >= 0:
            self.close()


def open_descriptors() -> int:
    """Return how many file descriptors this module's objects own now."""
    return FileDescriptor._open
