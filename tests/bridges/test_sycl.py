"""The SYCL backend on the real runtime: devices, USM, host memory in place, array protocols."""

from __future__ import annotations

import ctypes
import ctypes.util
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyopencl as cl
import pytest

from bridges import AccessMode, MemoryType, TensorInfo, create_mapper
from bridges.backends.cpu import CPUContext
from bridges.backends.ffmpeg import FFmpegContext
from bridges.errors import (
    ClosedError,
    DeviceError,
    DeviceNotFoundError,
    FormatError,
    NoRouteError,
)
from tests.bridges.memories.sycl import sycl_backend
from tests.helpers.process import resident_bytes
from tests.helpers.require import require
from tests.helpers.threads import run_together

READ, WRITE, BOTH = AccessMode.READ, AccessMode.WRITE, AccessMode.READ_WRITE
DENSE = TensorInfo((4, 6), np.dtype("u1"))
KERNELS = """
__kernel void invert(__global uchar *samples, int row, int width) {
    size_t x = get_global_id(0), y = get_global_id(1);
    if (x < width) samples[y * row + x] = 255 - samples[y * row + x];
}
__kernel void add16(__global ushort *samples, int row, int value) {
    samples[get_global_id(1) * row + get_global_id(0)] += value;
}
"""


@pytest.fixture(scope="module")
def backend():
    return sycl_backend()


@pytest.fixture(scope="module")
def context(backend):
    return backend.create("cpu")


@pytest.fixture(scope="module")
def program(context):
    import dpctl.program

    return dpctl.program.create_program_from_source(context.queue, KERNELS, "")


def submit(context, kernel, tensor, rows, columns, *integers):
    numbers = [ctypes.c_int(number) for number in integers]
    # The last dimension of a SYCL range is OpenCL's dimension 0.
    context.queue.submit(kernel, [tensor.memory, *numbers], [rows, columns])


def python(code, **environment):
    """Run code in a process of its own; None takes a variable away."""
    everything = {**os.environ, **environment}
    kept = {name: value for name, value in everything.items() if value is not None}
    run = subprocess.run(
        [sys.executable, "-c", code], env=kept, capture_output=True, text=True, timeout=100
    )
    return run.returncode, run.stdout, run.stderr


# Kernels on host memory


@pytest.mark.parametrize(("rows", "columns", "padding"), [(1, 1, 0), (37, 65, 0), (37, 65, 13)])
def test_a_kernel_writes_where_numpy_reads(context, program, rows, columns, padding):
    memory = np.full((rows, columns + padding), 7, np.uint8)
    array = memory[:, :columns]
    array[...] = np.arange(rows * columns, dtype=np.uint32).reshape(rows, columns) % 251
    expected = 255 - array
    mapper = create_mapper([CPUContext(), context])
    with mapper.map(mapper.source.wrap(array), BOTH) as mapped:
        assert mapped.handle("data") == array.ctypes.data
        assert mapped.handle("usm_type") == "system"
        kernel = program.get_sycl_kernel("invert")
        submit(context, kernel, mapped, rows, columns, columns + padding, columns)
    assert np.array_equal(array, expected)
    assert (memory[:, columns:] == 7).all()
    assert mapper.audit.bytes_copied == 0


def test_sixteen_bits(context, program):
    array = np.arange(33 * 17, dtype=np.uint16).reshape(33, 17)
    expected = array + 40_000
    with create_mapper([CPUContext(), context]).map(CPUContext().wrap(array), BOTH) as mapped:
        submit(context, program.get_sycl_kernel("add16"), mapped, 33, 17, 17, 40_000)
    assert np.array_equal(array, expected)


