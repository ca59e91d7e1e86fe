"""OpenVINO: host memory as tensors of its models, and what a GPU would be needed for."""

import gc
import importlib
import itertools
import os
import subprocess
import sys
import weakref
from pathlib import Path

import numpy as np
import pytest

from bridges import AccessMode, Context, MemoryType, Tensor, TensorInfo, create_mapper
from bridges.backends.cpu import CPUContext
from bridges.backends.opencl import OpenCLContext
from bridges.errors import (
    ClosedError,
    DeviceError,
    DeviceNotFoundError,
    FormatError,
    NoRouteError,
)
from bridges.formats import pixel_format
from bridges.frame import Frame, FrameInfo
from tests.bridges.picture import Picture, frame_info
from tests.helpers.require import require
from tests.helpers.threads import run_together

try:
    from bridges.backends import openvino as backend
    from bridges.backends.openvino_layout import describe
    from bridges.backends.openvino_library import load_openvino
except ModuleNotFoundError as error:
    if error.name != "openvino" or "openvino" in os.environ.get("XT_REQUIRE", "").split(","):
        raise
    pytest.skip(f"openvino: {error}", allow_module_level=True)

ov = load_openvino()

ROOT = Path(__file__).resolve().parents[2]
READ, WRITE, READ_WRITE = AccessMode.READ, AccessMode.WRITE, AccessMode.READ_WRITE
DENSE = TensorInfo((4, 6), np.dtype("u1"))
SAMPLES = ("u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8", "f2", "f4", "f8", "?")


@pytest.fixture(scope="module")
def openvino():
    found = backend.probe()
    require("openvino", found.available, f"{found.reason}; try: {found.remedy}")
    return backend.OpenVINOContext.create()


@pytest.fixture(scope="module")
def there(openvino):
    return create_mapper([CPUContext(), openvino])


@pytest.fixture(scope="module")
def back(openvino):
    return create_mapper([openvino, CPUContext()])


def share(there, array, access=READ_WRITE):
    return there.map(CPUContext().wrap(array), access)


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


def run(code, **environment):
    """Run code in a process of its own, and return what it prints."""
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


# What importing does

WORK = """
import numpy as np
ov = load_openvino()
op = __import__("openvino.opset13", fromlist=["op"])
port = op.parameter([2, 2], ov.Type.f32)
model = ov.Model([op.result(op.multiply(port, op.constant(np.float32(3))))], [port], "m")
request = ov.Core().compile_model(model, "CPU").create_infer_request()
print("model", request.infer([np.ones((2, 2), np.float32)])[0].sum())
"""
OPENVINO = "import bridges.backends.openvino\n"
LIBRARY = "from bridges.backends.openvino_library import load_openvino\n"
OPENCL = "from bridges.backends.opencl import OpenCLContext, devices\n"
LISTING = "print('devices', sorted(device.platform for device in devices()))\n"
KERNEL = """
from bridges.kernels import create_runtime
print("runtime", bool(create_runtime(OpenCLContext.create())))
"""


@pytest.mark.parametrize(
    "code",
    [
        OPENVINO + LIBRARY + WORK + OPENCL + LISTING + KERNEL,
        OPENCL + LISTING + KERNEL + OPENVINO + LIBRARY + WORK,
        OPENVINO + OPENCL + LISTING + KERNEL + LIBRARY + WORK,
    ],
    ids=["openvino first", "opencl first", "imported first, used last"],
)
def test_openvino_hides_no_opencl_runtime(opencl: OpenCLContext, code: str):
    alone = run(OPENCL + LISTING).splitlines()
    found = run(code).splitlines()
    assert sorted(found) == sorted([*alone, "model 12.0", "runtime True"])


def test_the_runtime_from_pip_is_listed_beside_openvino(opencl: OpenCLContext):
    from bridges.backends.opencl_vendors import wheel_library

    require("intel-opencl-rt", wheel_library() is not None, "its wheel is not installed")
    assert "Intel(R) OpenCL" in run(OPENVINO + OPENCL + LISTING)


