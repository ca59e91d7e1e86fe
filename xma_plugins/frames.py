"""Pictures and data between an application and plugins, over host memory and device buffers.

As ``XmaFrame``, ``XmaDataBuffer`` and ``XmaBufferRef`` of ``xmabuffers.h`` (XRT 2.13) have it, with
three differences: pixel formats are all of `bridges.formats`, a picture may have four planes, for
alpha, and each plane counts its own holders.
"""

import functools
import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from fractions import Fraction
from typing import Any, Self, TypeAlias

import numpy as np

from bridges.backends.cpu import CPUContext
from bridges.backends.host_array import array_over
from bridges.closable import Closable
from bridges.edges.countdown import Countdown
from bridges.formats import PixelFormat
from bridges.frame import Frame, FrameInfo
from bridges.tensor import Tensor, TensorInfo
from xma_plugins.buffers import BufferObject, BufferType
from xma_plugins.errors import BufferUseError, InvalidError
from xma_plugins.planes import ROW_ALIGNMENT
from xma_plugins.side_data import SideData, SideDataType

__all__ = ["BufferRef", "XmaDataBuffer", "XmaFrame", "padded_planes", "timeless"]

_HOST = CPUContext()

Planes: TypeAlias = "Sequence[BufferRef] | Callable[[], Sequence[BufferRef]]"


class BufferRef:
    """The memory of one plane, and how many hold it. Several threads may share it.

    Parameters
    ----------
    tensor : Tensor
        The samples, in rows and columns.
    buffer : BufferObject, optional
        The device buffer that they lie in; None for host memory.
    is_clone : bool
        Whether the memory belongs to somebody else, who gives it back himself.
    on_last : callable, optional
        Called once nobody holds it.

    Attributes
    ----------
    buffer_type : BufferType
        HOST, DEVICE or DEVICE_ONLY.
    held_by : str
        Who was given it last: the application, or the session that it was sent to.
    """

    __slots__ = (
        "_count",
        "_lock",
        "_on_last",
        "_tensor",
        "buffer",
        "buffer_type",
        "held_by",
        "is_clone",
    )

    def __init__(
        self,
        tensor: Tensor,
        *,
        buffer: BufferObject | None = None,
        is_clone: bool = False,
        on_last: Callable[[], None] | None = None,
    ) -> None:
        self._tensor, self.buffer, self.is_clone = tensor, buffer, is_clone
        self.buffer_type = BufferType.HOST if buffer is None else buffer.buffer_type
        self._on_last = on_last
        self.held_by = "the application"
        self._count = 1
        self._lock = threading.Lock()

    @property
    def tensor(self) -> Tensor:
        """The samples.

        Raises
        ------
        BufferUseError
            Nobody holds the plane any more, or its buffer was freed.
        """
        self._check()
        if self.buffer is not None:
            self.buffer.check()
        return self._tensor

    @property
    def refcount(self) -> int:
        """How many hold it; 1 for whoever made it."""
        return self._count

    def retain(self) -> None:
        """Hold it once more."""
        with self._lock:
            self._check()
            self._count += 1

    def release(self) -> None:
        """Hold it once less; what the last one lets go of may be used again."""
        with self._lock:
            self._check()
            self._count -= 1
            last = self._count == 0
        if last and self._on_last is not None:
            on_last, self._on_last = self._on_last, None
            on_last()

    def _check(self) -> None:
        if self._count == 0:
            of = "" if self.buffer is None else f" of {self.buffer.holder}"
            raise BufferUseError(f"this plane{of} was released by all who held it")