def test_a_kernel_writes_into_a_frame_of_ffmpeg(context, program):
    from av.video.frame import VideoFrame

    av_frame = VideoFrame(66, 34, "gray")
    plane = np.frombuffer(av_frame.planes[0], np.uint8).reshape(34, -1)
    plane[...] = 10
    mapper = create_mapper([FFmpegContext(), context])
    with FFmpegContext().wrap(av_frame) as frame, mapper.map(frame, BOTH) as mapped:
        (tensor,) = mapped.tensors
        assert tensor.handle("data") == av_frame.planes[0].buffer_ptr
        row = tensor.info.strides[0]
        submit(context, program.get_sycl_kernel("invert"), tensor, 34, 66, row, 66)
    assert (plane[:, :66] == 245).all()
    assert (plane[:, 66:] == 10).all()
    assert mapper.explain() == "FFmpeg > CPU > SYCL   zero-copy"


def test_a_part_is_the_same_memory(context, program):
    array = np.zeros((8, 10), np.uint8)
    mapper = create_mapper([CPUContext(), context])
    with mapper.map(mapper.source.wrap(array), BOTH) as mapped, mapped[2:4, 3:7] as part:
        assert part.parent is mapped
        assert part.handle("data") == array[2:, 3:].ctypes.data
        submit(context, program.get_sycl_kernel("invert"), part, 2, 4, 10, 4)
    expected = np.zeros((8, 10), np.uint8)
    expected[2:4, 3:7] = 255
    assert np.array_equal(array, expected)


def test_host_memory_is_a_whole_object_of_dpctl(context):
    array = np.arange(100, dtype=np.uint8)
    before = sys.getrefcount(array)
    memory = context.system_memory(array.ctypes.data, 100, array)
    assert (memory._pointer, memory.nbytes) == (array.ctypes.data, 100)
    assert bytes(memory) == array.tobytes()
    there, back = context.allocate(TensorInfo((100,), array.dtype)), np.zeros(100, np.uint8)
    context.queue.memcpy(there.memory, memory, 100)
    context.queue.memcpy(back, there.memory, 100)
    assert np.array_equal(back, array)
    assert sys.getrefcount(array) == before + 1
    del memory
    assert sys.getrefcount(array) == before


def test_an_unknown_dpctl_is_copied_to_instead(backend, monkeypatch):
    from bridges.native import dpctl_memory

    monkeypatch.setattr(dpctl_memory, "_NBYTES", dpctl_memory._POINTER)
    with backend.create("cpu") as context:
        assert "lays out" in context.host_memory_refusal
        mapper = create_mapper([CPUContext(), context])
        assert mapper.audit.hops[0].edge.copies


@pytest.mark.parametrize("layout", ["backward", "empty"])
def test_layouts_that_are_refused(context, layout):
    array = np.zeros((4, 4), np.uint8)
    array = array[::-1] if layout == "backward" else array[:0]
    source = CPUContext().wrap(array)
    with pytest.raises(FormatError, match="at least one sample"):
        create_mapper([CPUContext(), context]).map(source, READ)
    with pytest.raises(FormatError, match="at least one sample"):
        context.allocate(source.info)


def test_threads_share_a_queue(context, program):
    array = np.zeros((64, 64), np.uint8)
    mapper = create_mapper([CPUContext(), context])
    source = mapper.source.wrap(array)

    def work(number):
        for _ in range(50):
            with mapper.map(source, BOTH) as mapped, mapped[number * 16 : number * 16 + 16] as part:
                submit(context, program.get_sycl_kernel("invert"), part, 16, 64, 64, 64)

    run_together(work, range(4))
    assert not array.any()


# USM of SYCL's own


def test_usm_is_seen_by_numpy(context, program):
    tensor = context.allocate(TensorInfo((5, 3), np.dtype("u1")))
    array = np.asarray(tensor)
    assert array.ctypes.data == tensor.handle("data")
    array[...] = 1
    submit(context, program.get_sycl_kernel("invert"), tensor, 5, 3, 3, 3)
    assert (np.from_dlpack(tensor) == 254).all()
    tensor.close()
    assert (array == 254).all(), "an array keeps the memory alive"


