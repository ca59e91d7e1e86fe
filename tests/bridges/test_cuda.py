"""The CUDA backend: memory, streams, what other libraries see of both, and NVDEC's frames."""

from __future__ import annotations

import ctypes
import gc
import importlib
import sys
from fractions import Fraction

import numpy as np
import pytest

from bridges import AccessMode, MapperChain, MemoryType, TensorInfo, create_mapper
from bridges.backends.cpu import CPUContext
from bridges.backends.ffmpeg import FFmpegContext
from bridges.backends.probe import open_context, probe_all
from bridges.errors import (
    ClosedError,
    DeviceError,
    DeviceNotFoundError,
    FormatError,
    NoRouteError,
)
from bridges.formats import pixel_format
from bridges.frame import Frame, FrameInfo
from bridges.routes import find_route
from tests.bridges.cuda_work import NVDEC
from tests.bridges.memories.cuda import MEMORY, checked, fetch, store
from tests.helpers.process import open_files, resident_bytes
from tests.helpers.require import require
from tests.helpers.threads import run_together

READ, WRITE, BOTH = AccessMode.READ, AccessMode.WRITE, AccessMode.READ_WRITE
LEGACY = 1
PLANE = TensorInfo((36, 50), np.dtype("u1"), (64, 1))


def library(name):
    try:
        return importlib.import_module(name)
    except ImportError as error:
        require(name, False, str(error))


@pytest.fixture
def driver(cuda_backend):
    return importlib.import_module("cuda.bindings.driver")


@pytest.fixture
def busy(cuda, driver):
    """Return what keeps a stream at work for some 20 ms."""
    nbytes = 1 << 28
    one, other = (cuda.allocate(TensorInfo((nbytes,), np.dtype("u1"))) for _ in range(2))
    cuda.stream.sync()

    def keep_busy(stream):
        with cuda.current:
            for _ in range(200):
                pair = one.handle("data"), other.handle("data")
                checked(driver.cuMemcpyDtoDAsync(*pair, nbytes, stream))

    yield keep_busy
    for tensor in (one, other):
        tensor.close()


def fill_later(cuda, driver, busy, tensor, value, stream):
    """Have a stream write ``value`` into every sample, long after this returns."""
    rows, columns = tensor.info.shape
    busy(stream)
    with cuda.current:
        pitch = tensor.info.strides[0]
        set_bytes = driver.cuMemsetD2D8Async
        checked(set_bytes(tensor.handle("data"), pitch, value, columns, rows, stream))
        assert int(driver.cuStreamQuery(stream)[0]) != 0, "the stream is not slow enough to tell"


def samples(info=PLANE, seed=0):
    top = np.iinfo(info.dtype).max
    return np.random.default_rng(seed).integers(0, top, info.shape, info.dtype, endpoint=True)


def test_without_cuda_the_probe_says_what_brings_it(monkeypatch: pytest.MonkeyPatch):
    # None makes the import fail as if the package were not installed.
    for name in [name for name in sys.modules if name.startswith("bridges.backends.cuda")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "cuda.core", None)
    found = next(probe for probe in probe_all() if probe.name == "cuda")
    assert not found.available
    assert "cuda" in found.reason
    assert found.remedy == "pip install 'xtranscode[cuda]'"
    with pytest.raises(DeviceNotFoundError, match=r"xtranscode\[cuda\]"):
        open_context(MemoryType.CUDA, "0")


def test_without_a_driver_the_probe_says_so(monkeypatch: pytest.MonkeyPatch):
    try:
        backend = importlib.import_module("bridges.backends.cuda")
    except ImportError as error:
        require("cuda", False, str(error))
    seam = importlib.import_module("bridges.backends.cuda_driver")
    monkeypatch.setattr(seam, "_DRIVER", "libcuda-of-no-machine.so.1")
    found = backend.probe()
    assert not found.available
    assert found.reason == "no NVIDIA driver: libcuda-of-no-machine.so.1 not found"
    assert found.remedy == "apt install nvidia-driver"
    with pytest.raises(DeviceNotFoundError, match=r"no NVIDIA driver.*apt install"):
        backend.create("0")


def test_probe_and_selectors(cuda_backend):
    found = cuda_backend.probe()
    assert found.available
    assert found.remedy == ""
    assert found.devices[0].startswith("0 ")
    with cuda_backend.create("0") as context, cuda_backend.create() as other:
        assert context.name == other.name == f"CUDA device {found.devices[0]}"
        assert context.handle("cuda_context") == other.handle("cuda_context")
        assert context.handle("cuda_stream") != other.handle("cuda_stream")
    for selector in ("99", "first"):
        with pytest.raises(DeviceNotFoundError, match=selector):
            cuda_backend.create(selector)