class XmaFrame(Closable):
    """A picture: planes that it holds, a time, and side data.

    Parameters
    ----------
    info : FrameInfo or None
        Format, size and colour; None for a dummy that a plugin will fill.
    planes : sequence of BufferRef, or callable
        One for each plane of the format, or none: a dummy. The frame takes over one hold of each.
        A callable makes them once they are asked for; it may be called for each reference.
    pts : int or None
        Time, in units of ``time_base``; any whole number of 64 bits.
    time_base : Fraction or None
        Seconds a unit.
    frame_rate : Fraction or None
        Frames a second, where it is known.
    is_idr, do_not_encode, is_last_frame : bool
        Whether to encode it as an IDR picture; to pass it by; and whether it is the end, and holds
        nothing.
    owner : object, optional
        What the samples belong to as a whole, such as a picture of PyAV; the frame holds it.

    Raises
    ------
    InvalidError
        There are more or fewer planes than the format has, or a time does not fit into 64 bits.
    """

    def __init__(
        self,
        info: FrameInfo | None = None,
        planes: Planes = (),
        *,
        pts: int | None = None,
        time_base: Fraction | None = None,
        frame_rate: Fraction | None = None,
        is_idr: bool = False,
        do_not_encode: bool = False,
        is_last_frame: bool = False,
        owner: object = None,
    ) -> None:
        # The frame has a time of its own; without it, infos of a stream's pictures are equal.
        self.info = None if info is None else timeless(info)
        self.owner = owner
        self._make: Callable[[], Sequence[BufferRef]] | None = None
        self._planes: tuple[BufferRef, ...] = ()
        if callable(planes):
            self._make = planes
        elif planes:
            self._hold(planes)
        self.pts = _checked_pts(pts)
        self.time_base, self.frame_rate = time_base, frame_rate
        self.is_idr, self.do_not_encode = is_idr, do_not_encode
        self.is_last_frame = is_last_frame
        self._side_data: dict[SideDataType, SideData] = {}
        self._closed = False

    def _hold(self, planes: Sequence[BufferRef]) -> None:
        wanted = 0 if self.info is None else len(self.info.format.planes)
        if len(planes) != wanted:
            raise InvalidError(f"the frame's format has {wanted} planes, got {len(planes)}")
        self._planes = tuple(planes)

    @classmethod
    def last(cls) -> Self:
        """Return the frame that ends a stream; it holds nothing."""
        return cls(is_last_frame=True)

    @classmethod
    def allocate(cls, info: FrameInfo) -> Self:
        """Return a frame in new host memory, zeroed; every plane has its own size.

        Raises
        ------
        InvalidError
            It has no pixels.
        """
        if info.width < 1 or info.height < 1:
            raise InvalidError(f"a picture has pixels, asked for {info.width}x{info.height}")
        refs = []
        for layout in padded_planes(info):
            # Whole rows: native plugins copy the last one with what pads it.
            nbytes = layout.strides[0] * layout.shape[0]
            memory = np.zeros(nbytes + ROW_ALIGNMENT, np.uint8)
            start = -memory.ctypes.data % ROW_ALIGNMENT
            refs.append(BufferRef(_HOST.wrap(array_over(memory, layout, start))))
        return cls(info, refs, pts=info.pts, time_base=info.time_base)

    @classmethod
    def over(cls, frame: Frame, *, on_last: Callable[[], None] | None = None) -> Self:
        """Return a frame over host memory that somebody else owns, without a copy.

        Parameters
        ----------
        frame : Frame
            Of `bridges`, in host memory. It must stay open for as long as the new frame is held.
        on_last : callable, optional
            Called once nobody holds any of the planes.
        """
        last = None if on_last is None else Countdown(len(frame.tensors), on_last)
        refs = [BufferRef(tensor, is_clone=True, on_last=last) for tensor in frame.tensors]
        info = frame.info
        return cls(info, refs, pts=info.pts, time_base=info.time_base)

    @classmethod
    def from_device_buffers(
        cls,
        info: FrameInfo,
        buffers: Sequence[BufferObject],
        *,
        strides: Sequence[int] | None = None,
        is_clone: bool = False,
        on_last: Callable[[], None] | None = None,
    ) -> Self:
        """Return a frame over device buffers, one for each plane.

        Parameters
        ----------
        info : FrameInfo
            What the buffers hold.
        buffers : sequence of BufferObject
            They are freed with the frame's last holder, unless ``is_clone`` or ``on_last``.
        strides : sequence of int, optional
            Bytes from row to row in each; by default as `padded_planes` has them.
        is_clone : bool
            Whether the buffers stay their owner's.
        on_last : callable, optional
            Called once nobody holds any of the planes, instead of freeing them.

        Raises
        ------
        InvalidError
            There are more or fewer buffers than planes, or one is too small for its plane.
        """
        layouts = padded_planes(info, strides)
        if len(buffers) != len(layouts):
            raise InvalidError(
                f"{info.format.name} has {len(layouts)} planes, got {len(buffers)} buffers"
            )
        last = None if on_last is None else Countdown(len(buffers), on_last)
        refs = []
        for buffer, layout in zip(buffers, layouts, strict=True):
            free = last or (None if is_clone else buffer.free)
            refs.append(
                BufferRef(buffer.view(layout), buffer=buffer, is_clone=is_clone, on_last=free)
            )
        return cls(info, refs, pts=info.pts, time_base=info.time_base)

    def __repr__(self) -> str:
        if self._closed:
            return "<XmaFrame, closed>"
        if self.is_last_frame:
            return "<XmaFrame, the end>"
        what = "a dummy"
        if self.info is not None:
            what = f"{self.info.format.name} {self.info.width}x{self.info.height}"
        where = f", {self._planes[0].buffer_type}" if self._planes else ""
        return f"<XmaFrame {what}{where}, pts {self.pts}>"

    @property
    def planes(self) -> tuple[BufferRef, ...]:
        """The planes; none of a dummy.

        Raises
        ------
        BufferUseError
            The frame was closed.
        """
        if self._closed:
            raise BufferUseError("this frame was closed, and its planes may be used again")
        if self._make is not None:
            make, self._make = self._make, None
            self._hold(make())
        return self._planes

    @property
    def closed(self) -> bool:
        """Whether ``close()`` was called."""
        return self._closed

    @property
    def is_dummy(self) -> bool:
        """Whether the frame has no planes; what is received into it gets those of the plugin."""
        return not self._planes and self._make is None

    @property
    def buffer_type(self) -> BufferType:
        """Where the planes lie; NO_BUFFER of a dummy."""
        return BufferType.NO_BUFFER if self.is_dummy else self.planes[0].buffer_type

    @property
    def linesize(self) -> tuple[int, ...]:
        """Bytes from row to row in each plane."""
        return tuple(plane.tensor.info.strides[0] for plane in self.planes)

    def frame(self) -> Frame:
        """Return the picture as bridges see it, over the same memory.

        It is good for as long as this frame is held; closing it closes nothing here.
        """
        if self.info is None:
            raise InvalidError("a dummy frame has no picture; receive into it first")
        info = replace(self.info, pts=self.pts, time_base=self.time_base)
        return Frame(info, [plane.tensor.lend() for plane in self.planes])

    def reference(self) -> Self:
        """Return another frame that holds the same planes and side data."""
        if self._make is not None:
            # Nobody asked for the planes yet: each frame makes its own, over the same memory.
            other = type(self)(self.info, self._make, owner=self.owner)
        else:
            for plane in self.planes:
                plane.retain()
            other = type(self)(self.info, self._planes, owner=self.owner)
        other.describe_as(self)
        return other

    def take(self, other: "XmaFrame") -> None:
        """Make this dummy what ``other`` is, which is closed by it: nothing is copied.

        Raises
        ------
        InvalidError
            This frame has planes already.
        """
        if self._closed:
            raise BufferUseError("this frame was closed; receive into a new one")
        if not self.is_dummy:
            raise InvalidError("this frame has planes of its own; copy into them")
        if other._closed:
            raise BufferUseError("a frame that was closed has nothing to hand on")
        self.info, self.owner = other.info, other.owner
        self._planes, self._make = other._planes, other._make
        self.describe_as(other)
        other._planes, other._make = (), None
        other.close()

    def copy_from(self, other: "XmaFrame") -> None:
        """Copy another frame's samples, time, flags and side data into this one's memory.

        Raises
        ------
        InvalidError
            The two differ in format or size, or one of them does not lie in host memory.
        """
        forms = [
            frame.info and (frame.info.format.name, frame.info.width, frame.info.height)
            for frame in (self, other)
        ]
        if forms[0] != forms[1]:
            raise InvalidError(f"a frame of {forms[1]} cannot be copied into one of {forms[0]}")
        if {self.buffer_type, other.buffer_type} != {BufferType.HOST}:
            raise InvalidError("frames are copied in host memory; receive into a dummy instead")
        if self.owner is not None:
            raise InvalidError(
                "this frame's samples belong to whoever gave it, who may still read them; receive "
                "into a dummy, or into a frame of your own"
            )
        for mine, theirs in zip(self.planes, other.planes, strict=True):
            np.copyto(mine.tensor.handle("array"), theirs.tensor.handle("array"))
        self.describe_as(other)

    def attach(self, info: FrameInfo, planes: Sequence[BufferRef]) -> None:
        """Give a dummy its planes; it takes over one hold of each."""
        self.take(XmaFrame(info, planes, pts=self.pts, time_base=self.time_base))

    def describe_as(self, other: "XmaFrame") -> None:
        """Take over another frame's time, flags and side data, not its samples."""
        self.pts, self.time_base, self.frame_rate = other.pts, other.time_base, other.frame_rate
        self.is_idr, self.do_not_encode = other.is_idr, other.do_not_encode
        self.is_last_frame = other.is_last_frame
        for side_data in other._side_data.values():
            self.add_side_data(side_data)

    def add_side_data(self, side_data: SideData) -> None:
        """Add side data, in the place of what there is of the same kind; the frame holds it."""
        side_data.retain()
        self.remove_side_data(side_data.kind)
        self._side_data[side_data.kind] = side_data

    def put_side_data(self, kind: SideDataType, content: Any) -> SideData:
        """Make side data of a content and add it; the frame alone holds what is returned.

        Raises
        ------
        InvalidError
            As of `SideData`.
        """
        side_data = SideData(kind, content)
        self.add_side_data(side_data)
        side_data.release()
        return side_data

    def side_data(self, kind: SideDataType) -> SideData | None:
        """Return the side data of a kind; None where there is none."""
        return self._side_data.get(kind)

    def remove_side_data(self, kind: SideDataType) -> None:
        """Let go of the side data of a kind; nothing happens where there is none."""
        old = self._side_data.pop(kind, None)
        if old is not None:
            old.release()

    def clear_side_data(self) -> None:
        """Let go of all side data."""
        for kind in list(self._side_data):
            self.remove_side_data(kind)

    def hand_to(self, holder: str) -> None:
        """Note who has the planes now, for messages."""
        for plane in self._planes:
            plane.held_by = holder

    def close(self) -> None:
        """Release planes and side data; may be repeated."""
        if self._closed:
            return
        self._closed = True
        self.clear_side_data()
        self._make = self.owner = None
        planes, self._planes = self._planes, ()
        for plane in planes:
            plane.release()


