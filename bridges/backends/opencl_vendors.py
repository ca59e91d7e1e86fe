"""Where OpenCL runtimes are: the system's, and the CPU runtime that pip installs.

The wheel ``intel-opencl-rt`` puts ``libintelocl.so`` below the prefix of the environment, and a
vendor file beside it that names the machine it was built on. OpenCL's loader looks for vendor files
in ``/etc/OpenCL/vendors``, or else, alone, in the folder that ``OCL_ICD_VENDORS`` names. It looks
once, at the first call of a process.
"""

import contextlib
import ctypes
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path

from bridges.backends import environment
from bridges.native.signals import kept_signals

__all__ = [
    "SYSTEM_VENDORS",
    "USER_SETTINGS",
    "load_failure",
    "load_tbb",
    "vendor_folder",
    "wheel_library",
]

SYSTEM_VENDORS = Path("/etc/OpenCL/vendors")
USER_SETTINGS = ("OCL_ICD_VENDORS", "OCL_ICD_FILENAMES")
"""Variables by which a user says where runtimes are; where one is set, nothing is added to it."""

_WHEEL = "intel-opencl-rt"
_LIBRARY = "libintelocl.so"
_TBB = "libtbb.so.12"


def wheel_library() -> Path | None:
    """Return the library of the wheel ``intel-opencl-rt``; None where it is not installed.

    It is found in an environment, in a ``--user`` and in a ``--target`` installation.
    """
    candidates = [Path(sys.prefix, "lib", _LIBRARY)]
    try:
        wheel = metadata.distribution(_WHEEL)
    except metadata.PackageNotFoundError:
        pass
    else:
        listed = [file for file in wheel.files or () if file.name == _LIBRARY]
        candidates += [Path(str(wheel.locate_file(file))) for file in listed]
        # pip --target moves the libraries, and leaves the list of files as it was.
        candidates.append(Path(str(wheel.locate_file(f"lib/{_LIBRARY}"))))
    return next((path.resolve() for path in candidates if path.is_file()), None)


def load_failure(library: Path) -> str:
    """Return why the dynamic linker cannot load a runtime; empty where it can."""
    try:
        ctypes.CDLL(str(library))
    except OSError as error:
        return str(error)
    return ""


def load_tbb() -> None:
    """Load the libtbb of the wheel, where there is one.

    Another wheel may bring an older one, as openvino's does, which the runtime cannot use; a
    process has one library of a name, so that the first to load decides.
    """
    runtime = wheel_library()
    if runtime is None or not runtime.with_name(_TBB).is_file():
        return
    # Where it does not load, the runtime does not either, and the probe says why.
    with contextlib.suppress(OSError):
        ctypes.CDLL(str(runtime.with_name(_TBB)))


@contextmanager
def vendor_folder(only: bytes = b"") -> Iterator[None]:
    """Show OpenCL's loader the wheel beside the system's runtimes, while its first call is made.

    The folder is a new one each time and is gone afterwards: nothing is left on disk to grow stale,
    and child processes inherit no variable that points to it.

    Parameters
    ----------
    only : bytes
        Of the system's runtimes, those whose vendor file has these bytes in it.
    """
    library = wheel_library()
    with environment.LOCK, kept_signals():
        if library is None or any(name in os.environ for name in USER_SETTINGS):
            yield
            return
        with (
            _folder(library, only) as folder,
            environment.added({"OCL_ICD_VENDORS": folder}),
        ):
            yield


@contextmanager
def _folder(library: Path, only: bytes) -> Iterator[str]:
    with tempfile.TemporaryDirectory(prefix="xtranscode-opencl-") as folder:
        for entry in sorted(SYSTEM_VENDORS.glob("*.icd")):
            runtime = entry.read_bytes()
            if only in runtime:
                Path(folder, entry.name).write_bytes(runtime)
        Path(folder, "xtranscode-wheel.icd").write_text(f"{library}\n")
        yield folder
