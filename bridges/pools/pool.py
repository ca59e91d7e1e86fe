"""What every pool offers: buffers for a time, as leases."""

from abc import abstractmethod
from collections.abc import Callable
from typing import Generic, TypeVar

from bridges.closable import Closable
from bridges.errors import ClosedError

__all__ = ["Lease", "Pool", "end_lease"]

T = TypeVar("T")


class Lease(Closable, Generic[T]):
    """The right to use one buffer until ``close()``, which may be repeated, from any thread.

    A lease that is forgotten ends when it is collected. Its buffer may still be used by then, so
    it is not lent again; the pool makes another.

    Parameters
    ----------
    buffer : object
        What is lent.
    end : callable
        Called once, at the end: with True where the buffer comes back, with False where it does
        not. It holds no reference to this lease.
    """

    def __init__(self, buffer: T, end: Callable[[bool], None]) -> None:
        self._buffer: T | None = buffer
        # Whoever pops it ends the lease: two threads that close at once return the buffer once.
        self._ends = [end]

    @property
    def buffer(self) -> T:
        """The buffer.

        Raises
        ------
        ClosedError
            The lease ended, and the buffer may be somebody else's by now.
        """
        buffer = self._buffer
        if not self._ends:
            raise ClosedError(self._reason())
        return buffer  # type: ignore[return-value]

    @property
    def closed(self) -> bool:
        """Whether the lease ended."""
        return not self._ends

    def close(self) -> None:
        """Return the buffer to its pool."""
        self._end(True)

    def forget(self) -> None:
        """End the lease without giving the buffer back: it is broken, or stays where it is."""
        self._end(False)

    def _reason(self) -> str:
        return "this buffer was returned to its pool; acquire another"

    def _end(self, returned: bool) -> bool:
        """End the lease; return whether it was this call that did."""
        try:
            end = self._ends.pop()
        except IndexError:
            return False
        self._buffer = None
        end(returned)
        return True

    def __del__(self) -> None:
        self._end(False)


class Pool(Closable, Generic[T]):
    """Lends buffers. Thread-safe; leases may end in any thread, in a destructor too."""

    @abstractmethod
    def acquire(self, timeout: float | None = None) -> Lease[T]:
        """Lease a buffer.

        Parameters
        ----------
        timeout : float, optional
            Seconds to wait at most, where the pool is bounded; by default without end.

        Raises
        ------
        PoolTimeoutError
            No buffer came back in time.
        ClosedError
            The pool was closed, before or while waiting.
        """

    @abstractmethod
    def close(self) -> None:
        """Let go of free buffers and wake whoever waits; leases stay good until they end."""


def end_lease(lease: Lease[T], returned: bool) -> None:
    """End the lease that another one was made of, in the same way."""
    if returned:
        lease.close()
    else:
        lease.forget()