class XmaDataBuffer(Closable):
    """Coded data, in host memory or in a device buffer.

    Parameters
    ----------
    data : bytes-like object or None
        The data, such as an ``av.Packet``; None for a dummy that a plugin will fill.
    buffer : BufferObject, optional
        The device buffer that the data lies in.
    pts : int or None
        Time; any whole number of 64 bits.
    poc : int
        Picture order count.
    is_eof : bool
        Whether it is the end, and holds nothing.
    is_clone : bool
        Whether the device buffer stays its owner's.
    """

    def __init__(
        self,
        data: Any = None,
        *,
        buffer: BufferObject | None = None,
        pts: int | None = None,
        poc: int = 0,
        is_eof: bool = False,
        is_clone: bool = False,
    ) -> None:
        self._data, self.buffer = data, buffer
        self.pts, self.poc, self.is_eof = _checked_pts(pts), poc, is_eof
        self.is_clone = is_clone
        self._on_last: Callable[[], None] | None = None
        self._closed = False

    @classmethod
    def last(cls) -> Self:
        """Return the buffer that ends a stream; it holds nothing."""
        return cls(is_eof=True)

    @property
    def data(self) -> Any:
        """The data: what it was made of, or the host's side of the device buffer.

        Raises
        ------
        BufferUseError
            The buffer was closed, or its device buffer was freed.
        """
        if self._closed:
            raise BufferUseError("this data buffer was closed")
        if self._data is None and self.buffer is not None:
            return self.buffer.data
        return self._data

    @data.setter
    def data(self, data: Any) -> None:
        self._data = data

    @property
    def alloc_size(self) -> int:
        """Bytes of the data."""
        if self.buffer is not None and self._data is None:
            return self.buffer.size
        return 0 if self._data is None else memoryview(self._data).nbytes

    @property
    def buffer_type(self) -> BufferType:
        """Where the data lies; NO_BUFFER of a dummy."""
        if self.buffer is not None:
            return self.buffer.buffer_type
        return BufferType.NO_BUFFER if self._data is None else BufferType.HOST

    def attach(
        self,
        buffer: BufferObject,
        *,
        is_clone: bool = False,
        on_last: Callable[[], None] | None = None,
    ) -> None:
        """Give a dummy a device buffer; ``on_last`` is called at its end instead of freeing it."""
        if self.buffer_type is not BufferType.NO_BUFFER:
            raise InvalidError("this data buffer has memory of its own; copy into it")
        self.buffer, self.is_clone, self._on_last = buffer, is_clone, on_last

    def close(self) -> None:
        """Let go of the data, and free a device buffer that is this one's own; may be repeated."""
        if self._closed:
            return
        self._closed = True
        self._data = None
        buffer, self.buffer = self.buffer, None
        if self._on_last is not None:
            self._on_last()
        elif buffer is not None and not self.is_clone:
            buffer.free()