def test_handles(cuda, driver):
    assert cuda.handle("cuda_device") == 0
    assert cuda.handle("cuda_stream") == int(cuda.stream.handle)
    with cuda.current:
        assert int(checked(driver.cuCtxGetCurrent())) == cuda.handle("cuda_context")
    flags = checked(driver.cuStreamGetFlags(cuda.handle("cuda_stream")))
    assert int(flags) == int(driver.CUstream_flags.CU_STREAM_NON_BLOCKING)
    tensor = cuda.allocate(PLANE)
    kind = driver.CUpointer_attribute.CU_POINTER_ATTRIBUTE_DEVICE_ORDINAL
    assert checked(driver.cuPointerGetAttribute(kind, tensor.handle("data"))) == 0
    assert tensor.handle("cuda_stream") == cuda.handle("cuda_stream")
    with pytest.raises(KeyError, match="cuda_stream"):
        tensor.handle("cl_mem")
    tensor.close()
    tensor.close()
    with pytest.raises(ClosedError):
        tensor.handle("data")


def test_a_closed_context(cuda_backend):
    context = cuda_backend.CUDAContext()
    tensor = context.allocate(PLANE)
    store(tensor, samples())
    context.close()
    context.close()
    with pytest.raises(ClosedError):
        context.handle("cuda_stream")
    with pytest.raises(ClosedError):
        context.allocate(PLANE)
    assert np.array_equal(fetch(tensor), samples())
    tensor.close()


def test_the_thread_keeps_its_own_context(cuda_backend, driver):
    checked(driver.cuInit(0))
    device = checked(driver.cuDeviceGet(0))
    try:
        own = checked(driver.cuCtxCreate(None, 0, device))
    except TypeError:  # CUDA 12's takes flags and device.
        own = checked(driver.cuCtxCreate(0, device))
    try:
        with cuda_backend.CUDAContext() as context, context.allocate(PLANE) as tensor:
            store(tensor, samples())
            assert int(checked(driver.cuCtxGetCurrent())) == int(own)
            assert context.handle("cuda_context") != int(own)
        assert int(checked(driver.cuCtxGetCurrent())) == int(own)
    finally:
        checked(driver.cuCtxDestroy(own))


def test_no_context_is_derived(cuda):
    assert cuda.derive(MemoryType.CUDA) is cuda
    with pytest.raises(NoRouteError, match="CPU"):
        cuda.derive(MemoryType.CPU)


@pytest.mark.parametrize(
    "info", [TensorInfo((0, 4), np.dtype("u1")), TensorInfo((2, 4), PLANE.dtype, (-4, 1))]
)
def test_layouts_that_cannot_be(cuda, info):
    with pytest.raises(FormatError, match="at least one sample"):
        cuda.allocate(info)


def test_failures_are_translated(cuda):
    words = r"cannot allocate \d+ bytes on CUDA device 0.*: CUDA_ERROR_OUT_OF_MEMORY"
    with pytest.raises(DeviceError, match=words):
        cuda.allocate(TensorInfo((1 << 50,), PLANE.dtype))
    with pytest.raises(FormatError, match="is not CUDA's"):
        cuda.wrap_pointer(4096, PLANE, owner=None)


def test_parts(cuda):
    info = TensorInfo((36, 50, 3), np.dtype("<u2"), (320, 6, 2))
    whole = cuda.allocate(info)
    expected = samples(info)
    store(whole, expected)
    part = whole[4:20:2, 10:30]
    inner = part[1:3]
    assert part.parent is whole
    assert part.handle("data") - whole.handle("data") == 4 * 320 + 10 * 6
    whole.close()
    assert np.array_equal(fetch(part), expected[4:20:2, 10:30])
    mapper = create_mapper([cuda, CPUContext()])
    with mapper.map(inner, BOTH) as mapped:
        assert np.array_equal(mapped.array, expected[6:10:2, 10:30])
        mapped.array[...] = 7
    assert (fetch(inner) == 7).all()
    assert np.array_equal(fetch(part)[3:], expected[4:20:2, 10:30][3:])
    with pytest.raises(FormatError, match="side by side"):
        mapper.map(part[:, ::2], READ)
    inner.close()
    part.close()


