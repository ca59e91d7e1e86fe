"""The portable entry points around point kernels: from codes of one format to those of another.

An item takes a block of pixels: a few of a row, and as many rows as chroma needs. Everything is
read before anything is written, so that a picture may be its own target. Text is generated rather
than steered by macros, since a block of two formats has one straight run of statements.
"""

import functools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from bridges.formats import ColourModel, Plane
from bridges.frame import FrameInfo
from bridges.kernels.colour import (
    WHITE,
    Affine,
    alpha_from_rgb,
    alpha_to_rgb,
    from_rgb,
    to_rgb,
)
from bridges.kernels.sampling import cosited, downward, upward
from bridges.kernels.views import View, views

__all__ = ["Stage", "block_size", "entry_point", "keeps_blocks"]


@dataclass(frozen=True, slots=True)
class Stage:
    """A point kernel of a chain.

    Attributes
    ----------
    name : str
        Of its function.
    given : tuple of str
        What the function takes after the pixel and its place: ``"i32"`` for a number that the
        entry point takes, the number itself where it is always the same, or that of the elements
        of a table and an asterisk, such as ``"u16*"``.
    clips : bool
        Whether what the function returns has to be clipped.
    """

    name: str
    given: tuple[str, ...]
    clips: bool

    def declarations(self, number: int) -> list[str]:
        """Return what the entry point takes for the stage of this number."""
        return [
            f"i32 k{number}_{index}"
            if each == "i32"
            else f"GLOBAL const {each[:-1]} *k{number}_{index}"
            for index, each in enumerate(self.given)
            if each == "i32" or each.endswith("*")
        ]

    def call(self, number: int, pixel: str, place: str) -> str:
        """Return the call of the function of the stage of this number."""
        names = [
            f"k{number}_{index}" if each == "i32" or each.endswith("*") else f"({each})"
            for index, each in enumerate(self.given)
        ]
        called = f"{self.name}({', '.join([pixel, place, *names])})"
        return f"wholly_clipped({called})" if self.clips else called


def keeps_blocks(source: FrameInfo, target: FrameInfo, siting: str) -> bool:
    """Whether each chroma sample stands for its block of pixels, and nothing is interpolated.

    So it is where source and target are sampled alike, and where ``siting`` is ``"none"``.
    """
    return siting == "none" or _sampling(source) == _sampling(target)


def _sampling(info: FrameInfo) -> tuple[int, int]:
    made = [(view.log2_width, view.log2_height) for view in views(info.format) if "U" in view.names]
    return made[0] if made else (0, 0)


def block_size(source: FrameInfo, target: FrameInfo) -> tuple[int, int]:
    """Return the columns and rows of pixels that an item makes."""
    packed_16_bit = any(
        info.format.dtype.itemsize == 2 and view.channels > 2
        for info in (source, target)
        for view in views(info.format)
    )
    # CPU runtimes load up to four neighbouring words of each item well, and more than that badly.
    return 2 if packed_16_bit else 4, 1 << max(_sampling(source)[1], _sampling(target)[1])


@functools.lru_cache(256)
def entry_point(
    source: FrameInfo,
    target: FrameInfo,
    stages: tuple[Stage, ...],
    siting: str,
    planes: tuple[int, ...],
    *,
    whole: bool,
) -> str:
    """Return the text of ``point_whole`` or ``point_edge``.

    The first takes blocks that lie in the picture, in planes whose rows start at multiples of a
    word; the other any block, a byte at a time. Both take the planes that are written and those
    that are read, each with its stride; the first block and how many there are, across and down;
    the size of the picture; and what the stages take.

    Parameters
    ----------
    source, target : FrameInfo
        Formats, ranges and matrices; neither times nor sizes matter.
    stages : sequence of Stage
        What becomes of each pixel, in order; may be empty.
    siting : str
        Of chroma, where it is interpolated; one of `bridges.kernels.sampling.SITINGS`.
    planes : tuple of int
        The target's planes that are written.
    whole : bool
        Which of the two.
    """
    return "\n".join(_Glue(source, target, stages, siting, planes, whole).lines())


