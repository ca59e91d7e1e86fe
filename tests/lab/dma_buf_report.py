"""Tell, with the kernel's calls alone, what a buffer is that a DRM node exports, beside a memfd.

Numbers are those of ``drm/drm.h`` and ``linux/dma-buf.h`` on x86-64.
"""

import errno
import fcntl
import mmap
import os
import struct
from pathlib import Path

DRM_IOCTL_MODE_CREATE_DUMB = 0xC02064B2
DRM_IOCTL_PRIME_HANDLE_TO_FD = 0xC00C642D
DRM_IOCTL_PRIME_FD_TO_HANDLE = 0xC00C642E
DMA_BUF_IOCTL_SYNC = 0x40086200
DMA_BUF_SYNC_RW, DMA_BUF_SYNC_END = 3, 4


def exported(node: int) -> tuple[int, int]:
    """Return a new buffer of 64 by 64 pixels of 4 bytes, as a file descriptor, and its bytes."""
    asked = bytearray(struct.pack("=IIIIIIQ", 64, 64, 32, 0, 0, 0, 0))
    fcntl.ioctl(node, DRM_IOCTL_MODE_CREATE_DUMB, asked)
    *_, handle, _, nbytes = struct.unpack("=IIIIIIQ", asked)
    prime = bytearray(struct.pack("=IIi", handle, os.O_RDWR | os.O_CLOEXEC, -1))
    fcntl.ioctl(node, DRM_IOCTL_PRIME_HANDLE_TO_FD, prime)
    return struct.unpack("=IIi", prime)[2], nbytes


def sync(fd: int) -> str:
    """Begin and end the processor's access; return the error's name, or nothing."""
    try:
        for flags in (DMA_BUF_SYNC_RW, DMA_BUF_SYNC_RW | DMA_BUF_SYNC_END):
            fcntl.ioctl(fd, DMA_BUF_IOCTL_SYNC, struct.pack("=Q", flags))
    except OSError as error:
        return errno.errorcode[error.errno]
    return ""


def imports_again(fd: int) -> bool:
    """Return whether the render node takes the buffer."""
    prime = bytearray(struct.pack("=IIi", 0, 0, fd))
    node = os.open("/dev/dri/renderD128", os.O_RDWR)
    fcntl.ioctl(node, DRM_IOCTL_PRIME_FD_TO_HANDLE, prime)
    os.close(node)
    return struct.unpack("=IIi", prime)[0] > 0


def report() -> dict[str, object]:
    node = os.open("/dev/dri/card0", os.O_RDWR)
    fd, nbytes = exported(node)
    memory = mmap.mmap(fd, nbytes)
    memory[:4] = b"abcd"
    return {
        "driver": Path("/sys/class/drm/card0/device").resolve().name,
        "kind": os.readlink(f"/proc/self/fd/{fd}"),
        "sync": sync(fd),
        "sync of a memfd": sync(os.memfd_create("memfd")),
        "imported": imports_again(fd),
        "seen again": mmap.mmap(fd, nbytes)[:4].decode(),
    }