def test_device_memory_is_copied(backend, program):
    context = backend.create("cpu", usm_type="device")
    tensor = context.allocate(DENSE)
    assert tensor.handle("usm_type") == "device"
    assert not hasattr(tensor, "__array_interface__")
    with pytest.raises(FormatError, match="usm_type='device'"):
        tensor.host_array()
    mapper = create_mapper([context, CPUContext()])
    assert mapper.audit.hops[0].edge.copies
    with mapper.map(tensor, WRITE) as mapped:
        mapped.array[...] = 9
    with mapper.map(tensor, READ) as mapped:
        assert (mapped.array == 9).all()
    assert mapper.audit.bytes_copied == 2 * 24


def test_a_device_tensor_among_shared_ones_is_refused(context):
    import dpctl.memory

    tensor = context.wrap(dpctl.memory.MemoryUSMDevice(24, queue=context.queue), DENSE)
    assert tensor.usm_type == "device"
    with pytest.raises(FormatError, match="cannot reach device memory"):
        create_mapper([context, CPUContext()]).map(tensor, READ)


def test_memory_of_others_is_wrapped(context):
    import dpctl.memory

    memory = dpctl.memory.MemoryUSMShared(24, queue=context.queue)
    tensor = context.wrap(memory, DENSE)
    assert tensor.handle("data") == memory._pointer
    assert context.wrap(memory).info == TensorInfo((24,), np.dtype("u1"))
    with pytest.raises(FormatError, match="24 bytes do not fit into 20"):
        context.wrap(dpctl.memory.MemoryUSMShared(20, queue=context.queue), DENSE)
    with pytest.raises(FormatError, match="got ndarray"):
        context.wrap(np.zeros(24, np.uint8))


def test_memory_of_another_context_is_refused(context):
    import dpctl
    import dpctl.memory

    device = context.queue.sycl_device
    other = dpctl.SyclQueue(dpctl.SyclContext([device]), device)
    memory = dpctl.memory.MemoryUSMShared(24, queue=other)
    with pytest.raises(FormatError, match="another context"):
        context.wrap(memory)


def test_the_array_interface_makes_the_round_trip(context):
    import dpctl.memory

    tensor = context.allocate(TensorInfo((6, 8), np.dtype("u2")))
    part = tensor[1:5:2, 2:7]
    memory = dpctl.memory.as_usm_memory(part)
    assert memory._pointer == part.handle("data") == tensor.handle("data") + 16 + 4
    again = context.wrap(part)
    assert again.info == part.info
    assert again.handle("data") == part.handle("data")


def test_host_memory_has_no_usm_interface(context):
    mapper = create_mapper([CPUContext(), context])
    with mapper.map(mapper.source.wrap(np.zeros((2, 2), np.uint8)), READ) as mapped:
        assert not hasattr(mapped, "__sycl_usm_array_interface__")
        assert mapped.__dlpack_device__() == (1, 0)


def test_dlpack_of_device_memory(backend):
    import dpctl

    context = backend.create("cpu", usm_type="device")
    tensor = context.allocate(DENSE)
    device = tensor.__dlpack_device__()
    assert device[0] == 14
    assert dpctl.get_devices()[device[1]] == context.queue.sycl_device
    assert '"dltensor_versioned"' in repr(tensor.__dlpack__(max_version=(1, 0)))
    for options in ({"copy": True}, {"dl_device": (1, 0)}):
        with pytest.raises(BufferError, match="DLPack's device"):
            tensor.__dlpack__(**options)
    # NumPy takes the capsule, and has no such device.
    with pytest.raises((RuntimeError, BufferError), match="device"):
        np.from_dlpack(tensor)


def test_memory_is_given_back(context):
    def once():
        tensor = context.allocate(TensorInfo((1080, 1920, 3), np.dtype("u1")))
        tensor.host_array()[...] = 1
        tensor.close()

    once()
    before = resident_bytes()
    for _ in range(20):
        once()
    assert resident_bytes() - before < 2 * 1080 * 1920 * 3


