"""How samples that move from one picture to another are moved: launches, view by view."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from bridges.frame import FrameInfo
from bridges.kernels.families.move import Move, is_packed
from bridges.kernels.launch import WORD, Launch, Plane
from bridges.kernels.views import View, views

__all__ = ["launches_of"]

_ROWS = 8
"""Rows that an item moves a chunk of: CPU runtimes start items at a cost."""

_TILE = 16
"""Chunks along either side of a tile: 256 items in a group, and runs of 64 bytes or more."""


def launches_of(
    text: str,
    move: Move,
    source: FrameInfo,
    fill: Mapping[str, int] | None,
    aligned: bool,
) -> tuple[Launch, ...]:
    """Return how the portable source ``text`` is called to move a picture.

    Parameters
    ----------
    text : str
        Without the prelude.
    move : Move
        What to do.
    source : FrameInfo
        What is read.
    fill : mapping or None
        The samples of a border, by channel; None where there is none.
    aligned : bool
        Whether all rows of all planes start at multiples of `bridges.kernels.launch.WORD`.
    """
    made: list[Launch] = []
    for read, view in _views(move, source, aligned):
        made += _elements(text, move, source, read, view, fill).launches(aligned)
    return tuple(made)


def _views(move: Move, source: FrameInfo, aligned: bool) -> list[tuple[View, View]]:
    """Return what to move, as views of the source and of the target.

    Packed 4:2:2 is moved pair by pair where all pixels have a partner, and where those of a
    mirrored pair can change places: in words.
    """
    if is_packed(source.format) and not (source.width % 2 or move.target.width % 2):
        pair = View(0, 0, 4, source.format.planes[0].channels, 1, 0)
        if aligned or not move.mirror_x:
            return [(pair, pair)]
    return list(zip(views(source.format), views(move.target.format), strict=True))


def _elements(
    text: str,
    move: Move,
    source: FrameInfo,
    read: View,
    view: View,
    fill: Mapping[str, int] | None,
) -> "_Elements":
    dtype = source.format.dtype
    nbytes = view.channels * dtype.itemsize
    read_size = read.size(source.width, source.height)
    size = view.size(move.target.width, move.target.height)
    origin = (
        read_size[0] - 1 if move.mirror_x else move.x >> view.log2_width,
        read_size[1] - 1 if move.mirror_y else move.y >> view.log2_height,
    )
    border = b""
    if fill is not None:
        border = np.array([fill[name] for name in view.names], dtype).tobytes()
    made = _Elements(
        text, move, view, nbytes, dtype.itemsize * view.step, origin, read_size, size, border
    )
    if move.transposed or move.mirror_x or made.nbytes != made.step:
        return made
    # Rows that stay rows are moved as bytes, whatever their elements are.
    return replace(
        made,
        nbytes=1,
        step=1,
        origin=(origin[0] * nbytes, origin[1]),
        read_size=(read_size[0] * nbytes, read_size[1]),
        size=(size[0] * nbytes, size[1]),
    )


def _span(first: int, end: int) -> list[tuple[int, int]]:
    return [(first, end - first)] if end > first else []


@dataclass(frozen=True)
class _Elements:
    """Elements on their way, of one view; a chunk is the fewest of them that fill whole words.

    Attributes
    ----------
    text : str
        The portable source.
    move, view
        Where the elements are from.
    nbytes, step : int
        Bytes of an element, and from one to the next.
    origin : tuple of int
        Column and row of the source at which the target begins.
    read_size, size : tuple of int
        Columns and rows of the source and of the target.
    border : bytes
        A pixel of the border; none where there is no border.
    """

    text: str
    move: Move
    view: View
    nbytes: int
    step: int
    origin: tuple[int, int]
    read_size: tuple[int, int]
    size: tuple[int, int]
    border: bytes

    @property
    def words(self) -> int:
        """Words of a chunk."""
        return 3 if self.nbytes % 3 == 0 else max(self.nbytes // WORD, 1)

    @property
    def each(self) -> int:
        """Elements of a chunk."""
        return WORD * self.words // self.nbytes

    @property
    def strip(self) -> int:
        """Rows that an item moves a chunk of."""
        return min(_ROWS, self.size[1])

    @cached_property
    def inner(self) -> tuple[int, int, int, int]:
        """First column and row of the target that are the source's, and how many there are."""
        if not self.border:
            return 0, 0, *self.size
        return -self.origin[0], -self.origin[1], *self.read_size

    @cached_property
    def pattern(self) -> tuple[int, ...]:
        """The words that a border repeats: one to three."""
        border = self.border or b"\0"
        words = np.frombuffer(border * (math.lcm(len(border), WORD) // len(border)), "<u4").tolist()
        return tuple(words[:1] if len(set(words)) == 1 else words)

    def launches(self, aligned: bool) -> list[Launch]:
        """Return what moves them."""
        columns, rows = self.size
        if not aligned or self.nbytes != self.step:
            # A packed plane of odd width has room for another Y sample, which is written too.
            room = columns % 2 if self.view.names == "Y" and self.view.step == 2 else 0
            return [self._samples((0, columns + room), (0, rows))]
        return list(self._tiles() if self.move.transposed else self._chunks())

    def _chunks(self) -> Iterator[Launch]:
        """Yield what moves chunks in words, and what they leave by samples."""
        columns, rows = self.size
        each, inner_x, inner_end = self.each, self.inner[0], self.inner[0] + self.inner[2]
        position = self.origin[0] - (each - 1 if self.move.mirror_x else 0)
        word, phase = divmod(position * self.nbytes, WORD)
        first, end = self._whole_chunks(word, self.words + (phase > 0))
        whole = columns // each
        left = [(inner_x // each * each, first * each), (end * each, columns)]
        across = (first, end)
        if self.border:
            # Chunks at the ends of the source are written as border first.
            behind = min(-(-inner_end // each), whole) * each
            left[1:] = [(end * each, behind), (whole * each, columns)]
            across = (0, whole)
        for span in _span(*across):
            inside = first, self.inner[1], end - first, self.inner[3]
            origin = word, self.origin[1]
            yield self._launch("words", span, (0, rows), origin, inside, phase)
        for start, stop in left:
            for span in _span(start, min(stop, columns)):
                yield self._samples(span, (0, rows))

    def _whole_chunks(self, word: int, loaded: int) -> tuple[int, int]:
        """Return the target's chunks that are all the source's, down to the last word to load.

        Parameters
        ----------
        word, loaded : int
            The first word of the source to load for chunk 0, and how many.
        """
        first = -(-self.inner[0] // self.each)
        end = (self.inner[0] + self.inner[2]) // self.each
        words = self.read_size[0] * self.nbytes // WORD
        if self.move.mirror_x:
            first = max(first, -((words - word - loaded) // self.words))
        else:
            end = min(end, (words - word - loaded) // self.words + 1)
        return first, max(end, first)

    def _tiles(self) -> Iterator[Launch]:
        """Yield what moves tiles of whole chunks, and what they leave by samples."""
        columns, rows = self.size
        # Chunks along the columns of the source, which are the target's rows, and along its rows.
        down, along = rows // self.each, columns // self.each
        if min(down, along) < _TILE:
            yield self._samples((0, columns), (0, rows))
            return
        # CPU runtimes make no vectors of the items of a column, nor good ones of three words each.
        group = (1, _TILE * _TILE) if self.words == 3 else (_TILE, _TILE)
        yield Launch(
            source=self.text,
            entry="geometry_tiles",
            arguments=(
                Plane("target", self.view.plane),
                Plane("source", self.view.plane),
                *map(np.uint32, (down, along)),
                *map(np.int32, self.origin),
            ),
            size=(-(-down // _TILE) * group[0], -(-along // _TILE) * group[1]),
            macros=self._macros(0),
            group=group,
        )
        # Where the source's columns are mirrored, its last ones are the target's first rows.
        first = 0 if self.move.mirror_x else down * self.each
        if rows % self.each:
            yield self._samples((0, columns), (first, rows % self.each))
        for span in _span(along * self.each, columns):
            yield self._samples(span, (0, rows))

    def _samples(self, across: tuple[int, int], down: tuple[int, int]) -> Launch:
        return self._launch("samples", across, down, self.origin, self.inner, 0)

    def _launch(
        self,
        entry: str,
        across: tuple[int, int],
        down: tuple[int, int],
        origin: tuple[int, int],
        inner: tuple[int, int, int, int],
        phase: int,
    ) -> Launch:
        return Launch(
            source=self.text,
            entry=f"geometry_{entry}",
            arguments=(
                Plane("target", self.view.plane),
                Plane("source", self.view.plane),
                *map(np.uint32, (across[0], down[0], across[1], down[1], self.size[0] - 1)),
                *map(np.int32, origin),
                *map(np.uint32, (*inner, *(3 * self.pattern)[:3])),
            ),
            size=(across[1], -(-down[1] // self.strip) if entry == "words" else down[1]),
            macros=self._macros(phase),
        )

    def _macros(self, phase: int) -> tuple[tuple[str, int], ...]:
        pair = self.view.names.count("Y") == 2 and self.move.mirror_x
        macros = {
            "BYTES": self.nbytes,
            "STEP": self.step,
            "AT": 0 if self.nbytes == self.step else self.view.offset,
            "TRANSPOSED": self.move.transposed,
            "MIRROR_X": self.move.mirror_x,
            "MIRROR_Y": self.move.mirror_y,
            "FILL": len(self.pattern) if self.border else 0,
            "PHASE": phase,
            "PAIR": 1 + self.view.names.find("Y") if pair else 0,
            "ROWS": self.strip,
            "TILE": _TILE,
        }
        return tuple((name, int(value)) for name, value in macros.items())
