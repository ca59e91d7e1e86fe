"""The guest's first files: an archive that the kernel unpacks into memory."""

from __future__ import annotations

import stat
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["archive"]


def archive(files: Mapping[str, bytes]) -> bytes:
    """Return an uncompressed initrd: a cpio archive of format "newc".

    Parameters
    ----------
    files : mapping of str to bytes
        By their paths, which have no leading slash. Folders are made as needed; every file may be
        executed.

    Notes
    -----
    The format is described in ``Documentation/driver-api/early-userspace/buffer-format.rst`` of the
    kernel's sources.
    """
    folders = {"/".join(path.split("/")[:depth]) for path in files for depth in range(1, 9)}
    entries = [(path, stat.S_IFDIR | 0o755, b"") for path in sorted(folders - {*files})]
    entries += [(path, stat.S_IFREG | 0o755, data) for path, data in files.items()]
    packed = [_entry(*entry, number) for number, entry in enumerate(entries, 1)]
    return b"".join([*packed, _entry("TRAILER!!!", 0, b"", 0)])


def _entry(path: str, mode: int, data: bytes, number: int) -> bytes:
    name = path.encode() + b"\0"
    # inode, mode, uid, gid, links, mtime, size, device (2), device of a node (2), name, checksum
    fields = (number, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(name), 0)
    header = b"070701" + b"".join(b"%08X" % field for field in fields) + name
    return _padded(header) + _padded(data)


def _padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 4)
