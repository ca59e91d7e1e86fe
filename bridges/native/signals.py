"""What signals do and where, kept as it is while libraries are loaded that would change it."""

import ctypes as c
import signal
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["kept_signals"]

_ACTION_BYTES = 256
"""More than ``struct sigaction`` has on any Linux (152 bytes with glibc on x86-64)."""

_STACK_BYTES = 64
"""More than ``stack_t`` has on any Linux (24 bytes)."""

_UNCHANGEABLE = {signal.SIGKILL, signal.SIGSTOP}


@contextmanager
def kept_signals() -> Iterator[None]:
    """Put every signal's handler back at the end, and this thread's stack for handlers.

    OpenCL's runtimes for the processor bring a compiler, which takes over SIGINT and others to
    remove its temporary files, and sets up a stack to do that on. Python's handlers run on it too.
    A library that is unloaded again, as openvino unloads its plugins, leaves behind what points
    nowhere, and the next Ctrl-C ends the process.
    """
    libc = c.CDLL(None)
    before: dict[int, c.Array[c.c_char]] = {}
    stack = c.create_string_buffer(_STACK_BYTES)
    has_stack = libc.sigaltstack(None, stack) == 0
    for number in map(int, set(signal.valid_signals()) - _UNCHANGEABLE):
        action = c.create_string_buffer(_ACTION_BYTES)
        if libc.sigaction(number, None, action) == 0:
            before[number] = action
    try:
        yield
    finally:
        for number, action in before.items():
            libc.sigaction(number, action, None)
        if has_stack:
            libc.sigaltstack(stack, None)