def test_rows_between_rows_survive_on_both_sides(cuda):
    memory = np.full((36, 64), 9, np.uint8)
    with CPUContext().wrap(memory[:, :50]) as source:
        with create_mapper([CPUContext(), cuda]).map(source, WRITE) as mapped:
            store(mapped, samples())
        assert np.array_equal(memory[:, :50], samples())
        assert (memory[:, 50:] == 9).all()
    whole = cuda.allocate(TensorInfo((36, 64), PLANE.dtype))
    store(whole, np.full((36, 64), 9, np.uint8))
    with create_mapper([cuda, CPUContext()]).map(whole[:, :50], WRITE) as mapped:
        mapped.array[...] = samples()
    assert np.array_equal(fetch(whole)[:, :50], samples())
    assert (fetch(whole)[:, 50:] == 9).all()
    whole.close()


def test_what_cannot_be_copied_is_refused_before_anything(cuda):
    mapper = create_mapper([CPUContext(), cuda])
    before = MEMORY.alive()
    for array in (samples()[::-1], samples()[:, ::2], np.empty((0, 4), np.uint8)):
        with pytest.raises(FormatError, match="side by side"):
            mapper.map(CPUContext().wrap(array), READ)
    assert MEMORY.alive() == before
    assert mapper.audit.bytes_copied == 0


def test_page_locked_arrays_may_be_reused_after_close(cuda, driver, busy):
    address = checked(driver.cuMemHostAlloc(PLANE.shape[0] * 64, 0))
    try:
        memory = (ctypes.c_uint8 * (36 * 64)).from_address(int(address))
        array = np.frombuffer(memory, np.uint8).reshape(36, 64)
        array[...] = 5
        result = cuda.allocate(TensorInfo((36, 64), PLANE.dtype))
        busy(cuda.stream_handle)
        mapped = create_mapper([CPUContext(), cuda]).map(CPUContext().wrap(array), READ)
        with cuda.current:
            pair = result.handle("data"), mapped.handle("data")
            checked(driver.cuMemcpyDtoDAsync(*pair, array.nbytes, cuda.stream_handle))
        mapped.close()
        array[...] = 6
        assert (fetch(result) == 5).all()
        result.close()
    finally:
        with cuda.current:
            checked(driver.cuMemFreeHost(address))


def test_wrapping_another_library_s_array(cuda):
    cupy = library("cupy")
    array = cupy.arange(36 * 64, dtype=cupy.uint8).reshape(36, 64)[:, 3:53]
    tensor = cuda.wrap(array)
    assert tensor.info == TensorInfo((36, 50), PLANE.dtype, (64, 1))
    assert tensor.handle("data") == array.data.ptr
    expected = array.get()
    del array
    cupy.get_default_memory_pool().free_all_blocks()
    assert np.array_equal(fetch(tensor), expected)
    tensor.close()
    with pytest.raises(FormatError, match="ndarray has not"):
        cuda.wrap(expected)


def test_cuda_array_interface(cuda):
    cupy = library("cupy")
    tensor = cuda.allocate(PLANE)
    store(tensor, samples())
    told = tensor.__cuda_array_interface__
    assert told["version"] == 3
    assert told["stream"] == cuda.handle("cuda_stream")
    assert told["data"] == (tensor.handle("data"), False)
    array = cupy.asarray(tensor)
    assert array.data.ptr == tensor.handle("data")
    assert array.strides == (64, 1)
    assert np.array_equal(array.get(), samples())
    tensor.close()
    with pytest.raises(ClosedError):
        _ = tensor.__cuda_array_interface__


@pytest.mark.parametrize("name", ["cupy", "torch"])
def test_dlpack_waits_for_the_stream(cuda, driver, busy, name):
    consumer = library(name)
    tensor = cuda.allocate(PLANE)
    fill_later(cuda, driver, busy, tensor, 77, cuda.stream_handle)
    array = consumer.from_dlpack(tensor)
    assert (array == 77).all()
    held = MEMORY.alive()
    tensor.close()
    assert MEMORY.alive() == held
    assert (array == 77).all()
    del array
    assert MEMORY.alive() < held


def test_dlpack_without_a_stream_to_wait_does_not_wait(cuda, driver, busy):
    tensor = cuda.allocate(PLANE)
    store(tensor, np.zeros(PLANE.shape, np.uint8))
    fill_later(cuda, driver, busy, tensor, 77, cuda.stream_handle)
    lent = tensor.__dlpack__(stream=-1)
    memory = np.empty(36 * 64, np.uint8)
    with cuda.current:
        checked(driver.cuMemcpyDtoH(memory.ctypes.data, tensor.handle("data"), PLANE.span))
    assert memory[0] == 0, "the legacy default stream waited for a non-blocking one"
    del lent
    tensor.close()


