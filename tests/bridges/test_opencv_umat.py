"""OpenCV's UMat: one buffer, used by OpenCV and by OpenCL kernels of ours."""

from __future__ import annotations

import gc
import os
import subprocess
import sys

import numpy as np
import pyopencl as cl
import pytest

from bridges import AccessMode, MemoryType, TensorInfo, create_mapper
from bridges.backends.cpu import CPUContext
from bridges.backends.opencl import OpenCLContext, devices
from bridges.errors import (
    ClosedError,
    DeviceError,
    DeviceNotFoundError,
    FormatError,
    NoRouteError,
)
from tests.bridges.picture import Picture, frame_info
from tests.helpers.require import require
from tests.helpers.threads import run_together

cv2 = pytest.importorskip("cv2", reason="OpenCV is not installed")
from bridges.backends import opencv_umat  # noqa: E402
from bridges.backends.opencv_umat import NO_OPENCL, create, over  # noqa: E402

READ, WRITE, BOTH = AccessMode.READ, AccessMode.WRITE, AccessMode.READ_WRITE
U8 = np.dtype("u1")
GRAY = TensorInfo((36, 64), U8)
RGB = TensorInfo((36, 64, 3), U8)


@pytest.fixture
def context():
    made = create()
    require("opencv_umat", made.opencl is not None, NO_OPENCL)
    return made


@pytest.fixture
def device(context):
    return context.derive(MemoryType.OPENCL)


def samples(shape, dtype="u1", seed=3):
    return np.random.default_rng(seed).integers(0, 256, shape).astype(dtype)


def python(code, **environment):
    """Run a program of its own, since OpenCV opens its device once for each."""
    setup = "import os, sys, threading, cv2, numpy as np\nfrom bridges import *\n"
    kept = {k: v for k, v in os.environ.items() if not k.startswith("OPENCV_")}
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", setup + code],
        env={**kept, **environment},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )


@pytest.mark.filterwarnings("ignore::pyopencl.CompilerWarning")
def test_opencv_sees_what_a_kernel_wrote(context, device):
    source = "__kernel void invert(__global uchar *p) { p[get_global_id(0)] ^= 255; }"
    invert = cl.Program(device.native, source).build(cache_dir=False).invert
    given = samples(RGB.shape)
    tensor = context.wrap(cv2.UMat(given))
    mapper = create_mapper([context, device])
    with mapper.map(tensor, BOTH) as mapped:
        invert(device.queue, (RGB.nbytes,), None, mapped.handle("cl_mem"))
    flipped = cv2.flip(tensor.native, 1)
    assert np.array_equal(flipped.get(), (255 - given)[:, ::-1])
    assert mapper.explain() == "OpenCV_UMat > OpenCL   zero-copy"


def test_a_kernel_sees_what_opencv_wrote(context, device):
    given = samples(RGB.shape)
    gray = cv2.cvtColor(cv2.UMat(given), cv2.COLOR_BGR2GRAY)
    with create_mapper([context, device]).map(context.wrap(gray), READ) as mapped:
        found = np.empty(GRAY.shape, U8)
        cl.enqueue_copy(device.queue, found, mapped.handle("cl_mem"))
    expected = given @ np.array([0.114, 0.587, 0.299])
    assert np.abs(found - expected).max() < 1


def test_the_buffer_is_the_umat_s_own(context, device):
    tensor = context.allocate(GRAY)
    with create_mapper([context, device]).map(tensor, READ) as mapped:
        pointer = tensor.native.handle(cv2.ACCESS_READ)
        assert mapped.native.int_ptr == tensor.handle("cl_mem").int_ptr == pointer


