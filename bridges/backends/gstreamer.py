"""GStreamer's memory: the planes of a Gst.Buffer, through PyGObject."""

import ctypes as c
from dataclasses import replace
from fractions import Fraction
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from bridges.backends.dma_allocator import allocators
from bridges.backends.gstreamer_buffer import RELEASE, describe_planes, fd_memory, hold
from bridges.backends.gstreamer_caps import (
    caps_of,
    format_number,
    frame_info,
    namespaces,
    video_info,
)
from bridges.backends.gstreamer_map import Mapping
from bridges.backends.host_array import HostArray
from bridges.backends.layout import check_samples
from bridges.backends.probe import Probe
from bridges.backends.pygobject import NotInstalledError
from bridges.context import Context
from bridges.errors import DeviceError, DeviceNotFoundError, FormatError
from bridges.frame import Frame, FrameInfo
from bridges.native.libgstreamer import CLOCK_TIME_NONE, GstBuffer, boxed_pointer, library
from bridges.tensor import AccessMode, MemoryType, Tensor, TensorInfo

__all__ = ["MEMORIES", "GStreamerContext", "GStreamerTensor", "create", "probe"]

MEMORIES = {"system": "", "dmabuf": "memory:DMABuf", "va": "memory:VAMemory"}
"""The kinds of memory of a pipeline's buffers, and the feature that its caps have for each."""


class GStreamerTensor(HostArray, Tensor):
    """One plane of a Gst.Buffer, which is its parent.

    Parameters
    ----------
    buffer : Gst.Buffer
        What the memory is in.
    memory : Gst.Memory
        What the plane lies in, alone or with others.
    offset : int
        Bytes from the memory's first one to the first sample.
    address : int
        Of the first sample, where the memory is known to be mapped for as long as it lives; else 0.
    info, context, parent, on_close
        As for `Tensor`.

    Attributes
    ----------
    buffer, memory, offset
        As given.
    pointer : int
        The ``GstMemory *``.
    """

    memory_type = MemoryType.GSTREAMER

    def __init__(
        self,
        buffer: Any,
        memory: Any,
        offset: int,
        info: TensorInfo,
        *,
        address: int = 0,
        parent: object | None = None,
        **tensor: Any,
    ) -> None:
        super().__init__(info, parent=buffer if parent is None else parent, **tensor)
        self.buffer = buffer
        self.memory = memory
        self.pointer = boxed_pointer(memory)
        self.offset = offset
        self._address = address

    def _handles(self) -> dict[str, Any]:
        handles = {"gst_buffer": self.buffer, "gst_memory": self.memory, "offset": self.offset}
        return {**handles, "data": self._address} if self._address else handles

    def _part(self, info: TensorInfo, offset: int) -> "GStreamerTensor":
        return GStreamerTensor(
            self.buffer,
            self.memory,
            self.offset + offset,
            info,
            address=self._address and self._address + offset,
            context=self.context,
            parent=self,
        )

    def _host_array(self) -> npt.NDArray[Any]:
        """Return a view that cannot be written to; the memory stays mapped as long as it lives."""
        self.handle("gst_memory")
        return Mapping(self, AccessMode.READ).array

    def _release(self) -> None:
        self.buffer = self.memory = None


class _Described(NamedTuple):
    """What caps say, and where they imply that planes lie."""

    caps: Any
    info: FrameInfo
    offset: list[int]
    stride: list[int]