def test_a_mapping_outlives_its_context(backend):
    context = backend.create("cpu")
    tensor = context.allocate(DENSE)
    array = np.zeros((4, 6), np.uint8)
    mapped = create_mapper([CPUContext(), context]).map(CPUContext().wrap(array), BOTH)
    context.close()
    context.close()
    for each in (mapped, tensor):
        each.close()
        each.close()
        with pytest.raises(ClosedError):
            each.handle("data")
    with pytest.raises(ClosedError):
        context.handle("sycl_queue")
    with pytest.raises(ClosedError):
        context.allocate(DENSE)


def test_a_cache_keeps_mappings(context):
    mapper = create_mapper([CPUContext(), context], cache=2)
    source = mapper.source.wrap(np.zeros((4, 6), np.uint8))
    for _ in range(3):
        mapper.map(source, BOTH).close()
    assert (mapper.statistics.hits, mapper.statistics.misses) == (2, 1)
    source.close()
    assert mapper.statistics.entries == 0


# Devices


def test_devices_and_selectors(backend):
    for device in backend.devices():
        assert device.shares_host_memory is (device.kind == "cpu")
        for selector in (device.selector, device.selector.upper(), device.kind):
            with backend.create(selector) as context:
                assert context.device.kind == device.kind
                assert context.shares_host_memory is device.shares_host_memory
        with backend.create(device.selector) as context:
            assert context.device == device
    found = backend.probe()
    assert found.available
    assert found.devices == tuple(str(device) for device in backend.devices())


@pytest.mark.parametrize("selector", ["opencl:cpu:99", "fpga", "0:0", "cuda:cpu"])
def test_a_device_that_is_not_there_is_named(backend, selector):
    with pytest.raises(DeviceNotFoundError) as caught:
        backend.create(selector)
    assert repr(selector) in str(caught.value)
    assert str(backend.devices()[0]) in str(caught.value)


def test_an_unknown_kind_of_memory_is_refused(backend):
    with pytest.raises(FormatError, match="'managed'"):
        backend.create("cpu", usm_type="managed")


def test_failures_of_the_runtime_are_translated(context):
    with pytest.raises(DeviceError, match=r"cannot allocate \d+ bytes") as caught:
        context.allocate(TensorInfo((1 << 31, 1 << 20), np.dtype("u1")))
    assert type(caught.value.__cause__).__module__.startswith("dpctl")


def test_what_can_be_derived(context):
    assert context.derive(MemoryType.CPU).memory_type is MemoryType.CPU
    assert context.derive(MemoryType.SYCL) is context
    with pytest.raises(NoRouteError, match="driven by opencl, not by Level Zero"):
        context.derive(MemoryType.USM)


def test_native_handles_are_the_driver_s(context):
    from bridges.native.dpctl_memory import native_context, native_device

    queue = context.queue
    # getNative retains OpenCL's handles; pyopencl takes these references over.
    native = cl.Context.from_int_ptr(native_context(queue.sycl_context), retain=False)
    device = cl.Device.from_int_ptr(native_device(queue.sycl_device), retain=False)
    assert native.devices == [device]
    assert device.name.strip() == context.device.name


BOTH_LIBRARIES = """
import numpy as np
from bridges import AccessMode, create_mapper
from bridges.backends.cpu import CPUContext

def sycl():
    from bridges.backends import sycl
    assert all("Portable" not in str(device) for device in sycl.devices()), sycl.devices()
    return sycl.create("cpu")

def opencl():
    from bridges.backends import opencl
    intel = next(device for device in opencl.devices() if "Intel" in device.platform)
    return opencl.create(f"{intel.platform_index}:{intel.device_index}")

if ANOTHER_LOADER:
    import ctypes
    ctypes.CDLL("libOpenCL.so.1")
contexts = [make() for make in (ORDER)]
for context in contexts * 2:
    array = np.zeros((4, 4), np.uint8)
    create_mapper([CPUContext(), context]).map(CPUContext().wrap(array), AccessMode.READ).close()
    context.allocate(CPUContext().wrap(array).info).close()
print("well")
"""