def test_a_umat_keeps_its_buffer_from_the_pool(context, device):
    # OpenCV gives the buffer of a UMat that is gone to the next one.
    tensor = context.wrap(cv2.UMat(np.full(GRAY.shape, 5, U8)))
    mapped = create_mapper([context, device]).map(tensor, READ)
    view = create_mapper([context, CPUContext()])
    host = view.map(tensor, READ) if context.shares_host_memory else None
    tensor.close()
    del tensor
    gc.collect()
    others = [cv2.UMat(np.full(GRAY.shape, 9, U8)) for _ in range(8)]
    found = np.empty(GRAY.shape, U8)
    cl.enqueue_copy(device.queue, found, mapped.handle("cl_mem"))
    assert set(found.flat) == {5}
    assert host is None or set(host.handle("array").flat) == {5}
    assert len(others) == 8


@pytest.mark.parametrize(
    ("shape", "dtype"),
    [((36, 64), "u1"), ((5, 7, 3), "u2"), ((1, 9), "u1"), ((9, 1, 2), "u1"), ((1, 1), "f4")],
)
def test_a_umat_tells_its_layout(context, shape, dtype):
    given = samples(shape, dtype)
    tensor = context.wrap(cv2.UMat(given))
    assert tensor.info == TensorInfo(shape, np.dtype(dtype))
    rows, columns = shape[0] + 2, shape[1] + 3
    wide = cv2.UMat(np.zeros((rows, columns, *shape[2:]), dtype))
    part = context.wrap(cv2.UMat(wide, (2, 1, shape[1], shape[0])))
    assert part.info.shape == shape
    if shape[0] > 1:
        assert part.info.strides[0] == columns * part.info.strides[1]
    part.store(given)
    assert np.array_equal(part.native.get().reshape(shape), given)
    around = wide.get()
    around[1 : 1 + shape[0], 2 : 2 + shape[1]] = 0
    assert not around.any()


def test_a_layout_may_be_told(context):
    umat = cv2.UMat(np.zeros(RGB.shape, U8))
    assert context.wrap(umat, RGB).info is RGB
    for wrong in (
        TensorInfo((37, 64, 3), U8),
        TensorInfo((36, 65, 3), U8),
        TensorInfo((36, 64), U8),
        TensorInfo((36, 64, 3), U8, (256, 3, 1)),
    ):
        with pytest.raises(FormatError):
            context.wrap(umat, wrong)


def test_what_is_no_picture_is_refused(context):
    # Made here and not when the file is read: OpenCV would look for its device then.
    for umat in (cv2.UMat(), cv2.UMat(np.zeros((2, 2, 2, 2), U8))):
        with pytest.raises(FormatError):
            context.wrap(umat)


def test_parts_share_the_buffer(context, device):
    tensor = context.wrap(cv2.UMat(np.zeros((36, 128), U8)))
    for index in (np.s_[4:20, 10:30], np.s_[1:, 0:], np.s_[3:4, 5:6]):
        part = tensor[index]
        assert part.parent is tensor
        with create_mapper([context, device]).map(part, BOTH) as mapped:
            rows = part.info.shape[0]
            for row in range(rows):
                start = row * part.info.strides[0]
                cl.enqueue_fill_buffer(
                    device.queue, mapped.native, np.uint8(7), start, part.info.shape[1]
                )
        expected = np.zeros((36, 128), U8)
        expected[index] = 7
        assert np.array_equal(tensor.native.get(), expected)
        part.store(np.zeros(part.info.shape, U8))
    for index in (np.s_[::2], np.s_[:, ::2]):
        with pytest.raises(FormatError, match="rectangles"):
            tensor[index]


def test_where_no_buffer_can_begin_is_refused(context, device):
    device.shares_host_memory = context.opencl.shares_host_memory = False
    part = context.allocate(GRAY)[1:3, 1:9]
    with pytest.raises(FormatError, match="multiples of"):
        create_mapper([context, device]).map(part, READ)