def test_importing_reports_nothing_and_leaves_nothing(tmp_path: Path):
    pytest.importorskip("openvino_telemetry")
    code = (
        OPENVINO
        + LIBRARY
        + """
import sys, threading
ov = load_openvino()
print(sorted(name for name in sys.modules if name.startswith("openvino_telemetry")))
print(threading.active_count(), callable(ov.convert_model))
import openvino_telemetry
"""
    )
    environment = dict.fromkeys(("CI", "BUILD_BUILDID", "SYSTEM_TEAMFOUNDATIONCOLLECTIONURI"), "")
    assert run(code, HOME=str(tmp_path), **environment).splitlines() == ["[]", "1 True"]
    assert not (tmp_path / "intel").exists()


def test_openvino_s_telemetry_stays_for_who_imported_it():
    code = (
        "import sys\nimport openvino_telemetry as first\n"
        + LIBRARY
        + "load_openvino()\nprint(sys.modules['openvino_telemetry'] is first)"
    )
    pytest.importorskip("openvino_telemetry")
    assert run(code) == "True\n"


# Contexts


def test_selectors(openvino):
    assert openvino.device == "CPU"
    assert openvino.name.startswith("OpenVINO CPU: ")
    assert openvino.shares_host_memory
    with backend.create("cpu") as context:
        assert context.name == openvino.name


@pytest.mark.parametrize("selector", ["FPGA", "CPU.7", "GPU.99"])
def test_a_device_that_is_not_there_is_named(openvino, selector: str):
    with pytest.raises(DeviceNotFoundError, match="there is CPU") as caught:
        backend.create(selector)
    assert repr(selector) in str(caught.value)


def test_probe_tells_version_and_devices(openvino):
    found = backend.probe()
    assert found.name == "openvino"
    assert ov.get_version() in found.reason
    assert f"CPU: {ov.Core().get_property('CPU', 'FULL_DEVICE_NAME')}" in found.devices
    assert not found.remedy


def test_the_core_is_made_when_it_is_asked_for():
    context = backend.OpenVINOContext()
    core = context.handle("ov_core")
    assert isinstance(core, ov.Core)
    assert context.core is core
    with pytest.raises(KeyError, match="ov_core"):
        context.handle("ov_remote_context")
    context.close()
    context.close()
    with pytest.raises(ClosedError):
        context.handle("ov_core")


def test_what_can_be_derived(openvino):
    assert isinstance(openvino.derive(MemoryType.CPU), CPUContext)
    assert openvino.derive(MemoryType.OPENVINO) is openvino
    with pytest.raises(NoRouteError, match="OpenVINO"):
        openvino.derive(MemoryType.VAAPI)


# Tensors


def test_tensors_and_handles(openvino):
    tensor = openvino.allocate(DENSE)
    assert tensor.memory_type is MemoryType.OPENVINO
    assert tensor.native is tensor.handle("ov_tensor")
    assert tensor.native.data.ctypes.data == tensor.handle("data")
    assert tuple(tensor.native.shape) == DENSE.shape
    with pytest.raises(KeyError, match="ov_tensor"):
        tensor.handle("cl_mem")
    tensor.close()
    tensor.close()
    for read in (lambda: tensor.array, lambda: tensor.native, lambda: tensor[0:1], tensor.batch):
        with pytest.raises(ClosedError):
            read()


@pytest.mark.parametrize("code", SAMPLES)
def test_every_sample_type_is_its_own(openvino, there, back, code: str):
    array = (np.arange(15).reshape(3, 5) % 2 * 3).astype(code)
    with share(there, array) as mapped:
        assert mapped.native.data.dtype == array.dtype
        assert np.array_equal(mapped.native.data, array)
        with back.map(mapped, READ) as again:
            assert again.info == mapped.info
    wrapped = openvino.wrap(ov.Tensor(array))
    assert wrapped.info == TensorInfo(array.shape, array.dtype)
    assert np.array_equal(wrapped.array, array)


@pytest.mark.parametrize("code", [">u2", ">f4", "c8", "S3"])
def test_other_sample_types_are_refused(there, code: str):
    with pytest.raises(FormatError, match=r"has no samples of type .*uint16"):
        share(there, np.zeros((2, 2), code))


