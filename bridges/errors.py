"""The error tree of the memory layer, with the root of every error of the project.

Every class also inherits the built-in exception that fits, so ``except ValueError`` and
``except LookupError`` keep working for callers who do not know this module. A message says what
was asked, what was found, and what to do.
"""

__all__ = [
    "ClosedError",
    "DeviceError",
    "DeviceNotFoundError",
    "FormatError",
    "KernelError",
    "NoRouteError",
    "PoolTimeoutError",
    "XTranscodeError",
]


class XTranscodeError(Exception):
    """Root of every error that this project raises on purpose."""


class FormatError(XTranscodeError, ValueError):
    """A pixel format, shape or memory layout that the callee cannot take."""


class ClosedError(XTranscodeError, ValueError):
    """A tensor, frame, context or pool was used after ``close()``."""


class DeviceNotFoundError(XTranscodeError, LookupError):
    """A named device, or the library that drives it, is not on this machine."""


class DeviceError(XTranscodeError, RuntimeError):
    """A device's runtime (FFmpeg, OpenCL, ...) reported a failure."""


class NoRouteError(XTranscodeError, LookupError):
    """No chain of edges leads from one memory type to another on these devices."""


class KernelError(XTranscodeError, ValueError):
    """An unknown kernel, a wrong parameter, or a source that does not compile."""


class PoolTimeoutError(XTranscodeError, TimeoutError):
    """A pool had no free buffer within the time that the caller gave."""