@pytest.mark.parametrize("another_loader", [False, True], ids=["own-loader", "system-loader"])
@pytest.mark.parametrize("order", ["sycl, opencl", "opencl, sycl"])
def test_opencl_and_sycl_in_one_process(backend, order, another_loader):
    if another_loader:
        found = ctypes.util.find_library("OpenCL")
        require("system-opencl", found is not None, "try: apt install ocl-icd-libopencl1")
    unset = dict.fromkeys(("OCL_ICD_VENDORS", "OCL_ICD_FILENAMES"))
    script = BOTH_LIBRARIES.replace("ORDER", order).replace("ANOTHER_LOADER", str(another_loader))
    code, out, err = python(script, **unset)
    assert (code, out) == (0, "well\n"), err


def test_no_other_runtime_is_offered(backend, tmp_path):
    from bridges.backends.opencl_vendors import SYSTEM_VENDORS

    others = [each for each in SYSTEM_VENDORS.glob("*.icd") if b"pocl" in each.read_bytes()]
    require("pocl", bool(others), "PoCL is not installed; try: apt install pocl-opencl-icd")
    (tmp_path / "pocl.icd").write_bytes(others[0].read_bytes())
    code, out, err = python(
        "from bridges.backends import sycl\n"
        "print(sycl.probe().available)\n"
        "try: sycl.create('cpu')\n"
        "except Exception as error: print(type(error).__name__, error)\n",
        OCL_ICD_VENDORS=f"{tmp_path}/",
        OCL_ICD_FILENAMES=None,
    )
    assert code == 0, err
    assert out.startswith("False\nDeviceNotFoundError no SYCL device 'cpu'")
    assert "passed over" in out
    assert "Portable Computing Language" in out


def test_the_environment_is_left_as_it_was(backend, monkeypatch, tmp_path):
    from bridges.backends import opencl_vendors, sycl_devices

    (tmp_path / "pocl.icd").write_text("libpocl.so.2\n")
    (tmp_path / "intel.icd").write_text("/usr/lib/intel-opencl/libigdrcl.so\n")
    monkeypatch.setattr(opencl_vendors, "SYSTEM_VENDORS", tmp_path)
    monkeypatch.setattr(opencl_vendors, "wheel_library", lambda: Path("/x/libintelocl.so"))
    for name in opencl_vendors.USER_SETTINGS:
        monkeypatch.delenv(name, raising=False)
    before = dict(os.environ)
    with sycl_devices.intel_runtimes():
        folder = Path(os.environ["OCL_ICD_VENDORS"])
        files = {file.name: file.read_text() for file in folder.iterdir()}
    assert files == {
        "intel.icd": "/usr/lib/intel-opencl/libigdrcl.so\n",
        "xtranscode-wheel.icd": "/x/libintelocl.so\n",
    }
    assert dict(os.environ) == before
    assert not folder.exists()
    monkeypatch.setenv("OCL_ICD_VENDORS", "/their/own")
    with sycl_devices.intel_runtimes():
        assert os.environ["OCL_ICD_VENDORS"] == "/their/own"


@pytest.mark.parametrize(
    ("library", "failure", "says"),
    [
        (None, "", "pip install 'xtranscode[sycl]'"),
        ("/x/libintelocl.so", "wrong ELF class", "does not load: wrong ELF class"),
        ("/x/libintelocl.so", "", "OCL_ICD_VENDORS"),
    ],
)
def test_a_machine_without_devices_says_what_to_do(backend, monkeypatch, library, failure, says):
    from bridges.backends import sycl_devices

    monkeypatch.setattr(sycl_devices, "_found", lambda: ((), ()))
    monkeypatch.setattr(sycl_devices, "wheel_library", lambda: library and Path(library))
    monkeypatch.setattr(sycl_devices, "load_failure", lambda library: failure)
    monkeypatch.delitem(sys.modules, "openvino", raising=False)
    with pytest.raises(DeviceNotFoundError) as caught:
        backend.create("")
    assert says in str(caught.value)
    found = backend.probe()
    assert not found.available
    assert found.remedy
