"""OpenVINO beside OpenCL and VA-API, and what a GPU would be needed for."""

import numpy as np
import pytest

from bridges import AccessMode, Context, MemoryType, Tensor, TensorInfo, create_mapper
from bridges.backends.cpu import CPUContext
from bridges.backends.opencl import OpenCLContext
from bridges.backends.openvino_layout import describe
from bridges.errors import (
    ClosedError,
    DeviceError,
    DeviceNotFoundError,
    FormatError,
    NoRouteError,
)
from bridges.formats import pixel_format
from bridges.frame import Frame, FrameInfo
from bridges.native.loading import declare
from tests.bridges.openvino_models import backend, ov

READ, WRITE, READ_WRITE = AccessMode.READ, AccessMode.WRITE, AccessMode.READ_WRITE
DENSE = TensorInfo((4, 6), np.dtype("u1"))


def test_opencl_reaches_openvino_through_host_memory(opencl: OpenCLContext, openvino):
    if not opencl.shares_host_memory:
        pytest.skip(f"{opencl.name} has memory of its own")
    mapper = create_mapper([opencl, openvino])
    info = FrameInfo(pixel_format("rgb24"), 31, 5)
    tensor = opencl.allocate(TensorInfo((5, 31, 3), np.dtype("u1"), (99, 3, 1)))
    with create_mapper([opencl, CPUContext()]).map(tensor, WRITE) as host:
        host.array[...] = np.arange(465).reshape(5, 31, 3) % 251
        address, expected = host.handle("data"), host.array.copy()
    frame = Frame(info, [tensor])
    with mapper.map(frame, READ) as mapped:
        data = mapped.tensors[0].native.data
        assert data.ctypes.data == address
        assert np.array_equal(data, expected)
    assert mapper.explain() == "OpenCL > CPU > OpenVINO   zero-copy"
    assert mapper.audit.bytes_copied == 0


def test_openvino_reaches_opencl_without_a_copy(opencl: OpenCLContext, openvino):
    if not opencl.shares_host_memory:
        pytest.skip(f"{opencl.name} has memory of its own")
    mapper = create_mapper([openvino, opencl])
    with mapper.map(openvino.allocate(DENSE), READ) as mapped:
        assert mapped.info == DENSE
    assert mapper.explain() == "OpenVINO > CPU > OpenCL   zero-copy"


def test_a_refused_route_says_why(opencl: OpenCLContext, openvino):
    from bridges.routes import EDGES, load_edges

    load_edges([MemoryType.OPENCL, MemoryType.OPENVINO])
    (edge,) = (
        each
        for each in EDGES
        if (each.source, each.target) == (MemoryType.OPENCL, MemoryType.OPENVINO)
    )
    assert "shares no OpenCL context" in edge.refusal(opencl, openvino)


def test_only_intel_s_gpus_share_opencl_s_buffers(opencl: OpenCLContext, openvino):
    from bridges.backends.openvino_opencl import OpenVINOOpenCLContext

    if opencl.device.kind == "gpu" and "Intel" in opencl.device.vendor:
        pytest.skip(f"{opencl.name} may be shared")
    for _ in range(3):
        with pytest.raises(DeviceNotFoundError, match="GPU") as caught:
            OpenVINOOpenCLContext(opencl)
        assert opencl.name in str(caught.value)
        assert "OpenCL > CPU > OpenVINO" in str(caught.value)
        assert isinstance(caught.value.__cause__, DeviceError)


def test_openvino_on_the_device_of_an_opencl_context(opencl: OpenCLContext, openvino):
    from bridges.backends.openvino_opencl import derive

    if opencl.device.kind != "cpu":
        pytest.skip(f"{opencl.name} is no CPU")
    assert derive(opencl).name == openvino.name


def test_openvino_s_c_library_is_the_one_declared():
    from bridges.native.libopenvino_c import ELEMENT_TYPES, Shape, c, check, library

    lib = library()
    tensors = c.POINTER(c.c_void_p)
    declare(
        lib,
        {
            "ov_tensor_create_from_host_ptr": (c.c_int, [c.c_int, Shape, c.c_void_p, tensors]),
            "ov_tensor_get_element_type": (c.c_int, [c.c_void_p, c.POINTER(c.c_int)]),
        },
    )
    for name, number in ELEMENT_TYPES.items():
        assert hasattr(ov.Type, name)
        memory, tensor, kind = (c.c_uint8 * 64)(), c.c_void_p(), c.c_int()
        shape = Shape(2, (c.c_int64 * 2)(2, 4))
        create = lib.ov_tensor_create_from_host_ptr
        check(create(number, shape, c.addressof(memory), c.byref(tensor)), "share")
        check(lib.ov_tensor_get_element_type(tensor, c.byref(kind)), "ask")
        lib.ov_tensor_free(tensor)
        assert kind.value == number
        assert describe(TensorInfo((2, 4), getattr(ov.Type, name).to_dtype())).element_type == (
            getattr(ov.Type, name)
        )
    with pytest.raises(DeviceError, match="cannot fail on purpose"):
        check(lib.ov_core_create(None), "fail on purpose")


class Display(Context):
    """A VA display that is only a number: no edge gets as far as using it."""

    memory_type = MemoryType.VAAPI
    name = "a display"

    def _handles(self):
        return {"va_display": 4096}

    def allocate(self, info: TensorInfo) -> Tensor:
        raise NotImplementedError


def test_vaapi_s_surfaces_need_the_gpu_of_their_display(openvino):
    from bridges.edges.vaapi_to_openvino import _no_shared_display

    assert "from_vaapi" in _no_shared_display(Display(), openvino)
    other = backend.OpenVINOContext("GPU", remote=object(), handles={"va_display": 8192})
    assert "another VAAPI display" in _no_shared_display(Display(), other)
    same = backend.OpenVINOContext("GPU", remote=object(), handles={"va_display": 4096})
    assert not _no_shared_display(Display(), same)


def test_a_display_without_a_gpu_is_refused(openvino):
    if any(device.startswith("GPU") for device in openvino.core.available_devices):
        pytest.skip("this machine has a GPU, which would use the display")
    with pytest.raises(DeviceNotFoundError, match="does not take the VAAPI display") as caught:
        backend.OpenVINOContext.from_vaapi(4096)
    assert isinstance(caught.value.__cause__, RuntimeError)


def test_host_arrays_do_not_go_to_a_gpu_s_own_memory():
    gpu = backend.OpenVINOContext("GPU", remote=object())
    with pytest.raises(NoRouteError, match="memory of its own"):
        create_mapper([CPUContext(), gpu])


def test_tensors_of_a_gpu_are_refused_on_the_cpu(openvino):
    class Remote:
        """What ``ov.RemoteTensor`` is to a context that has none."""

    with pytest.raises(FormatError, match="no memory of its own, but got Remote"):
        openvino.wrap_remote(Remote(), "u1")
    with pytest.raises(FormatError, match=r"takes an openvino\.Tensor, got Remote"):
        openvino.wrap(Remote())


def test_a_tensor_without_an_address_is_not_seen_from_the_host(openvino):
    remote = backend.OpenVINORemoteTensor(object(), DENSE, context=openvino)
    with pytest.raises(KeyError, match="ov_tensor"):
        remote.handle("data")
    with pytest.raises(FormatError, match="no address"):
        create_mapper([openvino, CPUContext()]).map(remote, READ)
    with pytest.raises(FormatError, match="cannot be cut"):
        remote[0:2]
    remote.close()
    with pytest.raises(ClosedError):
        remote.handle("ov_tensor")