class GStreamerContext(Context):
    """GStreamer's buffers, in one kind of memory.

    Parameters
    ----------
    memory : str
        Where a pipeline's buffers are: ``"system"``, ``"dmabuf"`` or ``"va"``.

    Raises
    ------
    NotInstalledError
        GStreamer or PyGObject is not installed.
    DeviceError
        GStreamer cannot be started.

    Attributes
    ----------
    memory : str
        As given.
    """

    memory_type = MemoryType.GSTREAMER

    def __init__(self, memory: str = "system") -> None:
        super().__init__()
        self._gst = namespaces().gst
        self.memory = memory
        self.name = "GStreamer" if memory == "system" else f"GStreamer with {MEMORIES[memory]}"
        self.shares_host_memory = memory != "va"
        self._described: _Described | None = None

    def wrap(self, buffer: Any, caps: Any) -> Frame:
        """Return the planes of a picture, without a copy.

        Planes are where the buffer's own ``GstVideoMeta`` says, else where the caps imply. The
        frame's ``pts`` is in nanoseconds; a buffer's duration stays on the buffer.

        Parameters
        ----------
        buffer : Gst.Buffer
            Kept until the frame and all that is mapped from it are closed.
        caps : Gst.Caps or GstVideo.VideoInfo
            What was negotiated for it. Caps are quicker where those of the buffer before come
            again.

        Raises
        ------
        FormatError
            The pixel format is not in the table, the buffer has too few bytes, or a plane lies in
            several memories.
        """
        said = self._describe(caps)
        info = said.info
        pointer = boxed_pointer(buffer)
        pts = GstBuffer.from_address(pointer).pts
        meta = library("gstvideo").gst_buffer_get_video_meta(pointer)
        if meta:
            _check_meta(meta.contents, info)
        where = meta.contents if meta else said
        tensors = []
        for index, dense in enumerate(info.planes):
            layout = _strided(index, dense, where.stride[index])
            tensors.append(self._plane(buffer, pointer, index, where.offset[index], layout))
        return Frame(replace(info, pts=None if pts == CLOCK_TIME_NONE else pts), tensors)

    def _describe(self, caps: Any) -> _Described:
        last = self._described
        is_caps = isinstance(caps, self._gst.Caps)
        if last is not None and is_caps and caps.is_equal(last.caps):
            return last
        layout = video_info(caps)
        info = frame_info(caps)
        said = _Described(caps.copy(), info, layout.offset, layout.stride)
        if is_caps:
            self._described = said
        return said

    def _plane(
        self, buffer: Any, pointer: int, plane: int, offset: int, layout: TensorInfo
    ) -> GStreamerTensor:
        index, length, skip = c.c_uint(), c.c_uint(), c.c_size_t()
        found = library().gst_buffer_find_memory(
            pointer, offset, layout.span, c.byref(index), c.byref(length), c.byref(skip)
        )
        if not found or length.value != 1:
            why = "lies in several memories" if found else "goes beyond its end"
            raise FormatError(
                f"plane {plane} of a buffer of {buffer.get_size()} bytes {why}: {layout.span} "
                f"bytes from byte {offset} on; let GStreamer copy the buffer into one memory first"
            )
        memory = buffer.peek_memory(index.value)
        return GStreamerTensor(buffer, memory, skip.value, layout, context=self)

    def allocate(self, info: TensorInfo) -> GStreamerTensor:
        """Return a tensor in a new Gst.Buffer.

        Raises
        ------
        FormatError
            The layout is empty or runs backward.
        DeviceError
            There is not enough memory, or the buffers of this memory come from elements only.
        """
        check_samples("a Gst.Buffer", info)
        buffer = self._new_buffer(info.span)
        return GStreamerTensor(buffer, buffer.peek_memory(0), 0, info, context=self)

    def allocate_frame(self, info: FrameInfo) -> Frame:
        """Return a picture in a new Gst.Buffer, laid out as GStreamer does by default.

        Raises
        ------
        FormatError
            GStreamer has no such pixel format, or no such time.
        DeviceError
            There is not enough memory, or the buffers of this memory come from elements only.
        """
        caps = caps_of(info)
        layout = video_info(caps)
        buffer = self._new_buffer(layout.size)
        planes = len(info.format.planes)
        offsets, strides = layout.offset[:planes], layout.stride[:planes]
        describe_planes(boxed_pointer(buffer), info, offsets, strides)
        return Frame(info, self.wrap(buffer, caps).tensors)

    def _new_buffer(self, nbytes: int) -> Any:
        if self.memory == "va":
            raise DeviceError("GStreamer's VA elements allocate their own buffers; wrap those")
        if self.memory == "dmabuf":
            return self._fd_buffer(nbytes)
        # GStreamer's own allocator ends the process where there is too little memory.
        try:
            samples = np.empty(nbytes, np.uint8)
        except (MemoryError, ValueError) as error:
            raise DeviceError(f"GStreamer cannot allocate {nbytes} bytes: {error}") from error
        address, kept = samples.ctypes.data, [samples]
        del samples
        memory = library().gst_memory_new_wrapped(
            0, address, nbytes, 0, nbytes, hold(kept.clear), RELEASE
        )
        buffer = self._gst.Buffer.new()
        library().gst_buffer_append_memory(boxed_pointer(buffer), memory)
        return buffer

    def _fd_buffer(self, nbytes: int) -> Any:
        allocator = allocators()[0]
        try:
            fd = allocator.allocate(nbytes)
        except OSError as error:
            raise DeviceError(f"{allocator} cannot allocate {nbytes} bytes: {error}") from error
        buffer = self._gst.Buffer.new()
        memory = fd_memory(fd, nbytes, is_dma_buf=allocator.is_dma_buf)
        library().gst_buffer_append_memory(boxed_pointer(buffer), memory)
        return buffer

    def caps(self, info: FrameInfo, frame_rate: Fraction = Fraction(0)) -> Any:
        """Return the ``Gst.Caps`` of pictures like ``info`` in this memory.

        Parameters
        ----------
        info : FrameInfo
            Format, size and colour; GStreamer has one BT.601 matrix for H.273's 5 and 6.
        frame_rate : Fraction
            Pictures per second; 0 where it varies or is unknown.

        Raises
        ------
        FormatError
            GStreamer has no such pixel format.
        """
        return caps_of(info, frame_rate, MEMORIES[self.memory])


