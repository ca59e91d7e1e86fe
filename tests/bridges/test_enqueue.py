"""Kernels that are enqueued and waited for later, on every runtime that there is."""

from __future__ import annotations

import gc
import itertools
import threading
import weakref

import numpy as np
import pytest

from bridges import Frame, TensorFrame
from bridges.backends.cpu import CPUContext
from bridges.errors import DeviceError, FormatError, KernelError
from bridges.kernels import apply, create_runtime, get
from bridges.kernels.kernel import Kernel
from bridges.tensor import MemoryType
from tests.bridges.kernel_bench import expected_planes
from tests.bridges.picture import Picture, frame_info

SIZE = 322, 66
RUNTIMES = ("numpy", "opencl", "sycl", "cuda")


@pytest.fixture(params=RUNTIMES)
def runtime(request):
    return request.getfixturevalue(f"{request.param}_runtime")


def put(runtime, picture):
    """Return a picture in dense memory of the runtime's own."""
    info = picture.frame.info
    frame = Frame(info, [runtime.context.allocate(plane) for plane in info.planes])
    kind = runtime.context.memory_type
    for tensor, array in zip(frame.tensors, picture.arrays, strict=True):
        if kind is MemoryType.CPU:
            tensor.handle("array")[...] = array
        elif kind is MemoryType.OPENCL:
            import pyopencl as cl

            dense = np.ascontiguousarray(array)
            cl.enqueue_copy(runtime.context.queue, tensor.native, dense)
        elif kind is MemoryType.SYCL:
            dense = np.ascontiguousarray(array)
            runtime.context.queue.memcpy(tensor.memory, dense, dense.nbytes)
        else:
            from tests.bridges.memories.cuda import store

            store(tensor, np.ascontiguousarray(array))
    return frame


def samples(frame):
    """Return what a frame holds, without a wait for its queue but that of the copy itself."""
    kind = frame.memory_type
    arrays = []
    for tensor in frame.tensors:
        found = np.empty(tensor.info.shape, tensor.info.dtype)
        if kind is MemoryType.CPU:
            found[...] = tensor.handle("array")
        elif kind is MemoryType.OPENCL:
            import pyopencl as cl

            cl.enqueue_copy(tensor.context.queue, found, tensor.native)
        elif kind is MemoryType.SYCL:
            tensor.context.queue.memcpy(found, tensor.memory, found.nbytes)
        else:
            from tests.bridges.memories.cuda import fetch

            found = fetch(tensor)
        arrays.append(found)
    return arrays


def room(runtime, info):
    return Frame(info, [runtime.context.allocate(plane) for plane in info.planes])


@pytest.mark.parametrize(
    ("name", "values", "pixels"),
    [
        ("rgb_to_grayscale", {}, "rgb24"),
        ("gaussian_blur", {}, "nv12"),  # With scratch memory and tables.
        ("brightness", {"amount": 0.1}, "yuv420p10le"),
        ("denoise", {}, "nv12"),
    ],
)
def test_the_bits_are_those_of_run(runtime, name, values, pixels):
    kernel = get(name)
    source = Picture.create(frame_info(pixels, SIZE), seed=1)
    target = Picture.create(kernel.output(source.frame.info, **values))
    before = Picture.create(target.frame.info, seed=2) if kernel.takes_previous else None
    expected = expected_planes(kernel, source, target, values, before)
    last = None if before is None else put(runtime, before)
    read = put(runtime, source)
    ran, enqueued = room(runtime, target.frame.info), room(runtime, target.frame.info)
    runtime.run(kernel, read, ran, values, previous=last)
    event = runtime.enqueue(kernel, read, enqueued, values, previous=last)
    event.wait()
    assert event.is_done
    event.wait()
    found = samples(enqueued)
    assert all(map(np.array_equal, found, samples(ran)))
    assert all(map(np.array_equal, found, expected))


def test_each_begins_when_the_one_before_is_done(runtime):
    """Every kernel reads what the last one wrote: only the last is waited for."""
    blur = get("gaussian_blur")
    picture = Picture.create(frame_info("gray", (640, 360)), seed=3)
    frames = [put(runtime, picture)]
    frames += [room(runtime, picture.frame.info) for _ in range(8)]
    events = [runtime.enqueue(blur, read, made) for read, made in itertools.pairwise(frames)]
    events[-1].wait()
    assert all(event.is_done for event in events)
    found = samples(frames[-1])[0]
    for read, made in itertools.pairwise(frames):
        runtime.run(blur, read, made)
    assert np.array_equal(found, samples(frames[-1])[0])


def test_run_comes_after_what_was_enqueued(runtime):
    blur, gray = get("gaussian_blur"), get("rgb_to_grayscale")
    picture = Picture.create(frame_info("rgb24", (1280, 720)), seed=4)
    read = put(runtime, picture)
    blurred = room(runtime, picture.frame.info)
    target = room(runtime, gray.output(picture.frame.info))
    event = runtime.enqueue(blur, read, blurred)
    runtime.run(gray, blurred, target)
    assert event.is_done
    again = apply(runtime, gray, blurred)
    assert np.array_equal(samples(target)[0], samples(again)[0])


