"""Frames: the planes of one picture, with its time and its colour."""

import contextlib
import enum
from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction

from bridges.closable import Closable
from bridges.formats import PixelFormat
from bridges.tensor import MemoryType, Tensor, TensorInfo

__all__ = ["Colour", "ColourRange", "Frame", "FrameInfo", "Matrix"]


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
        return tuple(
            TensorInfo(self.format.plane_shape(index, self.width, self.height), self.format.dtype)
            for index in range(len(self.format.planes))
        )

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


class Frame(Closable):
    """One picture: a tensor per plane, all in one kind of memory.

    Parameters
    ----------
    info : FrameInfo
        Format, size, colour and time.
    tensors : sequence of Tensor
        One per plane of ``info.format``. The frame owns them and closes them.
    parent : object, optional
        What the planes belong to: the frame they were mapped from, or a pool's lease. It is kept
        alive until ``close()``.

    Attributes
    ----------
    closes_parent : bool
        Whether ``close()`` also closes the parent.
    """

    def __init__(
        self, info: FrameInfo, tensors: Sequence[Tensor], *, parent: Closable | None = None
    ) -> None:
        self.info = info
        self.tensors = tuple(tensors)
        self.parent = parent
        self.closes_parent = False

    @property
    def memory_type(self) -> MemoryType:
        """The kind of memory that all planes live in."""
        return self.tensors[0].memory_type

    @property
    def closed(self) -> bool:
        """Whether every plane was closed."""
        return all(tensor.closed for tensor in self.tensors)

    def close(self) -> None:
        """Close every plane, in order, whatever fails on the way; may be repeated."""
        parent, self.parent = self.parent, None
        with contextlib.ExitStack() as stack:
            if self.closes_parent and parent is not None:
                stack.callback(parent.close)
            for tensor in reversed(self.tensors):
                stack.callback(tensor.close)
