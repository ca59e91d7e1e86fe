"""The virtual machine of ``tests/lab/guest``: Debian's kernel on this machine's own files.

``kernel.py`` gets the kernel, ``initrd.py`` packs the first files, ``init`` is the first process
inside, ``channels.py`` brings out what is said, and ``machine.py`` puts them together.
"""

from tests.lab.virtual_machine.machine import (
    Guest,
    GuestError,
    GuestMissingError,
    GuestTimeoutError,
    is_inside,
    missing,
)

__all__ = ["Guest", "GuestError", "GuestMissingError", "GuestTimeoutError", "is_inside", "missing"]