@pytest.mark.parametrize("kind", ["bf16", "u4", "i4", "u1", "f8e4m3", "nf4"])
def test_types_that_numpy_has_not_are_refused(openvino, kind: str):
    with pytest.raises(FormatError, match="NumPy has no samples"):
        openvino.wrap(ov.Tensor(getattr(ov.Type, kind), [2, 8]))


def test_wrapped_memory_is_not_copied(openvino, back):
    array = np.arange(24, dtype=np.uint16).reshape(2, 3, 4)
    native = ov.Tensor(array, shared_memory=True)
    tensor = openvino.wrap(native, keep=array)
    assert tensor.native is native
    with back.map(tensor, READ_WRITE) as mapped:
        assert mapped.handle("data") == array.ctypes.data
        mapped.array[1, 2, 3] = 999
    assert array[1, 2, 3] == 999
    assert back.audit.bytes_copied == 0


def test_wrapped_memory_lives_as_long_as_any_view(openvino, back):
    class Memory(np.ndarray):
        pass

    array = np.arange(60, dtype=np.uint8).reshape(6, 10).view(Memory)
    gone = weakref.ref(array)
    dense = ov.Tensor(array, shared_memory=True)
    box = ov.Tensor(dense, [1, 2], [5, 8])
    expected = array[1:5, 2:8].copy()
    tensor = openvino.wrap(box, keep=(dense, array))
    mapped = back.map(tensor, READ)
    view = np.asarray(mapped)
    del array, dense, box
    mapped.close()
    tensor.close()
    del tensor, mapped
    gc.collect()
    assert gone() is not None
    assert np.array_equal(view, expected)
    del view
    gc.collect()
    assert gone() is None


def test_a_mapping_lets_go_of_the_array(there):
    class Memory(np.ndarray):
        pass

    for columns in (10, 8):  # dense, and cut out of wider rows
        array = np.zeros((6, 10), np.uint8).view(Memory)
        gone = weakref.ref(array)
        mapped = share(there, array[:, :columns])
        batch = mapped.batch()
        mapped.close()
        del array, mapped
        gc.collect()
        assert gone() is not None
        batch.close()
        del batch
        gc.collect()
        assert gone() is None


def test_strides_are_kept_and_padding_survives(there):
    for name, padding in itertools.product(("rgb24", "nv12", "p010le", "gray16le"), (0, 6, 26)):
        picture = Picture.create(frame_info(name, (31, 5)), padding=padding, shift=2, seed=1)
        before = [memory.copy() for memory in picture.memory]
        with there.map(picture.frame, WRITE) as mapped:
            for tensor, array in zip(mapped.tensors, picture.arrays, strict=True):
                data = tensor.native.data
                assert data.ctypes.data == array.ctypes.data
                assert data.strides[0] == array.strides[0] == tensor.info.strides[0]
                data[...] = 77
        for array, memory, around, was in zip(
            picture.arrays, picture.memory, picture.around, before, strict=True
        ):
            assert (array == 77).all()
            assert np.array_equal(memory[around], was[around])
    assert there.audit.bytes_copied == 0


@pytest.mark.parametrize(
    ("padding", "shape"), [(0, (5, 7, 3)), (3, (5, 7, 3)), (2, (5, 21)), (4, (5, 21))]
)
def test_rows_that_are_no_whole_pixels_apart_are_rows_of_samples(there, padding, shape):
    memory = np.zeros((5, 21 + padding), np.uint8)
    array = np.ndarray((5, 7, 3), np.uint8, memory, strides=(21 + padding, 3, 1))
    array[...] = np.arange(105).reshape(5, 7, 3)
    with share(there, array) as mapped:
        assert tuple(mapped.native.shape) == shape
        assert np.array_equal(mapped.native.data.reshape(5, 7, 3), array)
        assert mapped.info.shape == (5, 7, 3)
        assert np.array_equal(mapped.array, array)
        if shape == array.shape:
            assert np.array_equal(mapped.batch().native.data[0], array)
        else:
            with pytest.raises(FormatError, match="no whole number"):
                mapped.batch()


