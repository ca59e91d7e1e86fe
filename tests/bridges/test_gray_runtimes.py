"""rgb_to_grayscale on every runtime: the samples of the reference, bit by bit, and no others."""

import itertools
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bridges import AccessMode, ColourRange, Frame, Matrix, MemoryType, create_mapper
from bridges.backends.cpu import CPUContext
from bridges.backends.opencl import OpenCLContext
from bridges.errors import ClosedError, FormatError, KernelError
from bridges.kernels import Runtime, create_runtime, get, program
from bridges.kernels.code_cache import cache_folder
from bridges.kernels.kernel import parse
from bridges.kernels.launch import Launch
from bridges.kernels.reference import rgb_to_grayscale
from tests.bridges.picture import RANGES, Picture, frame_info
from tests.helpers.threads import run_together

KERNEL = get("rgb_to_grayscale")
TARGETS = ("gray", "yuv420p10le", "p010le", "gray16le")
SIZES = ((1, 1), (5, 3), (127, 95))


def run(runtime: Runtime, picture: Picture, result: Picture) -> None:
    """Run the kernel on pictures of host memory, brought as near as the runtime needs it."""
    source, target = picture.frame, result.frame
    if runtime.context.memory_type is MemoryType.CPU:
        runtime.run(KERNEL, source, target)
        return
    if runtime.context.memory_type is MemoryType.CUDA:
        from tests.bridges.cuda_work import on_device

        with (
            on_device(runtime.context, picture) as read,
            on_device(runtime.context, result) as written,
        ):
            runtime.run(KERNEL, read, written)
        return
    mapper = create_mapper([CPUContext(), runtime.context])
    with (
        mapper.map(source, AccessMode.READ) as read,
        mapper.map(target, AccessMode.WRITE) as written,
    ):
        runtime.run(KERNEL, read, written)
    assert mapper.audit.bytes_copied == 0 or not runtime.context.shares_host_memory


def check(runtime: Runtime, source: Picture, target: Picture) -> None:
    untouched = [array.copy() for array in target.arrays[1:]]
    before = [array.copy() for array in source.arrays]
    run(runtime, source, target)
    expected = rgb_to_grayscale(before, source.frame.info, target.frame.info)
    assert np.array_equal(target.arrays[0], expected)
    assert all(map(np.array_equal, target.arrays[1:], untouched))
    assert all(map(np.array_equal, source.arrays, before))
    assert source.guards_hold()
    assert target.guards_hold()


@pytest.fixture(params=["opencl_runtime", "sycl_runtime", "cuda_runtime", "numpy_runtime"])
def runtime(request: pytest.FixtureRequest) -> Runtime:
    return request.getfixturevalue(request.param)


@pytest.fixture(params=["opencl_runtime", "sycl_runtime", "cuda_runtime"])
def compiling_runtime(request: pytest.FixtureRequest) -> Runtime:
    return request.getfixturevalue(request.param)


@pytest.mark.parametrize("colour_range", RANGES)
@pytest.mark.parametrize("name", KERNEL.formats_read)
def test_equals_the_reference(runtime: Runtime, name: str, colour_range: ColourRange):
    for target_name, target_range, size in itertools.product(TARGETS, RANGES, SIZES):
        source = Picture.create(frame_info(name, size, colour_range, Matrix.BT709), seed=3)
        target = Picture.create(frame_info(target_name, size, target_range))
        check(runtime, source, target)


@pytest.mark.parametrize(("padding", "shift"), [(0, 0), (32, 0), (6, 0), (8, 2), (6, 2), (3, 1)])
@pytest.mark.parametrize("name", ["rgb24", "bgr0", "yuv420p", "gbrp10le", "rgb48le", "uyvy422"])
def test_padded_strides_and_unaligned_addresses(
    runtime: Runtime, name: str, padding: int, shift: int
):
    for size in ((64, 8), (66, 5), (127, 9)):
        for target_name in ("nv12", "gray10le"):
            source = Picture.create(
                frame_info(name, size, ColourRange.FULL), padding=padding, shift=shift, seed=4
            )
            target = Picture.create(
                frame_info(target_name, size, ColourRange.LIMITED), padding=2 * padding, shift=shift
            )
            check(runtime, source, target)


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    name=st.sampled_from(["rgb24", "0bgr", "gray", "yuv422p10le", "gbrp", "rgba64le", "yuyv422"]),
    target_name=st.sampled_from(["gray", "p010le"]),
    size=st.tuples(st.integers(1, 70), st.integers(1, 9)),
    paddings=st.tuples(st.integers(0, 40), st.integers(0, 40)),
    shifts=st.tuples(st.integers(0, 17), st.integers(0, 17)),
    seed=st.integers(0, 2**32),
)
def test_any_size_and_stride(compiling_runtime, name, target_name, size, paddings, shifts, seed):
    source = Picture.create(frame_info(name, size), padding=paddings[0], shift=shifts[0], seed=seed)
    target = Picture.create(frame_info(target_name, size), padding=paddings[1], shift=shifts[1])
    check(compiling_runtime, source, target)


