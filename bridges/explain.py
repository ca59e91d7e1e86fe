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

Path = tuple[Declaration, ...]
Refusal = Callable[[Path], str]
"""Return why edges cannot be taken one after the other, naming the first; or an empty string."""


@dataclass(frozen=True, slots=True, repr=False)
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

    edges: Path
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

    def __repr__(self) -> str:
        state = "taken" if self.taken else self.refusal
        copying = [str(edge) for edge in self.edges if edge.copies]
        how = f"copied in {', '.join(copying)}" if copying else "zero-copy"
        return f"<Route {self}   {how}{state and f'   {state}'}>"


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
        What stands in the way: see `refusals_between` and `Machine`.
    limit : int
        How many that cannot be taken to name at most, each for another reason. The one that is
        taken is always there.
    """
    refused: dict[str, Route] = {}
    order = 0
    heap: list[tuple[int, int, int, Path]] = [(0, 0, 0, ())]
    while heap:
        copies, hops, _, edges = heapq.heappop(heap)
        here = edges[-1].target if edges else source
        reason = refusal(edges) if edges else ""
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

    def refusal(path: Path) -> str:
        for step in path:
            missing = [end for end in (step.source, step.target) if end not in by_type]
            if missing:
                return f"{step}: no {missing[0].value} context was given"
            reason = _refusal(step, by_type[step.source], by_type[step.target])
            if reason:
                return f"{step}: {reason}"
        return ""

    return refusal


class Machine(Closable):
    """What this machine can do: opens the best device of each kind, once.

    A context on the way is that device, or where the edge refuses it, one that is derived from the
    context before.
    """

    def __init__(self) -> None:
        self._contexts: dict[MemoryType, Context | str] = {}
        self._reached: dict[Path, Context | str] = {}
        self._derived: list[Context] = []

    def refusal(self, path: Path) -> str:
        """Return why edges cannot be taken one after the other here; empty where they can."""
        reached = self._reach(path)
        return reached if isinstance(reached, str) else ""

    def edge_refusal(self, declared: Declaration) -> str:
        """Return why an edge cannot be taken here with any context; empty where it can."""
        reached = self._reach((declared,))
        if isinstance(reached, Context):
            return ""
        target = self._open(declared.target)
        source = self._derive(target, declared.source)
        if (
            isinstance(source, Context)
            and isinstance(target, Context)
            and not _refusal(declared, source, target)
        ):
            return ""
        return reached.removeprefix(f"{declared}: ")

    def derived(self, path: Path) -> tuple[str, ...]:
        """Return which contexts of a path have to be derived, such as ``"OpenCL"``."""
        found = []
        for length, step in enumerate(path, start=1):
            if self._reach(path[:length]) in self._derived:
                found.append(step.target.value)
        return tuple(found)

    def _open(self, memory_type: MemoryType) -> Context | str:
        if memory_type not in self._contexts:
            try:
                self._contexts[memory_type] = open_context(memory_type)
            except XTranscodeError as error:
                self._contexts[memory_type] = str(error)
        return self._contexts[memory_type]

    def _reach(self, path: Path) -> Context | str:
        """Return the context at the end of a path, or why there is no way."""
        if path not in self._reached:
            self._reached[path] = self._step(path)
        return self._reached[path]

    def _step(self, path: Path) -> Context | str:
        step = path[-1]
        here = self._reach(path[:-1]) if path[:-1] else self._open(step.source)
        if isinstance(here, str):
            return here if path[:-1] else f"{step}: {here}"
        target = self._open(step.target)
        reason = target if isinstance(target, str) else _refusal(step, here, target)
        if not reason:
            return target
        derived = self._derive(here, step.target)
        if isinstance(derived, Context) and not _refusal(step, here, derived):
            return derived
        return f"{step}: {reason}"

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
        self._reached.clear()
        self._derived.clear()
        self._contexts.clear()
