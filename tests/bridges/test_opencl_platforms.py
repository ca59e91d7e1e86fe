"""Every OpenCL runtime of this machine does the same: Intel's and PoCL."""

from __future__ import annotations

import numpy as np
import pytest

from bridges import AccessMode, create_mapper
from bridges.backends.opencl import OpenCLContext, devices
from bridges.kernels import create_runtime, get
from bridges.kernels.reference import rgb_to_grayscale
from tests.bridges.picture import RANGES, Picture, frame_info
from tests.helpers.require import require

KERNEL = get("rgb_to_grayscale")


@pytest.fixture(scope="module", params=["Intel(R) OpenCL", "Portable Computing Language"])
def device(request):
    names = [device.platform for device in devices()]
    short = {"Intel(R) OpenCL": "intel-opencl"}.get(request.param, "pocl")
    require(short, request.param in names, f"no such platform among {names}")
    with OpenCLContext.create(request.param) as context:
        yield context


@pytest.mark.parametrize("colour_range", RANGES)
@pytest.mark.parametrize("name", ["rgb24", "bgra", "nv12", "yuv420p", "p010le", "yuyv422"])
def test_gray_is_the_reference_s(device, cpu, name, colour_range):
    runtime = create_runtime(device)
    mapper = create_mapper([cpu, device])
    for size in ((1, 1), (5, 3), (64, 36), (127, 95)):
        source = Picture.create(frame_info(name, size, colour_range), padding=5, shift=3, seed=1)
        target = Picture.create(frame_info("gray", size, colour_range), padding=1)
        with (
            mapper.map(source.frame, AccessMode.READ) as read,
            mapper.map(target.frame, AccessMode.WRITE) as written,
        ):
            runtime.run(KERNEL, read, written)
        expected = rgb_to_grayscale(source.arrays, source.frame.info, target.frame.info)
        assert np.array_equal(target.arrays[0], expected)
        assert source.guards_hold()
        assert target.guards_hold()
    assert mapper.audit.bytes_copied == 0


def test_works_in_place(device, cpu):
    assert device.shares_host_memory
    picture = Picture.create(frame_info("gray", (64, 36)), seed=2)
    there, back = create_mapper([cpu, device]), create_mapper([device, cpu])
    with (
        there.map(picture.frame, AccessMode.READ_WRITE) as mapped,
        back.map(mapped, AccessMode.READ) as seen,
    ):
        assert seen.tensors[0].handle("data") == picture.frame.tensors[0].handle("data")
