"""Compute kernels: one portable source each, a NumPy reference, and a runtime per framework."""

from bridges.kernels.call import parse_call
from bridges.kernels.chain import fuse
from bridges.kernels.kernel import Kernel, Parameter, get, names
from bridges.kernels.load import load
from bridges.kernels.runtime import Event, Runtime, apply, create_runtime

__all__ = [
    "Event",
    "Kernel",
    "Parameter",
    "Runtime",
    "apply",
    "create_runtime",
    "fuse",
    "get",
    "load",
    "names",
    "parse_call",
]
