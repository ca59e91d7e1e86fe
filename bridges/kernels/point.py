"""Kernels that make each pixel of the one in its place: alone, or several in one launch."""

import functools
import importlib
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib import resources
from typing import Any

import numpy as np
import numpy.typing as npt

from bridges.errors import KernelError
from bridges.formats import ColourModel
from bridges.frame import FrameInfo
from bridges.kernels.colour import yuv_matrix
from bridges.kernels.glue import Stage, block_size, entry_point, keeps_blocks
from bridges.kernels.kernel import Kernel, Value
from bridges.kernels.launch import Argument, Launch, Plane, Table
from bridges.kernels.recipe import Planes
from bridges.kernels.reference.pixels import Pixels, load_pixels, store_pixels

__all__ = [
    "Link",
    "compute",
    "compute_chain",
    "fixed_point",
    "in_place",
    "launch_chain",
    "launches",
    "note",
    "output",
    "written",
]

Prepared = tuple[np.int32 | npt.NDArray[Any], ...]
"""What a point kernel's function takes after the pixel and its place: numbers, and tables."""

_TYPES = {"uint8": "u8", "uint16": "u16", "int32": "i32", "uint32": "u32"}
"""What the portable source calls the elements of a table."""


@dataclass(frozen=True)
class Link:
    """One kernel of a chain, and its parameters.

    Attributes
    ----------
    kernel : Kernel
        A point kernel.
    values : mapping
        All parameters, checked.
    info : FrameInfo
        What the kernel would read if it were alone.
    """

    kernel: Kernel
    values: Mapping[str, Value]
    info: FrameInfo


def _prepared(link: Link) -> Prepared:
    """Return what the kernel's function takes after the pixel and its place.

    A kernel that names a module to prepare it takes what that makes; any other its parameters, in
    their order: a float in 16.16 fixed point rounded to nearest, an int as it is, a bool as 0 or 1.
    """
    kernel, values = link.kernel, link.values
    module = _preparing(kernel)
    if module is not None:
        made: Prepared = module.prepare(kernel, link.info, **values)
        return made
    given = (values[each.name] for each in kernel.parameters)
    return tuple(fixed_point(each) if isinstance(each, float) else np.int32(each) for each in given)


def _preparing(kernel: Kernel) -> Any:
    """Return the module that a kernel names to prepare it; None where it names none."""
    if not kernel.prepare:
        return None
    return importlib.import_module(f"bridges.kernels.families.{kernel.prepare}")


def fixed_point(value: float) -> np.int32:
    """Return a number in 16.16 fixed point, rounded half up."""
    return np.int32(math.floor(value * 65536 + 0.5))


def output(kernel: Kernel, info: FrameInfo, /, **values: Any) -> FrameInfo:
    """Return a picture like the one that is read, but for what the kernel says of its colour."""
    _check_model(info)
    module = _preparing(kernel)
    if hasattr(module, "output"):
        made: FrameInfo = module.output(kernel, info, **values)
        return made
    return info


def _check_model(info: FrameInfo) -> None:
    """Refuse YUV that has no matrix of weights."""
    if info.format.model is ColourModel.YUV:
        yuv_matrix(info)


def note(kernel: Kernel, info: FrameInfo, /, **values: Any) -> str:
    """Return what is assumed of an untagged picture, and what the kernel says itself."""
    said = [yuv_matrix(info)[1]] if info.format.model is ColourModel.YUV else []
    module = _preparing(kernel)
    if hasattr(module, "note"):
        said.append(module.note(kernel, info, **values))
    return "; ".join(filter(None, said))


def written(_kernel: Kernel, target: FrameInfo, /) -> tuple[int, ...]:
    """Return all planes."""
    return tuple(range(len(target.format.planes)))


def in_place(_kernel: Kernel, source: FrameInfo, target: FrameInfo, /) -> bool:
    """Whether a picture may be its own target: each block is read whole before it is written."""
    return source.format is target.format


def launches(
    kernel: Kernel, source: FrameInfo, target: FrameInfo, aligned: bool, /, **values: Any
) -> tuple[Launch, ...]:
    """Return how the portable source is compiled and called."""
    return launch_chain([Link(kernel, values, source)], source, target, aligned=aligned)


def compute(
    kernel: Kernel,
    planes: Planes,
    source: FrameInfo,
    target: FrameInfo,
    out: Planes,
    /,
    **values: Any,
) -> None:
    """Fill all planes by the reference."""
    compute_chain([Link(kernel, values, source)], planes, source, target, out)


def launch_chain(
    links: Sequence[Link],
    source: FrameInfo,
    target: FrameInfo,
    *,
    aligned: bool,
    siting: str = "left",
    planes_written: tuple[int, ...] | None = None,
) -> tuple[Launch, ...]:
    """Return the launches that run point kernels one after another on each pixel.

    Parameters
    ----------
    links : sequence of Link
        The kernels; none where pixels are only converted.
    source, target : FrameInfo
        What is read and written, of the same size.
    aligned : bool
        As for `bridges.kernels.recipe.Recipe.launches`.
    siting : str
        Of chroma that is interpolated; see `bridges.kernels.sampling`.
    planes_written : tuple of int, optional
        The target's planes that are made; all of them by default.
    """
    stages, given, text = _staged(links)
    if planes_written is None:
        planes_written = tuple(range(len(target.format.planes)))
    planes = [Plane("target", k) for k in planes_written]
    planes += [Plane("source", k) for k in range(len(source.format.planes))]
    size = source.width, source.height
    layouts = _layout(source), _layout(target)
    made = []
    for entry, (x, y), blocks in _cover(size, block_size(source, target), aligned):
        body = entry_point(*layouts, stages, siting, planes_written, whole=entry == "whole")
        numbers = map(np.uint32, (x, y, *blocks, *size))
        arguments: tuple[Argument, ...] = (*planes, *numbers, *given)
        made.append(Launch(f"{text}\n{body}", f"point_{entry}", arguments, blocks))
    return tuple(made)


