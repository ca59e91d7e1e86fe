"""Kernels on NVIDIA GPUs: what the matrix of pictures does not cover."""

from __future__ import annotations

import importlib
import threading
import time

import numpy as np
import pytest

from bridges import AccessMode, Frame, MemoryType, TensorInfo, create_mapper
from bridges.backends.cpu import CPUContext
from bridges.backends.ffmpeg import FFmpegContext
from bridges.element_table import create_element
from bridges.errors import ClosedError, DeviceNotFoundError, FormatError, KernelError
from bridges.kernels import create_runtime, get
from bridges.kernels.code_cache import cache_folder
from bridges.kernels.kernel import parse
from bridges.kernels.launch import Launch
from bridges.kernels.reference import rgb_to_grayscale
from tests.bridges.memories.cuda import checked, fetch, needs_cuda, store
from tests.bridges.picture import Picture, frame_info
from tests.helpers.require import require

KERNEL = get("rgb_to_grayscale")
READ, WRITE = AccessMode.READ, AccessMode.WRITE


@pytest.fixture
def cuda(cuda_runtime):
    return cuda_runtime.context


@pytest.fixture(scope="module")
def nvrtc():
    """Return the compiling half, which needs no GPU."""
    try:
        compiling = importlib.import_module("bridges.kernels.nvrtc")
        compiling.compiler_version()
    except (ImportError, DeviceNotFoundError) as error:
        require("cuda", False, str(error))
    return compiling


def allocate(context, info):
    return Frame(info, [context.allocate(plane) for plane in info.planes])


def launch_of(source="rgb24", target="gray"):
    return KERNEL.launches(frame_info(source, (8, 8)), frame_info(target, (8, 8)))[0]


@pytest.mark.parametrize("name", KERNEL.formats_read)
def test_every_format_compiles(nvrtc, name):
    for target in ("gray", "p010le"):
        code = nvrtc.build(KERNEL, launch_of(name, target), "sm_90")
        assert code.startswith(b"\x7fELF")
        assert all(f"rgb_to_grayscale_{entry}".encode() in code for entry in ("words", "samples"))


