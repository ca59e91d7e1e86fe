"""Frames: tensors that belong together; the planes of one picture, with its time and colour."""

import enum
import functools
from abc import abstractmethod
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import Any, ClassVar, Self

from bridges.closable import Closable
from bridges.errors import FormatError
from bridges.formats import PixelFormat
from bridges.media import AudioInfo, MediaType, TensorsInfo
from bridges.tensor import MemoryType, Tensor, TensorInfo

__all__ = [
    "AudioFrame",
    "Colour",
    "ColourRange",
    "Frame",
    "FrameInfo",
    "Matrix",
    "MediaFrame",
    "TensorFrame",
    "assumed_matrix",
]


class Matrix(enum.IntEnum):
    """Matrix coefficients, numbered as in ITU-T H.273 table 4; reserved numbers are unspecified."""

    RGB = 0
    BT709 = 1
    UNSPECIFIED = 2
    FCC = 4
    BT470BG = 5
    SMPTE170M = 6
    SMPTE240M = 7
    YCGCO = 8
    BT2020_NCL = 9
    BT2020_CL = 10
    SMPTE2085 = 11
    CHROMA_NCL = 12
    CHROMA_CL = 13
    ICTCP = 14
    IPT_C2 = 15
    YCGCO_RE = 16
    YCGCO_RO = 17

    @classmethod
    def _missing_(cls, value: object) -> "Matrix":
        return cls.UNSPECIFIED


class ColourRange(enum.IntEnum):
    """Nominal range of the samples, numbered as libav's ``AVColorRange``."""

    UNSPECIFIED = 0
    LIMITED = 1
    FULL = 2


@dataclass(frozen=True, slots=True)
class Colour:
    """What a frame says of its own colour; primaries and transfer are numbered as in H.273."""

    matrix: Matrix = Matrix.UNSPECIFIED
    range: ColourRange = ColourRange.UNSPECIFIED
    primaries: int = 2
    transfer: int = 2


@functools.lru_cache(256)
def _dense_planes(pixels: PixelFormat, width: int, height: int) -> tuple[TensorInfo, ...]:
    return tuple(
        TensorInfo(pixels.plane_shape(index, width, height), pixels.dtype)
        for index in range(len(pixels.planes))
    )


@dataclass(frozen=True, slots=True)
class FrameInfo:
    """Everything about a picture but its samples.

    Attributes
    ----------
    format : PixelFormat
        Layout of the planes.
    width, height : int
        In pixels.
    colour : Colour
        As tagged on the frame.
    pts : int or None
        Presentation time in units of ``time_base``.
    time_base : Fraction or None
        Seconds per unit of ``pts``.
    """

    format: PixelFormat
    width: int
    height: int
    colour: Colour = field(default_factory=Colour)
    pts: int | None = None
    time_base: Fraction | None = None

    @property
    def planes(self) -> tuple[TensorInfo, ...]:
        """The dense layout of each plane."""
        return _dense_planes(self.format, self.width, self.height)

    @property
    def is_full_range(self) -> bool:
        """Whether samples use the whole code range.

        A format that implies full range (RGB, ``yuvj*``) is full unless the frame says limited;
        any other is limited unless the frame says full, as H.273 has it for
        ``VideoFullRangeFlag``.
        """
        if self.colour.range is ColourRange.UNSPECIFIED:
            return bool(self.format.full_range)
        return self.colour.range is ColourRange.FULL


def assumed_matrix(info: FrameInfo) -> Matrix:
    """Return the matrix of an untagged YUV picture by its height.

    BT.709 from 720 lines on and BT.601 below, as the standards for high and standard definition
    television have it (ITU-R BT.709-6, ITU-R BT.601-7).
    """
    return Matrix.BT709 if info.height >= 720 else Matrix.SMPTE170M


class MediaFrame(Closable):
    """Tensors that belong together, all in one kind of memory.

    Parameters
    ----------
    tensors : sequence of Tensor
        The frame owns them and closes them.
    parent : object, optional
        What the tensors belong to: the frame they were mapped from, or a pool's lease. It is kept
        alive until ``close()``.

    Attributes
    ----------
    media_type : MediaType
        What the tensors stand for; one of each class.
    closes_parent : bool
        Whether ``close()`` also closes the parent.
    metadata : list
        What was found in the picture or is known of it: see `bridges.metadata`. Frames that show
        the same samples share one list.
    """

    media_type: ClassVar[MediaType]
    info: Any

    def __init__(self, tensors: Sequence[Tensor], *, parent: Closable | None = None) -> None:
        self.tensors = tuple(tensors)
        self.parent = parent
        self.closes_parent = False
        self.metadata: list[Any] = parent.metadata if isinstance(parent, MediaFrame) else []

    @property
    def memory_type(self) -> MemoryType:
        """The kind of memory that all tensors live in."""
        return self.tensors[0].memory_type

    @property
    @abstractmethod
    def form(self) -> Hashable:
        """What frames of the same kind have in common: everything but content and time."""

    @property
    def closed(self) -> bool:
        """Whether every tensor was closed."""
        return all(tensor.closed for tensor in self.tensors)

    @abstractmethod
    def over(self, tensors: Sequence[Tensor]) -> "MediaFrame":
        """Return a frame of the same content whose samples are seen through other tensors.

        This frame is its parent.
        """

    def close(self) -> None:
        """Close every tensor, in order, whatever fails on the way; may be repeated."""
        parent, self.parent = self.parent, None
        failure: BaseException | None = None
        for tensor in self.tensors:
            try:
                tensor.close()
            except BaseException as error:  # noqa: BLE001 - raised below
                failure = failure or error
        if self.closes_parent and parent is not None:
            parent.close()
        if failure is not None:
            raise failure


