"""Kernels: what the portable sources declare, and the family that makes each of them ready."""

import difflib
import fnmatch
import functools
import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cached_property
from importlib import resources
from types import MappingProxyType
from typing import Any

from bridges.errors import KernelError
from bridges.formats import PIXEL_FORMATS
from bridges.frame import FrameInfo
from bridges.kernels.declaration import Declaration, Parameter, Value, declarations, place
from bridges.kernels.launch import Launch
from bridges.kernels.recipe import Info, Planes, Recipe

__all__ = ["Kernel", "Parameter", "Value", "get", "names", "parse"]


@dataclass(frozen=True)
class Kernel:
    """A compute kernel: what it is called, what it takes, and its portable source.

    Attributes
    ----------
    name : str
        Also the name of its reference in `bridges.kernels.reference`.
    summary : str
        What it does, in one line.
    parameters : tuple of Parameter
        In the order of the declaration.
    source : str
        The text of the whole file, without the prelude.
    kind : str
        The family: ``point``, or the module of `bridges.kernels.families` that makes it ready.
    reads, writes : tuple of str
        Patterns of pixel formats.
    takes_previous : bool
        Whether it takes the result of the picture before as well.
    prepare : str
        The module of `bridges.kernels.families` that makes what a point kernel takes of its
        parameters; empty where it takes them as they are.
    file : str
        Where the source is from, for messages.
    line : int
        Of the declaration in it, from 1.
    reference : callable or None
        What a user's kernel computes, in NumPy; those of the package have theirs in
        `bridges.kernels.reference`.
    """

    name: str
    summary: str
    parameters: tuple[Parameter, ...]
    source: str
    kind: str = "point"
    reads: tuple[str, ...] = ("*",)
    writes: tuple[str, ...] = ("*",)
    takes_previous: bool = False
    prepare: str = ""
    file: str = ""
    line: int = 1
    reference: Callable[..., Any] | None = field(default=None, compare=False)

    def __hash__(self) -> int:
        # Plans are found by it for every frame: what tells kernels apart, and is hashed once.
        return hash((self.name, self.source))

    @cached_property
    def formats_read(self) -> tuple[str, ...]:
        """Pixel formats (names of `bridges.formats.PIXEL_FORMATS`) that it takes directly."""
        return _formats(self.reads)

    @cached_property
    def formats_written(self) -> tuple[str, ...]:
        """Pixel formats that it makes directly."""
        return _formats(self.writes)

    def check(self, parameters: Mapping[str, object]) -> dict[str, Value]:
        """Return all parameters, with defaults where ``parameters`` has none.

        Raises
        ------
        KernelError
            A parameter is unknown, missing, has the wrong type or is out of range.
        """
        known = {parameter.name: parameter for parameter in self.parameters}
        for name in parameters:
            if name not in known:
                there = ", ".join(known) or "no parameters"
                raise KernelError(f"{self.name} has no parameter {name!r}; it has {there}")
        return {
            name: parameter.check(parameters.get(name, parameter.default))
            for name, parameter in known.items()
        }

    def output(self, info: FrameInfo, /, **parameters: object) -> Info:
        """Return what the kernel makes of a picture by itself: format, size, range and matrix.

        Kernels that make numbers return a `bridges.media.TensorsInfo`.

        Raises
        ------
        KernelError
            A parameter is wrong, or the kernel does not read the picture's format.
        """
        values = self.check(parameters)
        self.check_source(info)
        return self.recipe.output(self, info, **values)

    def note(self, info: FrameInfo, /, **parameters: object) -> str:
        """Return what the kernel assumes of a picture that its user should know; often nothing."""
        return self.recipe.note(self, info, **self.check(parameters))

    def written(self, target: Info) -> tuple[int, ...]:
        """Return which planes of a target are written; the others are left alone."""
        return self.recipe.written(self, target)

    def in_place(self, source: FrameInfo, target: Info) -> bool:
        """Whether a picture may be its own target."""
        return self.recipe.in_place(self, source, target)

    def aspect(
        self,
        source: FrameInfo,
        target: FrameInfo,
        ratio: Fraction,
        values: Mapping[str, Value] = MappingProxyType({}),
    ) -> Fraction:
        """Return the width over height of the result's pixels, from that of the source's.

        It stays what it is, but where the kernel's family says otherwise.
        """
        change = getattr(self.recipe, "aspect", None)
        return ratio if change is None else Fraction(change(self, source, target, ratio, **values))

    def launches(
        self,
        source: FrameInfo,
        target: Info,
        values: Mapping[str, Value] = MappingProxyType({}),
        *,
        aligned: bool = True,
    ) -> tuple[Launch, ...]:
        """Return how the portable source is compiled and called for two frames.

        Parameters
        ----------
        source, target : FrameInfo
            What is read and written.
        values : mapping
            All parameters, as `check` returns them.
        aligned : bool
            Whether all rows of all planes start at multiples of `bridges.kernels.launch.WORD`.

        Raises
        ------
        FormatError
            The kernel cannot make the one of the other.
        """
        return self.recipe.launches(self, source, target, aligned, **values)

    def compute(
        self,
        planes: Planes,
        source: FrameInfo,
        target: Info,
        out: Planes,
        values: Mapping[str, Value] = MappingProxyType({}),
    ) -> None:
        """Fill the planes ``out`` of a target by the NumPy reference.

        Raises
        ------
        FormatError
            The kernel cannot make the one of the other.
        """
        self.recipe.compute(self, planes, source, target, out, **values)

    def check_source(self, info: FrameInfo) -> None:
        """Refuse a picture that the kernel does not read.

        Raises
        ------
        KernelError
            Its format is none of `formats_read`.
        """
        if info.format.name not in self.formats_read:
            where = f" ({self.file}:{self.line})" if self.file else ""
            raise KernelError(
                f"{self.name}{where} does not read {info.format.name}; convert first, for example "
                f"to {self.formats_read[0]}"
            )

    @cached_property
    def recipe(self) -> Recipe:
        """The family that makes it ready."""
        folder = "bridges.kernels" if self.kind == "point" else "bridges.kernels.families"
        made: Any = importlib.import_module(f"{folder}.{self.kind}")
        recipe: Recipe = made
        return recipe