@pytest.mark.parametrize("name", ["rgb24", "p010le"])
def test_host_memory_through_a_umat_and_back(context, name):
    picture = Picture.create(frame_info(name, (30, 6)), padding=6, seed=1)
    before = [array.copy() for array in picture.arrays]
    mapper = create_mapper([CPUContext(), context])
    nbytes = sum(array.nbytes for array in before)
    with mapper.map(picture.frame, BOTH) as mapped:
        for tensor, array in zip(mapped.tensors, before, strict=True):
            assert np.array_equal(tensor.handle("cv_umat").get(), array)
            cv2.bitwise_not(tensor.native, tensor.native)
    for array, old in zip(picture.arrays, before, strict=True):
        assert np.array_equal(array, ~old)
    assert picture.guards_hold()
    assert mapper.audit.bytes_copied == 2 * nbytes


def test_a_read_only_array_is_not_written_to(context):
    array = np.zeros((4, 6), np.uint8)
    array.flags.writeable = False
    with pytest.raises(FormatError, match="read-only"):
        create_mapper([CPUContext(), context]).map(CPUContext().wrap(array), WRITE)
    with pytest.raises(FormatError, match="OpenCV takes"):
        create_mapper([CPUContext(), context]).map(CPUContext().wrap(array[::-1]), READ)


def test_a_view_is_the_memory_itself(context):
    if not context.shares_host_memory:
        pytest.skip(f"{context.name} has memory of its own")
    tensor = context.wrap(cv2.UMat(np.zeros(GRAY.shape, U8)))
    mapper = create_mapper([context, CPUContext()])
    with mapper.map(tensor, WRITE) as mapped:
        mapped.handle("array")[...] = samples(GRAY.shape)
    assert np.array_equal(tensor.native.get(), samples(GRAY.shape))
    with mapper.map(tensor, READ) as mapped:
        cv2.bitwise_not(tensor.native, tensor.native)
        cv2.ocl.finish()
        assert np.array_equal(mapped.handle("array"), ~samples(GRAY.shape))
        assert not mapped.handle("array").flags.writeable
    assert mapper.explain() == "OpenCV_UMat > CPU   zero-copy"


BIG = (1080, 1920)


def test_opencv_s_work_is_waited_for(context):
    if not context.shares_host_memory:
        pytest.skip(f"{context.name} has memory of its own")
    given = cv2.UMat(samples(BIG))
    mapper = create_mapper([context, CPUContext()])
    for _ in range(5):
        late = context.wrap(cv2.UMat(np.zeros(BIG, U8)))
        with mapper.map(late, READ) as mapped:
            address = mapped.handle("data")
        cv2.GaussianBlur(given, (31, 31), 0, late.native)
        with mapper.map(late, READ) as mapped:
            found = mapped.handle("array").copy()
            assert mapped.handle("data") == address
        assert found.any()
        assert np.array_equal(found, late.native.get())


def test_close_waits_for_kernels(context, device):
    if not context.shares_host_memory:
        pytest.skip(f"{context.name} has memory of its own")
    tensor = context.wrap(cv2.UMat(np.zeros(BIG, U8)))
    with create_mapper([context, CPUContext()]).map(tensor, READ) as view:
        array = view.handle("array")
        for value in (1, 2, 3):
            with create_mapper([context, device]).map(tensor, WRITE) as mapped:
                cl.enqueue_fill_buffer(
                    device.queue, mapped.native, np.uint8(value), 0, tensor.info.span
                )
            assert array[-1, -1] == value


def test_buffers_are_copied_on_the_device(context, device):
    layout = TensorInfo((6, 10, 3), U8, (64, 3, 1))
    buffer = device.allocate(layout)
    memory = samples(layout.span)
    cl.enqueue_copy(device.queue, buffer.native, memory)
    laid = np.ndarray(layout.shape, U8, memory, strides=layout.strides)
    mapper = create_mapper([device, context])
    with mapper.map(buffer, BOTH) as mapped:
        assert mapped.info == TensorInfo(layout.shape, U8)
        assert np.array_equal(mapped.native.get(), laid)
        cv2.bitwise_not(mapped.native, mapped.native)
    found = np.empty_like(memory)
    cl.enqueue_copy(device.queue, found, buffer.native)
    laid[...] = ~laid
    # What lies between the rows is as it was.
    assert np.array_equal(found, memory)
    assert mapper.audit.bytes_copied == 2 * 180


