"""The table of edges between memory types, and the search for a route through it.

An edge lives in ``bridges/edges/<source>_to_<target>.py`` and is imported when contexts of both
memory types exist, so that no framework is loaded before somebody uses it.
"""

import ast
import functools
import heapq
import importlib
import pkgutil
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from importlib import resources

from bridges import edges
from bridges.context import Context
from bridges.errors import NoRouteError
from bridges.frame import Frame, MediaFrame
from bridges.tensor import AccessMode, MemoryType, Tensor

__all__ = [
    "EDGES",
    "Copied",
    "Declaration",
    "Edge",
    "declared_edges",
    "edge",
    "find_route",
    "frame_edge",
    "load_edges",
]

Copied = Callable[[int], None]
"""Called by an edge with the number of bytes that it copied."""

TensorFunction = Callable[[Tensor, Context, AccessMode, Copied], Tensor]
FrameFunction = Callable[[Frame, Context, AccessMode, Copied], Frame]
Condition = Callable[[Context, Context], str]
"""Return why an edge cannot be used between two contexts, or an empty string."""


@dataclass(frozen=True, repr=False)
class Edge:
    """One way from one memory type to another.

    Attributes
    ----------
    source, target : MemoryType
        What it maps, and to what.
    copies : bool
        Whether samples are copied.
    function : callable
        Maps one tensor, or a whole frame where ``takes_frames``.
    takes_frames : bool
        Whether only whole frames can be mapped.
    refusal : callable
        Why the edge is not there between two contexts; empty where it is.
    reusable : bool
        Whether a mapping can be opened again, so that a cache may keep it.
    """

    source: MemoryType
    target: MemoryType
    copies: bool
    function: Callable[..., Tensor | Frame]
    takes_frames: bool
    refusal: Condition
    reusable: bool

    def __str__(self) -> str:
        return f"{self.source.value} > {self.target.value}"

    def __repr__(self) -> str:
        return f"<Edge {self}   {'copies' if self.copies else 'zero-copy'}>"

    def map_tensor(
        self, tensor: Tensor, context: Context, access: AccessMode, copied: Copied
    ) -> Tensor:
        """Map one tensor, opened; see `bridges.MemoryMapper.map`."""
        mapped = self.function(tensor, context, access, copied)
        assert isinstance(mapped, Tensor)
        if mapped.on_open is not None:
            _open([mapped])
        return mapped

    def map_frame(
        self, frame: MediaFrame, context: Context, access: AccessMode, copied: Copied
    ) -> MediaFrame:
        """Map a frame, opened; what was mapped is closed if a later plane fails."""
        if self.takes_frames:
            whole = self.function(frame, context, access, copied)
            assert isinstance(whole, MediaFrame)
            _open(whole.tensors)
            return whole
        mapped: list[Tensor] = []
        try:
            for tensor in frame.tensors:
                mapped.append(self.map_tensor(tensor, context, access, copied))
        except BaseException:
            for tensor in mapped:
                tensor.close()
            raise
        return frame.over(mapped)


def _open(tensors: Sequence[Tensor]) -> None:
    """Open fresh mappings; all are closed if one fails."""
    try:
        for tensor in tensors:
            if tensor.on_open is not None:
                tensor.on_open()
    except BaseException:
        for tensor in tensors:
            # What was not opened has nothing to write back.
            tensor.on_close = None
            tensor.close()
        raise


EDGES: list[Edge] = []


def _always(source: Context, target: Context) -> str:
    return ""


def edge(
    source: MemoryType,
    target: MemoryType,
    *,
    copies: bool,
    refusal: Condition = _always,
    reusable: bool = True,
) -> Callable[[TensorFunction], TensorFunction]:
    """Register a function that maps one tensor; frames are then mapped plane by plane."""

    def register(function: TensorFunction) -> TensorFunction:
        EDGES.append(Edge(source, target, copies, function, False, refusal, reusable))
        return function

    return register


def frame_edge(
    source: MemoryType,
    target: MemoryType,
    *,
    copies: bool,
    refusal: Condition = _always,
    reusable: bool = True,
) -> Callable[[FrameFunction], FrameFunction]:
    """Register a function that maps a whole frame, where its planes cannot be mapped alone."""

    def register(function: FrameFunction) -> FrameFunction:
        EDGES.append(Edge(source, target, copies, function, True, refusal, reusable))
        return function

    return register


@dataclass(frozen=True, slots=True)
class Declaration:
    """What an edge's file says of it, known without its framework.

    Attributes
    ----------
    source, target : MemoryType
        The two ends.
    copies : bool
        Whether samples are copied.
    name : str
        The function's name.
    summary : str
        The first line of its file's docstring.
    """

    source: MemoryType
    target: MemoryType
    copies: bool
    name: str
    summary: str

    def __str__(self) -> str:
        return f"{self.source.value} > {self.target.value}"


@functools.cache
def declared_edges() -> tuple[Declaration, ...]:
    """Return every edge of this package; the files are read and not imported."""
    found = []
    for file in sorted(resources.files(edges).iterdir(), key=lambda file: file.name):
        if "_to_" not in file.name:
            continue
        module = ast.parse(file.read_text("utf-8"))
        summary = (ast.get_docstring(module) or "").partition("\n")[0]
        for function in module.body:
            if not isinstance(function, ast.FunctionDef):
                continue
            for call in function.decorator_list:
                if isinstance(call, ast.Call) and ast.unparse(call.func) in ("edge", "frame_edge"):
                    ends = [MemoryType[ast.unparse(end).rpartition(".")[2]] for end in call.args]
                    said = {word.arg: word.value for word in call.keywords}
                    copies = bool(ast.literal_eval(said["copies"]))
                    found.append(Declaration(ends[0], ends[1], copies, function.name, summary))
    return tuple(found)


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