def parse(text: str, file: str = "") -> dict[str, Kernel]:
    """Return the kernels that a portable source declares, by name.

    Parameters
    ----------
    text : str
        The source.
    file : str
        Its name, for messages.

    Raises
    ------
    KernelError
        There is no declaration, or one is malformed.
    """
    kernels: dict[str, Kernel] = {}
    for each in declarations(text, file):
        if each.name in kernels:
            raise KernelError(f"{place(file, each.line)}kernel {each.name} is declared twice")
        kernels[each.name] = _declared(each, text, file)
    if not kernels:
        raise KernelError(
            f"{place(file, 1)}a kernel source has a comment '/* name: what it does' in the first "
            "column"
        )
    return kernels


def _declared(declaration: Declaration, text: str, file: str) -> Kernel:
    fields = declaration.fields
    reads = tuple(fields["reads"]) or ("*",)
    return Kernel(
        name=declaration.name,
        summary=declaration.summary,
        parameters=declaration.parameters,
        source=text,
        kind=fields["kind"][0] if fields["kind"] else "point",
        reads=reads,
        writes=tuple(fields["writes"]) or reads,
        takes_previous=bool(fields["previous"]),
        prepare=fields["prepare"][0] if fields["prepare"] else "",
        file=file,
        line=declaration.line,
    )


def _formats(patterns: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(
        name for name in PIXEL_FORMATS if any(fnmatch.fnmatchcase(name, each) for each in patterns)
    )


def _sources() -> Any:
    return resources.files("bridges.kernels.families")


@functools.cache
def _built_in() -> dict[str, str]:
    """Return the file of each kernel of the package."""
    files = [file for file in _sources().iterdir() if file.name.endswith(".cl")]
    return {
        each.name: file.name for file in files for each in declarations(file.read_text("utf-8"))
    }


def names() -> tuple[str, ...]:
    """Return the names of all kernels of the package, in alphabetical order."""
    return tuple(sorted(_built_in()))


@functools.cache
def get(name: str) -> Kernel:
    """Return a kernel of the package by name.

    Raises
    ------
    KernelError
        There is none of that name; the message lists those there are.
    """
    there = names()
    if name not in there:
        close = difflib.get_close_matches(name, there, n=1)
        hint = f"did you mean {close[0]}? " if close else ""
        raise KernelError(f"no kernel {name!r}; {hint}there is {', '.join(there)}")
    text = _sources().joinpath(_built_in()[name]).read_text("utf-8")
    return parse(text)[name]
