"""Mappings kept for memory that comes again, such as the buffers of a pool."""

import contextlib
import functools
import threading
import weakref
from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import cast

from bridges.errors import ClosedError
from bridges.frame import MediaFrame
from bridges.mapper import MemoryMapper, Subject
from bridges.tensor import AccessMode, Tensor

__all__ = ["CacheStatistics", "MapperCache"]


@dataclass(frozen=True, slots=True)
class CacheStatistics:
    """What a cache did so far.

    Attributes
    ----------
    hits, misses : int
        Mappings lent again, and made.
    uncached : int
        Mappings that passed through: nothing lasting identifies the memory, or the copy that is
        kept was in use.
    entries : int
        Mappings kept now.
    evicted : int
        Mappings let go to make room.
    """

    hits: int
    misses: int
    uncached: int
    entries: int
    evicted: int

    @property
    def hit_rate(self) -> float:
        """Hits as a part of all mappings asked for, 0 to 1."""
        asked = self.hits + self.misses + self.uncached
        return self.hits / asked if asked else 0.0


def _tensors(subject: MediaFrame | Tensor) -> tuple[Tensor, ...]:
    return subject.tensors if isinstance(subject, MediaFrame) else (subject,)


class _Entry:
    """One kept mapping: the links of its chain, and how to open and close them all."""

    def __init__(self, mapped: MediaFrame | Tensor, subject: MediaFrame | Tensor) -> None:
        links = [mapped]
        while links[-1].parent is not subject:
            parent = links[-1].parent
            assert isinstance(parent, MediaFrame | Tensor)
            links.append(parent)
        # The subject is whoever's it is: only a lease holds it.
        for link in (links[-1], *_tensors(links[-1])):
            link.parent = None
        self.mapped = mapped
        self._opening = [t.on_open for link in reversed(links) for t in _tensors(link) if t.on_open]
        self._closing = [t.on_close for link in links for t in _tensors(link) if t.on_close]
        for link in links:
            for tensor in _tensors(link):
                tensor.on_close = None
        self.users = 0
        self.is_kept = True

    def open(self) -> None:
        for opening in self._opening:
            opening()

    def end(self) -> None:
        """Synchronise, link by link, whatever fails on the way."""
        with contextlib.ExitStack() as stack:
            for closing in reversed(self._closing):
                stack.callback(closing)

    def lend(self, subject: MediaFrame | Tensor, end: Callable[[], None]) -> MediaFrame | Tensor:
        """Return what a user gets; ``end`` is called when all of its tensors are closed."""
        lent = [tensor.lend() for tensor in _tensors(self.mapped)]
        left = len(lent)
        # The subject may be closed first, and would give its memory back to where it came from.
        owners = [tensor.memory_owner() for tensor in _tensors(subject)]

        def close_one() -> None:
            nonlocal left
            left -= 1
            if left == 0:
                try:
                    end()
                finally:
                    owners.clear()

        for tensor in lent:
            tensor.on_close = close_one
            tensor.parent = subject
        if isinstance(subject, MediaFrame):
            return subject.over(lent)
        return lent[0]


