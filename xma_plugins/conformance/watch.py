"""What reaches a plugin: its class with every callback watched."""

import functools
from collections.abc import Callable
from typing import Any

from xma_plugins.errors import XmaError
from xma_plugins.plugin import Plugin

__all__ = ["InjectedError", "Watch", "watched"]

_CALLBACKS = (
    "init",
    "send_frame",
    "send_data",
    "recv_frame",
    "recv_frame_list",
    "recv_data",
    "get_properties",
    "write",
    "read",
    "close",
)


class InjectedError(XmaError):
    """The failure that a check causes on purpose."""


class Watch:
    """What reached one instance of a plugin.

    Parameters
    ----------
    fail_at : int
        Which of the buffers that it allocates in its ``init`` it does not get, from 1; 0 for none.
        Where it allocates fewer, ``init`` fails at its end.
    """

    def __init__(self, fail_at: int = 0) -> None:
        self.fail_at = fail_at
        self.count = 0
        """Callbacks so far."""
        self.answer: Any = None
        """What the latest one returned."""
        self.raised: Exception | None = None
        """What the latest one raised instead."""
        self.allocations = 0
        self.close_error: Exception | None = None
        """What ``close`` raised, after whatever there was before."""

    def call(self, name: str, callback: Callable[..., Any], *arguments: Any) -> Any:
        """Call the plugin, and note what it does."""
        self.count += 1
        if name != "close":
            self.answer, self.raised = None, None
        try:
            self.answer = callback(*arguments)
        except Exception as error:
            if name == "close":
                self.close_error = error
            else:
                self.raised = error
            raise
        return self.answer

    def init(self, callback: Callable[..., Any], plugin: Plugin, session: Any) -> None:
        """Call ``init``, which is to fail where this says so."""
        if not self.fail_at:
            self.call("init", callback, plugin, session)
            return
        allocate = session.buffer_alloc_ddr

        def failing(*arguments: Any, **given: Any) -> Any:
            self.allocations += 1
            if self.allocations == self.fail_at:
                raise InjectedError(f"buffer {self.fail_at} is refused, to see what that leaves")
            return allocate(*arguments, **given)

        session.buffer_alloc_ddr = failing
        self.call("init", callback, plugin, session)
        raise InjectedError("init fails at its end, to see what that leaves")


def watched(plugin: type[Plugin], watch: Watch) -> type[Plugin]:
    """Return a class that does what ``plugin`` does, and has every callback noted."""
    callbacks: dict[str, Any] = {}
    for name in _CALLBACKS:
        callback = getattr(plugin, name, None)
        if callback is not None:
            callbacks[name] = _watched(name, callback, watch)
    return type(plugin.__name__, (plugin,), {**callbacks, "__module__": plugin.__module__})


def _watched(name: str, callback: Callable[..., Any], watch: Watch) -> Callable[..., Any]:
    if name == "init":

        @functools.wraps(callback)
        def init(self: Plugin, session: Any) -> None:
            watch.init(callback, self, session)

        return init

    @functools.wraps(callback)
    def call(self: Plugin, *arguments: Any) -> Any:
        return watch.call(name, callback, self, *arguments)

    return call
