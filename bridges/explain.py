"""Why a route is taken and a shorter one is not: for people, before anything is mapped."""

import heapq
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from bridges.backends.probe import open_context
from bridges.closable import Closable
from bridges.context import Context
from bridges.errors import XTranscodeError
from bridges.routes import EDGES, Declaration, declared_edges, load_edges
from bridges.tensor import MemoryType

__all__ = ["Machine", "Route", "explain", "refusals_between"]

Refusal = Callable[[Declaration], str]
"""Return why an edge cannot be taken, or an empty string."""


@dataclass(frozen=True, slots=True)
class Route:
    """One way from one kind of memory to another.

    Attributes
    ----------
    edges : tuple of Declaration
        In order.
    refusal : str
        Why it cannot be taken, naming the first edge that stands in the way; empty where it can.
    taken : bool
        Whether it is the one that a mapper takes.
    """

    edges: tuple[Declaration, ...]
    refusal: str = ""
    taken: bool = False

    @property
    def stops(self) -> tuple[MemoryType, ...]:
        """The kinds of memory on the way, both ends included."""
        return (self.edges[0].source, *(edge.target for edge in self.edges))

    @property
    def copies(self) -> int:
        """Edges that copy."""
        return sum(edge.copies for edge in self.edges)

    def __str__(self) -> str:
        return " > ".join(stop.value for stop in self.stops)


def explain(
    source: MemoryType, target: MemoryType, refusal: Refusal, *, limit: int = 8
) -> tuple[Route, ...]:
    """Return routes from ``source`` to ``target``, the best first, up to the one that is taken.

    Routes are ordered as `bridges.routes.find_route` orders them: fewest copies, then fewest hops.

    Parameters
    ----------
    source, target : MemoryType
        The two ends.
    refusal : callable
        What stands in the way of an edge: see `refusals_between` and `Machine`.
    limit : int
        How many that cannot be taken to name at most, each for another reason. The one that is
        taken is always there.
    """
    refused: dict[str, Route] = {}
    order = 0
    heap: list[tuple[int, int, int, tuple[Declaration, ...]]] = [(0, 0, 0, ())]
    while heap:
        copies, hops, _, edges = heapq.heappop(heap)
        here = edges[-1].target if edges else source
        reason = _first_refusal(edges, refusal)
        if reason and (reason in refused or len(refused) >= limit):
            continue
        if here is target and edges:
            if not reason:
                return (*refused.values(), Route(edges, taken=True))
            refused[reason] = Route(edges, reason)
            continue
        been = {source, *(edge.target for edge in edges)}
        for step in declared_edges():
            if step.source is here and step.target not in been:
                order += 1
                heapq.heappush(heap, (copies + step.copies, hops + 1, order, (*edges, step)))
    return tuple(refused.values())


def _first_refusal(edges: Sequence[Declaration], refusal: Refusal) -> str:
    for step in edges:
        reason = refusal(step)
        if reason:
            return f"{step}: {reason}"
    return ""


def _refusal(declared: Declaration, source: Context, target: Context) -> str:
    """Return why an edge cannot be taken between two contexts."""
    load_edges((declared.source, declared.target))
    for edge in EDGES:
        ends = edge.source, edge.target, edge.function.__name__
        if ends == (declared.source, declared.target, declared.name):
            return edge.refusal(source, target)
    return f"{declared.name} is not registered"


def refusals_between(contexts: Sequence[Context]) -> Refusal:
    """Return what stands in the way of each edge between the contexts given."""
    by_type = {context.memory_type: context for context in contexts}

    def refusal(declared: Declaration) -> str:
        for end in (declared.source, declared.target):
            if end not in by_type:
                return f"no {end.value} context was given"
        return _refusal(declared, by_type[declared.source], by_type[declared.target])

    return refusal


class Machine(Closable):
    """What this machine can do, edge by edge: opens the best device of each kind, once."""

    def __init__(self) -> None:
        self._contexts: dict[MemoryType, Context | str] = {}
        self._refusals: dict[Declaration, str] = {}
        self._derived: list[Context] = []

    def refusal(self, declared: Declaration) -> str:
        """Return why an edge cannot be taken here; empty where it can."""
        if declared not in self._refusals:
            self._refusals[declared] = self._find(declared)
        return self._refusals[declared]

    def _open(self, memory_type: MemoryType) -> Context | str:
        if memory_type not in self._contexts:
            try:
                self._contexts[memory_type] = open_context(memory_type)
            except XTranscodeError as error:
                self._contexts[memory_type] = str(error)
        return self._contexts[memory_type]

    def _find(self, declared: Declaration) -> str:
        source, target = self._open(declared.source), self._open(declared.target)
        reasons = [end for end in (source, target) if isinstance(end, str)]
        pairs = [(source, target)]
        # Two frameworks share a device only where one context was made from the other.
        pairs += [(source, self._derive(source, declared.target))]
        pairs += [(self._derive(target, declared.source), target)]
        for one, other in pairs:
            if isinstance(one, Context) and isinstance(other, Context):
                reason = _refusal(declared, one, other)
                if not reason:
                    return ""
                reasons.append(reason)
        return reasons[0]

    def _derive(self, context: Context | str, memory_type: MemoryType) -> Context | str:
        if isinstance(context, str):
            return context
        try:
            derived = context.derive(memory_type)
        except XTranscodeError as error:
            return str(error)
        self._derived.append(derived)
        return derived

    def close(self) -> None:
        """Close every context that was opened."""
        for context in (*self._derived, *self._contexts.values()):
            if isinstance(context, Context):
                context.close()
        self._derived.clear()
        self._contexts.clear()