@pytest.mark.parametrize("shape", [(1, 1), (1, 1, 3), (5, 1, 3), (1, 7, 3), (5, 1), (1, 7), (9,)])
@pytest.mark.parametrize("padding", [0, 5])
def test_dimensions_of_one_may_have_any_stride(there, shape, padding):
    row = int(np.prod(shape[1:])) + padding if len(shape) > 1 else 1
    strides = (row, *TensorInfo(shape, np.dtype("u1")).strides[1:])
    array = np.ndarray(shape, np.uint8, np.arange(256, dtype=np.uint8), strides=strides)
    with share(there, array) as mapped:
        assert tuple(mapped.native.shape) == shape
        assert np.array_equal(mapped.native.data, array)
        assert mapped.info.strides == strides


def test_channels_left_out_are_padding(there):
    array = np.zeros((8, 6, 3), np.uint8)
    with share(there, array[..., :2]) as mapped:
        assert tuple(mapped.native.shape) == (8, 6, 2)
        mapped.native.data[...] = 9
    assert array.reshape(-1, 3).tolist() == [[9, 9, 0]] * 48


CROOKED = {
    "bottom up": lambda array: array[::-1],
    "every third byte": lambda array: array[..., 0],
    "transposed": lambda array: array.transpose(1, 0, 2),
    "rows repeated": lambda array: np.broadcast_to(array[:1], array.shape),
    "rows not aligned": lambda array: np.ndarray((3, 4), np.uint16, array, strides=(9, 2)),
    "rows overlap": lambda array: np.ndarray((3, 4), np.uint8, array, strides=(2, 1)),
}


@pytest.mark.parametrize("what", CROOKED)
def test_layouts_that_openvino_has_not_are_refused(there, what):
    array = CROOKED[what](np.zeros((8, 6, 3), np.uint8))
    with pytest.raises(FormatError, match=r"copy the array first"):
        share(there, array, READ)


@pytest.mark.parametrize("shape", [(0, 4), (4, 0), (3, 0, 3)])
def test_nothing_is_refused(openvino, there, shape):
    with pytest.raises(FormatError, match="at least one sample"):
        share(there, np.zeros(shape, np.uint8))
    with pytest.raises(FormatError, match="at least one sample"):
        openvino.allocate(TensorInfo(shape, np.dtype("u1")))


def test_too_much_memory_is_a_device_error(openvino):
    with pytest.raises(DeviceError, match=r"cannot allocate \d+ bytes") as caught:
        openvino.allocate(TensorInfo((1 << 40, 1 << 20), np.dtype("u1")))
    assert isinstance(caught.value.__cause__, RuntimeError | MemoryError)


def test_parts_are_the_same_memory(openvino, there):
    array = np.arange(8 * 12 * 3, dtype=np.uint8).reshape(8, 12, 3)
    with share(there, array) as mapped, mapped[1:7:2, 3:9] as part:
        assert part.parent is mapped
        assert np.array_equal(part.native.data, array[1:7:2, 3:9])
        part.native.data[...] = 200
        assert (array[1:7:2, 3:9] == 200).all()
        assert np.count_nonzero(array == 200) <= 3 * 6 * 3 + 1
        with pytest.raises(FormatError):
            mapped[..., ::2]
        with mapped[:, ::2] as columns:
            assert np.array_equal(columns.native.data, array[:, ::2])
    allocated = openvino.allocate(TensorInfo((5, 7, 3), np.dtype("u2"), (64, 6, 2)))
    allocated.array[...] = 5
    inner = allocated[2:4, 1:3]
    allocated.close()
    gc.collect()
    assert (inner.array == 5).all()


def test_region_of_a_frame(there):
    picture = Picture.create(frame_info("nv12", (32, 16)), padding=2, seed=3)
    with there.map(picture.frame, READ) as mapped, mapped.region(4, 6, 8, 4) as part:
        luma, chroma = (tensor.array for tensor in part.tensors)
        assert np.array_equal(luma, picture.arrays[0][6:10, 4:12])
        assert np.array_equal(chroma, picture.arrays[1][3:5, 2:6])


