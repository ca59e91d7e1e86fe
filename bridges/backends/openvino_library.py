"""Importing openvino without what it does beside: hide other runtimes, and report on its user.

openvino's wheel carries its own libtbb, older than the one that Intel's OpenCL and SYCL runtimes
for the CPU are built with. A process has one library of a name, so that the first to load decides;
the newer one serves both.

The import also reports itself to Intel, through the package ``openvino_telemetry``: it writes
``~/intel/openvino_ga_cid`` and starts a thread that sends. openvino goes without that package where
it cannot be imported, and the model converter too.
"""

import importlib
import sys
from typing import Any

from bridges.backends.opencl_vendors import load_tbb

__all__ = ["load_openvino", "without_places"]

_TELEMETRY = "openvino_telemetry"


def load_openvino() -> Any:
    """Return openvino, imported beside a current libtbb and without its telemetry.

    What was imported before is returned as it is.
    """
    if "openvino" not in sys.modules:
        load_tbb()
    known = sys.modules.get(_TELEMETRY)
    # None is how the import system is told that a module is not there.
    sys.modules[_TELEMETRY] = None  # type: ignore[assignment]
    try:
        return importlib.import_module("openvino")
    finally:
        if known is None:
            del sys.modules[_TELEMETRY]
        else:
            sys.modules[_TELEMETRY] = known


def without_places(message: str) -> str:
    """Return an error message of openvino's in one line, without the places in its source."""
    lines = [line.strip() for line in message.splitlines()]
    return " ".join(line for line in lines if line and not line.startswith("Exception from "))
