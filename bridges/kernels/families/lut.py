"""What `lut` takes of a .cube file: integers that interpolate its table.

A 1D table is interpolated here already, linearly, for each of the 65536 codes, and rounded half up.
Of a 3D table, entries become codes of 16 bits with 8 more of fraction, and the kernel interpolates
between the 8 around a colour: along the edges of the tetrahedron that it lies in (Kasson, Nin,
Plouffe and Hafner, "Performing color space conversions with three-dimensional linear
interpolation", J. Electronic Imaging 4(3), 1995), or along the three axes in turn. Results are
rounded half up, and clipped only then.

They are within 0.51 of a code of 16 bits of the exact ones, and of another 1/28 for each white that
neighbouring entries differ by; where a domain begins elsewhere than at 0, it does to within 2**-13
codes.
"""

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from bridges.errors import KernelError
from bridges.frame import FrameInfo
from bridges.kernels.colour import WHITE
from bridges.kernels.families.cube import Cube, read_cube
from bridges.kernels.families.file import read_once
from bridges.kernels.kernel import Kernel

__all__ = ["CURVES", "LUT_ONE", "TETRAHEDRAL", "TRILINEAR", "output", "prepare"]

CURVES, TRILINEAR, TETRAHEDRAL = 1, 2, 3
"""How a table is read: a code of each channel alone, or an interpolated colour."""

LUT_ONE = 1 << 24
"""The distance of two entries."""

_LOWEST, _NARROWEST, _WIDEST = 4.0, 1 / 4096, 65536.0
"""What the integers of places hold: how far from 0 a domain may begin, and how wide it may be."""

Prepared = tuple[np.int32, np.int32, npt.NDArray[Any], npt.NDArray[Any]]


def output(kernel: Kernel, info: FrameInfo, /, **values: Any) -> FrameInfo:
    """Return the picture's own form, once it is known that the file is a table."""
    prepare(kernel, info, **values)
    return info


def prepare(_kernel: Kernel, _info: FrameInfo, /, *, file: str, interpolation: str) -> Prepared:
    """Return how to read the table, the entries along an axis, the axes and the table itself.

    Axes are the first code, the mantissa and the shift of R, G and B; see lut.cl. For curves, which
    have none, the second number is the distance of those of R, G and B, and 0 if they are the same.

    Raises
    ------
    KernelError
        The file is no .cube file, or has a domain beyond what the integers hold.
    """
    kind, size, axes, table = _tables(file)
    if kind != CURVES and interpolation == "trilinear":
        kind = np.int32(TRILINEAR)
    return kind, size, axes, table


@read_once
def _tables(file: str) -> Prepared:
    """Return the same for tetrahedral interpolation."""
    cube = read_cube(file)
    for low, high in zip(cube.low, cube.high, strict=True):
        if abs(low) > _LOWEST or not _NARROWEST <= high - low <= _WIDEST:
            raise KernelError(
                f"{file}: a domain begins between -{_LOWEST:g} and {_LOWEST:g} and is "
                f"{_NARROWEST:g} to {_WIDEST:g} wide, found {low:g} to {high:g}"
            )
    size = len(cube.table)
    if not cube.is_3d:
        curves = _curves(cube)
        same = bool((curves == curves[:1]).all())
        table = curves[:1] if same else curves
        return (
            np.int32(CURVES),
            np.int32(0 if same else WHITE + 1),
            _constant([0]),
            _constant(table),
        )
    axes = [_axis(size, low, high) for low, high in zip(cube.low, cube.high, strict=True)]
    entries = np.floor(cube.table * (WHITE * 256) + 0.5)
    return np.int32(TETRAHEDRAL), np.int32(size), _constant(axes), _constant(entries)


def _constant(values: npt.ArrayLike) -> npt.NDArray[np.int32]:
    array = np.ascontiguousarray(values, np.int32).reshape(-1)
    array.setflags(write=False)
    return array


def _curves(cube: Cube) -> npt.NDArray[np.float64]:
    """Return what each code becomes, as ``(channels, codes)``."""
    signals = np.arange(WHITE + 1) / WHITE
    curves = [
        np.interp(signals, np.linspace(low, high, len(cube.table)), cube.table[:, channel])
        for channel, (low, high) in enumerate(zip(cube.low, cube.high, strict=True))
    ]
    return np.floor(np.clip(curves, 0, 1) * WHITE + 0.5)


def _axis(size: int, low: float, high: float) -> tuple[int, int, int]:
    """Return the code of the first entry, with 12 bits of fraction, and the entries per code.

    These are a mantissa of 31 bits and a shift, to places with 24 bits of fraction.
    """
    each = (size - 1) / ((high - low) * WHITE) * (LUT_ONE >> 12)
    mantissa, exponent = math.frexp(each)
    # What rounds up to 2**31 would be no i32.
    whole = min(round(mantissa * (1 << 31)), (1 << 31) - 1)
    return math.floor(low * WHITE * 4096 + 0.5), whole, 31 - exponent
