"""Kernels on SYCL, beyond the samples that test_gray_runtimes compares: memory, refusals, words."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from bridges import AccessMode, Frame, create_mapper
from bridges.errors import ClosedError, DeviceError, FormatError, KernelError, NoRouteError
from bridges.kernels import create_runtime, get
from bridges.kernels.kernel import parse
from bridges.kernels.reference import rgb_to_grayscale
from tests.bridges.memories.sycl import sycl_backend
from tests.bridges.picture import Picture, frame_info
from tests.helpers.threads import run_together

KERNEL = get("rgb_to_grayscale")
HEAD = "/* broken: it is.\n * reads rgb24\n * writes gray\n * kind gray\n */\n"
ARGUMENTS = (
    "GLOBAL u8 *target, u32 stride, GLOBAL const u8 *source, u32 stride0, u32 first, u32 columns, "
    "u32 rows, u32 red, u32 green, u32 blue, i32 bias"
)


@pytest.fixture(scope="module")
def backend():
    return sycl_backend()


@pytest.fixture
def frames(sycl_runtime, cpu):
    """Return a small picture and its place, both mapped, and what the one becomes."""
    source = Picture.create(frame_info("rgb24", (8, 8)), seed=2)
    target = Picture.create(frame_info("gray", (8, 8)))
    mapper = create_mapper([cpu, sycl_runtime.context])
    with (
        mapper.map(source.frame, AccessMode.READ) as read,
        mapper.map(target.frame, AccessMode.WRITE) as written,
    ):
        yield read, written


@pytest.mark.parametrize("usm_type", ["shared", "host", "device"])
def test_frames_in_unified_shared_memory(backend, usm_type):
    context = backend.create("opencl", usm_type=usm_type)
    source = Picture.create(frame_info("nv12", (66, 6)), seed=7)
    place = frame_info("gray", (66, 6))
    read = Frame(source.frame.info, [context.allocate(plane) for plane in source.frame.info.planes])
    written = Frame(place, [context.allocate(plane) for plane in place.planes])
    for tensor, array in zip(read.tensors, source.arrays, strict=True):
        context.queue.memcpy(tensor.memory, np.ascontiguousarray(array), array.nbytes)
    create_runtime(context).run(KERNEL, read, written)
    found = np.empty((6, 66), np.uint8)
    context.queue.memcpy(found, written.tensors[0].memory, found.nbytes)
    assert np.array_equal(found, rgb_to_grayscale(source.arrays, source.frame.info, place))


def test_a_device_with_memory_of_its_own_is_copied_to(backend, cpu):
    context = backend.create("opencl", usm_type="device")
    context.shares_host_memory = False
    source = Picture.create(frame_info("rgb24", (65, 7)), padding=5, shift=3, seed=6)
    target = Picture.create(frame_info("gray10le", (65, 7)), padding=9, shift=1)
    mapper = create_mapper([cpu, context])
    with (
        mapper.map(source.frame, AccessMode.READ) as read,
        mapper.map(target.frame, AccessMode.WRITE) as written,
    ):
        create_runtime(context).run(KERNEL, read, written)
    assert mapper.audit.bytes_copied == 3 * 65 * 7 + 2 * 65 * 7
    assert target.guards_hold()
    expected = rgb_to_grayscale(source.arrays, source.frame.info, target.frame.info)
    assert np.array_equal(target.arrays[0], expected)


def test_it_names_its_device(sycl_runtime):
    device = sycl_runtime.context.device
    assert sycl_runtime.name == f"SYCL: {device.name} ({device.selector})"


def test_it_takes_sycl_frames_that_are_open(sycl_runtime, frames):
    read, written = frames
    host = Picture.create(frame_info("rgb24", (8, 8))).frame
    with pytest.raises(FormatError, match="takes frames in SYCL memory, not CPU"):
        sycl_runtime.run(KERNEL, host, written)
    written.close()
    with pytest.raises(ClosedError):
        sycl_runtime.run(KERNEL, read, written)


def test_a_closed_context_runs_nothing(backend, cpu):
    context = backend.create("opencl")
    runtime = create_runtime(context)
    mapper = create_mapper([cpu, context])
    source = Picture.create(frame_info("rgb24", (8, 8))).frame
    target = Picture.create(frame_info("gray", (8, 8))).frame
    with (
        mapper.map(source, AccessMode.READ) as read,
        mapper.map(target, AccessMode.WRITE) as written,
    ):
        context.close()
        with pytest.raises(ClosedError):
            runtime.run(KERNEL, read, written)


@pytest.mark.parametrize(
    ("body", "complaint"),
    [
        ("{ no_such_name; }", r"(?s)kernel broken does not compile.*no_such_name"),
        ("{ }", "no entry point broken_words"),
    ],
)
def test_a_wrong_source_says_why(sycl_runtime, frames, body, complaint):
    broken = parse(f"{HEAD}KERNEL void broken_other(void) {body}\n")["broken"]
    with pytest.raises(KernelError, match=complaint):
        sycl_runtime.run(broken, *frames)


@pytest.mark.parametrize(("shift", "entry"), [(0, 1), (4, 1), (2, 2), (1, 2)])
@pytest.mark.parametrize("moved", ["source", "target"])
def test_words_are_read_and_written_at_their_multiples_alone(
    sycl_runtime, cpu, moved, shift, entry
):
    """A processor works on others too, so that the samples cannot tell."""
    entries = enumerate(("words", "samples"), start=1)
    bodies = [
        f"KERNEL void which_{name}({ARGUMENTS}) {{ *target = {n}; }}\n" for n, name in entries
    ]
    which = parse(HEAD.replace("broken", "which") + "".join(bodies))["which"]
    shifts = {"source": 0, "target": 0, moved: shift}
    source = Picture.create(frame_info("rgb24", (8, 8)), shift=shifts["source"])
    target = Picture.create(frame_info("gray", (8, 8)), shift=shifts["target"])
    mapper = create_mapper([cpu, sycl_runtime.context])
    with (
        mapper.map(source.frame, AccessMode.READ) as read,
        mapper.map(target.frame, AccessMode.WRITE) as written,
    ):
        sycl_runtime.run(which, read, written)
    assert target.arrays[0][0, 0] == entry


def test_arguments_that_do_not_fit_are_a_failure_of_the_device(sycl_runtime, frames):
    """The real runtime refuses more arguments than the kernel takes, when it is submitted."""
    arguments = "GLOBAL u8 *target"
    entries = [f"KERNEL void few_{name}({arguments}) {{ }}\n" for name in ("words", "samples")]
    few = parse(HEAD.replace("broken", "few") + "".join(entries))["few"]
    with pytest.raises(DeviceError, match="SYCL cannot run few on"):
        sycl_runtime.run(few, *frames)


def test_drivers_that_take_neither_source_nor_spirv_are_refused(backend):
    context = backend.create("opencl")
    # There is no such device on a machine without a GPU: this one pretends.
    context.device = dataclasses.replace(context.device, backend="cuda", kind="gpu")
    with pytest.raises(NoRouteError, match=r"cuda takes neither.*sycl:opencl:gpu"):
        create_runtime(context)


def test_threads_wait_for_their_own_kernels(backend, cpu):
    """Each result is compared as soon as its run returned, while others still use the queue."""
    context = backend.create("opencl")
    runtime = create_runtime(context)
    mapper = create_mapper([cpu, context])

    def work(seed: int) -> None:
        source = Picture.create(frame_info("rgb24", (640, 120)), seed=seed)
        target = Picture.create(frame_info("gray", (640, 120)))
        expected = rgb_to_grayscale(source.arrays, source.frame.info, target.frame.info)
        with (
            mapper.map(source.frame, AccessMode.READ) as read,
            mapper.map(target.frame, AccessMode.WRITE) as written,
        ):
            for _ in range(50):
                target.arrays[0][...] = ~expected
                runtime.run(KERNEL, read, written)
                assert np.array_equal(target.arrays[0], expected)

    run_together(work, range(4))