def timeless(info: FrameInfo) -> FrameInfo:
    """Return format, size and colour without a time, as `XmaFrame.info` has them."""
    if info.pts is None and info.time_base is None:
        return info
    return replace(info, pts=None, time_base=None)


def padded_planes(info: FrameInfo, strides: Sequence[int] | None = None) -> tuple[TensorInfo, ...]:
    """Return the layout of each plane, with rows that start at multiples of 128 bytes.

    Parameters
    ----------
    info : FrameInfo
        Format and size.
    strides : sequence of int, optional
        Bytes from row to row in each plane, instead.
    """
    given = None if strides is None else tuple(strides)
    return _layouts(info.format, info.width, info.height, given)


@functools.lru_cache(256)
def _layouts(
    pixels: PixelFormat, width: int, height: int, strides: tuple[int, ...] | None
) -> tuple[TensorInfo, ...]:
    dense = FrameInfo(pixels, width, height).planes
    if strides is None:
        strides = tuple(-(-each.strides[0] // ROW_ALIGNMENT) * ROW_ALIGNMENT for each in dense)
    return tuple(
        TensorInfo(each.shape, each.dtype, (stride, *each.strides[1:]))
        for each, stride in zip(dense, strides, strict=True)
    )


def _checked_pts(pts: int | None) -> int | None:
    if pts is not None and not -(1 << 63) <= pts < 1 << 63:
        raise InvalidError(f"a time is a whole number of 64 bits, got {pts}")
    return pts
