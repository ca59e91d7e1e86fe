"""New Gst.Buffers over memory that is somebody else's, until GStreamer lets go of it."""

import ctypes as c
import functools
from collections.abc import Callable, Sequence
from typing import Any

from bridges.backends.gstreamer_caps import format_number, namespaces, nanoseconds
from bridges.backends.layout import check_plane, check_samples
from bridges.errors import FormatError
from bridges.frame import FrameInfo
from bridges.native.held import Held, immortal
from bridges.native.libgstreamer import (
    MAX_PLANES,
    DestroyNotify,
    GstBuffer,
    boxed_pointer,
    library,
)
from bridges.tensor import TensorInfo

__all__ = [
    "RELEASE",
    "check_picture",
    "describe_planes",
    "fd_memory",
    "held_planes",
    "hold",
    "new_buffer",
]

_held = Held()
RELEASE = immortal(DestroyNotify(_held.let_go))
"""What GStreamer calls, with a key that `hold` returned, when it drops the last reference."""


def hold(callback: Callable[[], object]) -> int:
    """Return a key under which `RELEASE` will call ``callback``, once."""
    return _held.hold(callback)


def held_planes() -> int:
    """Return how many planes GStreamer still holds; zero once every buffer is gone."""
    return len(_held)


def check_picture(info: Any, planes: Sequence[TensorInfo]) -> None:
    """Refuse what a Gst.Buffer cannot hold or tell.

    Parameters
    ----------
    info : FrameInfo
        What else frames can be, such as sound, is refused.
    planes : sequence of TensorInfo
        How the planes lie.

    Raises
    ------
    FormatError
        It is no picture, GStreamer has no such format or time, samples of a row are not side by
        side, or rows are closer than a row is wide.
    """
    if not isinstance(info, FrameInfo):
        raise FormatError(
            f"only pictures are mapped to GStreamer, not {type(info).__name__}; fill a Gst.Buffer "
            "with the samples"
        )
    format_number(info.format.name)
    nanoseconds(info)
    for index, (given, dense) in enumerate(zip(planes, info.planes, strict=True)):
        check_plane("GStreamer", index, given, dense)
        check_samples("a Gst.Buffer", given)


def new_buffer(info: FrameInfo, planes: Sequence[TensorInfo], memories: Sequence[int]) -> Any:
    """Return a Gst.Buffer of one memory for each plane, which are the buffer's from now on.

    Parameters
    ----------
    info : FrameInfo
        Checked with `check_picture`.
    planes : sequence of TensorInfo
        How each plane lies in its memory.
    memories : sequence of int
        A ``GstMemory *`` for each plane, of exactly the plane's span.
    """
    buffer = namespaces().gst.Buffer.new()
    pointer, append = boxed_pointer(buffer), library().gst_buffer_append_memory
    offsets, end = [], 0
    for memory, plane in zip(memories, planes, strict=True):
        append(pointer, memory)
        offsets.append(end)
        end += plane.span
    describe_planes(pointer, info, offsets, [plane.strides[0] for plane in planes])
    return buffer


@functools.cache
def _fd_allocator(is_dma_buf: bool) -> int:
    allocators = library("gstallocators")
    if is_dma_buf:
        return int(allocators.gst_dmabuf_allocator_new())
    return int(allocators.gst_fd_allocator_new())


def fd_memory(fd: int, nbytes: int, *, is_dma_buf: bool) -> int:
    """Return a new ``GstMemory *`` over a file descriptor, which is GStreamer's from now on.

    Parameters
    ----------
    fd : int
        A dma-buf or a memfd.
    nbytes : int
        How many of its bytes to take, from the first one on.
    is_dma_buf : bool
        Whether GStreamer has to synchronise what it maps.
    """
    allocator = _fd_allocator(is_dma_buf)
    return int(library("gstallocators").gst_fd_allocator_alloc(allocator, fd, nbytes, 0))


_OFFSETS, _STRIDES = c.c_size_t * MAX_PLANES, c.c_int * MAX_PLANES


def describe_planes(
    pointer: int, info: FrameInfo, offsets: Sequence[int], strides: Sequence[int]
) -> None:
    """Give a buffer the time of its picture, and a ``GstVideoMeta`` that tells where planes lie.

    Parameters
    ----------
    pointer : int
        The ``GstBuffer *``.
    info : FrameInfo
        Format, size and time.
    offsets, strides : sequence of int
        Bytes from the buffer's first one to each plane, and from row to row.

    Raises
    ------
    FormatError
        GStreamer has no such pixel format, or no such time.
    """
    number, time = format_number(info.format.name), nanoseconds(info)
    library("gstvideo").gst_buffer_add_video_meta_full(
        pointer,
        0,
        number,
        info.width,
        info.height,
        len(offsets),
        _OFFSETS(*offsets),
        _STRIDES(*strides),
    )
    GstBuffer.from_address(pointer).pts = time