def test_it_does_not_wait_and_is_done_at_some_time(runtime):
    """So much is enqueued that the device cannot be through with it by the time it is asked."""
    blur = get("gaussian_blur")
    kind = runtime.context.memory_type
    size = {MemoryType.CPU: (320, 180), MemoryType.CUDA: (3840, 2160)}.get(kind, (1920, 1080))
    picture = Picture.create(frame_info("rgb24", size), seed=5)
    read, made = put(runtime, picture), room(runtime, picture.frame.info)
    runtime.run(blur, read, made)
    many = 500 if kind is MemoryType.CUDA else 40
    events = [runtime.enqueue(blur, read, made) for _ in range(many)]
    assert not events[-1].is_done
    # It gets there by itself: nobody waits.
    pause = threading.Event()
    while not events[-1].is_done:
        pause.wait(0.01)
    assert all(event.is_done for event in events)
    events[-1].wait()


def test_several_threads_enqueue_and_wait(runtime):
    from tests.helpers.threads import run_together

    blur = get("gaussian_blur")

    def work(seed: int) -> None:
        picture = Picture.create(frame_info("gray", (320, 120)), seed=seed)
        target = Picture.create(picture.frame.info)
        expected = expected_planes(blur, picture, target, {})
        read = put(runtime, picture)
        places = [room(runtime, picture.frame.info) for _ in range(5)]
        events = [runtime.enqueue(blur, read, place) for place in places]
        for event in events:
            event.wait()
        for place in places:
            assert np.array_equal(samples(place)[0], expected[0])

    run_together(work, range(4))


def test_what_is_wrong_is_said_at_once(runtime):
    kernel = get("rgb_to_grayscale")
    read = put(runtime, Picture.create(frame_info("rgb24", (8, 8)), seed=6))
    target = room(runtime, frame_info("gray", (8, 8)))
    with pytest.raises(KernelError, match="no parameter 'amount'"):
        runtime.enqueue(kernel, read, target, {"amount": 1})
    with pytest.raises(FormatError, match=r"makes \(8, 8\)"):
        runtime.enqueue(kernel, read, room(runtime, frame_info("gray", (9, 8))))


@pytest.mark.parametrize("compiled", ["opencl", "sycl", "cuda"])
def test_what_launches_use_outlives_their_plan_s_place(request, compiled):
    """Plans of many forms are let go of; an event keeps its own until it was waited for."""
    runtime = request.getfixturevalue(f"{compiled}_runtime")
    kernel = get("statistics")
    source = Picture.create(frame_info("gray", (640, 360)), seed=8)
    read, result = put(runtime, source), kernel.output(source.frame.info)
    target = TensorFrame(result, [runtime.context.allocate(each) for each in result.tensors])
    event = runtime.enqueue(kernel, read, target)
    plan = weakref.ref(runtime._planner.find(kernel, read, target, None, {})[0])
    runtime._planner._plans.clear()
    gc.collect()
    assert plan() is not None
    event.wait()
    assert plan() is None
    numbers = [np.zeros(each.shape, each.dtype) for each in result.tensors]
    kernel.compute(source.arrays, source.frame.info, result, numbers, {})
    assert all(map(np.array_equal, samples(target), numbers))


def test_a_wait_says_how_the_device_failed(opencl_runtime, monkeypatch):
    """No device here fails on request: the framework's event is replaced by one that does."""
    import pyopencl as cl

    class Failed:
        command_execution_status = -5

        def wait(self):
            raise cl.RuntimeError("clWaitForEvents", -5, "")

    monkeypatch.setattr(opencl_runtime, "_launch", lambda *_: Failed())
    kernel = get("rgb_to_grayscale")
    read = put(opencl_runtime, Picture.create(frame_info("rgb24", (8, 8)), seed=6))
    target = room(opencl_runtime, frame_info("gray", (8, 8)))
    event = opencl_runtime.enqueue(kernel, read, target)
    assert event.is_done
    for _ in range(2):
        with pytest.raises(DeviceError, match=r"OpenCL cannot run rgb_to_grayscale on .*: "):
            event.wait()


def test_the_pool_of_numpy_ends_with_its_runtime():
    runtime = create_runtime(CPUContext())
    kernel = get("rgb_to_grayscale")
    read = put(runtime, Picture.create(frame_info("rgb24", (8, 8)), seed=6))
    target = room(runtime, frame_info("gray", (8, 8)))
    runtime.run(kernel, read, target)
    before = set(threading.enumerate())
    event = runtime.enqueue(kernel, read, target)
    (worker,) = set(threading.enumerate()) - before
    gone = weakref.ref(runtime)
    del runtime
    gc.collect()
    assert gone() is None
    worker.join(10)
    assert not worker.is_alive()
    event.wait()


def test_numpy_raises_what_the_reference_raised(numpy_runtime, monkeypatch):
    kernel = get("rgb_to_grayscale")
    read = put(numpy_runtime, Picture.create(frame_info("rgb24", (8, 8)), seed=6))
    target = room(numpy_runtime, frame_info("gray", (8, 8)))

    def refuse(*_: object) -> None:
        raise KernelError("not today")

    with monkeypatch.context() as patch:
        patch.setattr(Kernel, "compute", refuse)
        event = numpy_runtime.enqueue(kernel, read, target)
        for _ in range(2):
            with pytest.raises(KernelError, match="not today"):
                event.wait()
    assert event.is_done
    # What comes after it runs.
    numpy_runtime.enqueue(kernel, read, target).wait()