class _Glue:
    """What one entry point is made of."""

    def __init__(
        self,
        source: FrameInfo,
        target: FrameInfo,
        stages: tuple[Stage, ...],
        siting: str,
        planes: tuple[int, ...],
        whole: bool,
    ) -> None:
        self.source, self.target, self.stages, self.whole = source, target, stages, whole
        self.planes = planes
        self.peak = (1 << source.format.bits) - 1
        self.chroma_made: set[tuple[int, int]] = set()
        self.samples_made: set[str] = set()
        self.columns, self.rows = block_size(source, target)
        self.keeps_blocks = keeps_blocks(source, target, siting)
        self.sites = cosited(siting)
        self.input = {name: view for view in views(source.format) for name in view.names}
        self.before = (0, 0) if self.keeps_blocks else _before(target, self.sites)

    def lines(self) -> Iterator[str]:
        name = "whole" if self.whole else "edge"
        arguments = [f"GLOBAL u8 *target{k}, u32 out{k}" for k in self.planes]
        read = range(len(self.source.format.planes))
        arguments += [f"GLOBAL const u8 *source{k}, u32 in{k}" for k in read]
        arguments.append("u32 first_x, u32 first_y, u32 columns, u32 rows, u32 width, u32 height")
        for number, stage in enumerate(self.stages):
            arguments += stage.declarations(number)
        yield f"KERNEL void point_{name}({', '.join(arguments)}) {{"
        yield "size_t x = INDEX(0), y = INDEX(1);"
        yield "if (OUTSIDE(x, columns, y, rows)) return;"
        yield "x += first_x;"
        yield "y += first_y;"
        yield from self._places()
        if self.whole:
            yield from self._chunks()
        pixels = [
            (i, j)
            for j in range(-self.before[1], self.rows)
            for i in range(-self.before[0], self.columns)
        ]
        for i, j in pixels:
            yield from self._pixel(i, j)
        yield from self._stores()
        yield "}"

    # Where pixels are.

    def _places(self) -> Iterator[str]:
        for axis, start, count, before, size in (
            ("x", f"x * {self.columns}", self.columns, self.before[0], "(size_t)width"),
            ("y", f"y * {self.rows}", self.rows, self.before[1], "(size_t)height"),
        ):
            for k in range(-before, count):
                yield f"const size_t {_at(axis, k)} = {self._clamped(start, k, count, size)};"

    def _clamped(self, start: str, k: int, count: int, size: str) -> str:
        """Return the place ``k`` after the first of ``count`` in the block, or the edge's."""
        if k < 0:
            return f"{start} < {-k} ? 0 : {start} - {-k}"
        if self.whole and k < count:
            return f"{start} + {k}"
        return f"MIN({start} + {k}, {size} - 1)"

    def _part(self, sampled: View | Plane) -> tuple[int, int]:
        """Return the columns and rows of samples of a block."""
        return self.columns >> sampled.log2_width, self.rows >> sampled.log2_height

    # Reading.

    def _chunks(self) -> Iterator[str]:
        """Load what the block has of each plane, as few and as large loads as there can be."""
        for plane, rows, nbytes in self._blocks(self.source):
            for row in range(rows):
                kind, size = _widest(nbytes)
                start = f"source{plane} + (y * {rows} + {row}) * (size_t)in{plane} + x * {nbytes}"
                yield f"GLOBAL const {kind} *p{plane}_{row} = (GLOBAL const {kind} *)({start});"
                for word in range(nbytes // size):
                    yield f"const u32 w{plane}_{row}_{word} = p{plane}_{row}[{word}];"

    def _blocks(self, info: FrameInfo) -> Iterator[tuple[int, int, int]]:
        """Yield each plane, and the rows and bytes of a row that a block has of it."""
        for index, plane in enumerate(info.format.planes):
            yield index, self._part(plane)[1], self._row_bytes(info, index)

    def _row_bytes(self, info: FrameInfo, index: int) -> int:
        """Return the bytes that a block has of a row of a plane."""
        plane = info.format.planes[index]
        return self._part(plane)[0] * len(plane.channels) * info.format.dtype.itemsize

    def _code(self, name: str, i: int, j: int) -> str:
        """Return the code of a channel that is not interpolated, at a pixel of the block."""
        view, layout = self.input[name], self.source.format
        inside = 0 <= i < self.columns and 0 <= j < self.rows
        if self.whole and inside:
            index = (i >> view.log2_width) * view.step + view.offset + view.names.index(name)
            _, size = _widest(self._row_bytes(self.source, view.plane))
            per = size // layout.dtype.itemsize
            word = f"w{view.plane}_{j >> view.log2_height}_{index // per}"
            shift = index % per * 8 * layout.dtype.itemsize + layout.shift
            return f"(({word} >> {shift}) & {(1 << layout.bits) - 1})"
        column = f"({_at('x', i)} >> {view.log2_width})" if view.log2_width else _at("x", i)
        row = f"({_at('y', j)} >> {view.log2_height})" if view.log2_height else _at("y", j)
        return self._sample(view, name, column, row)

    def _sample(self, view: View, name: str, column: str, row: str) -> str:
        layout = self.source.format
        at = f"{column} * {view.step} + {view.offset + view.names.index(name)}"
        start = f"(source{view.plane} + {row} * (size_t)in{view.plane})"
        load = "LOAD8" if layout.dtype.itemsize == 1 else "LOAD16"
        stored = f"{load}({start}, {at})"
        return f"(({stored} >> {layout.shift}) & {(1 << layout.bits) - 1})"

    def _pixel(self, i: int, j: int) -> Iterator[str]:
        """Make the pixel of what was read, and hand it through the stages."""
        pixel = _pixel_name(i, j)
        names = "RGB"
        if self.source.format.model is ColourModel.YUV:
            yield from self._from_yuv(i, j)
        else:
            names = "YYY" if self.source.format.model is ColourModel.GRAY else names
            for name in dict.fromkeys(names):
                value = _clipped(
                    to_rgb(self.source)[0], [self._code(name, i, j)], [self.peak], WHITE
                )
                yield f"const i32 {_name(name, i, j)} = {value};"
        alpha = str(WHITE)
        if "A" in self.input:
            alpha = _clipped(
                alpha_to_rgb(self.source.format.bits), [self._code("A", i, j)], [self.peak], WHITE
            )
        parts = ", ".join([*(_name(name, i, j) for name in names), alpha])
        yield f"pixel {pixel} = {{{parts}}};"
        place = f"(i32){_at('x', i)}, (i32){_at('y', j)}"
        for number, stage in enumerate(self.stages):
            yield f"{pixel} = {stage.call(number, pixel, place)};"

    def _from_yuv(self, i: int, j: int) -> Iterator[str]:
        """Make R, G and B, with what neighbours share made once: compilers do not find it."""
        log2 = _sampling(self.source)
        bits, place = 0, (i >> log2[0], j >> log2[1])
        if not self.keeps_blocks and log2 != (0, 0):
            place = i, j
            bits = sum(
                each + (not on_pixel)
                for each, on_pixel in zip(log2, self.sites, strict=True)
                if each
            )
        affines = to_rgb(self.source, bits)
        kind = "i64" if affines[0].wide else "u32"
        if place not in self.chroma_made:
            self.chroma_made.add(place)
            yield from self._chroma(i, j, place, affines, kind)
        luma = _name("Y", i, j)
        yield f"const {kind} {luma} = {_product(affines[0], 0, self._code('Y', i, j))};"
        highest = [self.peak, self.peak << bits, self.peak << bits]
        for name, affine in zip("RGB", affines, strict=True):
            total = f"({luma} + {_name('c' + name, *place)})"
            value = f"({total if affine.wide else f'(i32){total}'} >> {affine.fraction})"
            yield f"const i32 {_name(name, i, j)} = {_clip(value, affine, highest, WHITE)};"

    def _chroma(
        self, i: int, j: int, place: tuple[int, int], affines: Sequence[Affine], kind: str
    ) -> Iterator[str]:
        """Make what chroma and the bias add to R, G and B."""
        interpolates = (
            place == (i, j) and _sampling(self.source) != (0, 0) and not self.keeps_blocks
        )
        names = []
        for name in "UV":
            names.append(_name(name, *place))
            code = self._code(name, i, j)
            if interpolates:
                yield from self._samples(name, i, j)
                code = self._interpolated(name, i, j)
            yield f"const u32 {names[-1]} = {code};"
        for name, affine in zip("RGB", affines, strict=True):
            terms = [
                _product(affine, k, variable)
                for k, variable in enumerate(names, 1)
                if affine.weights[k]
            ]
            bias = f"(i64){affine.bias}" if affine.wide else f"{affine.bias % (1 << 32)}u"
            yield f"const {kind} {_name('c' + name, *place)} = {' + '.join([*terms, bias])};"

    def _taps(self, name: str, i: int, j: int) -> list[tuple[int, int, int]]:
        """Return the samples that make a pixel's chroma: column and row in the block, weight."""
        view = self.input[name]
        return [
            (column, row, weight * row_weight)
            for row, row_weight in upward(j, view.log2_height, self.sites[1])
            for column, weight in upward(i, view.log2_width, self.sites[0])
        ]

    def _interpolated(self, name: str, i: int, j: int) -> str:
        return " + ".join(
            f"{weight} * {_name('s' + name, column, row)}"
            for column, row, weight in self._taps(name, i, j)
        )

    def _samples(self, name: str, i: int, j: int) -> Iterator[str]:
        view = self.input[name]
        columns, rows = self._part(view)
        width, height = _sampled_size(view)
        for column, row, _ in self._taps(name, i, j):
            variable = _name("s" + name, column, row)
            if variable not in self.samples_made:
                self.samples_made.add(variable)
                at_x = _operand(self._clamped(f"x * {columns}", column, columns, width))
                at_y = _operand(self._clamped(f"y * {rows}", row, rows, height))
                yield f"const u32 {variable} = {self._sample(view, name, at_x, at_y)};"

    # Writing.

    def _stores(self) -> Iterator[str]:
        if self.whole:
            yield from self._whole_stores()
        else:
            yield from self._edge_stores()

    def _whole_stores(self) -> Iterator[str]:
        layout = self.target.format
        item = layout.dtype.itemsize
        for plane, rows, nbytes in self._blocks(self.target):
            if plane not in self.planes:
                continue
            kind, size = _widest(nbytes)
            per = size // item
            for row in range(rows):
                start = f"target{plane} + (y * {rows} + {row}) * (size_t)out{plane} + x * {nbytes}"
                yield "{"
                yield f"GLOBAL {kind} *p = (GLOBAL {kind} *)({start});"
                stored = [self._stored(plane, index, row) for index in range(nbytes // item)]
                for word in range(nbytes // size):
                    parts = stored[word * per : (word + 1) * per]
                    joined = " | ".join(
                        f"({part} << {8 * item * k})" if k else part for k, part in enumerate(parts)
                    )
                    yield f"p[{word}] = ({kind})({joined});"
                yield "}"

    def _edge_stores(self) -> Iterator[str]:
        layout = self.target.format
        item = layout.dtype.itemsize
        for index in self.planes:
            plane = layout.planes[index]
            count = len(plane.channels)
            columns, rows = self._part(plane)
            width, height = _sampled_size(plane)
            for row in range(rows):
                for column in range(columns):
                    at_x, at_y = f"x * {columns} + {column}", f"y * {rows} + {row}"
                    yield f"if ({at_x} < {width} && {at_y} < {height}) {{"
                    start = f"target{index} + ({at_y}) * (size_t)out{index}"
                    yield f"GLOBAL u8 *p = {start} + ({at_x}) * {count * item};"
                    for k in range(count):
                        code = self._stored(index, column * count + k, row)
                        if item == 1:
                            yield f"p[{k}] = (u8)({code});"
                        else:
                            yield f"{{ const u32 c = {code};"
                            yield f"p[{2 * k}] = (u8)c; p[{2 * k + 1}] = (u8)(c >> 8); }}"
                    yield "}"

    def _stored(self, plane: int, index: int, row: int) -> str:
        """Return a sample of the block as it is stored."""
        layout = self.target.format
        channels = layout.planes[plane].channels
        name = channels[index % len(channels)]
        if name == "X":
            return f"(u32){((1 << layout.bits) - 1) << layout.shift}"
        view = next(each for each in views(layout) if each.plane == plane and name in each.names)
        column = (index - view.offset - view.names.index(name)) // view.step
        code = self._channel(name, view, column, row)
        return f"(u32)({code}) << {layout.shift}" if layout.shift else f"(u32)({code})"

    def _channel(self, name: str, view: View, column: int, row: int) -> str:
        peak = (1 << self.target.format.bits) - 1
        model = self.target.format.model
        if name == "A":
            value = f"{_pixel_name(column, row)}.a"
            return _clipped(alpha_from_rgb(self.target.format.bits), [value], [WHITE], peak)
        affines = from_rgb(self.target)
        if model is ColourModel.RGB:
            value = f"{_pixel_name(column, row)}.{name.lower()}"
            return _clipped(affines[0], [value], [WHITE], peak)
        affine = affines["YUV".index(name)]
        across = self._down(column, view.log2_width, 0)
        down = self._down(row, view.log2_height, 1)
        parts = []
        for part in "rgb":
            terms = [
                f"{weight * row_weight} * {_pixel_name(i, j)}.{part}"
                for j, row_weight in down
                for i, weight in across
            ]
            total = sum(weight for _, weight in across) * sum(weight for _, weight in down)
            if total == 1:
                parts.append(f"{_pixel_name(across[0][0], down[0][0])}.{part}")
            else:
                parts.append(f"(({' + '.join(terms)} + {total // 2}) >> {total.bit_length() - 1})")
        return _clipped(affine, parts, [WHITE] * 3, peak)

    def _down(self, index: int, log2: int, axis: int) -> tuple[tuple[int, int], ...]:
        return downward(index, log2, self.sites[axis] and not self.keeps_blocks)


def _before(target: FrameInfo, sites: tuple[bool, bool]) -> tuple[int, int]:
    """Return columns and rows before a block that means around sites on its pixels take."""
    columns, rows = (
        (1 << log2) // 2 if log2 and on_pixel else 0
        for log2, on_pixel in zip(_sampling(target), sites, strict=True)
    )
    return columns, rows


def _sampled_size(sampled: View | Plane) -> tuple[str, str]:
    """Return how many samples are in a row and in a column of the picture."""
    width, height = (
        f"(((size_t){size} + {(1 << log2) - 1}) >> {log2})"
        for size, log2 in (("width", sampled.log2_width), ("height", sampled.log2_height))
    )
    return width, height


def _operand(expression: str) -> str:
    """Return an expression in parentheses; a macro's has its own."""
    return expression if expression.startswith("MIN(") else f"({expression})"


def _at(axis: str, k: int) -> str:
    return f"{axis}_{k}" if k >= 0 else f"{axis}_m{-k}"


def _name(channel: str, i: int, j: int) -> str:
    return f"{channel.lower()}{_at('', i)}{_at('', j)}"


def _pixel_name(i: int, j: int) -> str:
    return f"pixel{_at('', i)}{_at('', j)}"


def _widest(nbytes: int) -> tuple[str, int]:
    """Return the type of the widest loads that some bytes are made of, and its size."""
    return ("u32", 4) if nbytes % 4 == 0 else ("u16", 2) if nbytes % 2 == 0 else ("u8", 1)


def _product(affine: Affine, index: int, code: str) -> str:
    weight = affine.weights[index]
    if affine.wide:
        return f"(i64){weight} * (i64)({code})"
    # Unsigned, whose parts may wrap: the sum does not.
    return f"{weight % (1 << 32)}u * (u32)({code})"


def _apply(affine: Affine, codes: Sequence[str]) -> str:
    if affine.fraction == 0:
        return f"({affine.weights[0]} * (i32)({codes[0]}) + {affine.bias})"
    terms = [_product(affine, k, code) for k, code in enumerate(codes) if affine.weights[k]]
    if affine.wide:
        return f"(({' + '.join(terms)} + (i64){affine.bias}) >> {affine.fraction})"
    return f"((i32)({' + '.join(terms)} + {affine.bias % (1 << 32)}u) >> {affine.fraction})"


def _clipped(affine: Affine, codes: Sequence[str], highest: Sequence[int], peak: int) -> str:
    """Return what codes of 0 to ``highest`` become, clipped to 0 to ``peak`` if need be."""
    return _clip(_apply(affine, codes), affine, highest, peak)


def _clip(value: str, affine: Affine, highest: Sequence[int], peak: int) -> str:
    low, high = affine.reaches(highest)
    if low >= 0 and high <= peak:
        return f"(i32){value}"
    return f"{'wide_clip' if affine.wide else 'narrow_clip'}({value}, {peak})"
