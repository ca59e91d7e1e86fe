"""The error tree of the memory layer, with the root of every error of the project.

Every class also inherits the built-in exception that fits, so ``except ValueError`` and
``except LookupError`` keep working for callers who do not know this module. A message says what
was asked, what was found, and what to do.
"""

__all__ = [
    "ClosedError",
    "DeviceError",
    "DeviceNotFoundError",
    "ElementError",
    "FormatError",
    "KernelError",
    "MediaError",
    "MetadataError",
    "NoRouteError",
    "PoolLeakWarning",
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


class ElementError(XTranscodeError, ValueError):
    """An unknown or broken element, a wrong parameter, or elements that do not fit together."""


class MediaError(XTranscodeError, OSError):
    """A media file that is missing, unreadable, or cannot be written."""


class MetadataError(XTranscodeError, ValueError):
    """Metadata that says something impossible, or that cannot be read back."""


class PoolLeakWarning(ResourceWarning):
    """A buffer of a pool that was not returned when it should have been."""


class PoolTimeoutError(XTranscodeError, TimeoutError):
    """A pool had no free buffer within the time that the caller gave."""
