"""A device's ledger: a file in which processes write down the load that they put on it.

A record counts for as long as its writer holds a lock on it, which the kernel takes away when the
process ends, however it ends: what a dead process wrote is no lie, because nobody reads it.

The locks are those of open file descriptions (``F_OFD_SETLK``, Linux 3.15, fcntl(2)): they part
threads as they part processes, and closing another descriptor of the file leaves them alone.
"""

import contextlib
import fcntl
import io
import os
import stat
import struct
import threading
import weakref
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from bridges.closable import Closable
from xma_plugins.errors import XmaError

__all__ = ["Holder", "Ledger"]

_RECORD = struct.Struct("=Qq240s")
"""Load, process and label. The first record's place is left empty: its first byte's lock is the
ledger's own."""

_FLOCK = struct.Struct("hhqqi4x")
"""``struct flock`` of 64-bit Linux: type, whence, start, length, process (0 for these locks)."""

_LOGGED_IN = "/run/user"
_TEMPORARY = "/tmp"
"""Where the folder is: the one or, without it, the other, whatever ``$TMPDIR`` says, because all
processes have to find the same."""


@dataclass(frozen=True, slots=True)
class Holder:
    """Who holds how much of a device.

    Attributes
    ----------
    load : int
        In millionths of a card.
    pid : int
        The process that reserved it.
    label : str
        What it said of itself.
    """

    load: int
    pid: int
    label: str

    def __str__(self) -> str:
        return f"{self.load} by process {self.pid} ({self.label})"


class Ledger(Closable):
    """One open file description of a device's ledger, which can hold one record.

    Parameters
    ----------
    device : str
        The device's name; every name has a file of its own.

    Raises
    ------
    XmaError
        The ledger cannot be opened, or its folder belongs to another user.
    """

    def __init__(self, device: str) -> None:
        self.device = device
        folder = _folder()
        self.path = folder / f"load-{quote(device, safe=':')}"
        with self._errors(), _forks_wait:
            self._file = io.FileIO(_open(self.path), "r+")
            _ledgers.add(self)

    @contextlib.contextmanager
    def exclusive(self) -> Iterator[None]:
        """Keep every other writer and reader out."""
        with self._errors():
            self._lock(fcntl.F_OFD_SETLKW, fcntl.F_WRLCK, 0)
            try:
                yield
            finally:
                self._lock(fcntl.F_OFD_SETLK, fcntl.F_UNLCK, 0)

    def holders(self) -> dict[int, Holder]:
        """Return what others hold, by the number of the record; only while `exclusive`."""
        data = os.pread(self._file.fileno(), os.fstat(self._file.fileno()).st_size, 0)
        found = {}
        for number in range(1, len(data) // _RECORD.size):
            if self._is_locked(number):
                load, pid, label = _RECORD.unpack_from(data, number * _RECORD.size)
                found[number] = Holder(load, pid, label.rstrip(b"\0").decode(errors="ignore"))
        return found

    def write(self, number: int, holder: Holder) -> None:
        """Take a record that nobody holds; only while `exclusive`."""
        self._lock(fcntl.F_OFD_SETLK, fcntl.F_WRLCK, number)
        label = holder.label.encode(errors="backslashreplace")
        record = _RECORD.pack(holder.load, holder.pid, label)
        os.pwrite(self._file.fileno(), record, number * _RECORD.size)

    def survive_exec(self) -> None:
        """Stay open in the program that replaces this process."""
        os.set_inheritable(self._file.fileno(), True)

    @property
    def is_open(self) -> bool:
        """Whether a record that was written is still held."""
        return not self._file.closed

    def close(self) -> None:
        """Let go of the record; may be repeated."""
        with _forks_wait:
            if self.is_open:
                # What a library forked off may have the file open too, and would keep the record.
                self._lock(fcntl.F_OFD_SETLK, fcntl.F_UNLCK, 0, length=0)
                self._file.close()

    def _forget(self) -> None:
        """Close the file and leave the record to those who have it open."""
        self._file.close()

    def _lock(self, command: int, kind: int, number: int, *, length: int = 1) -> bytes:
        """Lock a record by its first byte; a length of 0 reaches to the end of the file."""
        wanted = _FLOCK.pack(kind, os.SEEK_SET, number * _RECORD.size, length, 0)
        return fcntl.fcntl(self._file, command, wanted)

    def _is_locked(self, number: int) -> bool:
        found = self._lock(fcntl.F_OFD_GETLK, fcntl.F_WRLCK, number)
        return bool(_FLOCK.unpack(found)[0] != fcntl.F_UNLCK)

    @contextlib.contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise XmaError(
                f"the load of {self.device} cannot be kept in {self.path}: {error.strerror}"
            ) from error


def _open(path: Path) -> int:
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW
    return os.open(path, flags, 0o600)


def _folder() -> Path:
    """Return this user's folder for ledgers, which no other user can write to.

    It does not outlive the machine's run. Processes with and without ``$XDG_RUNTIME_DIR``, such as
    those of a session and of cron, find the same one for as long as the user is logged in.
    """
    user = os.geteuid()
    base = os.environ.get("XDG_RUNTIME_DIR", "")
    for parent in (base, f"{_LOGGED_IN}/{user}"):
        with contextlib.suppress(OSError, ValueError):
            # Of another user: su and sudo -E leave the variable as it was.
            if os.path.isabs(parent) and os.stat(parent).st_uid == user:
                return _own(Path(parent, "xtranscode"), user)
    return _own(Path(f"{_TEMPORARY}/xtranscode-{user}"), user)


def _own(folder: Path, user: int) -> Path:
    try:
        with contextlib.suppress(FileExistsError):
            folder.mkdir(mode=0o700)
        status = folder.lstat()
    except OSError as error:
        raise XmaError(f"no folder for the load of devices: {folder}: {error.strerror}") from error
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != user or status.st_mode & 0o022:
        raise XmaError(
            f"no folder for the load of devices: {folder} is not this user's alone; remove it, or "
            "set XDG_RUNTIME_DIR to a folder that is"
        )
    return folder


_forks_wait = threading.RLock()
"""Held while the set of open files changes, so that a forked child knows them all."""

_ledgers: weakref.WeakSet[Ledger] = weakref.WeakSet()


def _close_in_child() -> None:
    # The records are the parent's: they must not outlive it because a child has the file open.
    for ledger in list(_ledgers):
        ledger._forget()
    _forks_wait.release()


os.register_at_fork(
    before=_forks_wait.acquire,
    after_in_parent=_forks_wait.release,
    after_in_child=_close_in_child,
)