def test_dlpack_options(cuda):
    cupy = library("cupy")
    tensor = cuda.allocate(PLANE)
    store(tensor, samples())
    assert tensor.__dlpack_device__() == (2, 0)
    for dl_device in ((1, 0), (2, 1)):
        with pytest.raises(BufferError, match="DLPack device"):
            tensor.__dlpack__(dl_device=dl_device)
    with pytest.raises(ValueError, match="ambiguous"):
        tensor.__dlpack__(stream=0)
    assert '"dltensor"' in repr(tensor.__dlpack__(stream=2, dl_device=(2, 0)))
    assert '"dltensor_versioned"' in repr(tensor.__dlpack__(max_version=(1, 1)))

    class Copying:
        def __dlpack_device__(self):
            return tensor.__dlpack_device__()

        def __dlpack__(self, **options):
            return tensor.__dlpack__(**{**options, "copy": True})

    copy = cupy.from_dlpack(Copying())
    assert copy.data.ptr != tensor.handle("data")
    copy += 1
    assert np.array_equal(copy.get(), samples() + np.uint8(1))
    assert np.array_equal(fetch(tensor), samples())
    held = MEMORY.alive()
    del copy
    assert MEMORY.alive() < held
    tensor.close()


def test_a_mapping_to_read_is_read_only_to_others(cuda):
    with create_mapper([CPUContext(), cuda]).map(CPUContext().wrap(samples()), READ) as mapped:
        assert mapped.__cuda_array_interface__["data"][1] is True
        with pytest.raises(BufferError, match=r"read-?only"):
            mapped.__dlpack__()
        assert '"dltensor_versioned"' in repr(mapped.__dlpack__(max_version=(1, 0)))


def test_closing_gives_the_memory_back(cuda):
    before = MEMORY.alive()
    info = TensorInfo((1080, 1920), PLANE.dtype)
    tensors = [cuda.allocate(info) for _ in range(8)]
    assert MEMORY.alive() - before >= 8 * info.nbytes
    for tensor in tensors:
        tensor.close()
    cuda.stream.sync()
    assert MEMORY.alive() == before


@pytest.fixture(scope="module")
def clip(cuda_backend):
    return NVDEC()


def planes(frame):
    """Return luma, and U and V side by side, of a decoded picture in host memory."""
    y, u, v = (
        np.frombuffer(plane, np.uint8).reshape(plane.height, plane.line_size)[:, : plane.width]
        for plane in frame.planes
    )
    return [y, np.stack((u, v), -1)]


def test_frames_of_nvdec_are_mapped_in_place(cuda, clip):
    source = FFmpegContext("cuda")
    mapper = create_mapper([source, cuda])
    assert mapper.explain() == "FFmpeg > CUDA   zero-copy"
    tried = 0
    for frame, reference in zip(clip.on_gpu(cuda), clip.decode(), strict=True):
        wrapped = source.wrap(frame)
        assert wrapped.info.format.name == "nv12"
        with mapper.map(wrapped, READ) as mapped:
            for tensor, plane, expected in zip(
                mapped.tensors, frame.planes, planes(reference), strict=True
            ):
                assert tensor.handle("data") == plane.buffer_ptr
                assert tensor.info.strides[0] == plane.line_size
                assert np.array_equal(fetch(tensor), expected)
        wrapped.close()
        tried += 1
    assert tried == 8
    assert mapper.audit.bytes_copied == 0
    source.close()


def test_a_chain_from_nvdec_to_the_host(cuda, clip):
    source = FFmpegContext("cuda")
    steps = create_mapper([source, cuda]), create_mapper([cuda, CPUContext()])
    edges = [hop.edge for step in steps for hop in step.audit.hops]
    chain = MapperChain(edges, [source, cuda, CPUContext()])
    for frame, reference in zip(clip.on_gpu(cuda), clip.decode(), strict=True):
        with chain.map(source.wrap(frame), READ) as mapped:
            for tensor, expected in zip(mapped.tensors, planes(reference), strict=True):
                assert np.array_equal(tensor.array, expected)
    assert chain.audit.bytes_copied == 8 * 176 * 144 * 3 // 2


def test_ffmpeg_s_stream_and_ours_wait_for_each_other(cuda, driver, busy, clip):
    source = FFmpegContext("cuda")
    mapper = create_mapper([source, cuda])
    frame = source.wrap(next(clip.on_gpu(cuda)))
    with mapper.map(frame, BOTH) as mapped:
        luma = mapped.tensors[0]
        address = luma.handle("data")
        fill_later(cuda, driver, busy, luma, 11, LEGACY)
        with mapper.map(frame, READ) as later:
            assert (fetch(later.tensors[0]) == 11).all()
        fill_later(cuda, driver, busy, luma, 22, cuda.stream_handle)
    memory = np.empty(luma.info.shape[1], np.uint8)
    with cuda.current:
        checked(driver.cuMemcpyDtoHAsync(memory.ctypes.data, address, memory.nbytes, LEGACY))
        checked(driver.cuStreamSynchronize(LEGACY))
    assert (memory == 22).all()
    frame.close()


