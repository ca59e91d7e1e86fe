"""crop, pad, flip, rotate and transpose: samples moved, never changed."""

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from bridges.frame import FrameInfo
from bridges.kernels.families.solid import solid
from bridges.kernels.recipe import Planes
from bridges.kernels.reference.codes import whole_rows
from bridges.kernels.views import View, views

__all__ = ["crop", "flip", "pad", "rotate", "transpose"]

_Array = npt.NDArray[Any]


def _moved(
    planes: Planes,
    source: FrameInfo,
    target: FrameInfo,
    change: Callable[[View, _Array], _Array],
) -> list[_Array]:
    """Return the target's planes: each view of them is what ``change`` makes of the source's.

    Packed 4:2:2 of odd width has room for one Y sample more in each row: it repeats the last.
    """
    made = [np.empty(plane.shape, plane.dtype) for plane in target.planes]
    for read, view in zip(views(source.format), views(target.format), strict=True):
        part = change(view, read.of(planes[read.plane], source.width, source.height))
        seen = whole_rows(made[view.plane], target, view)
        seen[:, : part.shape[1]] = part
        seen[:, part.shape[1] :] = part[:, -1:]
    return made


def crop(
    planes: Planes,
    source: FrameInfo,
    target: FrameInfo,
    *,
    x: int,
    y: int,
    width: int,
    height: int,
) -> list[_Array]:
    """Return the part of a picture that begins at column ``x`` and row ``y``.

    Parameters
    ----------
    planes : sequence of numpy.ndarray
        Of ``source.format``, each as ``(rows, columns)`` or ``(rows, columns, channels)``.
    source, target : FrameInfo
        The picture, and what `bridges.kernels.families.geometry.output` makes of it.
    x, y, width, height : int
        In pixels. The size is that of ``target``, where 0 has become what there is.

    Returns
    -------
    list of numpy.ndarray
        The planes of ``target``.
    """
    del width, height

    def change(view: View, part: _Array) -> _Array:
        left, top = x >> view.log2_width, y >> view.log2_height
        columns, rows = view.size(target.width, target.height)
        return part[top : top + rows, left : left + columns]

    return _moved(planes, source, target, change)


def pad(
    planes: Planes,
    source: FrameInfo,
    target: FrameInfo,
    *,
    left: int,
    top: int,
    right: int,
    bottom: int,
    colour: str,
) -> list[_Array]:
    """Return a picture with a border of one colour; see `bridges.kernels.families.solid`.

    Chroma samples at the picture's right and bottom ends stay what they are, also where they reach
    into the border by a pixel.
    """
    del right, bottom
    codes = solid(colour, source)

    def change(view: View, part: _Array) -> _Array:
        columns, rows = view.size(target.width, target.height)
        made = np.empty((rows, columns, view.channels), part.dtype)
        made[...] = [codes[name] for name in view.names]
        across, down = left >> view.log2_width, top >> view.log2_height
        made[down : down + part.shape[0], across : across + part.shape[1]] = part
        return made

    return _moved(planes, source, target, change)


def flip(planes: Planes, source: FrameInfo, target: FrameInfo, *, direction: str) -> list[_Array]:
    """Return a picture mirrored: ``horizontal``, ``vertical`` or ``both``; see `crop`."""
    across = slice(None, None, 1 if direction == "vertical" else -1)
    down = slice(None, None, 1 if direction == "horizontal" else -1)
    return _moved(planes, source, target, lambda _, part: part[down, across])


def rotate(planes: Planes, source: FrameInfo, target: FrameInfo, *, angle: int) -> list[_Array]:
    """Return a picture turned clockwise by ``angle`` degrees, a multiple of 90; see `crop`."""
    return _moved(planes, source, target, lambda _, part: np.rot90(part, -angle // 90))


def transpose(planes: Planes, source: FrameInfo, target: FrameInfo) -> list[_Array]:
    """Return a picture whose rows are the columns of the source; see `crop`."""
    return _moved(planes, source, target, lambda _, part: part.swapaxes(0, 1))