def _staged(links: Sequence[Link]) -> tuple[tuple[Stage, ...], list[Argument], str]:
    """Return the stages of a chain, what the entry point takes for them, and their text."""
    stages = []
    arguments: list[Argument] = []
    texts = [_point_header()]
    for link in links:
        given = _prepared(link)
        types = [
            str(each) if is_usual else _type(each)
            for each, is_usual in zip(given, _usual(link, len(given)), strict=True)
        ]
        stages.append(Stage(link.kernel.name, tuple(types), clips=bool(link.kernel.file)))
        arguments += [
            each if isinstance(each, np.integer) else Table(each)
            for each, kind in zip(given, types, strict=True)
            if kind == "i32" or kind.endswith("*")
        ]
        text = _text(link.kernel)
        if text not in texts:
            texts.append(text)
    return tuple(stages), arguments, "\n".join(texts)


def _cover(
    size: tuple[int, int], block: tuple[int, int], aligned: bool
) -> Iterator[tuple[str, tuple[int, int], tuple[int, int]]]:
    """Yield entry points, the first block of each and how many: they cover a picture once.

    Blocks that are whole are made by ``whole`` where ``aligned`` allows it; the last column and row
    of others by ``edge``.
    """
    (width, height), (block_width, block_height) = size, block
    columns, rows = -(-width // block_width), -(-height // block_height)
    if not aligned:
        yield "edge", (0, 0), (columns, rows)
        return
    whole_columns, whole_rows = width // block_width, height // block_height
    if whole_columns and whole_rows:
        yield "whole", (0, 0), (whole_columns, whole_rows)
    if whole_columns < columns:
        yield "edge", (whole_columns, 0), (1, rows)
    if whole_rows < rows and whole_columns:
        yield "edge", (0, whole_rows), (whole_columns, 1)


def _usual(link: Link, count: int) -> list[bool]:
    """Return which parameters have their defaults: these are compiled in, which makes them free."""
    if link.kernel.prepare:
        return [False] * count
    return [link.values[each.name] == each.default for each in link.kernel.parameters]


def _type(given: np.integer[Any] | npt.NDArray[Any]) -> str:
    return "i32" if isinstance(given, np.integer) else f"{_TYPES[given.dtype.name]}*"


def _text(kernel: Kernel) -> str:
    """Return the source; what compilers say of a user's file names that file and its lines."""
    return f'#line 1 "{kernel.file}"\n{kernel.source}' if kernel.file else kernel.source


def _layout(info: FrameInfo) -> FrameInfo:
    """Return what the generated text depends on."""
    colour = info.colour
    if info.format.model is ColourModel.YUV:
        colour = replace(colour, matrix=yuv_matrix(info)[0])
    return FrameInfo(info.format, 1, 1, colour)


@functools.cache
def _point_header() -> str:
    return resources.files("bridges.kernels").joinpath("point.h").read_text("utf-8")


_BAND = 32
"""Rows that the reference works on at a time; a multiple of those of every format's blocks."""


def compute_chain(
    links: Sequence[Link],
    planes: Planes,
    source: FrameInfo,
    target: FrameInfo,
    out: Planes,
    *,
    siting: str = "left",
) -> None:
    """Fill all planes of a target by the references of point kernels, one after another."""
    functions = [_reference(link.kernel) for link in links]
    given = [_prepared(link) for link in links]
    sites = None if keeps_blocks(source, target, siting) else siting
    # Interpolated chroma takes rows of the next band.
    step = _BAND if sites is None else source.height
    columns = np.arange(source.width)[np.newaxis, :]
    for first in range(0, source.height, step):
        last = min(first + step, source.height)
        read, made = (_part(info, last - first) for info in (source, target))
        pixels = load_pixels(_band(planes, source, first, last), read, sites)
        rows = np.arange(first, last)[:, np.newaxis]
        for function, arguments in zip(functions, given, strict=True):
            pixels = function(pixels, columns, rows, *arguments).clipped()
        store_pixels(pixels, made, _band(out, target, first, last), sites)


def _reference(kernel: Kernel) -> Callable[..., Pixels]:
    from bridges.kernels import reference

    found: Callable[..., Pixels] | None = kernel.reference
    if not kernel.file:
        found = getattr(reference, kernel.name)
    if found is None:
        raise KernelError(
            f"{kernel.name} of {kernel.file} has no NumPy reference; run it on an OpenCL, SYCL or "
            "CUDA device, or load it with reference=function"
        )
    return found


def _part(info: FrameInfo, rows: int) -> FrameInfo:
    """Return some rows of a picture; its matrix is told, which may depend on its whole height."""
    return replace(_layout(info), width=info.width, height=rows)


def _band(planes: Planes, info: FrameInfo, first: int, last: int) -> list[npt.NDArray[Any]]:
    return [
        array
        if array is None
        else array[first >> plane.log2_height : -(-last >> plane.log2_height)]
        for array, plane in zip(planes, info.format.planes, strict=True)
    ]
