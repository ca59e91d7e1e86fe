"""Opening an input, and libav's errors in words: the one seam to libav's demuxers."""

from __future__ import annotations

import errno
import os
import stat
import threading
from typing import TYPE_CHECKING, TypeVar

import av

from transcode.errors import SourceError
from transcode.hardware import IN_HARDWARE

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from av.codec.hwaccel import HWAccel
    from av.container import InputContainer

    from transcode.hardware import Hardware

__all__ = ["error_text", "interruptibly", "open_input"]

T = TypeVar("T")

_WORDS: tuple[tuple[type[BaseException], str], ...] = (
    (FileNotFoundError, "no such file"),
    (IsADirectoryError, "is a folder"),
    (NotADirectoryError, "a part of its path is a file, not a folder"),
    (PermissionError, "permission denied"),
    (TimeoutError, "no answer in time"),
    (av.error.InvalidDataError, "not a media file, or too damaged to be read"),
    (av.error.EOFError, "ends too early"),
    (av.error.ProtocolNotFoundError, "this FFmpeg knows no such protocol"),
    (av.error.MuxerNotFoundError, "no container fits this name; name one with --format"),
    (av.error.HTTPNotFoundError, "the server has no such file"),
    (av.error.HTTPUnauthorizedError, "the server asks for a password"),
    (av.error.HTTPForbiddenError, "the server denies access"),
)


def error_text(path: str, error: BaseException) -> str:
    """Say in words what went wrong with ``path``: ``"no such file"``, without an errno.

    Parameters
    ----------
    path : str
        What was to be read or written; where the error's own text repeats it, it is left out.
    error : BaseException
        A libav error, an `OSError`, or any other.
    """
    for kind, words in _WORDS:
        if isinstance(error, kind):
            return words
    if getattr(error, "errno", None) == errno.EBADF:
        return "is closed"
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    text = str(text).removeprefix(f"{path}: ").strip().rstrip(".")
    # "No space left" becomes "no space left"; MPEG and ValueError stay.
    return text[:1].lower() + text[1:] if text.split(" ")[0][1:].islower() else text


def open_input(
    path: str,
    *,
    options: Mapping[str, str] | None = None,
    hardware: Hardware | None = None,
    software_fallback: bool = False,
) -> InputContainer:
    """Open a file, a URL that libav knows, or standard input (``"-"``) for reading.

    A file that exists is never taken for a URL, whatever colons its name holds.

    Parameters
    ----------
    path : str
        What to open.
    options : mapping of str to str, optional
        Options of the demuxer.
    hardware : Hardware, optional
        What decodes.
    software_fallback : bool
        Whether software decodes what the hardware cannot.

    Raises
    ------
    SourceError
        The input is missing, a folder, empty, or nothing that libav can demux; or it holds nothing
        that the hardware could decode, and software is not to.
    """
    status = _status(path)
    if path == "-":
        url = "fd:"
    elif status is not None and ":" in path:
        url = f"file:{path}"
    else:
        url = path

    def work() -> InputContainer:
        if hardware is None:
            return _open(url, options, None)
        with hardware.current:
            accelerator = hardware.accelerator(fallback=software_fallback)
            try:
                return _open(url, options, accelerator)
            except RuntimeError as error:  # No stream's own decoder works there.
                if not is_file:  # What was read of a pipe cannot be read again.
                    raise _NoDecoderError from error
                return _with_others(_open(url, options, None))

    is_file = status is not None and stat.S_ISREG(status.st_mode)
    try:
        return work() if is_file else interruptibly(work)
    except (av.FFmpegError, OSError) as error:
        raise SourceError(f"{_shown(path)}: {_reason(path, status, error)}") from error
    except _NoDecoderError as error:
        raise SourceError(
            f"{_shown(path)}: holds no video that FFmpeg decodes on such a device; say "
            "--software-fallback to decode it in software"
        ) from error


class _NoDecoderError(Exception):
    """No video of a container is decoded on the device."""


def _with_others(container: InputContainer) -> InputContainer:
    """Return a container that holds video which FFmpeg has another decoder for, on devices.

    Raises
    ------
    _NoDecoderError
        It holds none, and is closed.
    """
    contexts = [stream.codec_context for stream in container.streams.video]
    if not any(context is not None and context.name in IN_HARDWARE for context in contexts):
        container.close()
        raise _NoDecoderError
    return container


def _open(
    url: str, options: Mapping[str, str] | None, accelerator: HWAccel | None
) -> InputContainer:
    # Tags in another encoding than UTF-8 are no reason to refuse a file.
    return av.open(
        url, "r", options=dict(options or {}), metadata_errors="replace", hwaccel=accelerator
    )


def interruptibly(work: Callable[[], T]) -> T:
    """Call ``work`` in another thread and wait, so that a signal can end the wait.

    libav itself goes on waiting for a pipe or a server that never answers. The thread is a
    daemon's: where the wait ends early, it ends with the process.
    """
    done: list[T] = []
    failed: list[BaseException] = []

    def call() -> None:
        try:
            done.append(work())
        except BaseException as error:  # noqa: BLE001 - raised again in the caller's thread
            failed.append(error)

    thread = threading.Thread(target=call, name="xtranscode-open", daemon=True)
    thread.start()
    thread.join()
    if failed:
        raise failed[0]
    return done[0]


def _status(path: str) -> os.stat_result | None:
    """Return what the system knows about an input, or None for a URL.

    Raises
    ------
    SourceError
        There is nothing to be read.
    """
    if not path:
        raise SourceError("the input has no name")
    try:
        status = os.fstat(0) if path == "-" else os.stat(path)
    except (OSError, ValueError) as error:
        if path == "-":
            raise SourceError("standard input: is closed") from error
        if isinstance(error, ValueError):
            raise SourceError(f"{path!r} is no file name") from error
        return None
    if stat.S_ISDIR(status.st_mode):
        raise SourceError(f"{_shown(path)}: is a folder")
    if stat.S_ISREG(status.st_mode) and status.st_size == 0:
        raise SourceError(f"{_shown(path)}: empty file")
    if path == "-" and stat.S_ISCHR(status.st_mode) and os.isatty(0):
        raise SourceError("standard input is a terminal; pipe a video into it")
    return status


def _reason(path: str, status: os.stat_result | None, error: BaseException) -> str:
    """Say why an input could not be opened, by a look at what lies there if that helps."""
    if isinstance(error, av.error.ProtocolNotFoundError) and "://" not in path:
        return "no such file"
    if (
        not isinstance(error, av.error.InvalidDataError)
        or path == "-"
        or status is None
        or not stat.S_ISREG(status.st_mode)
    ):
        return error_text(path, error)
    with open(path, "rb") as file:
        head = file.read(512)
    if head[4:8] == b"ftyp":
        return "an MP4 file without a readable index: cut short, or still being written"
    # A character may be cut at the end, hence "ignore"; bytes that are no text do not vanish.
    text = head.decode(errors="ignore")
    if len(text.encode()) > len(head) - 4 and all(c.isprintable() or c in "\t\n\r" for c in text):
        return "a text file, not media"
    return error_text(path, error)


def _shown(path: str) -> str:
    return "standard input" if path == "-" else path
