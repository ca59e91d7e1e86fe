"""A synthetic picture that carries its own frame number.

The number stands in the upper three eighths of the picture as 8 x 3 black and white cells: 16
bits of the number, then 8 bits of check. All positions are fractions of the picture's size, so
that a picture still reads after scaling, and the cells are colourless, so that it reads from any
luma plane, from a gray picture and from any channel of an RGB picture.

Below the number lies a band that moves from frame to frame, and at the bottom a row of flat
colour patches that stand still: their values tell whether a conversion used the right matrix
and the right range.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

COLUMNS = 8
ROWS = 3
MAX_INDEX = 0xFFFF
MIN_WIDTH = 64
MIN_HEIGHT = 64

# The patches at the bottom, from left to right, as R'G'B'.
PATCHES: tuple[tuple[int, int, int], ...] = (
    (235, 20, 20),
    (20, 235, 20),
    (20, 20, 235),
    (20, 235, 235),
    (235, 20, 235),
    (235, 235, 20),
    (128, 128, 128),
    (64, 64, 64),
)

_EIGHTHS = 8  # the picture's height is laid out in eighths: 3 code, 3 moving, 2 patches
_MOVING_TOP = 3
_PATCH_TOP = 6

# The polynomial x^8 + x^2 + x + 1 (CRC-8 of ITU-T I.432.1, as in ATM cell headers), and that
# standard's final xor. The xor keeps the code of number 0 from being all black.
_CRC_POLYNOMIAL = 0x07
_CRC_XOR = 0x55

_CLEAR = 0.2  # a cell is unclear nearer to the middle than this share of the contrast
_MIN_CONTRAST = 0.4  # of the white level; limited-range video has (235 - 16) / 235 = 0.93


def draw(
    index: int, width: int, height: int, *, moment: float | None = None
) -> npt.NDArray[np.uint8]:
    """Draw frame number `index`.

    Parameters
    ----------
    index : int
        The number to show, 0 to 65535.
    width, height : int
        Size in pixels, 64 at least; odd sizes are fine.
    moment : float, optional
        The time, in frames, that the moving band shows; `index` if not given. The two fields of
        an interlaced frame share a number and differ in their moment.

    Returns
    -------
    numpy.ndarray
        R'G'B', full range, uint8, shape (height, width, 3).
    """
    _check_size(width, height)
    picture = np.empty((height, width, 3), np.uint8)
    _draw_code(picture, index)
    _draw_moving(picture, float(index if moment is None else moment))
    _draw_patches(picture)
    return picture


def read(luma: npt.NDArray[Any]) -> int:
    """Read the frame number from a luma plane.

    Parameters
    ----------
    luma : numpy.ndarray
        Shape (height, width), of any integer or float type and any range: black and white are
        found in the picture itself.

    Returns
    -------
    int
        The number that `draw` was given.

    Raises
    ------
    ValueError
        If there is no clear code in the picture or its check is wrong.
    """
    if luma.ndim != 2:
        raise ValueError(f"a luma plane has two dimensions, this array has {luma.ndim}")
    height, width = luma.shape
    cells = np.array(
        [
            _inner_median(luma, column, COLUMNS, row, _EIGHTHS)
            for row in range(ROWS)
            for column in range(COLUMNS)
        ]
    )
    black, white = float(cells.min()), float(cells.max())
    contrast = white - black
    if contrast <= _MIN_CONTRAST * white:
        raise ValueError(f"no barcode in this {width}x{height} plane: {black} to {white}")
    levels = (cells - black) / contrast
    if np.any(np.abs(levels - 0.5) < _CLEAR):
        raise ValueError(f"unclear barcode in this {width}x{height} plane: {levels.round(2)}")
    code = int("".join("1" if level > 0.5 else "0" for level in levels), 2)
    index, check = code >> 8, code & 0xFF
    if check != _check(index):
        raise ValueError(f"wrong check in the barcode: number {index}, check {check:#04x}")
    return index


def patch_medians(plane: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    """Measure the colour patches in one plane (luma, chroma or a colour channel).

    Parameters
    ----------
    plane : numpy.ndarray
        Shape (height, width); a subsampled chroma plane is fine.

    Returns
    -------
    numpy.ndarray
        One value for each of `PATCHES`, in the plane's own units.
    """
    count = len(PATCHES)
    return np.array([_inner_median(plane, n, count, _PATCH_TOP, _EIGHTHS, 2) for n in range(count)])


def _check_size(width: int, height: int) -> None:
    if width < MIN_WIDTH or height < MIN_HEIGHT:
        raise ValueError(f"{width}x{height} is too small, {MIN_WIDTH}x{MIN_HEIGHT} is the least")


def _check(index: int) -> int:
    register = 0
    for byte in index.to_bytes(2, "big"):
        register ^= byte
        for _ in range(8):
            register = (register << 1) ^ (_CRC_POLYNOMIAL if register & 0x80 else 0)
        register &= 0xFF
    return register ^ _CRC_XOR


def _draw_code(picture: npt.NDArray[np.uint8], index: int) -> None:
    if not 0 <= index <= MAX_INDEX:
        raise ValueError(f"number {index} does not fit in 16 bits")
    height, width = picture.shape[:2]
    code = index << 8 | _check(index)
    for cell in range(ROWS * COLUMNS):
        row, column = divmod(cell, COLUMNS)
        bit = code >> (ROWS * COLUMNS - 1 - cell) & 1
        rows = _span(height, row, _EIGHTHS)
        picture[rows, _span(width, column, COLUMNS)] = 255 * bit


def _draw_moving(picture: npt.NDArray[np.uint8], moment: float) -> None:
    height, width = picture.shape[:2]
    rows = slice(_span(height, _MOVING_TOP, _EIGHTHS).start, _span(height, _PATCH_TOP, 8).start)
    y, x = np.mgrid[0 : rows.stop - rows.start, 0:width]
    band = picture[rows]
    # Long smooth waves that travel at different speeds: motion that an encoder can follow.
    band[..., 0] = 128 + 100 * np.sin((x + 4 * moment) * (2 * np.pi / 64))
    band[..., 1] = 128 + 100 * np.sin((x - 2 * moment + y) * (2 * np.pi / 96))
    band[..., 2] = 128 + 100 * np.sin((y + moment) * (2 * np.pi / 48))
    # And a hard-edged white box, which shows the two fields of an interlaced frame apart.
    left = int(6 * moment) % max(width - 16, 1)
    band[4:20, left : left + 16] = 255


def _draw_patches(picture: npt.NDArray[np.uint8]) -> None:
    height, width = picture.shape[:2]
    top = _span(height, _PATCH_TOP, _EIGHTHS).start
    for n, colour in enumerate(PATCHES):
        picture[top:, _span(width, n, len(PATCHES))] = colour


def _span(length: int, part: int, parts: int, count: int = 1) -> slice:
    """Pixels of `count` parts from `part` on, where `length` is cut into `parts`."""
    return slice(round(length * part / parts), round(length * (part + count) / parts))


def _inner_median(
    plane: npt.NDArray[Any], column: int, columns: int, row: int, rows: int, row_count: int = 1
) -> float:
    """Return the median of a cell's inner half, away from what leaks in over its edges."""
    height, width = plane.shape
    cell = plane[_span(height, row, rows, row_count), _span(width, column, columns)]
    margin_y, margin_x = cell.shape[0] // 4, cell.shape[1] // 4
    inner = cell[margin_y : cell.shape[0] - margin_y, margin_x : cell.shape[1] - margin_x]
    if inner.size == 0:
        raise ValueError(f"a {width}x{height} plane is too small to hold a barcode")
    return float(np.median(inner))
