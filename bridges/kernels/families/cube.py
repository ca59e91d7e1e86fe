"""Tables of colours in .cube files, as Adobe's Cube LUT Specification 1.0 (2013) has them.

Text of keywords, then of one colour a line; in 3D tables red changes fastest. What DaVinci Resolve
writes is read as well: ``LUT_1D_INPUT_RANGE`` and ``LUT_3D_INPUT_RANGE``, which name a domain that
is the same for red, green and blue.
"""

import math
from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO

import numpy as np
import numpy.typing as npt

from bridges.errors import KernelError

__all__ = ["HIGHEST", "Cube", "read_cube"]

HIGHEST = 127.0
"""Entries lie between this and its negative, where 1 is white."""

_SIZES = {"LUT_1D_SIZE": (1, 65536), "LUT_3D_SIZE": (3, 256)}
"""Dimensions of a table, and the most entries along each."""

_RANGES = ("LUT_1D_INPUT_RANGE", "LUT_3D_INPUT_RANGE")
_KEYWORDS = ("TITLE", *_SIZES, "DOMAIN_MIN", "DOMAIN_MAX", *_RANGES)

_LONGEST_LINE = 1024


@dataclass(frozen=True, eq=False)
class Cube:
    """A table of colours.

    Attributes
    ----------
    table : numpy.ndarray
        ``(N, 3)`` of ``float64`` for a 1D table, else ``(N, N, N, 3)`` by blue, green and red; the
        last axis is the R, G and B of an entry, where 1 is white.
    low, high : tuple of float
        The R, G and B that the first and last entries stand for.
    title : str
        Of the file; may be empty.
    """

    table: npt.NDArray[np.float64]
    low: tuple[float, ...] = (0.0, 0.0, 0.0)
    high: tuple[float, ...] = (1.0, 1.0, 1.0)
    title: str = ""

    @property
    def is_3d(self) -> bool:
        """Whether entries depend on red, green and blue together."""
        return self.table.ndim == 4


def read_cube(path: str) -> Cube:
    """Return the table of a .cube file.

    Raises
    ------
    KernelError
        There is no such file, or it is no such table; the message tells the line.
    """
    try:
        with open(path, encoding="utf-8-sig", errors="replace") as file:
            return _Parser(path).read(file)
    except OSError as error:
        reason = error.strerror or str(error)
        raise KernelError(f"cannot read the .cube file {path}: {reason}") from error


class _Parser:
    """What has been read of a file so far, for messages that tell where it goes wrong."""

    def __init__(self, path: str) -> None:
        self._path, self._line = path, 0
        self._given: dict[str, int] = {}
        self._title = ""
        self._size, self._dimensions, self._expected = 0, 0, 0
        self._low, self._high = (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)
        self._numbers = array("d")

    def read(self, file: IO[str]) -> Cube:
        for line in self._lines(file):
            words = line.split()
            if not words or words[0].startswith("#"):
                continue
            if words[0][0] in "+-.0123456789" or words[0].lower() in ("nan", "inf"):
                self._entry(words)
            else:
                self._keyword(words[0], words[1:], line)
        return self._cube()

    def _lines(self, file: IO[str]) -> Iterator[str]:
        while line := file.readline(_LONGEST_LINE):
            self._line += 1
            if len(line) == _LONGEST_LINE or "\0" in line:
                raise self._error(f"this is no text of lines of up to {_LONGEST_LINE} characters")
            yield line

    def _error(self, message: str, line: int = 0) -> KernelError:
        return KernelError(f"{self._path}:{line or self._line}: {message}")

    def _keyword(self, name: str, words: list[str], line: str) -> None:
        if name not in _KEYWORDS:
            raise self._error(
                f"expected three numbers or a keyword ({', '.join(_KEYWORDS)}), found {name[:40]!r}"
            )
        if name in self._given:
            raise self._error(f"{name} is given twice, first in line {self._given[name]}")
        if self._numbers:
            raise self._error(f"{name} has to come before the entries")
        self._given[name] = self._line
        if name == "TITLE":
            self._title = line.strip()[len(name) :].strip().strip('"')
        elif name in _SIZES:
            self._set_size(name, words)
        elif name in _RANGES:
            low, high = self._floats(words, 2, name)
            self._low, self._high = (low,) * 3, (high,) * 3
        elif name == "DOMAIN_MIN":
            self._low = self._three(words, name)
        else:
            self._high = self._three(words, name)

    def _set_size(self, name: str, words: list[str]) -> None:
        dimensions, highest = _SIZES[name]
        other = next(iter(_SIZES.keys() - {name}))
        if other in self._given:
            raise self._error(
                f"{name} beside {other} in line {self._given[other]}; a file holds one table"
            )
        text = " ".join(words)
        if not (text.isascii() and text.isdigit() and 2 <= int(text) <= highest):
            raise self._error(f"{name} is a whole number from 2 to {highest}, found {text[:40]!r}")
        self._size, self._dimensions = int(text), dimensions
        self._expected = 3 * self._size**dimensions

    def _entry(self, words: list[str]) -> None:
        if not self._size:
            raise self._error("expected LUT_1D_SIZE or LUT_3D_SIZE before the entries")
        if len(self._numbers) == self._expected:
            raise self._error(f"expected {self._expected // 3} entries, found one more")
        values = self._three(words, "an entry")
        if max(map(abs, values)) > HIGHEST:
            raise self._error(
                f"entries lie between -{HIGHEST:g} and {HIGHEST:g}, found {' '.join(words)}"
            )
        self._numbers.extend(values)

    def _three(self, words: list[str], what: str) -> tuple[float, float, float]:
        red, green, blue = self._floats(words, 3, what)
        return red, green, blue

    def _floats(self, words: list[str], count: int, what: str) -> list[float]:
        try:
            values = list(map(float, words))
        except ValueError:
            values = []
        # Python's own spelling of numbers has more than the specification's.
        if len(values) != count or not all(map(math.isfinite, values)) or "_" in "".join(words):
            found = " ".join(words)[:60]
            raise self._error(f"{what} is {count} finite numbers, found {found!r}")
        return values

    def _cube(self) -> Cube:
        if not self._size:
            raise self._error("expected LUT_1D_SIZE or LUT_3D_SIZE, found the end of the file")
        if len(self._numbers) != self._expected:
            raise self._error(
                f"expected {self._expected // 3} entries, found {len(self._numbers) // 3}"
            )
        for low, high in zip(self._low, self._high, strict=True):
            if low >= high:
                named = [name for name in self._given if name in (*_KEYWORDS[3:5], *_RANGES)]
                raise self._error(
                    f"the domain has to be wider than nothing, found {low:g} to {high:g}",
                    self._given[named[-1]],
                )
        shape = (*(self._size,) * self._dimensions, 3)
        table = np.frombuffer(self._numbers).reshape(shape)
        return Cube(table, self._low, self._high, self._title)