class MapperCache(MemoryMapper):
    """Keeps the mappings of another mapper and lends them again for the same memory.

    A mapping is found by what its memory *is*: the key of each tensor's memory, with layout,
    format, size and access. It synchronises at each use as a fresh one would, and the subject lives
    as long as the use. What cannot be shared passes through and is mapped afresh: memory that
    nothing lasting identifies, and a copy while somebody uses it.

    Parameters
    ----------
    mapper : MemoryMapper
        Makes the mappings.
    capacity : int
        How many to keep; the one unused for longest goes first, as soon as nobody uses it.
    """

    def __init__(self, mapper: MemoryMapper, capacity: int) -> None:
        if capacity < 1:
            raise ValueError(f"a cache needs a capacity of at least 1, got {capacity}")
        self.source, self.target, self.audit = mapper.source, mapper.target, mapper.audit
        self._mapper = mapper
        self._capacity = capacity
        self._is_reusable = all(hop.edge.reusable for hop in mapper.audit.hops)
        self._copies = any(hop.edge.copies for hop in mapper.audit.hops)
        self._entries: OrderedDict[Hashable, _Entry] = OrderedDict()
        # Reentrant: an entry can be forgotten from a destructor while this thread is in here.
        self._lock = threading.RLock()
        self._watched: dict[int, set[Hashable]] = {}
        self._hits = self._misses = self._uncached = self._evicted = 0
        self._closed = False

    @property
    def statistics(self) -> CacheStatistics:
        """Counters, consistent with each other."""
        with self._lock:
            return CacheStatistics(
                self._hits, self._misses, self._uncached, len(self._entries), self._evicted
            )

    def map(self, subject: Subject, access: AccessMode) -> Subject:
        """Map ``subject``, or lend a mapping of its memory made earlier; see `MemoryMapper.map`.

        Raises
        ------
        ClosedError
            The cache or ``subject`` was closed.
        """
        self._check(subject, access)
        key = self._key(subject, access)
        with self._lock:
            if self._closed:
                raise ClosedError("this mapper's cache was closed; make another mapper")
            entry = self._entries.get(key) if key is not None else None
            if entry is not None and entry.users and self._copies:
                # Opened once more, it would copy over what its user sees, and what that wrote.
                key = None
            if key is None:
                self._uncached += 1
            elif entry is None:
                self._misses += 1
            else:
                self._hits += 1
                self._entries.move_to_end(key)
                entry.users += 1
        if key is None:
            return self._mapper.map(subject, access)
        if entry is None:
            entry = self._keep(key, subject, access)
        else:
            try:
                entry.open()
            except BaseException:
                self._forget(key)
                self._leave(entry)
                raise
        used = entry
        return cast("Subject", entry.lend(subject, lambda: self._end(used)))

    def _key(self, subject: MediaFrame | Tensor, access: AccessMode) -> Hashable | None:
        if not self._is_reusable:
            return None
        parts: list[Hashable] = [access]
        if isinstance(subject, MediaFrame):
            parts.append(subject.form)
        for tensor in _tensors(subject):
            memory = tensor.memory_key()
            if memory is None:
                return None
            parts += [memory, tensor.info]
        return tuple(parts)

    def _keep(self, key: Hashable, subject: MediaFrame | Tensor, access: AccessMode) -> _Entry:
        """Make a mapping and keep it, unless another thread has been faster."""
        made = _Entry(self._mapper.map(subject, access), subject)
        made.users = 1
        unused: list[_Entry] = []
        with self._lock:
            if self._closed or key in self._entries:
                made.is_kept = False
            else:
                self._entries[key] = made
                while len(self._entries) > self._capacity:
                    _, oldest = self._entries.popitem(last=False)
                    oldest.is_kept = False
                    self._evicted += 1
                    if not oldest.users:
                        unused.append(oldest)
        for entry in unused:
            entry.mapped.close()
        for tensor in _tensors(subject):
            self._watch(tensor, key)
        return made

    def _watch(self, tensor: Tensor, key: Hashable) -> None:
        """Forget what is kept under a key when the tensor that owns the memory is gone."""
        serial = tensor.memory_key()
        if not isinstance(serial, int):
            return
        with self._lock:
            is_known = serial in self._watched
            self._watched.setdefault(serial, set()).add(key)
        if not is_known:
            tensor.when_gone(functools.partial(_gone, weakref.ref(self), serial))

    def _end(self, entry: _Entry) -> None:
        try:
            entry.end()
        finally:
            self._leave(entry)

    def _leave(self, entry: _Entry) -> None:
        with self._lock:
            entry.users -= 1
            unused = not entry.users and not entry.is_kept
        if unused:
            entry.mapped.close()

    def _memory_gone(self, serial: int) -> None:
        with self._lock:
            keys = self._watched.pop(serial, set())
        for key in keys:
            self._forget(key)

    def _forget(self, key: Hashable) -> None:
        """Let go of a mapping whose memory is gone, or that cannot be opened any more."""
        with self._lock:
            entry = self._entries.pop(key, None)
            if entry is None:
                return
            entry.is_kept = False
            unused = not entry.users
        if unused:
            entry.mapped.close()

    def close(self) -> None:
        """Let go of every mapping, those in use as soon as they are closed; may be repeated."""
        with self._lock:
            self._closed = True
            entries: Sequence[_Entry] = tuple(self._entries.values())
            self._entries.clear()
            for entry in entries:
                entry.is_kept = False
            unused = [entry for entry in entries if not entry.users]
        for entry in unused:
            entry.mapped.close()
        self._mapper.close()


def _gone(cache: "weakref.ref[MapperCache]", serial: int) -> None:
    kept = cache()
    if kept is not None:
        kept._memory_gone(serial)