class Frame(MediaFrame):
    """One picture: a tensor per plane.

    Parameters
    ----------
    info : FrameInfo
        Format, size, colour and time.
    tensors : sequence of Tensor
        One per plane of ``info.format``.
    parent : object, optional
        As for `MediaFrame`.

    Raises
    ------
    FormatError
        There are more or fewer tensors than planes.
    """

    media_type = MediaType.IMAGE
    info: FrameInfo

    def __init__(
        self, info: FrameInfo, tensors: Sequence[Tensor], *, parent: Closable | None = None
    ) -> None:
        super().__init__(tensors, parent=parent)
        self.info = info
        if len(self.tensors) != len(info.format.planes):
            raise FormatError(
                f"a picture of {info.format.name} has {len(info.format.planes)} planes, got "
                f"{len(self.tensors)} tensors"
            )

    @property
    def form(self) -> Hashable:
        """Format, size and colour."""
        info = self.info
        return info.format.name, info.width, info.height, info.colour

    def over(self, tensors: Sequence[Tensor]) -> "Frame":
        """Return the picture as seen through other tensors; see `MediaFrame.over`."""
        return Frame(self.info, tensors, parent=self)

    def region(self, x: int, y: int, width: int, height: int) -> "Frame":
        """Return a part of the picture, over the same memory; this frame is its parent.

        Parameters
        ----------
        x, y, width, height : int
            In pixels, within the picture, and on the grid of the format's chroma samples: even
            for 4:2:0, but for a width or height that ends with the picture.

        Raises
        ------
        FormatError
            The part leaves the picture or cuts through a chroma sample, or this kind of memory
            cannot be cut there.
        """
        info = self.info
        if (
            width < 1
            or height < 1
            or x < 0
            or y < 0
            or (x + width > info.width or y + height > info.height)
        ):
            raise FormatError(
                f"a region of {width}x{height} at ({x}, {y}) is not within {info.width}x"
                f"{info.height}"
            )
        parts: list[Tensor] = []
        try:
            for tensor, plane in zip(self.tensors, info.format.planes, strict=True):
                columns = _cut(x, width, info.width, plane.log2_width)
                rows = _cut(y, height, info.height, plane.log2_height)
                parts.append(tensor[rows, columns])
        except BaseException:
            for part in parts:
                part.close()
            raise
        part_info = replace(info, width=width, height=height)
        return Frame(part_info, parts, parent=self)


class _PlainFrame(MediaFrame):
    """Tensors that lie as their info says, and no other way.

    Parameters
    ----------
    info : AudioInfo or TensorsInfo
        What they are.
    tensors : sequence of Tensor
        Of the shapes and types of ``info.tensors``; strides may differ.
    parent : object, optional
        As for `MediaFrame`.

    Raises
    ------
    FormatError
        The tensors are others than ``info`` says.
    """

    _what: ClassVar[str]

    def __init__(
        self, info: Any, tensors: Sequence[Tensor], *, parent: Closable | None = None
    ) -> None:
        wanted = [(each.shape, each.dtype) for each in info.tensors]
        found = [(tensor.info.shape, tensor.info.dtype) for tensor in tensors]
        if wanted != found:
            raise FormatError(f"a frame of {self._what} needs tensors of {wanted}, got {found}")
        super().__init__(tensors, parent=parent)
        self.info = info

    @property
    def form(self) -> Hashable:
        """Everything but the time."""
        timeless: Hashable = replace(self.info, pts=None, time_base=None)
        return timeless

    def over(self, tensors: Sequence[Tensor]) -> Self:
        """Return the same as seen through other tensors; see `MediaFrame.over`."""
        return type(self)(self.info, tensors, parent=self)


class AudioFrame(_PlainFrame):
    """A block of sound: a tensor per channel, or one in which the channels alternate.

    It is made of an `AudioInfo`, tensors that lie as it says, and optionally a parent.
    """

    media_type = MediaType.AUDIO
    _what = "sound"
    info: AudioInfo


class TensorFrame(_PlainFrame):
    """Tensors that are neither picture nor sound, such as what a network returns.

    It is made of a `TensorsInfo`, tensors that lie as it says, and optionally a parent.
    """

    media_type = MediaType.TENSORS
    _what = "tensors"
    info: TensorsInfo


def _cut(start: int, length: int, whole: int, log2: int) -> slice:
    """Return the elements of a plane that the pixels from ``start`` on have."""
    end, step = start + length, 1 << log2
    if start % step or (end % step and end != whole):
        raise FormatError(
            f"pixels {start} to {end} cut through a chroma sample; begin and end at multiples of "
            f"{step}"
        )
    return slice(start >> log2, -(-end >> log2))
