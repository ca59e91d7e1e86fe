"""What travels with a picture beside its samples: a QP map, HDR metadata, and so on.

As ``xma_side_data_*`` and ``xma_frame_*side_data`` of ``xmabuffers.h`` (XRT 2.13) have it.
"""

import threading
from typing import Any

from xma_plugins.code import Code
from xma_plugins.errors import BufferUseError, InvalidError

__all__ = ["QP_BLOCK", "SideData", "SideDataType"]

QP_BLOCK = 16
"""Pixels along a side of a block of a QP map: a macroblock of H.264 (ITU-T H.264, 7.3.5)."""


class SideDataType(Code):
    """The kinds of side data; a frame has at most one of each."""

    QP_MAP = 0
    """Steps that are added to the quantiser: int8, a row for each row of blocks of 16 pixels."""
    RC_FSFA = 1
    HDR = 2
    HDR_PLUS = 3
    DYNAMIC_PARAMS = 4
    CUSTOM_DATA = 5
    LIBAV_FRAME = 6
    """The ``AVFrame`` that a picture comes from, for its tags and side data; ours alone."""


class SideData:
    """A block of side data, and how many hold it. Several threads may share it.

    Parameters
    ----------
    kind : SideDataType
        What it is.
    buffer : bytes-like object
        Its content: copied, or used where it is. For CUSTOM_DATA and LIBAV_FRAME any object, which
        is used as it is.
    copy : bool
        Whether to copy.

    Raises
    ------
    InvalidError
        It has no bytes.
    """

    def __init__(self, kind: SideDataType, buffer: Any, *, copy: bool = True) -> None:
        self.kind = SideDataType(kind)
        self._buffer = buffer
        self._nbytes = 0
        if self.kind not in (SideDataType.CUSTOM_DATA, SideDataType.LIBAV_FRAME):
            try:
                view = memoryview(buffer)
            except TypeError as error:
                raise InvalidError(
                    f"{self.kind.name} side data is bytes, got {type(buffer).__name__}"
                ) from error
            self._nbytes = view.nbytes
            if not self._nbytes:
                raise InvalidError(f"{self.kind.name} side data is empty")
            if copy:
                self._buffer = bytes(view)
        self._count = 1
        self._lock = threading.Lock()

    @property
    def buffer(self) -> Any:
        """The content.

        Raises
        ------
        BufferUseError
            Nobody holds it any more.
        """
        if self._count == 0:
            raise BufferUseError(f"this {self.kind.name} side data was let go of by all")
        return self._buffer

    @property
    def nbytes(self) -> int:
        """Bytes of the content; 0 for an object that has none."""
        return self._nbytes

    @property
    def refcount(self) -> int:
        """How many hold it; 1 for whoever made it."""
        return self._count

    def retain(self) -> None:
        """Hold it once more."""
        self._add(1)

    def release(self) -> None:
        """Hold it once less; the last one lets go of the content."""
        self._add(-1)

    def _add(self, number: int) -> None:
        with self._lock:
            if self._count == 0:
                raise BufferUseError(f"this {self.kind.name} side data was let go of by all")
            self._count += number
            if self._count == 0:
                self._buffer = None
