"""Numbers of a picture: the histogram of each channel; its lowest and highest code, and its sum.

Channels are counted as they lie in memory: by plane, and within a plane as `channels` says. Padding
(the X of ``rgb0``) is left out; alpha is a channel like any other. All numbers are exact.
"""

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from bridges.formats import PixelFormat
from bridges.frame import FrameInfo, TensorFrame
from bridges.kernels.families.defaults import in_place, note, written
from bridges.kernels.families.samples import samples_macros, samples_source
from bridges.kernels.launch import Argument, Launch, Plane, Scratch
from bridges.kernels.recipe import Planes
from bridges.kernels.views import View, views
from bridges.media import TensorsInfo
from bridges.tensor import TensorInfo

if TYPE_CHECKING:
    from bridges.kernels.kernel import Kernel

__all__ = [
    "channels",
    "compute",
    "counted_views",
    "in_place",
    "launches",
    "mean",
    "note",
    "output",
    "written",
]


def channels(layout: PixelFormat) -> str:
    """Return the channels of a format, a letter each, in the order of the numbers' rows.

    Such as ``"YUV"`` of ``nv12`` and ``yuyv422``, ``"UYV"`` of ``uyvy422``, ``"BGR"`` of ``bgr24``
    and ``"GBR"`` of ``gbrp``.
    """
    return "".join(view.names for view in counted_views(layout))


def counted_views(layout: PixelFormat) -> tuple[View, ...]:
    """Return the views of a format without their padding, which lies at either end of a pixel."""
    found = []
    for view in views(layout):
        names = view.names.strip("X")
        offset = view.offset + view.names.index(names)
        found.append(replace(view, names=names, offset=offset))
    return tuple(found)


def mean(frame: TensorFrame) -> npt.NDArray[np.float64]:
    """Return the mean code of each channel, of what the kernel ``statistics`` wrote to host memory.

    Returns
    -------
    numpy.ndarray
        ``(channels,)`` of float64.
    """
    named = dict(zip(frame.info.names, frame.tensors, strict=True))
    total, count = (named[name].handle("array") for name in ("sum", "count"))
    means: npt.NDArray[np.float64] = np.divide(total, count, dtype=np.float64)
    return means


_STATISTICS = {"minimum": np.uint32, "maximum": np.uint32, "sum": np.uint64, "count": np.uint64}
"""The tensors of ``statistics``, and their types."""


def output(kernel: "Kernel", info: FrameInfo, /, **values: Any) -> TensorsInfo:
    """Return the shapes and types of the numbers.

    Those of ``histogram`` are one tensor of that name, ``(channels, bins)`` of uint32. Those of
    ``statistics`` are ``minimum`` and ``maximum`` of uint32, and ``sum`` and ``count`` of uint64,
    each of shape ``(channels,)``.
    """
    rows = len(channels(info.format))
    tensors = {name: TensorInfo((rows,), np.dtype(type_)) for name, type_ in _STATISTICS.items()}
    if kernel.name == "histogram":
        tensors = {"histogram": TensorInfo((rows, values["bins"]), np.dtype(np.uint32))}
    return TensorsInfo(tuple(tensors.values()), tuple(tensors), info.pts, info.time_base)


_LANES = 16
"""Items of ``statistics`` that share in a record, or three times as many: a multiple of the samples
of a pixel. CPU runtimes take up to 16 at once, and so read each row from its start to its end."""

_LOCAL_NBYTES = 1 << 15
"""Bytes that the tables of a group of ``histogram`` take at most: of local memory, every device has
as many (OpenCL 1.2, table 4.3, CL_DEVICE_LOCAL_MEM_SIZE), as has the first cache of processors."""

_COPIES = 16
"""Tables of a group of ``histogram`` at most: putting more together costs more than they save."""

_TABLES = 4
"""Tables of one item of ``histogram`` at most, which neighbouring pixels take in turn."""


def launches(
    kernel: "Kernel", source: FrameInfo, _target: TensorsInfo, aligned: bool, /, **values: Any
) -> tuple[Launch, ...]:
    """Return how the portable source is compiled and called: twice for each view."""
    text, layout = samples_source(kernel), source.format
    made: list[Launch] = []
    channel = 0
    for view in counted_views(layout):
        size = view.size(source.width, source.height)
        macros = samples_macros(layout, view, aligned)
        if kernel.name == "histogram":
            made += _histogram(text, view, size, channel, macros | _tables(view, values["bins"]))
        else:
            macros |= _lanes(view, size[0], (1 << layout.bits) - 1)
            made += _statistics(text, view, size, channel, macros)
        channel += view.channels
    return tuple(made)


def _tables(view: View, bins: int) -> dict[str, int]:
    copies = _COPIES
    while copies * view.channels * bins * 4 > _LOCAL_NBYTES:
        copies //= 2
    tables = min(_TABLES, copies)
    return {"BAND": 16, "LANES": copies // tables, "TABLES": tables, "BINS": bins}


def _lanes(view: View, columns: int, highest: int) -> dict[str, int]:
    lanes = _LANES * (3 if view.step == 3 else 1)
    most = -(-columns * view.step // lanes) * highest
    return {"BAND": 4, "LANES": lanes, "WIDE": int(most >= 1 << 32)}


def _histogram(
    text: str, view: View, size: tuple[int, int], channel: int, macros: dict[str, int]
) -> tuple[Launch, Launch]:
    """Return the launch that counts a view, and the one that puts its records together."""
    many, lanes, bins = -(-size[1] // macros["BAND"]), macros["LANES"], macros["BINS"]
    records = Scratch(many * view.channels * bins * 4)
    defined = tuple(macros.items())
    count: tuple[Argument, ...] = (records, Plane("source", view.plane), *map(np.uint32, size))
    total: tuple[Argument, ...] = (Plane("target", 0), records, *map(np.uint32, (many, channel)))
    return (
        Launch(text, "histogram_count", count, (lanes, many), defined, (lanes, 1)),
        Launch(text, "histogram_total", total, (bins, view.channels), defined),
    )


def _statistics(
    text: str, view: View, size: tuple[int, int], channel: int, macros: dict[str, int]
) -> tuple[Launch, Launch]:
    """Return the launch that counts a view, and the one that puts its records together."""
    columns, rows = size
    many, lanes = -(-rows // macros["BAND"]), macros["LANES"]
    records = Scratch(many * lanes * 3 * 8)
    defined = tuple(macros.items())
    count: tuple[Argument, ...] = (
        records,
        Plane("source", view.plane),
        *map(np.uint32, (columns, rows, many)),
    )
    total: tuple[Argument, ...] = (
        *(Plane("target", k) for k in range(len(_STATISTICS))),
        records,
        *map(np.uint32, (many, channel)),
        np.int64(columns * rows),
    )
    return (
        Launch(text, "statistics_count", count, (lanes, many), defined),
        Launch(text, "statistics_total", total, (lanes, 1), defined, (lanes, 1)),
    )


def compute(
    kernel: "Kernel",
    planes: Planes,
    source: FrameInfo,
    _target: TensorsInfo,
    out: Planes,
    /,
    **values: Any,
) -> None:
    """Fill the tensors by the reference."""
    from bridges.kernels import reference

    if kernel.name == "histogram":
        out[0][...] = reference.histogram(planes, source, **values)
        return
    for tensor, numbers in zip(out, reference.statistics(planes, source), strict=True):
        tensor[...] = numbers
