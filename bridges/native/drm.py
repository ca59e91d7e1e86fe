"""The kernel's interface to shared buffers: dma-buf, udmabuf, dma-heap, DRM's nodes and codes.

Numbers of requests are built as ``_IOC`` of ``asm-generic/ioctl.h`` does, for x86, ARM and RISC-V.
"""

import errno
import fcntl
import mmap
import os
import struct

__all__ = [
    "DMA_BUF_IOCTL_SYNC",
    "DMA_BUF_SYNC_END",
    "DMA_BUF_SYNC_READ",
    "DMA_BUF_SYNC_START",
    "DMA_BUF_SYNC_WRITE",
    "DMA_HEAP_IOCTL_ALLOC",
    "DRM_IOCTL_MODE_CREATE_DUMB",
    "DRM_IOCTL_PRIME_HANDLE_TO_FD",
    "MODIFIER_INVALID",
    "MODIFIER_LINEAR",
    "UDMABUF_CREATE",
    "UDMABUF_FLAGS_CLOEXEC",
    "dma_buf_sync",
    "dma_heap_alloc",
    "dumb_buffer",
    "fourcc",
    "fourcc_name",
    "is_dma_buf",
    "modifier_name",
    "udmabuf_create",
]

_WRITE, _READ = 1, 2
"""``_IOC_WRITE`` and ``_IOC_READ`` of ``asm-generic/ioctl.h``."""


def _ioc(direction: int, kind: str, number: int, nbytes: int) -> int:
    return direction << 30 | nbytes << 16 | ord(kind) << 8 | number


DMA_BUF_IOCTL_SYNC = _ioc(_WRITE, "b", 0, 8)
"""``DMA_BUF_IOCTL_SYNC`` of ``linux/dma-buf.h``, with a ``struct dma_buf_sync``: 64 bits of flags.
"""
DMA_BUF_SYNC_READ, DMA_BUF_SYNC_WRITE, DMA_BUF_SYNC_START, DMA_BUF_SYNC_END = 1, 2, 0, 4
"""``DMA_BUF_SYNC_*`` of ``linux/dma-buf.h``."""
_NO_SYNC = 1 << 63
"""A flag outside ``DMA_BUF_SYNC_VALID_FLAGS_MASK``: every dma-buf refuses it with EINVAL."""

UDMABUF_CREATE = _ioc(_WRITE, "u", 0x42, 24)
"""``UDMABUF_CREATE`` of ``linux/udmabuf.h``, with a ``struct udmabuf_create``."""
UDMABUF_FLAGS_CLOEXEC = 1
"""``UDMABUF_FLAGS_CLOEXEC`` of ``linux/udmabuf.h``."""

DMA_HEAP_IOCTL_ALLOC = _ioc(_READ | _WRITE, "H", 0, 24)
"""``DMA_HEAP_IOCTL_ALLOC`` of ``linux/dma-heap.h``, with a ``struct dma_heap_allocation_data``."""

DRM_IOCTL_MODE_CREATE_DUMB = _ioc(_READ | _WRITE, "d", 0xB2, 32)
"""``DRM_IOCTL_MODE_CREATE_DUMB`` of ``drm/drm.h``, with a ``struct drm_mode_create_dumb``."""
DRM_IOCTL_PRIME_HANDLE_TO_FD = _ioc(_READ | _WRITE, "d", 0x2D, 12)
"""``DRM_IOCTL_PRIME_HANDLE_TO_FD`` of ``drm/drm.h``, with a ``struct drm_prime_handle``."""

MODIFIER_LINEAR = 0
"""``DRM_FORMAT_MOD_LINEAR`` of ``drm/drm_fourcc.h``: rows one after the other."""
MODIFIER_INVALID = 0x00FF_FFFF_FFFF_FFFF
"""``DRM_FORMAT_MOD_INVALID`` of ``drm/drm_fourcc.h``: the layout was not told."""

_SYNC = tuple(struct.pack("=Q", flags) for flags in range(8))


