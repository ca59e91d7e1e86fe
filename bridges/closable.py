"""What owns or borrows something that must be let go."""

from abc import ABC, abstractmethod
from types import TracebackType
from typing import Self

__all__ = ["Closable"]


class Closable(ABC):
    """An object with ``close()``, which a ``with`` block calls at its end."""

    @abstractmethod
    def close(self) -> None:
        """Let go; may be repeated."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