def test_other_contexts_are_refused(context):
    foreign = OpenCLContext.create()
    for contexts in ((context, foreign), (foreign, context)):
        edges = create_mapper(contexts).audit.hops
        assert all("CPU" in str(hop.edge) for hop in edges)
    from bridges.edges.opencl_to_opencv_umat import opencl_to_opencv_umat  # noqa: F401
    from bridges.routes import EDGES

    for edge in EDGES:
        pair = {edge.source, edge.target}
        if pair == {MemoryType.OPENCL, MemoryType.OPENCV_UMAT}:
            ends = (foreign, context) if edge.source is MemoryType.OPENCL else (context, foreign)
            assert "derive it from the UMat context" in edge.refusal(*ends)


def test_contexts(context, device):
    assert device.native == context.handle("cl_context")
    assert device.queue == context.handle("cl_queue")
    assert device.native.devices == [context.handle("cl_device")]
    assert device.device in devices()
    assert over(device).handle("cl_context") == device.native
    assert over(OpenCLContext.create()) is None
    assert context.derive(MemoryType.OPENCV_UMAT) is context
    if context.shares_host_memory:
        assert context.derive(MemoryType.OPENCV).memory_type is MemoryType.OPENCV
        assert context.derive(MemoryType.CPU).memory_type is MemoryType.CPU
    with pytest.raises(NoRouteError):
        context.derive(MemoryType.CUDA)
    probe = opencv_umat.probe()
    assert probe.available
    assert probe.devices == (str(device.device),)


def test_a_context_may_close_before_its_tensors(context, device):
    tensor = context.allocate(GRAY)
    device.close()
    context.close()
    context.close()
    tensor.store(samples(GRAY.shape))
    assert np.array_equal(tensor.native.get(), samples(GRAY.shape))
    tensor.close()
    for use in (lambda: context.allocate(GRAY), lambda: context.wrap(cv2.UMat(2, 2, cv2.CV_8U))):
        with pytest.raises(ClosedError):
            use()
    with pytest.raises(ClosedError):
        tensor.handle("cv_umat")


def test_failures_of_opencv_are_translated(context):
    with pytest.raises(DeviceError, match="OpenCV cannot allocate") as caught:
        context.allocate(TensorInfo((1 << 30, 1 << 20), U8))
    assert isinstance(caught.value.__cause__, cv2.error)


def test_a_umat_made_without_opencl_is_copied_only(context, device):
    found = []

    def work(_):
        # The switch is one for each thread.
        cv2.ocl.setUseOpenCL(False)
        found.append(context.wrap(cv2.UMat(samples(GRAY.shape))))

    run_together(work, range(1))
    (tensor,) = found
    assert not tensor.is_on_device
    array = np.empty(GRAY.shape, U8)
    # Through a UMat of its own each time.
    assert tensor.fetch(array) == tensor.store(255 - array) == 2 * GRAY.nbytes
    assert np.array_equal(array, samples(GRAY.shape))
    assert np.array_equal(tensor.native.get(), 255 - array)
    with pytest.raises(KeyError, match=r"only \['cv_umat'\]"):
        tensor.handle("cl_mem")
    with pytest.raises(FormatError, match="setUseOpenCL"):
        create_mapper([context, device]).map(tensor, READ)


