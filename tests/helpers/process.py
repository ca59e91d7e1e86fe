"""What this process has taken from the system, for tests that nothing is left behind."""

import os
from pathlib import Path

__all__ = ["mapped_bytes", "open_files", "resident_bytes"]


def open_files() -> int:
    """Return how many file descriptors are open."""
    return len(os.listdir("/proc/self/fd"))


def mapped_bytes() -> int:
    """Return how much memory was asked for, whether it was touched or not."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    return pages * os.sysconf("SC_PAGE_SIZE")


def resident_bytes() -> int:
    """Return how much memory is in use: its resident set."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")
