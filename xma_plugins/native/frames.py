"""Frames and data of ours as libxma2api has them, over the same memory, and back."""

import ctypes as c
from fractions import Fraction as Rational
from typing import Any

import numpy as np

from bridges.backends.cpu import CPUContext
from bridges.backends.host_array import array_at
from bridges.errors import FormatError
from bridges.frame import FrameInfo
from bridges.tensor import MemoryType, TensorInfo
from xma_plugins.buffers import BufferType
from xma_plugins.errors import InvalidError, PluginError
from xma_plugins.frames import BufferRef, XmaFrame, padded_planes
from xma_plugins.kinds import SHARED_FORMATS, FormatType
from xma_plugins.native.structures import (
    MAX_PLANES,
    BufferObject,
    DataBuffer,
    Fraction,
    Frame,
    FrameProperties,
)
from xma_plugins.side_data import SideDataType

__all__ = [
    "NativeRef",
    "attach_native",
    "data_over",
    "fraction_of",
    "frame_info",
    "frame_over",
    "frame_properties",
    "has_whole_rows",
    "native_format",
    "release_side_data",
    "time_of",
]

_NO_PTS = 1 << 63
"""FFmpeg's mark of a time that is not known, which XMA has no other for."""

_CPU = CPUContext()


class NativeRef(BufferRef):
    """A plane in a device buffer of a compiled plugin, whose it stays.

    Attributes
    ----------
    native : BufferObject
        The buffer, to be handed to other compiled plugins as it is.
    """

    def __init__(self, array: Any, native: BufferObject) -> None:
        super().__init__(_CPU.wrap(array), is_clone=True)
        self.native = native


def native_format(info: FrameInfo) -> FormatType:
    """Return what XMA calls a pixel format.

    Raises
    ------
    FormatError
        It has no name for it.
    """
    kind = FormatType.of(info.format)
    if kind is FormatType.NONE:
        raise FormatError(
            f"compiled XMA plugins know no pixel format {info.format.name}; convert to "
            f"{', '.join(SHARED_FORMATS)}"
        )
    return kind


def frame_properties(info: FrameInfo) -> FrameProperties:
    """Return format and size as XMA has them, with rows as our frames have them.

    Raises
    ------
    FormatError
        XMA has no name for the format.
    """
    strides = [plane.strides[0] for plane in padded_planes(info)]
    return FrameProperties(
        native_format(info),
        info.width,
        info.height,
        (c.c_int32 * MAX_PLANES)(*strides),
        info.format.bits,
    )


def frame_info(properties: FrameProperties) -> FrameInfo:
    """Return format and size as bridges have them.

    Raises
    ------
    PluginError
        They are none.
    FormatError
        FFmpeg has no name for the format.
    """
    if properties.format not in list(FormatType)[1:]:
        raise PluginError(f"a compiled plugin speaks of pixel format {properties.format}")
    return FrameInfo(
        FormatType(properties.format).pixel_format, properties.width, properties.height
    )


def has_whole_rows(frame: XmaFrame) -> bool:
    """Return whether the last row of each plane is known to be, or may be, as long as the others.

    Compiled plugins copy ``linesize`` times ``height`` bytes of a plane at once. Of memory that is
    not NumPy's own nobody knows; what FFmpeg allocates is so.
    """
    return all(isinstance(plane, NativeRef) or _is_whole(plane) for plane in frame.planes)


def _is_whole(plane: BufferRef) -> bool:
    if plane.tensor.memory_type is not MemoryType.CPU:
        return True
    array = root = plane.tensor.handle("array")
    while isinstance(root.base, np.ndarray):
        root = root.base
    if root.base is not None:
        return True
    end = array.ctypes.data + array.shape[0] * array.strides[0]
    return bool(end <= root.ctypes.data + root.nbytes)