HOST_ONLY = """
from bridges.backends.opencv_umat import create, probe
from bridges.backends.opencl import OpenCLContext
from bridges.backends.cpu import CPUContext
context = create()
assert context.opencl is None and context.is_on_the_host and not context.shares_host_memory
assert probe().available and "copied, not shared" in probe().reason, probe()
assert context.derive(MemoryType.OPENCV).memory_type is MemoryType.OPENCV
array = np.arange(60, dtype=np.uint8).reshape(4, 5, 3)
there, back = create_mapper([CPUContext(), context]), create_mapper([context, CPUContext()])
with there.map(CPUContext().wrap(array[:, 1:4]), AccessMode.READ_WRITE) as mapped:
    assert np.array_equal(mapped.native.get(), array[:, 1:4])
    with back.map(mapped, AccessMode.READ_WRITE) as view:
        view.handle("array")[...] = 7
assert (array[:, 1:4] == 7).all() and array[0, 4, 2] == 14
assert there.audit.bytes_copied == 4 * 36
for contexts in ((context, OpenCLContext.create()), (OpenCLContext.create(), context)):
    assert " > CPU > " in create_mapper(contexts).explain()
from bridges.routes import EDGES
reasons = {e.refusal(*((context, OpenCLContext.create()) if e.source is MemoryType.OPENCV_UMAT
    else (OpenCLContext.create(), context))) for e in EDGES
    if {e.source, e.target} == {MemoryType.OPENCL, MemoryType.OPENCV_UMAT}}
(reason,) = reasons
assert "OPENCV_OPENCL_DEVICE" in reason
try:
    create("0")
except LookupError as error:
    print(error)
"""


def test_without_opencl_a_umat_is_copied(opencl):
    done = python(HOST_ONLY, OPENCV_OPENCL_DEVICE="disabled")
    assert done.returncode == 0, done.stderr
    assert "no OpenCV device '0': OpenCV opens one for the whole process" in done.stdout


SELECTED = """
from bridges.backends.opencv_umat import create
before = dict(os.environ)
selector = sys.argv[1] if len(sys.argv) > 1 else os.environ["SELECTOR"]
names = []
threads = [threading.Thread(target=lambda: names.append(create(selector).name)) for _ in range(4)]
for thread in threads: thread.start()
for thread in threads: thread.join()
assert dict(os.environ) == before
assert len(names) == 4 and len(set(names)) == 1
# One loader for both: OpenCV needs none of the system's.
with open("/proc/self/maps") as maps:
    loaded = {line.split()[-1] for line in maps if "libOpenCL" in line}
assert len(loaded) == 1, loaded
print(cv2.ocl.Device_getDefault().name().strip(), "|", create().opencl.device)
"""


def test_any_device_can_be_chosen_first_of_all(opencl):
    for device in devices():
        selector = f"{device.platform_index}:{device.device_index}"
        done = python(SELECTED, SELECTOR=selector)
        assert (done.returncode, done.stdout) == (0, f"{device.name} | {device}\n"), done.stderr


def test_the_user_s_own_choice_comes_first(opencl):
    for device in devices():
        words = f"{device.platform}:{device.kind.upper()}:"
        done = python(SELECTED, SELECTOR="", OPENCV_OPENCL_DEVICE=words)
        assert done.stdout.endswith(f" | {device}\n"), done.stderr


def test_another_device_than_opencv_s_is_refused(context):
    for device in devices():
        selector = f"{device.platform_index}:{device.device_index}"
        if device == context.opencl.device:
            assert create(selector).opencl.device == device
        else:
            with pytest.raises(DeviceNotFoundError, match="opens one for the whole process"):
                create(selector)
    with pytest.raises(DeviceNotFoundError, match="'99'"):
        create("99")


def test_two_threads_run_on_one_queue(context, device):
    tensor = context.wrap(cv2.UMat(samples(RGB.shape)))
    mapper = create_mapper([context, device])

    def work(number):
        for _ in range(50):
            inverted = context.wrap(cv2.bitwise_not(tensor.native), RGB)
            with mapper.map(inverted, READ) as mapped:
                found = np.empty(RGB.shape, U8)
                cl.enqueue_copy(device.queue, found, mapped.native)
            assert np.array_equal(found, ~samples(RGB.shape)), number

    run_together(work, range(2))
