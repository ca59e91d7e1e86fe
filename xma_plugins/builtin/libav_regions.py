"""A QP map as FFmpeg takes it: rectangles of a picture that are worth more bits, or fewer."""

import ctypes as c
from itertools import groupby
from typing import Any

import numpy as np
from av.sidedata.sidedata import Type
from av.video.frame import VideoFrame

from bridges.native.libavutil import AVFrameSideData, frame_pointer, library
from xma_plugins.errors import InvalidError
from xma_plugins.side_data import QP_BLOCK

__all__ = ["set_regions"]


class _Region(c.Structure):
    """``AVRegionOfInterest`` of libavutil/frame.h."""

    _fields_ = (
        ("self_size", c.c_uint32),
        ("top", c.c_int),
        ("bottom", c.c_int),
        ("left", c.c_int),
        ("right", c.c_int),
        ("qoffset", c.c_int * 2),
    )


def set_regions(picture: VideoFrame, quantisers: Any) -> None:
    """Tag a picture with a QP map.

    Parameters
    ----------
    picture : av.VideoFrame
        What will be encoded.
    quantisers : bytes-like object
        int8 steps added to the quantiser, a row for each row of blocks of 16 pixels. FFmpeg's
        scale is -1 to 1 for the whole range of quantisers: 51 steps at 8 bits, 6 more a bit.

    Raises
    ------
    InvalidError
        There are more or fewer blocks than the picture has.
    """
    columns, rows = -(-picture.width // QP_BLOCK), -(-picture.height // QP_BLOCK)
    steps = np.frombuffer(quantisers, np.int8)
    if steps.size != columns * rows:
        raise InvalidError(
            f"a QP map of {picture.width}x{picture.height} has {columns}x{rows} blocks, got "
            f"{steps.size}"
        )
    whole = 51 + 6 * (picture.format.components[0].bits - 8)
    regions = _regions(steps.reshape(rows, columns).tolist(), whole)
    if not regions:
        return
    array = (_Region * len(regions))(*regions)
    made = library().av_frame_new_side_data(
        frame_pointer(picture), Type.REGIONS_OF_INTEREST.value, c.sizeof(array)
    )
    if not made:
        raise MemoryError("av_frame_new_side_data")
    c.memmove(AVFrameSideData.from_address(made).data, array, c.sizeof(array))


def _regions(steps: list[list[int]], whole: int) -> list[_Region]:
    """Return a rectangle for each run of equal steps in a row that are not 0."""
    regions = []
    for row, line in enumerate(steps):
        column = 0
        for step, run in groupby(line):
            begin, column = column, column + len(list(run))
            if step:
                offset = (c.c_int * 2)(max(-whole, min(step, whole)), whole)
                sides = (QP_BLOCK * edge for edge in (row, row + 1, begin, column))
                regions.append(_Region(c.sizeof(_Region), *sides, offset))
    return regions
