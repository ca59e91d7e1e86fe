"""Publishing: a reader sees the old file or the whole new one, never anything between."""

import contextlib
import os
import secrets
import stat
from collections.abc import Iterable
from pathlib import Path

from transcode.errors import OutputError
from transcode.file_identity import FileIdentity

__all__ = ["Publication", "claim_path", "recover", "write_text"]


class Publication:
    """A file that is written beside its target and takes its name only when it is whole.

    Parameters
    ----------
    target : str
        Where the file should stand. A link is followed: what it points to is replaced.
    source : str
        The input, which must be another file.
    overwrite : bool
        Whether a file that stands there may be replaced.
    mark : str
        By which `recover` finds out, even after the process was killed, whether this file was
        published; it leaves a second name of the file, `claim_path`, to be removed by whoever
        has taken note. Without it there is none.

    replaces : FileIdentity or None
        A file that may be replaced even so, as long as it is this one.

    Attributes
    ----------
    target : Path
        With links resolved.
    temporary : Path
        Where to write; in the target's folder, with the target's ending.

    Raises
    ------
    OutputError
        The target is the input, no regular file, or there already; or its folder is missing.
    """

    def __init__(
        self,
        target: str,
        *,
        source: str,
        overwrite: bool,
        mark: str = "",
        replaces: FileIdentity | None = None,
    ) -> None:
        self.target = Path(os.path.realpath(target))
        self._overwrite = overwrite
        self._replaces = None if overwrite else replaces
        is_own = replaces is not None and FileIdentity.of(str(self.target)) == replaces
        _check(target, self.target, source, overwrite or is_own)
        self.temporary = self.target.with_name(_temporary_name(self.target, mark))
        self._mark = mark
        self._asked = target

    def reserve(self) -> None:
        """Create the temporary file, so that an unwritable folder is found before any work is done.

        Whoever calls this has made sure before that `abort` is called in the end: a signal may
        strike as soon as the file is there.

        Raises
        ------
        OutputError
            The folder cannot be written to.
        """
        try:
            self.temporary.touch(mode=0o666, exist_ok=False)
        except OSError as error:
            raise OutputError(
                f"{self._asked}: cannot write into its folder: {_reason(error)}"
            ) from error

    def commit(self) -> int:
        """Give the written file its name, once it is safely on disk; return its size in bytes.

        Raises
        ------
        OutputError
            The file could not be synced or renamed; the target is as it was.
        """
        try:
            nbytes = self.temporary.stat().st_size
            _sync(self.temporary)
            if self._mark:
                self._claim()
            if self._overwrite or self._is_own():
                self._keep_mode()
                os.replace(self.temporary, self.target)
            else:
                self._link()
        except OutputError:
            raise
        except OSError as error:
            raise OutputError(f"{self.target}: {_reason(error)}") from error

        # The file has its name by now. A folder that cannot be synced (some file systems, or one
        # that may be written to but not read) is no failure.
        with contextlib.suppress(OSError):
            _sync(self.target.parent)
        return nbytes

    def _is_own(self) -> bool:
        return self._replaces is not None and (FileIdentity.of(str(self.target)) == self._replaces)

    def _claim(self) -> None:
        """Give the file the name that tells later whose the target is."""
        claim = claim_path(str(self.target), self._mark)
        # A file system without hard links: nobody can tell then.
        with contextlib.suppress(OSError):
            Path(claim).unlink(missing_ok=True)  # That of a file which this one replaces.
            os.link(self.temporary, claim)

    def _keep_mode(self) -> None:
        """Give the new file the permissions of the one that it replaces."""
        with contextlib.suppress(FileNotFoundError):
            os.chmod(self.temporary, stat.S_IMODE(self.target.stat().st_mode))

    def _link(self) -> None:
        """Rename without ever replacing: a hard link fails where the name is taken."""
        try:
            os.link(self.temporary, self.target)
        except FileExistsError as error:
            raise OutputError(
                f"{self.target} appeared in the meantime and was left as it is"
            ) from error
        except OSError:  # A file system without hard links.
            if self.target.exists():
                raise OutputError(
                    f"{self.target} appeared in the meantime and was left as it is"
                ) from None
            os.replace(self.temporary, self.target)
        else:
            os.unlink(self.temporary)

    def abort(self) -> None:
        """Remove what was written; may be repeated, and after `commit` does nothing."""
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            self.temporary.unlink()


def write_text(path: str, parts: Iterable[str], *, source: str) -> None:
    """Write a file of text, whose reader sees the old one or the whole new one.

    Parameters
    ----------
    path : str
        Where to; what stands there is replaced.
    parts : iterable of str
        What to write; bytes that are no text go as question marks.
    source : str
        What it is made of, which must be another file.

    Raises
    ------
    OutputError
        It cannot be written; what stood there is as it was.
    """
    publication = Publication(path, source=source, overwrite=True)
    try:
        publication.reserve()
        try:
            with open(publication.temporary, "w", encoding="utf-8", errors="replace") as file:
                file.writelines(parts)
        except OSError as error:
            raise OutputError(f"{path}: {_reason(error)}") from error
        publication.commit()
    finally:
        publication.abort()


def claim_path(target: str, mark: str) -> str:
    """Return the second name of a published file that has a mark.

    Parameters
    ----------
    target, mark : str
        As they were given to `Publication`.
    """
    path = Path(os.path.realpath(target))
    return str(path.with_name(_hidden_name(path, f"{mark}.claim")))


def recover(target: str, mark: str) -> bool:
    """Tidy up after a process that may have been killed; return whether it had published.

    Parameters
    ----------
    target, mark : str
        As they were given to `Publication`; whoever still writes under this mark fails.
    """
    claim = claim_path(target, mark)
    folder, name = os.path.split(claim)
    published = False
    with contextlib.suppress(OSError):
        published = os.path.samefile(claim, target)
    left = name.removesuffix(_ending(Path(claim))).removesuffix("claim")
    with contextlib.suppress(OSError):
        for entry in os.listdir(folder):
            if entry.startswith(left) and not (published and entry == name):
                os.unlink(os.path.join(folder, entry))
    return published


def _temporary_name(target: Path, mark: str) -> str:
    token = f"{secrets.token_hex(4)}.part"
    return _hidden_name(target, f"{mark}.{token}" if mark else token)


def _hidden_name(target: Path, mark: str) -> str:
    """Return a name with the target's ending that is no longer than the target's may be."""
    stem = os.fsencode(target.stem)[:100].decode(errors="ignore")
    return f".{stem}.{mark}{_ending(target)}"


def _ending(path: Path) -> str:
    return path.suffix if len(os.fsencode(path.suffix)) <= 32 else ""


def _check(asked: str, target: Path, source: str, overwrite: bool) -> None:
    try:
        mode = target.stat().st_mode
    except FileNotFoundError:
        if not target.parent.is_dir():
            raise OutputError(f"{asked}: there is no folder {target.parent}") from None
        return
    except OSError as error:
        raise OutputError(f"{asked}: {_reason(error)}") from error
    if stat.S_ISDIR(mode):
        raise OutputError(f"{asked}: is a folder; name a file in it")
    if not stat.S_ISREG(mode):
        raise OutputError(f"{asked}: is no regular file; '-' writes to standard output")
    if os.path.exists(source) and os.path.samefile(source, target):
        raise OutputError(f"{asked}: is the input itself; name another output")
    if not overwrite:
        raise OutputError(f"{asked}: exists already; say -y (overwrite) to replace it")


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _reason(error: OSError) -> str:
    return (error.strerror or str(error)).lower()
