"""The sample's own kernels compute what its references say, through OpenCL."""

from __future__ import annotations

import runpy
from pathlib import Path

import numpy as np
import pytest

from bridges import AccessMode, create_mapper, open_context
from bridges.backends.cpu import CPUContext
from bridges.backends.opencl import probe
from bridges.kernels import create_runtime, parse_call
from bridges.tensor import MemoryType
from tests.bridges.picture import Picture, frame_info
from tests.helpers.require import require

SAMPLES = Path(__file__).resolve().parents[2] / "samples"
REFERENCES = runpy.run_path(str(SAMPLES / "custom_kernel.py"))
SIZE = (67, 9)


@pytest.mark.parametrize(
    "call",
    [
        "tint",
        "tint(amount=1)",
        "grid",
        "grid(step=3, strength=1)",
        "grid(step=4, strength=0.3, dotted=true)",
    ],
)
def test_a_picture(call):
    found = probe()
    require("opencl", found.available, found.reason)
    kernel, values = parse_call(f"{SAMPLES / 'custom_kernel.cl'}:{call}")
    source = Picture.create(frame_info("gbrp16le", SIZE), seed=1)
    target = Picture.create(frame_info("gbrp16le", SIZE))
    signals = [source.codes(channel) / 65535 for channel in "RGB"]
    x, y = np.meshgrid(np.arange(SIZE[0]), np.arange(SIZE[1]))
    expected = REFERENCES[kernel.name](*signals, np.ones_like(signals[0]), x, y, **values)
    with open_context(MemoryType.OPENCL) as device:
        mapper = create_mapper([CPUContext(), device])
        with (
            mapper.map(source.frame, AccessMode.READ) as read,
            mapper.map(target.frame, AccessMode.READ_WRITE) as written,
        ):
            create_runtime(device).run(kernel, read, written, values)
    for channel, signal in zip("RGB", expected, strict=True):
        assert np.abs(target.codes(channel) - signal * 65535).max() < 1.01
    assert any(np.any(target.codes(c) != source.codes(c)) for c in "RGB")
    assert target.guards_hold()
