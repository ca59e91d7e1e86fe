"""The table of elements: those of this package, and those that other packages bring.

An element is imported when it is asked for and not before. Another package brings its own under
the entry-point group ``xtranscode.elements``: ``name = "module:Class"``.
"""

import functools
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import metadata

from bridges.context import Context
from bridges.element import Element, ElementDescription
from bridges.errors import ElementError, XTranscodeError

__all__ = [
    "BUILT_IN",
    "GROUP",
    "ElementListing",
    "create_element",
    "element_names",
    "find_element",
    "list_elements",
]

GROUP = "xtranscode.elements"
"""The entry-point group."""

BUILT_IN = {
    "ffmpeg_source": "bridges.elements.ffmpeg_source:FFmpegSource",
    "kernel": "bridges.elements.kernel:KernelTransform",
    "map": "bridges.elements.map:MapTransform",
    "raw_sink": "bridges.elements.raw_sink:RawSink",
}
"""The elements of this package: module and class."""


@dataclass(frozen=True, slots=True)
class _Origin:
    """Where an element is said to be, and which package says so."""

    entry: metadata.EntryPoint
    package: str

    def __str__(self) -> str:
        return f"{self.package} ({self.entry.value})"


def _origins() -> dict[str, tuple[_Origin, ...]]:
    """Return, for each name, who claims it."""
    found: dict[str, tuple[_Origin, ...]] = {
        name: (_Origin(metadata.EntryPoint(name, value, GROUP), "xtranscode"),)
        for name, value in BUILT_IN.items()
    }
    for name, origin in _installed(tuple(sys.path)):
        found[name] = (*found.get(name, ()), origin)
    return found


@functools.lru_cache(maxsize=4)
def _installed(path: tuple[str, ...]) -> tuple[tuple[str, _Origin], ...]:
    """Return what the packages on ``sys.path`` bring; looking takes milliseconds."""
    return tuple(
        (entry.name, _Origin(entry, entry.dist.name if entry.dist else "a package"))
        for entry in metadata.entry_points(group=GROUP)
    )


def element_names() -> tuple[str, ...]:
    """Return the names of all elements, in alphabetical order; none is imported."""
    return tuple(sorted(_origins()))


def find_element(name: str) -> type[Element]:
    """Return an element's class.

    Raises
    ------
    ElementError
        There is none of that name, several packages claim it, or it cannot be imported.
    """
    origins = _origins()
    if name not in origins:
        raise ElementError(f"no element {name!r}; there is {', '.join(sorted(origins))}")
    if len(origins[name]) > 1:
        claims = " and ".join(map(str, origins[name]))
        raise ElementError(
            f"element {name!r} is claimed by {claims}; uninstall one or have it renamed"
        )
    return _load(name, origins[name][0])


def _load(name: str, origin: _Origin) -> type[Element]:
    broken = f"element {name!r} of {origin} cannot be used"
    try:
        found = origin.entry.load()
    except Exception as error:  # Any code of others runs here.
        raise ElementError(f"{broken}: {type(error).__name__}: {error}") from error
    if not (isinstance(found, type) and issubclass(found, Element)):
        raise ElementError(f"{broken}: it is no subclass of bridges.element.Element")
    described = getattr(found, "description", None)
    if not isinstance(described, ElementDescription) or described.name != name:
        raise ElementError(f"{broken}: its description has to be called {name!r}")
    return found


def create_element(name: str, contexts: Sequence[Context] = (), **parameters: object) -> Element:
    """Return a new element, not opened yet.

    Parameters
    ----------
    name : str
        One of `element_names`.
    contexts : sequence of Context
        Devices that it may use; they stay the caller's.
    **parameters
        As its description says.

    Raises
    ------
    ElementError
        There is no such element or it cannot be imported, or a parameter is unknown, missing or
        has a wrong value; the message says what there is.
    """
    return find_element(name)(contexts, **parameters)


@dataclass(frozen=True, slots=True)
class ElementListing:
    """One line of the list of elements.

    Attributes
    ----------
    name : str
        As `create_element` is asked for it.
    packages : tuple of str
        Who brings it; several where it cannot be used for that.
    description : ElementDescription or None
        What it says of itself; None where it cannot be used.
    problem : str
        Why it cannot; empty where it can.
    """

    name: str
    packages: tuple[str, ...]
    description: ElementDescription | None
    problem: str


def list_elements() -> tuple[ElementListing, ...]:
    """Return all elements in alphabetical order, imported; one that is broken says so."""
    return tuple(_listing(name, origins) for name, origins in sorted(_origins().items()))


def _listing(name: str, origins: tuple[_Origin, ...]) -> ElementListing:
    packages = tuple(origin.package for origin in origins)
    try:
        return ElementListing(name, packages, find_element(name).description, "")
    except XTranscodeError as error:
        return ElementListing(name, packages, None, str(error))
