"""What each backend finds on this machine, and what would bring it where it is absent."""

import importlib
import os
import platform
from collections.abc import Callable
from dataclasses import dataclass

__all__ = ["BACKENDS", "Probe", "probe_all"]


@dataclass(frozen=True, slots=True)
class Probe:
    """What one backend reports of itself.

    Attributes
    ----------
    name : str
        Of the backend, as in a device name.
    available : bool
        Whether it can be used.
    reason : str
        Its version where it can, else why it cannot.
    remedy : str
        The command that would bring it; empty where it is there.
    devices : tuple of str
        The devices found, as people read them.
    """

    name: str
    available: bool
    reason: str
    remedy: str = ""
    devices: tuple[str, ...] = ()


def _cpu() -> Probe:
    import numpy as np

    device = f"{platform.machine()}, {os.cpu_count()} threads"
    return Probe("cpu", True, f"NumPy {np.__version__}", devices=(device,))


def _module(name: str) -> Callable[[], Probe]:
    """Return a probe that imports its backend only when it is asked."""

    def probe() -> Probe:
        found: Probe = importlib.import_module(f"bridges.backends.{name}").probe()
        return found

    return probe


BACKENDS: dict[str, tuple[Callable[[], Probe], str]] = {
    "cpu": (_cpu, "pip install numpy"),
    "ffmpeg": (_module("ffmpeg"), "pip install 'av>=18.1,<20'"),
    "opencl": (_module("opencl"), "pip install 'xtranscode[cpu]'"),
}
"""Each backend's probe, and the command that installs the library it needs."""


def probe_all() -> tuple[Probe, ...]:
    """Probe every backend, in the order of `BACKENDS`; one that is not installed is reported."""
    found = []
    for name, (probe, remedy) in BACKENDS.items():
        try:
            found.append(probe())
        except ImportError as error:
            found.append(Probe(name, False, f"cannot be imported: {error}", remedy))
    return tuple(found)