def test_the_mapping_outlives_the_frame(cuda, clip):
    source = FFmpegContext("cuda")
    frames = clip.on_gpu(cuda)
    wrapped = source.wrap(next(frames))
    mapped = create_mapper([source, cuda]).map(wrapped, READ)
    expected = planes(next(clip.decode()))
    wrapped.close()
    del wrapped
    for _ in frames:
        pass
    assert np.array_equal(fetch(mapped.tensors[0]), expected[0])
    mapped.close()


def test_frames_in_another_cuda_context_are_refused(cuda, clip):
    source = FFmpegContext("cuda")
    mapper = create_mapper([source, cuda])
    frame = source.wrap(next(clip.on_gpu(cuda, primary_ctx="0")))
    with pytest.raises(FormatError, match=r"primary CUDA context.*is_hw_owned"):
        mapper.map(frame, READ)
    with pytest.raises(NoRouteError, match="another CUDA context"):
        find_route([source, cuda])
    assert create_mapper([source, cuda]).explain().startswith("FFmpeg > CPU > CUDA")
    with pytest.raises(NoRouteError, match="host memory"):
        find_route([FFmpegContext(), cuda])


def test_ten_thousand_mappings_of_a_frame_leave_nothing(cuda, clip):
    source = FFmpegContext("cuda")
    mapper = create_mapper([source, cuda])
    frame = source.wrap(next(clip.on_gpu(cuda)))

    def cycle(times):
        for _ in range(times):
            mapper.map(frame, READ).close()

    def state():
        gc.collect()
        return resident_bytes(), MEMORY.alive(), open_files()

    cycle(1000)
    resident, *objects = state()
    cycle(10_000)
    resident_after, *objects_after = state()
    assert objects_after == objects
    assert resident_after - resident < 1_200_000
    frame.close()


def test_two_threads_map_the_same_frame(cuda, clip):
    source = FFmpegContext("cuda")
    mapper = create_mapper([source, cuda])
    frame = source.wrap(next(clip.on_gpu(cuda)))
    expected = planes(next(clip.decode()))

    def work(_):
        for _ in range(50):
            with mapper.map(frame, READ) as mapped:
                for tensor, plane in zip(mapped.tensors, expected, strict=True):
                    assert np.array_equal(fetch(tensor), plane)

    run_together(work, range(2))
    frame.close()


@pytest.mark.parametrize("name", ["nv12", "p010le"])
def test_a_frame_for_ffmpeg_is_the_same_memory(cuda, name):
    info = FrameInfo(pixel_format(name), 70, 36, pts=3, time_base=Fraction(1, 25))
    rng = np.random.default_rng(5)
    frame = Frame(info, [cuda.allocate(layout) for layout in info.planes])
    expected = [rng.integers(0, 200, each.shape).astype(each.dtype) for each in info.planes]
    for tensor, samples in zip(frame.tensors, expected, strict=True):
        store(tensor, samples)
    mapper = create_mapper([cuda, FFmpegContext("cuda")])
    assert mapper.explain() == "CUDA > FFmpeg   zero-copy"
    with mapper.map(frame, READ) as mapped:
        native = mapped.tensors[0].handle("av_frame")
    addresses = [tensor.handle("data") for tensor in frame.tensors]
    assert [plane.buffer_ptr for plane in native.planes] == addresses
    assert (native.format.name, native.pts, native.time_base) == ("cuda", 3, Fraction(1, 25))
    # FFmpeg holds the memory beyond the frame that it is of.
    frame.close()
    fetched = FFmpegContext().wrap(native.reformat(format=name))
    for tensor, samples in zip(fetched.tensors, expected, strict=True):
        np.testing.assert_array_equal(np.asarray(tensor), samples)


@pytest.mark.parametrize(("name", "width", "height"), [("rgb24", 64, 36), ("nv12", 63, 36)])
def test_a_frame_that_ffmpeg_does_not_take_from_a_gpu_is_refused(cuda, name, width, height):
    info = FrameInfo(pixel_format(name), width, height)
    frame = Frame(info, [cuda.allocate(layout) for layout in info.planes])
    with pytest.raises(FormatError, match=f"got {name} of {width}x36; download it, or convert"):
        create_mapper([cuda, FFmpegContext("cuda")]).map(frame, READ)
    frame.close()
