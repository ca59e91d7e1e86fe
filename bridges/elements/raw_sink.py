"""raw_sink: samples as they are, densely, one frame after the other, in one file."""

import contextlib
import os
import secrets
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

import numpy as np

from bridges.context import Context
from bridges.element import ElementDescription, ParameterDescription, Sink
from bridges.errors import ElementError, MediaError
from bridges.frame import MediaFrame
from bridges.media import MediaType
from bridges.tensor import MemoryType

__all__ = ["RawSink"]


class RawSink(Sink):
    """Writes the tensors of each frame without padding, plane by plane, in C order.

    The file is written beside its place and takes its name at ``finish()``, once it is safely on
    disk: a reader never sees a part of it, and what stood there survives any failure. What cannot
    be written is a `MediaError`.
    """

    description = ElementDescription(
        name="raw_sink",
        summary="samples as they are, densely, in one file",
        parameters=(
            ParameterDescription("location", str, "path of the file"),
            ParameterDescription("overwrite", bool, "replace a file that stands there", False),
        ),
        inputs=(MemoryType.CPU,),
        media=tuple(MediaType),
    )

    def __init__(self, contexts: Sequence[Context] = (), **parameters: object) -> None:
        super().__init__(contexts, **parameters)
        # A link is followed: what it points to is replaced.
        self._target = Path(os.path.realpath(self.parameters["location"]))
        self._temporary = self._target.with_name(f".{secrets.token_hex(8)}.part")
        self._file: BinaryIO | None = None

    def open(self) -> None:
        """Make the file, beside its place."""
        if self._target.exists() and not self._target.is_file():
            raise MediaError(f"{self._target} is no regular file; name one that can be replaced")
        if self._target.exists() and not self.parameters["overwrite"]:
            raise MediaError(
                f"{self._target} is there already; name another file or give overwrite=True"
            )
        with self._errors():
            self._file = open(self._temporary, "xb")  # noqa: SIM115

    def write(self, frame: MediaFrame) -> None:
        """Append a frame; see `Sink.write`."""
        self.check_frame(frame, self.description.inputs)
        file = self._open_file()
        for tensor in frame.tensors:
            samples = np.ascontiguousarray(tensor.handle("array"))
            with self._errors():
                file.write(samples.data)

    def finish(self) -> None:
        """Give the file its name."""
        file = self._open_file()
        with self._errors():
            file.flush()
            os.fsync(file.fileno())
            file.close()
            if self.parameters["overwrite"]:
                with contextlib.suppress(FileNotFoundError):
                    os.chmod(self._temporary, stat.S_IMODE(self._target.stat().st_mode))
                os.replace(self._temporary, self._target)
            else:
                # Unlike a renaming, a link never replaces a file that appeared in the meantime.
                os.link(self._temporary, self._target)

    def _open_file(self) -> BinaryIO:
        if self._file is None or self._file.closed:
            raise ElementError(f"{self.description.name} is not open; open it before it is written")
        return self._file

    @contextlib.contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise MediaError(f"cannot write {self._target}: {error.strerror}") from error

    def close(self) -> None:
        """Remove what was written, unless it took its name."""
        file, self._file = self._file, None
        if file is not None:
            # What cannot be flushed any more was not wanted.
            with contextlib.suppress(OSError):
                file.close()
            self._temporary.unlink(missing_ok=True)
