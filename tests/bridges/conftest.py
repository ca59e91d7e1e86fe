"""Devices that the tests of this layer use."""

from collections.abc import Iterator
from typing import Any

import pytest

from bridges.backends.cpu import CPUContext
from bridges.backends.dma import DMAContext
from bridges.backends.ffmpeg import FFmpegContext
from bridges.backends.gstreamer import GStreamerContext
from bridges.backends.gstreamer_caps import namespaces
from bridges.backends.opencl import OpenCLContext
from bridges.backends.opencl import probe as probe_opencl
from bridges.errors import DeviceNotFoundError
from bridges.kernels import Runtime, create_runtime
from tests.bridges.gst_buffer import open_gstreamer
from tests.bridges.memories.cuda import needs_cuda
from tests.bridges.memories.sycl import sycl_backend
from tests.helpers.require import require


@pytest.fixture(scope="session")
def _opencl() -> OpenCLContext:
    probe = probe_opencl()
    require("opencl", probe.available, f"{probe.reason}; try: {probe.remedy}")
    return OpenCLContext.create()


@pytest.fixture
def opencl(_opencl: OpenCLContext) -> Iterator[OpenCLContext]:
    """Return the best OpenCL device; what a test changes on the context is undone."""
    shares = _opencl.shares_host_memory
    yield _opencl
    _opencl.shares_host_memory = shares


@pytest.fixture(scope="session")
def cpu() -> CPUContext:
    return CPUContext()


@pytest.fixture
def dma() -> DMAContext:
    return DMAContext()


@pytest.fixture
def prime() -> FFmpegContext:
    return FFmpegContext("drm_prime")


@pytest.fixture(scope="session")
def openvino() -> Any:
    # Its module skips where openvino is missing.
    from tests.bridges.openvino_models import open_openvino

    return open_openvino()


@pytest.fixture
def gstreamer() -> GStreamerContext:
    return open_gstreamer()


@pytest.fixture
def gst(gstreamer: GStreamerContext) -> Any:
    return namespaces().gst


@pytest.fixture(scope="session")
def opencl_runtime(_opencl: OpenCLContext) -> Runtime:
    return create_runtime(_opencl)


@pytest.fixture(scope="session")
def sycl_runtime() -> Runtime:
    return create_runtime(sycl_backend().create("opencl"))


@pytest.fixture(scope="session")
def numpy_runtime(cpu: CPUContext) -> Runtime:
    return create_runtime(cpu)


@pytest.fixture(scope="session")
def cuda_runtime() -> Runtime:
    context = needs_cuda().CUDAContext()
    try:
        return create_runtime(context)
    except DeviceNotFoundError as error:  # No NVRTC.
        require("cuda", False, str(error))
        raise


@pytest.fixture(scope="session")
def cuda_backend() -> Any:
    return needs_cuda()


@pytest.fixture
def cuda(cuda_backend: Any) -> Iterator[Any]:
    with cuda_backend.CUDAContext() as context:
        yield context
