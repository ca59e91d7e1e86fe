"""Mappers: the same samples, seen through another kind of memory."""

import threading
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar, cast

from bridges.closable import Closable
from bridges.context import Context
from bridges.errors import ClosedError, FormatError, NoRouteError
from bridges.frame import MediaFrame
from bridges.routes import Copied, Edge, find_route
from bridges.tensor import AccessMode, MemoryType, Tensor

__all__ = ["CopyAudit", "HopCount", "MapperChain", "MemoryMapper", "Subject", "create_mapper"]


Subject = TypeVar("Subject", bound=MediaFrame | Tensor)


@dataclass
class HopCount:
    """How often one edge was taken, and the bytes that it copied."""

    edge: Edge
    calls: int = 0
    bytes_copied: int = 0


class CopyAudit:
    """Counts, edge by edge, what a mapper did. Safe to use from several threads."""

    def __init__(self, edges: Sequence[Edge]) -> None:
        self._lock = threading.Lock()
        self.hops = tuple(HopCount(edge) for edge in edges)

    def count(self, hop: HopCount, *, calls: int = 0, nbytes: int = 0) -> None:
        """Add uses of an edge, and bytes that it copied in either direction."""
        with self._lock:
            hop.calls += calls
            hop.bytes_copied += nbytes

    @property
    def bytes_copied(self) -> int:
        """Bytes copied on all edges together."""
        with self._lock:
            return sum(hop.bytes_copied for hop in self.hops)


class MemoryMapper(Closable):
    """Maps tensors and frames of one kind of memory into another.

    Attributes
    ----------
    source, target : Context
        The two ends.
    audit : CopyAudit
        What was mapped and copied so far.
    """

    source: Context
    target: Context
    audit: CopyAudit

    @abstractmethod
    def map(self, subject: Subject, access: AccessMode) -> Subject:
        """Return a tensor, or a frame, as seen from the target's memory.

        The result keeps ``subject`` alive. With WRITE, what is written into it is visible in
        ``subject`` after the result's ``close()``.

        Raises
        ------
        FormatError
            ``subject`` is not in the source's memory, or has a layout that an edge cannot take.
        ClosedError
            ``subject`` was closed.
        DeviceError
            The target's runtime failed.
        """

    def explain(self) -> str:
        """Return the route in one line, with the bytes that it copied so far."""
        names = [self.source.memory_type.value]
        names += [hop.edge.target.value for hop in self.audit.hops]
        copying = [str(hop.edge) for hop in self.audit.hops if hop.edge.copies]
        if not copying:
            return f"{' > '.join(names)}   zero-copy"
        return f"{' > '.join(names)}   {self.audit.bytes_copied:,} B copied in {', '.join(copying)}"

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.explain()}>"

    def close(self) -> None:
        """Let go of what the mapper keeps; what it mapped stays open. May be repeated."""

    def _check(self, subject: MediaFrame | Tensor, access: AccessMode) -> None:
        if not isinstance(access, AccessMode) or not access:
            raise FormatError(f"a mapping is for READ, WRITE or READ_WRITE, got {access!r}")
        if subject.memory_type is not self.source.memory_type:
            raise FormatError(
                f"this mapper takes {self.source.memory_type.value} memory, "
                f"got {subject.memory_type.value}"
            )
        if subject.closed:
            what = "frame" if isinstance(subject, MediaFrame) else "tensor"
            raise ClosedError(f"this {subject.memory_type.value} {what} was closed; map it earlier")
        if access is not AccessMode.READ:
            for tensor in subject.tensors if isinstance(subject, MediaFrame) else (subject,):
                tensor.check_writeable()


class MapperChain(MemoryMapper):
    """Edges taken one after the other; closing a result closes what was mapped on the way.

    Parameters
    ----------
    route : sequence of Edge
        As ``find_route`` returns it.
    contexts : sequence of Context
        One per memory type on the route, in any order.
    """

    def __init__(self, route: Sequence[Edge], contexts: Sequence[Context]) -> None:
        by_type = {context.memory_type: context for context in contexts}
        self.source = by_type[route[0].source]
        self.target = by_type[route[-1].target]
        self.audit = CopyAudit(route)
        self._steps = [
            (hop, by_type[hop.edge.target], self._counter(hop)) for hop in self.audit.hops
        ]

    def _counter(self, hop: HopCount) -> Copied:
        return lambda nbytes: self.audit.count(hop, nbytes=nbytes)

    def map(self, subject: Subject, access: AccessMode) -> Subject:
        """Map ``subject`` along every edge; see `MemoryMapper.map`."""
        self._check(subject, access)
        mapped: MediaFrame | Tensor = subject
        following: MediaFrame | Tensor
        try:
            for hop, context, copied in self._steps:
                self.audit.count(hop, calls=1)
                if isinstance(mapped, MediaFrame):
                    following = hop.edge.map_frame(mapped, context, access, copied)
                elif hop.edge.takes_frames:
                    raise FormatError(f"{hop.edge} maps whole frames only; map the frame instead")
                else:
                    following = hop.edge.map_tensor(mapped, context, access, copied)
                following.closes_parent = mapped is not subject
                mapped = following
        except BaseException:
            if mapped is not subject:
                mapped.close()
            raise
        return cast("Subject", mapped)


def create_mapper(contexts: Sequence[Context], *, cache: int = 0) -> MemoryMapper:
    """Return a mapper from the first context's memory to the last one's.

    Parameters
    ----------
    contexts : sequence of Context
        The two ends and, between them, any further devices that the route may pass. Host memory
        may always be passed and need not be named.
    cache : int
        How many mappings to keep for memory that comes again, such as a pool's; see `MapperCache`.

    Raises
    ------
    NoRouteError
        No edges join the two ends; the message says what was refused and why.
    ClosedError
        A context was closed.
    """
    from bridges.backends.cpu import CPUContext
    from bridges.mapper_cache import MapperCache

    ends = list(contexts)
    if len(ends) < 2 or ends[0].memory_type is ends[-1].memory_type:
        found = ", ".join(context.memory_type.value for context in ends) or "none"
        raise NoRouteError(f"a mapper needs two ends in different kinds of memory, got {found}")
    for context in ends:
        if context.closed:
            raise ClosedError(
                f"the {context.memory_type.value} context {context.name} was closed; open another"
            )
    if all(context.memory_type is not MemoryType.CPU for context in ends):
        ends.insert(1, CPUContext())
    chain = MapperChain(find_route(ends), ends)
    return MapperCache(chain, cache) if cache else chain
