"""How the system schedules threads, kept as it is where an encoder would change it."""

import contextlib
import os
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["kept_scheduling"]

_THREADS = "/proc/self/task"


@contextmanager
def kept_scheduling() -> Iterator[None]:
    """Put back the policy of this thread at the end, and give it to the threads made meanwhile.

    SVT-AV1 makes the thread that opens it real-time, of the highest priority there is, wherever it
    may: when the user is root (seen with that of PyAV 18.1, as ``SCHED_FIFO`` 99). Whatever
    that thread starts inherits it, and what spins there starves everything else on the machine.
    """
    before = set(os.listdir(_THREADS))
    policy, parameter = os.sched_getscheduler(0), os.sched_getparam(0)
    try:
        yield
    finally:
        made = set(os.listdir(_THREADS)) - before
        for thread in (0, *map(int, made)):
            with contextlib.suppress(ProcessLookupError):
                if os.sched_getscheduler(thread) != policy:
                    os.sched_setscheduler(thread, policy, parameter)
