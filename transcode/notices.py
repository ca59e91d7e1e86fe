"""What a run has to tell its user: everything dropped, converted, assumed or rounded."""

import threading
from collections.abc import Callable

__all__ = ["Notices"]


class Notices:
    """Collects notices in order, each once, and passes each on as it comes.

    Parameters
    ----------
    on_notice : callable, optional
        Called with each new notice, by the thread that gave it.
    """

    def __init__(self, on_notice: Callable[[str], None] | None = None) -> None:
        self._on_notice = on_notice
        self._lock = threading.Lock()
        self._messages: dict[str, None] = {}

    def add(self, message: str) -> None:
        """Take note of something, unless it was said before. Safe from any thread."""
        with self._lock:
            if message in self._messages:
                return
            self._messages[message] = None
        if self._on_notice is not None:
            self._on_notice(message)

    @property
    def messages(self) -> tuple[str, ...]:
        """Everything said so far, in order."""
        with self._lock:
            return tuple(self._messages)
