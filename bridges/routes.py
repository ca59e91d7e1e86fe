"""The table of edges between memory types, and the search for a route through it.

An edge lives in ``bridges/edges/<source>_to_<target>.py`` and is imported when contexts of both
memory types exist, so that no framework is loaded before somebody uses it.
"""

import heapq
import importlib
import pkgutil
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

from bridges import edges
from bridges.context import Context
from bridges.errors import NoRouteError
from bridges.frame import Frame
from bridges.tensor import AccessMode, MemoryType, Tensor

__all__ = ["EDGES", "Copied", "Edge", "edge", "find_route", "frame_edge", "load_edges"]

Copied = Callable[[int], None]
"""Called by an edge with the number of bytes that it copied."""

TensorFunction = Callable[[Tensor, Context, AccessMode, Copied], Tensor]
FrameFunction = Callable[[Frame, Context, AccessMode, Copied], Frame]
Condition = Callable[[Context, Context], str]
"""Return why an edge cannot be used between two contexts, or an empty string."""


@dataclass(frozen=True)
class Edge:
    """One way from one memory type to another.

    Attributes
    ----------
    source, target : MemoryType
        What it maps, and to what.
    copies : bool
        Whether samples are copied.
    map_frame : callable
        Maps a whole frame.
    map_tensor : callable or None
        Maps one plane; None where only whole frames can be mapped.
    refusal : callable
        Why the edge is not there between two contexts; empty where it is.
    """

    source: MemoryType
    target: MemoryType
    copies: bool
    map_frame: FrameFunction
    map_tensor: TensorFunction | None
    refusal: Condition

    def __str__(self) -> str:
        return f"{self.source.value} > {self.target.value}"


EDGES: list[Edge] = []


def _always(source: Context, target: Context) -> str:
    return ""


def _lift(function: TensorFunction) -> FrameFunction:
    """Map a frame plane by plane; what was mapped is closed if a later plane fails."""

    def map_frame(frame: Frame, context: Context, access: AccessMode, copied: Copied) -> Frame:
        mapped: list[Tensor] = []
        try:
            mapped.extend(function(tensor, context, access, copied) for tensor in frame.tensors)
        except BaseException:
            for tensor in mapped:
                tensor.close()
            raise
        return Frame(frame.info, mapped, parent=frame)

    return map_frame


def edge(
    source: MemoryType, target: MemoryType, *, copies: bool, refusal: Condition = _always
) -> Callable[[TensorFunction], TensorFunction]:
    """Register a function that maps one tensor; frames are then mapped plane by plane."""

    def register(function: TensorFunction) -> TensorFunction:
        EDGES.append(Edge(source, target, copies, _lift(function), function, refusal))
        return function

    return register


def frame_edge(
    source: MemoryType, target: MemoryType, *, copies: bool, refusal: Condition = _always
) -> Callable[[FrameFunction], FrameFunction]:
    """Register a function that maps a whole frame, where its planes cannot be mapped alone."""

    def register(function: FrameFunction) -> FrameFunction:
        EDGES.append(Edge(source, target, copies, function, None, refusal))
        return function

    return register


def load_edges(memory_types: Collection[MemoryType]) -> None:
    """Import every edge whose two ends are among ``memory_types``."""
    names = {memory_type.name.lower() for memory_type in memory_types}
    for module in pkgutil.iter_modules(edges.__path__):
        source, _, target = module.name.partition("_to_")
        if source in names and target in names:
            importlib.import_module(f"{edges.__name__}.{module.name}")


def find_route(contexts: Sequence[Context]) -> tuple[Edge, ...]:
    """Return the edges from the first context to the last: fewest copies, then fewest hops.

    Parameters
    ----------
    contexts : sequence of Context
        One per memory type that the route may pass; the first and the last are its ends.

    Raises
    ------
    NoRouteError
        No edges join the two ends through the contexts given; the message says which edges were
        refused and why.
    """
    by_type = {context.memory_type: context for context in contexts}
    load_edges(by_type.keys())
    start, goal = contexts[0].memory_type, contexts[-1].memory_type
    refused: list[str] = []
    order = 0
    heap: list[tuple[int, int, int, MemoryType, tuple[Edge, ...]]] = [(0, 0, order, start, ())]
    done: set[MemoryType] = set()
    while heap:
        copies, hops, _, here, route = heapq.heappop(heap)
        if here is goal:
            return route
        if here in done:
            continue
        done.add(here)
        for step in EDGES:
            if step.source is not here or step.target not in by_type:
                continue
            reason = step.refusal(by_type[here], by_type[step.target])
            if reason:
                refused.append(f"{step} ({reason})")
                continue
            order += 1
            longer = (copies + step.copies, hops + 1, order, step.target, (*route, step))
            heapq.heappush(heap, longer)
    through = ", ".join(memory_type.value for memory_type in by_type)
    why = f"; refused: {', '.join(refused)}" if refused else ""
    raise NoRouteError(
        f"no route from {start.value} to {goal.value} through contexts for {through}{why}"
    )