def _check_meta(meta: Any, info: FrameInfo) -> None:
    asked = format_number(info.format.name), info.width, info.height
    found = meta.format, meta.width, meta.height
    if found != asked:
        raise FormatError(
            f"the caps say {info.width}x{info.height} of {info.format.name}, but the buffer's own "
            f"GstVideoMeta says {meta.width}x{meta.height} of GstVideoFormat {meta.format}; take "
            "the caps of the same sample"
        )


def _strided(index: int, dense: TensorInfo, stride: int) -> TensorInfo:
    if stride < dense.strides[0]:
        raise FormatError(
            f"plane {index} has rows of {dense.strides[0]} bytes, {stride} bytes apart; flip or "
            "untile the picture first"
        )
    return TensorInfo(dense.shape, dense.dtype, (stride, *dense.strides[1:]))


def create(selector: str = "") -> GStreamerContext:
    """Return GStreamer's buffers.

    Parameters
    ----------
    selector : str
        The memory of a pipeline's buffers: one of `MEMORIES`; empty for the system's.

    Raises
    ------
    DeviceNotFoundError
        GStreamer or its Python binding is not installed, or there is no such memory; the message
        says what to do.
    """
    if selector not in ("", *MEMORIES):
        raise DeviceNotFoundError(
            f"GStreamer has no memory {selector!r} here, only {', '.join(MEMORIES)}; name one of "
            "these, or none"
        )
    try:
        return GStreamerContext(selector or "system")
    except NotInstalledError as error:
        raise DeviceNotFoundError(
            f"GStreamer cannot be used from Python: {error}; try: {error.remedy}"
        ) from error


def probe() -> Probe:
    """Report GStreamer and its Python binding."""
    try:
        gst = namespaces().gst
        for name in ("gstvideo", "gstallocators"):
            library(name)
    except NotInstalledError as error:
        return Probe("gstreamer", False, str(error), error.remedy)
    except OSError as error:
        return Probe("gstreamer", False, str(error), "apt install gir1.2-gst-plugins-base-1.0")
    return Probe("gstreamer", True, f"{gst.version_string()}")
