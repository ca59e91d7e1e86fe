"""A derived context is on the same device, or is refused."""

from __future__ import annotations

import itertools

import pytest

from bridges import AccessMode, MemoryType, create_mapper
from bridges.backends.cpu import CPUContext
from bridges.backends.ffmpeg import FFmpegContext
from bridges.backends.opencl import OpenCLContext
from bridges.errors import ClosedError, NoRouteError
from bridges.routes import find_route
from tests.bridges.memories import memory_of
from tests.bridges.picture import Picture, frame_info

HOSTS = (
    MemoryType.CPU,
    MemoryType.FFMPEG,
    MemoryType.OPENCV,
    MemoryType.OPENVINO,
    MemoryType.GSTREAMER,
    MemoryType.OPENCL,
    MemoryType.SYCL,
)
"""Frameworks that have a device which is the processor itself."""


@pytest.mark.parametrize("ends", list(itertools.permutations(HOSTS, 2)), ids=lambda e: e[0].name)
def test_frameworks_on_the_processor(ends):
    source, target = ends
    memory_of(target).contexts()  # Skips where the framework is absent.
    with memory_of(source).contexts()[0] as context:
        if not context.shares_host_memory:
            pytest.skip(f"{context.name} is not the processor")
        with context.derive(target) as derived:
            assert derived.memory_type is target
            assert derived.shares_host_memory


@pytest.mark.parametrize("name", [target.name for target in HOSTS if target is not MemoryType.CPU])
def test_no_copy_between_derived_contexts(name):
    target = MemoryType[name]
    memory_of(target).contexts()
    picture = Picture.create(frame_info("gray", (64, 36)), seed=1)
    with CPUContext() as cpu, cpu.derive(target) as derived:
        mapper = create_mapper([cpu, derived])
        with mapper.map(picture.frame, AccessMode.READ) as mapped:
            assert mapped.memory_type is target
        assert mapper.audit.bytes_copied == 0


def test_a_context_of_the_same_kind_is_itself(opencl: OpenCLContext):
    assert opencl.derive(MemoryType.OPENCL) is opencl


def test_a_device_with_memory_of_its_own_is_not_the_processor(opencl: OpenCLContext):
    opencl.shares_host_memory = False
    for target in (MemoryType.CPU, MemoryType.FFMPEG, MemoryType.OPENCV):
        with pytest.raises(NoRouteError, match=f"no {target.value} context can be derived"):
            opencl.derive(target)


@pytest.mark.parametrize("hardware", ["cuda", "vaapi"])
def test_a_decoder_on_a_gpu_is_not_the_processor(hardware):
    with pytest.raises(NoRouteError, match="do not share a device"):
        FFmpegContext(hardware).derive(MemoryType.OPENCV)


def test_a_closed_context_derives_nothing():
    context = CPUContext()
    context.close()
    with pytest.raises(ClosedError):
        context.derive(MemoryType.FFMPEG)


def test_opencl_and_opencv_share_one_context():
    with memory_of(MemoryType.OPENCV_UMAT).contexts()[0] as umat:
        derived = umat.derive(MemoryType.OPENCL)
        back = derived.derive(MemoryType.OPENCV_UMAT)
        assert derived.handle("cl_context") == back.derive(MemoryType.OPENCL).handle("cl_context")
        # OpenCV has one cl_context, on whatever device: another one of that device is not shared.
        other = OpenCLContext.create()
        assert other.handle("cl_context") != derived.handle("cl_context")
        with pytest.raises(NoRouteError, match="not in OpenCV's own cl_context"):
            find_route([umat, other])
