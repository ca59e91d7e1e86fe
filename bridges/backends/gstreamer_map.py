"""GStreamer's lock on a memory, and the array that lies in it."""

import ctypes as c
from typing import TYPE_CHECKING, Any

import numpy.typing as npt

from bridges.backends.host_array import array_at
from bridges.errors import DeviceError, FormatError
from bridges.native.libgstreamer import (
    MAP_READ,
    MAP_WRITE,
    GstBuffer,
    GstMapInfo,
    boxed_pointer,
    library,
)
from bridges.tensor import AccessMode

if TYPE_CHECKING:
    from bridges.backends.gstreamer import GStreamerTensor

__all__ = ["Mapping"]


class Mapping:
    """A memory that GStreamer has mapped, until ``close()`` or until no array of it is left.

    Only the memory itself is mapped, never the buffer: ``gst_buffer_map`` copies, silently, what
    lies in several memories and what it may not write.

    Parameters
    ----------
    source : GStreamerTensor
        What lies in the memory.
    access : AccessMode
        With READ the array cannot be written to.

    Raises
    ------
    DeviceError
        GStreamer does not allow this access now.
    FormatError
        The memory has become smaller than the tensor, or is of a kind that GStreamer may copy to
        map it.
    """

    def __init__(self, source: "GStreamerTensor", access: AccessMode) -> None:
        self._is_locked = False
        self._buffer, self._memory, self._pointer = source.buffer, source.memory, source.pointer
        self._native = GstMapInfo()
        wish, need = _flags(source, access)
        if not (self._lock(wish) or (wish != need and self._lock(need))):
            what = "written" if access & AccessMode.WRITE else "read"
            raise DeviceError(
                f"GStreamer does not let this memory be {what}: it is read-only, shared between "
                "buffers or mapped by somebody else; copy the buffer, or unmap it there first"
            )
        info = source.info
        if source.offset + info.span > self._native.size:
            self.close()
            raise FormatError(
                f"{info.span} bytes from byte {source.offset} on are not in a memory of "
                f"{self._native.size} bytes; wrap the buffer again"
            )
        self._address, self._info = self._native.data + source.offset, info
        self._is_writeable = bool(access & AccessMode.WRITE)

    @property
    def array(self) -> npt.NDArray[Any]:
        """The samples, as a view that keeps this mapping."""
        return array_at(self._address, self._info, owner=self, writeable=self._is_writeable)

    def _lock(self, flags: int) -> bool:
        native = c.byref(self._native)
        self._is_locked = bool(library().gst_memory_map(self._pointer, native, flags))
        return self._is_locked

    def close(self) -> None:
        """Unmap the memory; the array must not be used after that. May be repeated."""
        if self._is_locked:
            self._is_locked = False
            library().gst_memory_unmap(self._pointer, c.byref(self._native))

    def __del__(self) -> None:
        self.close()


def _flags(source: "GStreamerTensor", access: AccessMode) -> tuple[int, int]:
    """Return how a memory is best mapped, and how at least."""
    is_plain = library().gst_memory_is_type(source.pointer, b"SystemMemory")
    if not is_plain and not library("gstallocators").gst_is_fd_memory(source.pointer):
        # A GPU's memory is downloaded where an element maps it, and nothing tells.
        raise FormatError(
            f"GStreamer may copy memory of the kind {source.memory.allocator.mem_type} to map it; "
            "have the element before download it (gldownload, cudadownload, vapostproc)"
        )
    both = MAP_READ | MAP_WRITE
    if access & AccessMode.WRITE:
        # What is not written has to survive.
        return both, both
    # GStreamer never lets anybody write what is mapped for reading only. Where the buffer is ours
    # alone, and is host memory, asking for both costs nothing and keeps later mappings possible.
    is_ours = GstBuffer.from_address(boxed_pointer(source.buffer)).mini_object.refcount == 1
    return both if is_plain and is_ours else MAP_READ, MAP_READ
