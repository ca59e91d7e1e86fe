"""PyGObject from the system, also in a virtual environment, which does not see system packages.

PyGObject comes with the system's libraries and is seldom built by pip. Only the package ``gi`` is
taken from the system: its folder on ``sys.path`` would let every other package in there in too.
"""

import contextlib
import ctypes
import importlib
import sys
import threading
import warnings
from importlib.machinery import EXTENSION_SUFFIXES, PathFinder
from importlib.util import module_from_spec
from pathlib import Path
from types import ModuleType

__all__ = ["NotInstalledError", "load_namespaces", "load_pygobject"]

_VERSION = f"{sys.version_info.major}.{sys.version_info.minor}"

SYSTEM_FOLDERS = (
    "/usr/lib/python3/dist-packages",  # Debian, Ubuntu
    f"/usr/lib64/python{_VERSION}/site-packages",  # Fedora, openSUSE
    f"/usr/lib/python{_VERSION}/site-packages",  # Arch, Alpine
)
"""Where distributions put ``gi`` for their own Python."""

_PACKAGES = {"Gst": "gir1.2-gstreamer-1.0"}
_OTHER_PACKAGE = "gir1.2-gst-plugins-base-1.0"
"""Which package of Debian describes a namespace."""

_loading = threading.Lock()


class NotInstalledError(ImportError):
    """A part of PyGObject, or what it describes, is missing; ``remedy`` is what would bring it."""

    def __init__(self, message: str, remedy: str) -> None:
        super().__init__(message)
        self.remedy = remedy


def load_pygobject() -> ModuleType:
    """Return the module ``gi``: the environment's own where it has one, else the system's.

    Raises
    ------
    NotInstalledError
        Neither is there, or the system's was built for another version of Python; the message says
        which.
    """
    with _loading:
        try:
            return importlib.import_module("gi")
        except ModuleNotFoundError as error:
            if error.name != "gi":
                raise
            return _load_system()


def _load_system() -> ModuleType:
    spec = PathFinder.find_spec("gi", SYSTEM_FOLDERS)
    if spec is None or spec.loader is None or spec.origin is None:
        raise NotInstalledError(
            "PyGObject, the Python package gi, is not installed", "apt install python3-gi"
        )
    folder = Path(spec.origin).parent
    if not any((folder / f"_gi{suffix}").exists() for suffix in EXTENSION_SUFFIXES):
        built = ", ".join(sorted(file.name for file in folder.glob("_gi.*"))) or "no extension"
        raise NotInstalledError(
            f"PyGObject in {folder} ({built}) was not built for this Python {_VERSION}, only for "
            "the system's own",
            "/usr/bin/python3 -m venv, or pip install PyGObject",
        )
    module = module_from_spec(spec)
    sys.modules["gi"] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules["gi"]
        raise
    return module


def _keep_exceptions_working() -> None:
    """Have C++ exceptions of other libraries unwound by the compiler's own library.

    PyGObject opens what it describes for everybody, and GStreamer brings libunwind, whose
    ``_Unwind_Resume`` then stands in for libgcc's: the first exception in a C++ library that is
    loaded later (openvino's) aborts the process. Of two, the one opened first is taken.
    """
    with contextlib.suppress(OSError):  # There is no libgcc where clang's runtime stands in.
        ctypes.CDLL("libgcc_s.so.1", mode=ctypes.RTLD_GLOBAL)


def load_namespaces(*versions: str) -> tuple[ModuleType, ...]:
    """Return namespaces of ``gi.repository``, each named with its version: ``"Gst-1.0"``.

    Raises
    ------
    NotInstalledError
        PyGObject or the description of a namespace is not installed; the message says which.
    """
    _keep_exceptions_working()
    gi = load_pygobject()
    names = []
    for entry in versions:
        name, _, version = entry.partition("-")
        try:
            gi.require_version(name, version)
        except ValueError as error:
            raise NotInstalledError(
                f"{entry}.typelib is not installed: {error}",
                f"apt install {_PACKAGES.get(name, _OTHER_PACKAGE)}",
            ) from error
        names.append(name)
    with _loading, warnings.catch_warnings():
        # Its importer, and what it says of its own overrides, are behind Python's current ways.
        warnings.simplefilter("ignore")
        return tuple(importlib.import_module(f"gi.repository.{name}") for name in names)
