"""openvino for tests: imported as the backend does, or a skip; models, and what runs them."""

import importlib
import os

import numpy as np
import pytest

from bridges import AccessMode
from bridges.backends.cpu import CPUContext
from tests.helpers.require import require

try:
    from bridges.backends import openvino as backend
    from bridges.backends.openvino_library import load_openvino
except ModuleNotFoundError as error:
    if error.name != "openvino" or "openvino" in os.environ.get("XT_REQUIRE", "").split(","):
        raise
    pytest.skip(f"openvino: {error}", allow_module_level=True)

ov = load_openvino()


def open_openvino():
    """Return openvino on the processor."""
    found = backend.probe()
    require("openvino", found.available, f"{found.reason}; try: {found.remedy}")
    return backend.OpenVINOContext.create()


def model_of(shape, dtype="u8"):
    """Return a model with one input, and two outputs: twice the samples, and their sum."""
    op = importlib.import_module("openvino.opset13")
    port = op.parameter(list(shape), getattr(ov.Type, dtype), name="samples")
    floats = op.convert(port, "f32")
    twice = op.multiply(floats, op.constant(np.float32(2)))
    axes = op.constant(np.arange(len(shape)))
    total = op.reduce_sum(floats, axes, keep_dims=False)
    twice.output(0).get_tensor().set_names({"twice"})
    total.output(0).get_tensor().set_names({"total"})
    return ov.Model([op.result(twice), op.result(total)], [port], "twice")


def request_of(openvino, shape, dtype="u8"):
    return openvino.core.compile_model(model_of(shape, dtype), "CPU").create_infer_request()


def share(there, array, access=AccessMode.READ_WRITE):
    """Map an array to openvino with a mapper."""
    return there.map(CPUContext().wrap(array), access)