def test_read_is_kept_where_it_can_be(there, back):
    array = np.arange(24, dtype=np.uint8).reshape(4, 6)
    array.flags.writeable = False
    with share(there, array, READ) as mapped:
        assert mapped.native.data.ctypes.data == array.ctypes.data
        for view in (mapped.array, mapped[1:3].array, mapped.batch().array, np.asarray(mapped)):
            assert not view.flags.writeable
        with back.map(mapped, READ) as again, pytest.raises(ValueError, match="read-only"):
            again.array[0, 0] = 1
        for access in (WRITE, READ_WRITE):
            with pytest.raises(FormatError, match="READ mapping"):
                back.map(mapped, access)
    for access in (WRITE, READ_WRITE):
        with pytest.raises(FormatError, match="read-only"):
            share(there, array, access)


def test_array_protocols(there):
    array = np.arange(24, dtype=np.uint8).reshape(4, 6)
    with share(there, array) as mapped:
        assert np.asarray(mapped).ctypes.data == array.ctypes.data
        assert np.from_dlpack(mapped).ctypes.data == array.ctypes.data
        assert mapped.__dlpack_device__() == (1, 0)
        kept = np.asarray(mapped)
    assert np.array_equal(kept, array)


def test_a_cache_lends_the_same_tensor_again(openvino):
    mapper = create_mapper([CPUContext(), openvino], cache=4)
    array = np.zeros((4, 6), np.uint8)
    source = CPUContext().wrap(array)
    for value in range(5):
        array[...] = value
        with mapper.map(source, READ) as mapped:
            assert (mapped.native.data == value).all()
    assert mapper.statistics.hits == 4


# Inference


def test_a_frame_goes_into_a_model_and_its_outputs_come_out(openvino, there, back):
    from bridges.backends.openvino_frame import OpenVINOFrame

    for name, size, padding in (("rgb24", (31, 9), 0), ("rgb24", (31, 9), 6), ("gray", (1, 1), 0)):
        picture = Picture.create(frame_info(name, size), padding=padding, shift=1, seed=4)
        array = picture.arrays[0]
        request = request_of(openvino, (1, *array.shape))
        frame = there.map(picture.frame, READ)
        batch = frame.tensors[0].batch()
        assert batch.native.data.ctypes.data == array.ctypes.data
        request.set_input_tensor(batch.native)
        request.start_async()
        with OpenVINOFrame(openvino, request, parent=frame) as outputs:
            assert outputs.names == ("twice", "total")
            with back.map(outputs, READ) as host:
                assert np.array_equal(host.tensors[0].array[0], array * np.float32(2))
                assert host["total"].array[0] == array.sum(dtype=np.float32)
                native = request.get_output_tensor(0).data
                assert host["twice"].handle("data") == native.ctypes.data
            assert outputs.info.tensors[0].shape == (1, *array.shape)
            with pytest.raises(KeyError, match="'total', 'twice'"):
                outputs["no such output"]
        batch.close()
        frame.close()
    assert there.audit.bytes_copied == back.audit.bytes_copied == 0


def test_sixteen_bits_go_in_whole(openvino, there):
    picture = Picture.create(frame_info("p010le", (30, 8)), seed=2)
    luma = picture.arrays[0]
    request = request_of(openvino, luma.shape, "u16")
    with there.map(picture.frame, READ) as mapped:
        request.set_input_tensor(mapped.tensors[0].native)
        request.infer()
    assert np.array_equal(request.get_output_tensor(0).data, luma * np.float32(2))


def test_outputs_outlive_the_request_and_the_model(openvino, back):
    from bridges.backends.openvino_frame import OpenVINOFrame

    request = request_of(openvino, (200, 300))
    array = np.random.default_rng(1).integers(0, 256, (200, 300), np.uint8)
    request.infer([array])
    outputs = OpenVINOFrame(openvino, request)
    mapped = back.map(outputs, READ)
    del request
    outputs.close()
    outputs.close()
    del outputs
    gc.collect()
    others = [request_of(openvino, (200, 300)) for _ in range(3)]
    for other in others:
        other.infer([255 - array])
    assert np.array_equal(mapped["twice"].array, array * np.float32(2))
    mapped.close()


