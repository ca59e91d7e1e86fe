"""Where new DMA memory comes from: udmabuf, dma-heaps, vgem, or a memfd in their place."""

import fcntl
import mmap
import os
from abc import ABC, abstractmethod
from pathlib import Path

from bridges.native.drm import dma_heap_alloc, dumb_buffer, udmabuf_create

__all__ = ["VGEM", "Allocator", "Heap", "Memfd", "UDMABuf", "allocators"]

_UDMABUF = Path("/dev/udmabuf")
_HEAPS = Path("/dev/dma_heap")
_VGEM = Path("/sys/devices/platform/vgem/drm")
"""The nodes of the kernel's module vgem, in sysfs: so no GPU's node is opened to find them."""
_NODES = Path("/dev/dri")


def _whole_pages(nbytes: int) -> int:
    return -(-nbytes // mmap.PAGESIZE) * mmap.PAGESIZE


class Allocator(ABC):
    """One source of memory that is known by a file descriptor.

    Attributes
    ----------
    name : str
        As a selector has it.
    is_dma_buf : bool
        Whether devices can import what it makes.
    """

    name: str
    is_dma_buf = True

    @abstractmethod
    def allocate(self, nbytes: int) -> int:
        """Return new memory of at least ``nbytes``, in whole pages, as a file descriptor.

        Raises
        ------
        OSError
            The kernel refused.
        """


class Memfd(Allocator):
    """Anonymous memory of the process: it can be passed on and mapped, yet is no dma-buf."""

    name = "memfd"
    is_dma_buf = False

    def __str__(self) -> str:
        return "memfd (no dma-buf: devices cannot import it)"

    def allocate(self, nbytes: int) -> int:
        """Return a new memfd; see `Allocator.allocate`."""
        fd = os.memfd_create("xtranscode", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        try:
            os.ftruncate(fd, _whole_pages(nbytes))
            # Nobody can cut it off under a mapping, and udmabuf asks for this seal.
            fcntl.fcntl(fd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK)
        except BaseException:
            os.close(fd)
            raise
        return fd


class UDMABuf(Allocator):
    """dma-bufs over anonymous memory."""

    name = "udmabuf"

    def __str__(self) -> str:
        return f"dma-buf of {_UDMABUF}"

    def allocate(self, nbytes: int) -> int:
        """Return a new dma-buf; see `Allocator.allocate`."""
        memfd = Memfd().allocate(nbytes)
        try:
            node = os.open(_UDMABUF, os.O_RDWR | os.O_CLOEXEC)
            try:
                return udmabuf_create(node, memfd, os.fstat(memfd).st_size)
            finally:
                os.close(node)
        finally:
            os.close(memfd)


class Heap(Allocator):
    """dma-bufs of one of the kernel's heaps.

    Parameters
    ----------
    name : str
        Of a file in ``/dev/dma_heap``, such as ``"system"``.
    """

    def __init__(self, name: str) -> None:
        self.name = name

    def __str__(self) -> str:
        return f"dma-buf of {_HEAPS / self.name}"

    def allocate(self, nbytes: int) -> int:
        """Return a new dma-buf; see `Allocator.allocate`."""
        node = os.open(_HEAPS / self.name, os.O_RDWR | os.O_CLOEXEC)
        try:
            return dma_heap_alloc(node, nbytes)
        finally:
            os.close(node)


class VGEM(Allocator):
    """dma-bufs of the kernel's module vgem: a DRM device without hardware, over the host's memory.

    Parameters
    ----------
    node : Path
        Its card in ``/dev/dri``.
    """

    name = "vgem"

    def __init__(self, node: Path) -> None:
        self._node = node

    def __str__(self) -> str:
        return f"dma-buf of {self._node} (vgem)"

    def allocate(self, nbytes: int) -> int:
        """Return a new dma-buf; see `Allocator.allocate`."""
        node = os.open(self._node, os.O_RDWR | os.O_CLOEXEC)
        try:
            return dumb_buffer(node, _whole_pages(nbytes))
        finally:
            os.close(node)  # It forgets the buffer, which lives by its descriptor.


def allocators() -> tuple[Allocator, ...]:
    """Return what can be opened here, the best first; a memfd is always there, and the last."""
    found: list[Allocator] = []
    if os.access(_UDMABUF, os.R_OK | os.W_OK):
        found.append(UDMABuf())
    if _HEAPS.is_dir():
        # The system's heap before those of contiguous or protected memory.
        names = sorted((path.name for path in _HEAPS.iterdir()), key=lambda n: (n != "system", n))
        found += [Heap(name) for name in names if os.access(_HEAPS / name, os.R_OK)]
    cards = [_NODES / path.name for path in sorted(_VGEM.glob("card*"))]
    found += [VGEM(node) for node in cards if os.access(node, os.R_OK | os.W_OK)]
    return (*found, Memfd())