def test_code_is_kept_on_disk(nvrtc, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    code = nvrtc.build(KERNEL, launch_of(), "sm_90")
    (kept,) = cache_folder("cuda").iterdir()
    assert kept.parent == tmp_path / "xtranscode" / "cuda"
    written = kept.stat().st_mtime_ns
    assert nvrtc.build(KERNEL, launch_of(), "sm_90") == code
    assert kept.stat().st_mtime_ns == written
    kept.write_bytes(kept.read_bytes()[:-1])
    assert nvrtc.build(KERNEL, launch_of(), "sm_90") == code
    assert kept.stat().st_mtime_ns != written
    # Other devices, other macros and other compilers have code of their own.
    nvrtc.build(KERNEL, launch_of(), "sm_80")
    nvrtc.build(KERNEL, launch_of("bgr24"), "sm_90")
    monkeypatch.setattr(nvrtc, "compiler_version", lambda: "0.0")
    nvrtc.build(KERNEL, launch_of(), "sm_90")
    assert len(list(cache_folder("cuda").iterdir())) == 4
    monkeypatch.setenv("XDG_CACHE_HOME", "/proc/nowhere")
    nvrtc.build(KERNEL, launch_of(), "sm_90")


def test_a_source_that_does_not_compile_says_why(nvrtc):
    text = "/* broken: it is.\n */\nKERNEL void broken_words(void) { no_such_name; }\n"
    broken = parse(text)["broken"]
    launch = Launch(text, "broken_words", (), (1, 1))
    with pytest.raises(KernelError, match=r"(?s)broken.*no_such_name"):
        nvrtc.build(broken, launch, "sm_90")


def test_an_architecture_that_the_compiler_does_not_know(nvrtc):
    with pytest.raises(KernelError, match=r"(?s)does not compile.*arch"):
        nvrtc.build(KERNEL, launch_of("bgra"), "sm_19")


def test_without_the_compiler_the_error_says_what_brings_it(nvrtc, monkeypatch):
    def missing():
        raise RuntimeError("Failure finding libnvrtc.so.13, in vain")

    monkeypatch.setattr(nvrtc.nvrtc, "nvrtcVersion", missing)
    with pytest.raises(DeviceNotFoundError, match=r"libnvrtc.so.13; try: pip install"):
        nvrtc.compiler_version()


def test_through_edges_that_copy(cuda_runtime, cuda):
    cpu = CPUContext()
    source = Picture.create(frame_info("rgb24", (65, 7)), padding=5, shift=3, seed=6)
    target = Picture.create(frame_info("yuv420p", (65, 7)), padding=9, shift=1)
    mapper = create_mapper([cpu, cuda])
    luma = target.frame.tensors[0]
    with (
        mapper.map(source.frame, READ) as read,
        mapper.map(luma, WRITE) as written,
    ):
        into = Frame(target.frame.info, [written, *target.frame.tensors[1:]])
        cuda_runtime.run(KERNEL, read, into)
        assert mapper.audit.bytes_copied == 3 * 65 * 7
    assert mapper.audit.bytes_copied == 3 * 65 * 7 + 65 * 7
    assert target.guards_hold()
    expected = rgb_to_grayscale(source.arrays, source.frame.info, target.frame.info)
    assert np.array_equal(target.arrays[0], expected)


def test_frames_of_another_context_are_waited_for(cuda_runtime, cuda):
    backend = needs_cuda()
    driver = importlib.import_module("cuda.bindings.driver")
    nbytes = 1 << 28
    with backend.CUDAContext() as other, allocate(cuda, frame_info("gray", (640, 480))) as target:
        source = allocate(other, frame_info("gray", (640, 480)))
        slow = [other.allocate(TensorInfo((nbytes,), np.dtype("u1"))) for _ in range(2)]
        places = [tensor.handle("data") for tensor in slow]
        # To compile and load takes longer than what is to be waited for.
        cuda_runtime.run(KERNEL, source, target)
        with other.current:
            for _ in range(400):
                checked(driver.cuMemcpyDtoDAsync(*places, nbytes, other.stream_handle))
            luma = source.tensors[0].handle("data")
            checked(driver.cuMemsetD8Async(luma, 77, 640 * 480, other.stream_handle))
            assert int(driver.cuStreamQuery(other.stream_handle)[0]) != 0
        cuda_runtime.run(KERNEL, source, target)
        assert (fetch(target.tensors[0]) == 77).all()
        for tensor in (*slow, source):
            tensor.close()


def test_other_threads_go_on_while_one_waits(cuda_runtime, cuda):
    driver = importlib.import_module("cuda.bindings.driver")
    info, nbytes = frame_info("gray", (64, 8)), 1 << 28
    source, target = allocate(cuda, info), allocate(cuda, info)
    cuda_runtime.run(KERNEL, source, target)
    slow = [cuda.allocate(TensorInfo((nbytes,), np.dtype("u1"))) for _ in range(2)]
    with cuda.current:
        for _ in range(800):
            places = [tensor.handle("data") for tensor in slow]
            checked(driver.cuMemcpyDtoDAsync(*places, nbytes, cuda.stream_handle))
    began = time.perf_counter()
    thread = threading.Thread(target=cuda_runtime.run, args=(KERNEL, source, target))
    thread.start()
    longest, last = 0.0, began
    while thread.is_alive():
        now = time.perf_counter()
        longest, last = max(longest, now - last), now
    thread.join()
    waited = last - began
    assert waited > 0.04, "the stream is not slow enough to tell"
    assert longest < waited / 2
    for tensor in (*slow, source, target):
        tensor.close()


def test_what_is_no_open_frame_of_the_device_is_refused(cuda_runtime, cuda):
    info = frame_info("gray", (8, 8))
    host = Picture.create(info).frame
    target = allocate(cuda, info)
    with pytest.raises(FormatError, match="takes frames in CUDA memory, not CPU"):
        cuda_runtime.run(KERNEL, host, target)
    with pytest.raises(KernelError, match="no parameter 'amount'"):
        cuda_runtime.run(KERNEL, target, target, {"amount": 1})
    source = allocate(cuda, info)
    cuda_runtime.run(KERNEL, source, target)
    source.close()
    with pytest.raises(ClosedError):
        cuda_runtime.run(KERNEL, source, target)
    target.close()


def test_the_runtime_s_name(cuda_runtime):
    assert cuda_runtime.name.startswith("CUDA: NVIDIA")
    assert type(create_runtime(cuda_runtime.context)) is type(cuda_runtime)


def test_the_kernel_element(cuda):
    array = np.random.default_rng(8).integers(0, 256, (36, 50, 3), np.uint8)
    info = frame_info("rgb24", (50, 36))
    with (
        allocate(cuda, info) as frame,
        create_element("kernel", [cuda], call="rgb_to_grayscale") as kernel,
    ):
        store(frame.tensors[0], array)
        with kernel.process(frame) as result:
            assert result.memory_type is MemoryType.CUDA
            expected = rgb_to_grayscale([array], info, result.info)
            assert np.array_equal(fetch(result.tensors[0]), expected)


@pytest.mark.parametrize(
    ("codec", "pixel_format", "on_gpu"),
    [("libx264", "yuv420p", "nv12"), ("libx265", "yuv420p10le", "p010le")],
)
def test_from_the_decoder_to_gray_without_a_copy(cuda_runtime, cuda, codec, pixel_format, on_gpu):
    from tests.bridges.cuda_work import NVDEC

    clip = NVDEC(codec=codec, pixel_format=pixel_format)
    source = FFmpegContext("cuda")
    mapper = create_mapper([source, cuda])
    assert mapper.explain() == "FFmpeg > CUDA   zero-copy"
    seen = 0
    for decoded, reference in zip(clip.on_gpu(cuda), clip.decode(), strict=True):
        wrapped = source.wrap(decoded)
        assert wrapped.info.format.name == on_gpu
        (luma, *_) = (
            np.frombuffer(plane, np.uint8)
            .view(wrapped.info.format.dtype)
            .reshape(plane.height, -1)[:, : plane.width]
            for plane in reference.planes
        )
        info = KERNEL.output(wrapped.info)
        with mapper.map(wrapped, READ) as read, allocate(cuda, info) as target:
            cuda_runtime.run(KERNEL, read, target)
            assert np.array_equal(fetch(target.tensors[0]), luma)
        wrapped.close()
        seen += 1
    assert seen == 8
    assert mapper.audit.bytes_copied == 0
