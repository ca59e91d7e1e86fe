"""What every kernel promises, tried alike: the reference's samples, bit by bit, everywhere."""

from collections.abc import Iterable

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from bridges import MemoryType
from bridges.errors import FormatError, KernelError
from bridges.formats import PIXEL_FORMATS
from bridges.frame import FrameInfo
from bridges.kernels import Kernel, Runtime, get, names, reference
from tests.bridges.kernel_bench import check_kernel, target_for
from tests.bridges.kernel_cases import CASES
from tests.bridges.picture import RANGES, Picture, frame_info
from tests.helpers.threads import run_together

SIZES = ((1, 1), (127, 35))
KERNELS = [(name, values) for name in names() for values in CASES.get(name, [])]
# SYCL has the compiler of OpenCL, and no cache: it is tried with one set of parameters each.
RUNS = [
    (runtime, name, values)
    for name, values in KERNELS
    for runtime in ("opencl_runtime", "sycl_runtime", "cuda_runtime")
    if runtime != "sycl_runtime" or values is CASES[name][0]
]
COMMON = ("rgb24", "rgba64le", "gbrp10le", "nv12", "yuv420p10le", "uyvy422", "yuv410p")
FEW = ("nv12", "rgb24", "gbrp10le")
WHOLE = ("flip", "invert", "resize", "rgb_to_grayscale")


@pytest.fixture
def runtime(request: pytest.FixtureRequest) -> Runtime:
    return request.getfixturevalue(request.param)


@pytest.fixture(params=["opencl_runtime", "sycl_runtime", "cuda_runtime"])
def compiling_runtime(request: pytest.FixtureRequest) -> Runtime:
    return request.getfixturevalue(request.param)


def check_case(runtime: Runtime, kernel: Kernel, info: FrameInfo, values, **layout: int) -> bool:
    """Check one run; return False where the kernel refuses such a picture, in words."""
    source = Picture.create(info, seed=3, **layout)
    previous = Picture.create(info, seed=4) if kernel.takes_previous else None
    try:
        target = target_for(kernel, info, values, **layout)
    except (FormatError, KernelError):
        return False
    check_kernel(runtime, kernel, source, target, values, previous)
    return True


def test_every_kernel_is_tried():
    assert set(CASES) == set(names())
    # Conversions are what lies around point kernels: reading and storing pixels is all they do.
    assert all(hasattr(reference, name) or get(name).kind == "convert" for name in names())


@pytest.mark.parametrize(("runtime", "name", "values"), RUNS, ids=str, indirect=["runtime"])
def test_formats(runtime: Runtime, name: str, values):
    kernel = get(name)
    done = 0
    for format_name in formats_for(runtime, kernel, values):
        # Edges have programs of their own; the rarer formats are tried in whole blocks.
        sizes = SIZES if format_name in COMMON else ((128, 36),)
        for size, colour_range in zip(sizes, RANGES, strict=False):
            info = frame_info(format_name, size, colour_range)
            done += check_case(runtime, kernel, info, values)
    assert done > 0


def formats_for(runtime: Runtime, kernel: Kernel, values) -> Iterable[str]:
    """Return all formats where a compiler's time is well spent, else some of each sort.

    Families read formats by views that they share; a quarter of the formats tries these in each.
    SYCL has the compiler of OpenCL; what lies around point kernels is tried by one of them; and a
    family reads formats alike, whatever its parameters.
    """
    is_sycl = runtime.context.memory_type is MemoryType.SYCL
    if is_first(kernel, values) and kernel.kind != "convert" and not is_sycl:
        if kernel.name in WHOLE:
            return kernel.formats_read
        return dict.fromkeys([*among(kernel, COMMON), *kernel.formats_read[::4]])
    if kernel.kind == "point" and not is_first(kernel, values):
        return among(kernel, FEW[:1] if is_sycl else FEW)
    return among(kernel, FEW if is_sycl else COMMON)


def is_first(kernel: Kernel, values) -> bool:
    """Whether it is these parameters of this kernel that stand for its family."""
    first = "invert" if kernel.kind == "point" else kernel.name
    return kernel.name == first and values is CASES[first][0]


# Point kernels lie in one pair of entry points: where samples are is tried by one of them.
PLACED = [run for run in RUNS if get(run[1]).kind != "point" or is_first(get(run[1]), run[2])]


def among(kernel: Kernel, formats: Iterable[str]) -> list[str]:
    return [name for name in formats if name in kernel.formats_read]


@pytest.mark.parametrize(("runtime", "name", "values"), PLACED, ids=str, indirect=["runtime"])
def test_padded_strides_and_unaligned_addresses(runtime: Runtime, name: str, values):
    kernel = get(name)
    layouts = ((32, 0), (6, 0), (8, 2), (3, 1))
    for format_name in among(kernel, COMMON if is_first(kernel, values) else FEW):
        info = frame_info(format_name, (66, 9))
        for padding, shift in layouts:
            check_case(runtime, kernel, info, values, padding=padding, shift=shift)


@settings(
    max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    case=st.sampled_from(KERNELS),
    format_name=st.sampled_from(COMMON),
    size=st.tuples(st.integers(1, 70), st.integers(1, 19)),
    padding=st.integers(0, 40),
    shift=st.integers(0, 17),
)
def test_any_size_and_stride(compiling_runtime, case, format_name, size, padding, shift):
    kernel = get(case[0])
    assume(format_name in kernel.formats_read)
    info = frame_info(format_name, size)
    check_case(compiling_runtime, kernel, info, case[1], padding=padding, shift=shift)


@pytest.mark.parametrize(("runtime", "name", "values"), PLACED, ids=str, indirect=["runtime"])
def test_in_place(runtime: Runtime, name: str, values):
    kernel = get(name)
    for format_name in set(COMMON) & set(kernel.formats_read):
        picture = Picture.create(frame_info(format_name, (67, 9)), seed=5)
        info = picture.frame.info
        try:
            made = kernel.output(info, **values)
        except (FormatError, KernelError):
            continue
        if made == info and kernel.in_place(info, info):
            check_kernel(runtime, kernel, picture, picture, values)
        elif made == info:
            with pytest.raises(FormatError, match="cannot write into the picture that it reads"):
                check_kernel(runtime, kernel, picture, picture, values)


@pytest.mark.parametrize("name", names())
def test_the_numpy_runtime_runs_the_reference(numpy_runtime: Runtime, name: str):
    kernel = get(name)
    for format_name in set(COMMON) & set(kernel.formats_read):
        info = frame_info(format_name, (33, 40))
        check_case(numpy_runtime, kernel, info, CASES[name][0], padding=5, shift=3)


def test_threads_share_a_runtime(compiling_runtime: Runtime):
    calls = [(name, CASES[name][0]) for name in ("invert", "resize", "gaussian_blur", "histogram")]

    def work(seed: int) -> None:
        for turn in range(3):
            for name, values in calls:
                info = frame_info(FEW[(seed + turn) % 2], (40, 20 + 2 * turn))
                check_case(compiling_runtime, get(name), info, values)

    run_together(work, range(4))


@pytest.mark.parametrize("name", names())
def test_formats_are_those_of_the_table(name: str):
    kernel = get(name)
    assert kernel.formats_read
    assert set(kernel.formats_read + kernel.formats_written) <= PIXEL_FORMATS.keys()
