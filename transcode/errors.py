"""The errors of a transcode, below the root of `bridges.errors`."""

from bridges.errors import XTranscodeError
from xma_plugins.errors import FilterError

__all__ = [
    "ClusterError",
    "EncodeError",
    "FilterError",
    "JobError",
    "JournalError",
    "OutputError",
    "SourceError",
    "VerifyError",
]


class JobError(XTranscodeError, ValueError):
    """A job that cannot be run as it is written; nothing was opened or written."""


class SourceError(XTranscodeError, OSError):
    """An input that is missing, unreadable, or holds no video that can be decoded."""


class EncodeError(XTranscodeError, RuntimeError):
    """An encoder that refused its options or failed."""


class OutputError(XTranscodeError, OSError):
    """An output that cannot be written; whatever stood under its name is untouched."""


class VerifyError(XTranscodeError, RuntimeError):
    """A written file that is not what it should be; it was not published."""


class JournalError(XTranscodeError, RuntimeError):
    """A batch's journal that is in use, damaged, or cannot be written."""


class ClusterError(XTranscodeError, RuntimeError):
    """A cluster that does not answer, or was lost while a batch ran on it."""