def test_codes_beyond_the_depth_are_masked_alike(compiling_runtime: Runtime):
    for name in ("yuv420p10le", "p010le", "gbrp12le"):
        source = Picture.create(frame_info(name, (64, 4)))
        for array in source.arrays:
            array[...] = np.random.default_rng(5).integers(0, 65536, array.shape)
        for target_name in ("gray", "gray10le", "gray16le"):
            check(compiling_runtime, source, Picture.create(frame_info(target_name, (64, 4))))


def test_device_without_shared_memory(cpu: CPUContext, opencl: OpenCLContext):
    opencl.shares_host_memory = False
    runtime = create_runtime(opencl)
    source = Picture.create(frame_info("rgb24", (65, 7)), padding=5, shift=3, seed=6)
    target = Picture.create(frame_info("yuv420p", (65, 7)), padding=9, shift=1)
    mapper = create_mapper([cpu, opencl])
    luma = target.frame.tensors[0]
    with (
        mapper.map(source.frame, AccessMode.READ) as read,
        mapper.map(target.frame, AccessMode.READ_WRITE) as written,
    ):
        runtime.run(KERNEL, read, written)
        assert mapper.audit.bytes_copied == 3 * 65 * 7 + luma.info.nbytes + 2 * 33 * 4
    assert target.guards_hold()
    expected = rgb_to_grayscale(source.arrays, source.frame.info, target.frame.info)
    assert np.array_equal(target.arrays[0], expected)


def test_threads_share_a_runtime(compiling_runtime: Runtime):
    def work(seed: int) -> None:
        for turn in range(20):
            size = (61 + turn % 3, 17)
            source = Picture.create(frame_info("rgb24", size), seed=seed)
            name = ("gray", "gray10le")[turn % 2]
            check(compiling_runtime, source, Picture.create(frame_info(name, size)))

    run_together(work, range(4))


def test_frames_that_do_not_fit_are_refused(numpy_runtime: Runtime, cpu: CPUContext):
    def picture(name: str, size: tuple[int, int]) -> Frame:
        return Picture.create(frame_info(name, size)).frame

    source = picture("rgb24", (8, 8))
    with pytest.raises(FormatError, match="does not write rgb24"):
        numpy_runtime.run(KERNEL, source, source)
    with pytest.raises(FormatError, match=r"makes \(8, 8\), but was given"):
        numpy_runtime.run(KERNEL, source, picture("gray", (8, 6)))
    with pytest.raises(KernelError, match="no parameter 'amount'"):
        numpy_runtime.run(KERNEL, source, picture("gray", (8, 8)), {"amount": 1})
    sparse = np.zeros((8, 16), np.uint8)[:, ::2]
    with pytest.raises(FormatError, match="side by side"):
        numpy_runtime.run(KERNEL, source, Frame(frame_info("gray", (8, 8)), [cpu.wrap(sparse)]))


def test_opencl_takes_opencl_frames_that_are_open(opencl_runtime: Runtime, cpu: CPUContext):
    source = Picture.create(frame_info("rgb24", (8, 8))).frame
    target = Picture.create(frame_info("gray", (8, 8))).frame
    with pytest.raises(FormatError, match="takes frames in OpenCL memory, not CPU"):
        opencl_runtime.run(KERNEL, source, target)
    mapper = create_mapper([cpu, opencl_runtime.context])
    read, written = mapper.map(source, AccessMode.READ), mapper.map(target, AccessMode.WRITE)
    written.close()
    with pytest.raises(ClosedError):
        opencl_runtime.run(KERNEL, read, written)
    read.close()


def test_programs_are_kept_on_disk(
    opencl: OpenCLContext, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    info = frame_info("rgb24", (8, 8))
    launch = KERNEL.launches(info, frame_info("gray", (8, 8)))[0]
    program.build(opencl, KERNEL, launch)
    (kept,) = cache_folder("opencl").iterdir()
    assert kept.parent == tmp_path / "xtranscode" / "opencl"
    written = kept.stat().st_mtime_ns
    program.build(opencl, KERNEL, launch)
    assert kept.stat().st_mtime_ns == written
    kept.write_bytes(kept.read_bytes()[:-1])
    program.build(opencl, KERNEL, launch)
    assert kept.stat().st_mtime_ns != written
    monkeypatch.setenv("XDG_CACHE_HOME", "/proc/nowhere")
    program.build(opencl, KERNEL, launch)


def test_a_source_that_does_not_compile_says_why(opencl: OpenCLContext):
    broken = parse("/* broken: it is.\n */\nKERNEL void broken_samples(void) { no_such_name; }\n")[
        "broken"
    ]
    launch = Launch(broken.source, "broken_samples", (), (1, 1))
    with pytest.raises(KernelError, match=r"(?s)kernel broken does not compile.*no_such_name"):
        program.build(opencl, broken, launch)