def dma_buf_sync(fd: int, flags: int) -> None:
    """Begin or end the CPU's access to a dma-buf: ``DMA_BUF_SYNC_*``, or'ed.

    Raises
    ------
    OSError
        ``fd`` is no dma-buf (ENOTTY), or its exporter failed.
    """
    while True:
        try:
            fcntl.ioctl(fd, DMA_BUF_IOCTL_SYNC, _SYNC[flags])
            return
        except OSError as error:
            # linux/dma-buf.h asks for another try after these two.
            if error.errno not in (errno.EAGAIN, errno.EINTR):
                raise


def is_dma_buf(fd: int) -> bool:
    """Return whether a file descriptor is a dma-buf; nothing is waited for.

    Raises
    ------
    OSError
        ``fd`` is not open.
    """
    try:
        fcntl.ioctl(fd, DMA_BUF_IOCTL_SYNC, struct.pack("=Q", _NO_SYNC))
    except OSError as error:
        if error.errno == errno.EBADF:
            raise
        return error.errno == errno.EINVAL
    return False


def udmabuf_create(node: int, memfd: int, nbytes: int) -> int:
    """Return a dma-buf over the first ``nbytes`` of a memfd, as a new file descriptor.

    Parameters
    ----------
    node : int
        ``/dev/udmabuf``, opened.
    memfd : int
        Sealed with F_SEAL_SHRINK and not with F_SEAL_WRITE.
    nbytes : int
        A multiple of the page size.

    Raises
    ------
    OSError
        The kernel refused; EINVAL where ``nbytes`` is over its limit (64 MiB by default).
    """
    request = bytearray(struct.pack("=IIQQ", memfd, UDMABUF_FLAGS_CLOEXEC, 0, nbytes))
    # With a mutable buffer fcntl.ioctl returns the call's own result: the new descriptor.
    fd: int = fcntl.ioctl(node, UDMABUF_CREATE, request, True)
    return fd


def dma_heap_alloc(node: int, nbytes: int) -> int:
    """Return a new dma-buf of a heap, as a new file descriptor.

    Parameters
    ----------
    node : int
        A file of ``/dev/dma_heap``, opened.
    nbytes : int
        Rounded up to whole pages by the kernel.

    Raises
    ------
    OSError
        The heap has too little memory.
    """
    request = bytearray(struct.pack("=QIIQ", nbytes, 0, os.O_RDWR | os.O_CLOEXEC, 0))
    fcntl.ioctl(node, DMA_HEAP_IOCTL_ALLOC, request, True)
    fd: int = struct.unpack_from("=I", request, 8)[0]
    return fd


def dumb_buffer(node: int, nbytes: int) -> int:
    """Return a new dma-buf of a DRM device's memory for the processor, as a new file descriptor.

    Parameters
    ----------
    node : int
        A file ``/dev/dri/card*``, opened: render nodes do not make such buffers.
    nbytes : int
        A multiple of the page size.

    Raises
    ------
    OSError
        The driver makes none, or there is too little memory.
    """
    rows = nbytes // mmap.PAGESIZE
    # Height, width, bits per pixel, flags; the kernel adds the handle, the pitch and the size.
    made = bytearray(struct.pack("=IIIIIIQ", rows, mmap.PAGESIZE, 8, 0, 0, 0, 0))
    fcntl.ioctl(node, DRM_IOCTL_MODE_CREATE_DUMB, made, True)
    handle = struct.unpack_from("=I", made, 16)[0]
    # DRM_RDWR and DRM_CLOEXEC are the flags of open.
    exported = bytearray(struct.pack("=IIi", handle, os.O_RDWR | os.O_CLOEXEC, -1))
    fcntl.ioctl(node, DRM_IOCTL_PRIME_HANDLE_TO_FD, exported, True)
    fd: int = struct.unpack_from("=i", exported, 8)[0]
    return fd


def fourcc(name: str) -> int:
    """Return DRM's code of a format: ``fourcc_code`` of ``drm/drm_fourcc.h``."""
    return int.from_bytes(name.encode("ascii"), "little")


def fourcc_name(code: int) -> str:
    """Return the four letters of a format's code."""
    return code.to_bytes(4, "little").decode("ascii", "replace")


def modifier_name(modifier: int) -> str:
    """Return a layout's modifier as people read it: in hex, all 64 bits."""
    name = {MODIFIER_LINEAR: " (linear)", MODIFIER_INVALID: " (not told)"}.get(modifier, "")
    return f"{modifier:#018x}{name}"
