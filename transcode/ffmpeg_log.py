"""FFmpeg's own words about what it refuses."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field

import av.logging

__all__ = ["CapturedLog", "captured_log"]


@dataclass
class CapturedLog:
    """What FFmpeg logged as errors: ``(component, message)`` pairs, in order."""

    messages: list[tuple[str, str]] = field(default_factory=list)

    @property
    def text(self) -> str:
        """All messages in one line; empty where nothing was said."""
        return "; ".join(dict.fromkeys(message for _, message in self.messages))


@contextlib.contextmanager
def captured_log() -> Iterator[CapturedLog]:
    """Collect the errors that FFmpeg logs on this thread inside the block.

    PyAV's log callback needs the GIL, so it is only switched on around short calls that set
    something up, never while frames flow.
    """
    log = CapturedLog()
    before = av.logging.get_level()
    av.logging.set_level(av.logging.ERROR)
    try:
        with av.logging.Capture(local=True) as entries:
            try:
                yield log
            finally:
                log.messages.extend((name, text.strip()) for _, name, text in entries)
    finally:
        av.logging.set_level(before)