def test_a_cache_lends_outputs_again(openvino):
    from bridges.backends.openvino_frame import OpenVINOFrame

    request = request_of(openvino, (4, 6))
    request.infer([np.full((4, 6), 3, np.uint8)])
    mapper = create_mapper([openvino, CPUContext()], cache=2)
    with OpenVINOFrame(openvino, request) as outputs:
        for _ in range(3):
            with mapper.map(outputs, READ) as host:
                assert host["total"].array[0] == 72
        assert mapper.statistics.hits == 2
    assert mapper.statistics.entries == 0


def test_a_request_writes_into_memory_of_ours(openvino, there):
    request = request_of(openvino, (4, 6))
    result = np.zeros((4, 6), np.float32)
    with share(there, result, WRITE) as mapped:
        request.set_output_tensor(0, mapped.native)
        request.infer([np.full((4, 6), 21, np.uint8)])
    assert (result == 42).all()


def test_closing_waits_for_the_request_that_reads_the_source(openvino, there):
    from bridges.backends.openvino_frame import OpenVINOFrame

    shape = (1 << 9, 1 << 12)
    request = request_of(openvino, shape)
    array = np.ones(shape, np.uint8)
    mapped = share(there, array, READ)
    request.set_input_tensor(mapped.native)
    for _ in range(5):
        request.start_async()
        outputs = OpenVINOFrame(openvino, request)
        outputs.close()
        # A request that still runs refuses this.
        assert request.get_output_tensor(1).data == array.size
    with pytest.raises(ClosedError):
        assert outputs.tensors
    mapped.close()


def test_an_inference_that_fails_is_a_device_error(openvino):
    from bridges.backends.openvino_frame import OpenVINOFrame

    op = importlib.import_module("openvino.opset13")
    port = op.parameter([-1, 2], ov.Type.f32, name="samples")
    target = op.parameter([2], ov.Type.i64, name="target")
    model = ov.Model([op.result(op.reshape(port, target, False))], [port, target], "reshape")
    request = openvino.core.compile_model(model, "CPU").create_infer_request()
    request.set_tensor("samples", ov.Tensor(np.zeros((3, 2), np.float32)))
    request.set_tensor("target", ov.Tensor(np.array([4, 4])))
    request.start_async()
    outputs = OpenVINOFrame(openvino, request)
    with pytest.raises(DeviceError, match="cannot infer on OpenVINO CPU") as caught:
        assert outputs.tensors
    assert isinstance(caught.value.__cause__, RuntimeError)


def test_an_empty_output_is_an_empty_array(openvino, back):
    tensor = openvino.wrap(ov.Tensor(ov.Type.f32, [0, 7]))
    with back.map(tensor, READ) as mapped:
        assert mapped.array.shape == (0, 7)


def test_two_threads_ask_for_one_result(openvino):
    from bridges.backends.openvino_frame import OpenVINOFrame

    request = request_of(openvino, (64, 64))
    request.set_input_tensor(ov.Tensor(np.ones((64, 64), np.uint8)))
    for _ in range(20):
        request.start_async()
        outputs = OpenVINOFrame(openvino, request)
        seen = []
        run_together(lambda _, o=outputs, s=seen: s.append(o.tensors), range(2))
        assert seen[0] is seen[1]
        outputs.close()


# OpenCL, VAAPI and GPUs


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


def test_host_arrays_do_not_go_to_a_gpu_s_own_memory(there):
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


def test_a_tensor_without_an_address_is_not_seen_from_the_host(openvino, back):
    remote = backend.OpenVINORemoteTensor(object(), DENSE, context=openvino)
    with pytest.raises(KeyError, match="ov_tensor"):
        remote.handle("data")
    with pytest.raises(FormatError, match="no address"):
        back.map(remote, READ)
    with pytest.raises(FormatError, match="cannot be cut"):
        remote[0:2]
    remote.close()
    with pytest.raises(ClosedError):
        remote.handle("ov_tensor")
