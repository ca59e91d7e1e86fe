"""Failures of the Media Accelerator: an exception for each of its negative return codes.

Names and numbers are those of ``xma.h`` (XRT 2.13). What is no failure is a `Status`.
"""

from typing import ClassVar

from bridges.errors import XTranscodeError

__all__ = [
    "BufferUseError",
    "ChannelCapacityError",
    "DataError",
    "FilterError",
    "InvalidError",
    "NoChannelError",
    "NoDeviceError",
    "NoKernelError",
    "OrderError",
    "PluginError",
    "XmaError",
    "XmaTimeoutError",
]


class XmaError(XTranscodeError, RuntimeError):
    """Something failed; ``XMA_ERROR``.

    Attributes
    ----------
    code : int
        The return code of the original.
    """

    code: ClassVar[int] = -1


class InvalidError(XmaError, ValueError):
    """A wrong argument or property; ``XMA_ERROR_INVALID``."""

    code = -2


class NoKernelError(XmaError, LookupError):
    """A device has no such compute unit; ``XMA_ERROR_NO_KERNEL``."""

    code = -3


class NoDeviceError(XmaError, LookupError):
    """There is no such device; ``XMA_ERROR_NO_DEV``."""

    code = -4


class XmaTimeoutError(XmaError, TimeoutError):
    """Something did not happen in the time that it was given; ``XMA_ERROR_TIMEOUT``."""

    code = -5


class NoChannelError(XmaError, LookupError):
    """A compute unit has no such channel, or none that is free; ``XMA_ERROR_NO_CHAN``."""

    code = -6


class ChannelCapacityError(XmaError, RuntimeError):
    """What is left of a compute unit or a device is too little; ``XMA_ERROR_NO_CHAN_CAP``."""

    code = -7


class DataError(InvalidError):
    """Data that a decoder cannot take; the session is as it was, and goes on with the next."""


class FilterError(InvalidError):
    """A filter that libavfilter does not know or does not accept."""


class OrderError(InvalidError):
    """A session was called out of order; the message says what may be called instead."""


class BufferUseError(InvalidError):
    """A buffer was used after it was freed, freed twice or never; the message names its holder."""


class PluginError(XmaError, LookupError):
    """A plugin is not there, was made for another version, failed, or broke a rule."""
