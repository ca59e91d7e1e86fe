"""Devices that the tests of this layer use."""

from collections.abc import Iterator

import pytest

from bridges.backends.cpu import CPUContext
from bridges.backends.opencl import OpenCLContext
from bridges.backends.opencl import probe as probe_opencl
from bridges.kernels import Runtime, create_runtime
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


@pytest.fixture(scope="session")
def opencl_runtime(_opencl: OpenCLContext) -> Runtime:
    return create_runtime(_opencl)


@pytest.fixture(scope="session")
def numpy_runtime(cpu: CPUContext) -> Runtime:
    return create_runtime(cpu)