def frame_over(frame: XmaFrame, library: c.CDLL) -> Frame:
    """Return a frame over another one's planes, with its time, flags and side data.

    The memory of each plane has to go on to the end of its last row, padding included. What it
    points to lives for as long as ``frame`` is held; side data of it is for
    `release_side_data`.

    Raises
    ------
    FormatError
        XMA has no name for the format.
    InvalidError
        The planes lie where the host does not see them.
    """
    native = Frame(is_last_frame=frame.is_last_frame)
    if frame.info is not None:
        native.properties = frame_properties(frame.info)
    for number in range(MAX_PLANES):
        native.data[number].buffer_type = BufferType.NO_BUFFER
    for number, plane in enumerate(frame.planes):
        _put_plane(native, number, plane)
    native.time_base = fraction_of(frame.time_base)
    native.frame_rate = fraction_of(frame.frame_rate)
    native.pts = _NO_PTS if frame.pts is None else frame.pts & (1 << 64) - 1
    native.is_idr, native.do_not_encode = frame.is_idr, frame.do_not_encode
    for kind in SideDataType:
        side_data = frame.side_data(kind)
        if side_data is None or not side_data.nbytes:
            continue
        content = bytes(side_data.buffer)
        handle = library.xma_side_data_alloc(content, kind, len(content), 0)
        library.xma_frame_add_side_data(native, handle)
        library.xma_side_data_dec_ref(handle)
    return native


def _put_plane(native: Frame, number: int, plane: BufferRef) -> None:
    there = native.data[number]
    there.refcount, there.is_clone = 1, True
    native.properties.linesize[number] = plane.tensor.info.strides[0]
    if isinstance(plane, NativeRef):
        there.device_buffer = c.pointer(plane.native)
        there.buffer = plane.native.data
        only = plane.native.device_only_buffer
        there.buffer_type = BufferType.DEVICE_ONLY if only else BufferType.DEVICE
        return
    if plane.tensor.memory_type is not MemoryType.CPU:
        raise InvalidError(
            f"a compiled plugin cannot reach a frame in {plane.tensor.memory_type.value} memory; "
            "map it to the CPU first"
        )
    there.buffer_type, there.buffer = BufferType.HOST, plane.tensor.handle("data")


def release_side_data(native: Frame, library: c.CDLL) -> None:
    """Let go of the side data of a frame."""
    library.xma_frame_clear_all_side_data(native)


def attach_native(frame: XmaFrame, native: Frame) -> None:
    """Give a dummy the device buffers that a compiled plugin put into its own.

    They stay the plugin's: when it uses them again is between it and the application, as
    ``xmabuffers.h`` says nothing of it.

    Raises
    ------
    PluginError
        It put in none.
    """
    info = frame_info(native.properties)
    refs = []
    for number, layout in enumerate(info.planes):
        there = native.data[number]
        is_there = there.buffer_type in (BufferType.DEVICE, BufferType.DEVICE_ONLY)
        if not is_there or not there.device_buffer:
            raise PluginError("a compiled plugin received into a dummy frame and gave no buffers")
        stride = native.properties.linesize[number]
        padded = TensorInfo(layout.shape, layout.dtype, (stride, *layout.strides[1:]))
        buffer = BufferObject.from_buffer_copy(there.device_buffer.contents)
        if not buffer.data:
            raise PluginError(
                "a compiled plugin gave a device-only buffer; only buffers with a host's side can "
                "be received here"
            )
        array = array_at(buffer.data, padded, owner=buffer, writeable=True)
        refs.append(NativeRef(array, buffer))
    frame.attach(info, refs)


def time_of(native: Frame) -> int | None:
    """Return the time of a frame, of 64 bits with a sign; None where it is not known."""
    pts = int(native.pts)
    return None if pts == _NO_PTS else (pts ^ _NO_PTS) - _NO_PTS


def data_over(memory: "np.ndarray[Any, Any] | None") -> DataBuffer:
    """Return a data buffer over host memory; a dummy over none."""
    native = DataBuffer()
    native.data.refcount, native.data.is_clone = 1, True
    native.data.buffer_type = BufferType.NO_BUFFER
    if memory is not None:
        native.data.buffer_type = BufferType.HOST
        native.data.buffer, native.alloc_size = memory.ctypes.data, memory.nbytes
    return native


def fraction_of(given: Rational | None) -> Fraction:
    """Return a fraction as XMA has it; 0/1 for none."""
    return Fraction(0, 1) if given is None else Fraction(given.numerator, given.denominator)
