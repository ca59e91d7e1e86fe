"""Pictures in device buffers, as the registers of a compute unit tell of them."""

import functools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from bridges.formats import PIXEL_FORMATS
from bridges.frame import Colour, ColourRange, FrameInfo, Matrix
from bridges.media import TensorsInfo
from bridges.tensor import TensorInfo
from xma_plugins.errors import InvalidError
from xma_plugins.properties import MAX_DIMENSION

__all__ = [
    "ROW_ALIGNMENT",
    "Planes",
    "frame_arguments",
    "frame_values",
    "lay_out",
    "read_frame",
    "read_planes",
]

ROW_ALIGNMENT = 128
"""Bytes; rows of pictures begin at multiples of it, in buffers and in host memory."""

_MAX_PLANES = 4
_PLANE_ALIGNMENT = 512
"""Bytes; OpenCL devices with memory of their own address a part of a buffer from such multiples on
(``CL_DEVICE_MEM_BASE_ADDR_ALIGN``, which is smaller on most)."""

_PICTURE = ("format", "width", "height", "matrix", "range", "primaries", "transfer")
_FORMATS = tuple(PIXEL_FORMATS.values())
_NUMBERS = {each.name: number for number, each in enumerate(_FORMATS)}


@dataclass(frozen=True, slots=True)
class Planes:
    """A picture, or tensors of numbers, in device buffers: what a frame's registers say.

    Attributes
    ----------
    info : FrameInfo or TensorsInfo
        What is there, or is to be.
    addresses : tuple of int
        Of each plane's first byte, as ``paddr`` of its buffer has it, plus an offset into it.
    strides : tuple of int
        Bytes from row to row in each plane; empty, or 0, where rows lie without padding.
    """

    info: FrameInfo | TensorsInfo
    addresses: tuple[int, ...]
    strides: tuple[int, ...] = ()

    @property
    def layouts(self) -> tuple[TensorInfo, ...]:
        """The layout of each plane."""
        return _layouts(self.info, self.strides)


@functools.lru_cache(256)
def _layouts(info: FrameInfo | TensorsInfo, strides: tuple[int, ...]) -> tuple[TensorInfo, ...]:
    dense = info.planes if isinstance(info, FrameInfo) else info.tensors
    if not strides:
        return dense
    return tuple(
        TensorInfo(layout.shape, layout.dtype, (stride or layout.strides[0], *layout.strides[1:]))
        for layout, stride in zip(dense, strides, strict=False)
    )


def lay_out(info: FrameInfo | TensorsInfo, address: int = 0) -> tuple[Planes, int]:
    """Return how planes lie one behind the other in one buffer, and the bytes that it needs.

    Rows begin at multiples of 128 bytes, planes at multiples of 512.

    Parameters
    ----------
    info : FrameInfo or TensorsInfo
        What the buffer is to hold.
    address : int
        Its ``paddr``; to ask for the size alone it may be left out.
    """
    is_picture = isinstance(info, FrameInfo)
    addresses, strides, end = [], [], 0
    for layout in info.planes if isinstance(info, FrameInfo) else info.tensors:
        stride = layout.strides[0]
        if is_picture:
            stride = -(-stride // ROW_ALIGNMENT) * ROW_ALIGNMENT
        addresses.append(address + end)
        strides.append(stride)
        end += -(-stride * layout.shape[0] // _PLANE_ALIGNMENT) * _PLANE_ALIGNMENT
    return Planes(info, tuple(addresses), tuple(strides)), end


def frame_arguments(frame: str) -> Iterator[tuple[str, str]]:
    """Yield name and type of each argument that tells of one frame."""
    for name in _PICTURE:
        yield f"{frame}_{name}", "u32"
    for number in range(_MAX_PLANES):
        yield f"{frame}_plane{number}", "address"
    for number in range(_MAX_PLANES):
        yield f"{frame}_stride{number}", "u32"


def frame_values(frame: str, planes: Planes) -> dict[str, int]:
    """Return the value of each argument that tells of one frame, by its name.

    Raises
    ------
    InvalidError
        There are other than one address for each plane, or more than there are registers for.
    """
    said, names = _said(frame, planes.info, planes.strides)
    if len(planes.addresses) != len(names) or len(names) > _MAX_PLANES:
        raise InvalidError(
            f"{frame} has {len(names)} planes, of {_MAX_PLANES} that registers are for, got "
            f"{len(planes.addresses)} addresses"
        )
    return said | dict(zip(names, planes.addresses, strict=True))


@functools.lru_cache(256)
def _said(
    frame: str, info: FrameInfo | TensorsInfo, strides: tuple[int, ...]
) -> tuple[dict[str, int], tuple[str, ...]]:
    """Return the values that all frames of a form have, and the names of their addresses."""
    layouts = _layouts(info, strides)
    said = {f"{frame}_stride{number}": layout.strides[0] for number, layout in enumerate(layouts)}
    if isinstance(info, FrameInfo):
        colour = info.colour
        numbers = (
            _NUMBERS[info.format.name],
            info.width,
            info.height,
            int(colour.matrix),
            int(colour.range),
            colour.primaries,
            colour.transfer,
        )
        said |= {f"{frame}_{name}": value for name, value in zip(_PICTURE, numbers, strict=True)}
    return said, tuple(f"{frame}_plane{number}" for number in range(len(layouts)))


def read_frame(values: Mapping[str, Any], frame: str) -> Planes:
    """Return what the registers of one frame say.

    Parameters
    ----------
    values : mapping
        As `RegisterMap.unpack` returns them.
    frame : str
        ``"source"``, ``"target"`` or ``"previous"``.

    Raises
    ------
    InvalidError
        There is no such pixel format or range, or a side of the picture is none or too long.
    """
    said = tuple(values[f"{frame}_{name}"] for name in _PICTURE)
    info = _picture(frame, *said)
    return Planes(info, *read_planes(values, frame, len(info.format.planes)))


@functools.lru_cache(256)
def _picture(
    frame: str,
    number: int,
    width: int,
    height: int,
    matrix: int,
    span: int,
    primaries: int,
    transfer: int,
) -> FrameInfo:
    if number >= len(_FORMATS):
        raise InvalidError(f"{frame}_format is {number}, of {len(_FORMATS)} pixel formats")
    if not 0 < width <= MAX_DIMENSION or not 0 < height <= MAX_DIMENSION:
        raise InvalidError(f"{frame} has {width}x{height} pixels; sides have 1 to {MAX_DIMENSION}")
    if span not in list(ColourRange):
        raise InvalidError(f"{frame}_range is {span}; 0 is unspecified, 1 limited, 2 full")
    colour = Colour(Matrix(matrix), ColourRange(span), primaries, transfer)
    return FrameInfo(_FORMATS[number], width, height, colour)


def read_planes(
    values: Mapping[str, Any], frame: str, count: int
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return the addresses and the strides that the registers of one frame hold.

    Raises
    ------
    InvalidError
        There are more planes than registers.
    """
    if count > _MAX_PLANES:
        raise InvalidError(f"{frame} has {count} tensors, of {_MAX_PLANES} that registers are for")
    places = range(count)
    addresses = tuple(values[f"{frame}_plane{number}"] for number in places)
    return addresses, tuple(values[f"{frame}_stride{number}"] for number in places)
