"""What a device carries to the host by itself, what is kept of NVDEC, and waits for the driver."""

from __future__ import annotations

import gc
import importlib
import threading
import weakref

import numpy as np
import pytest

from bridges import TensorInfo

LAYOUT = TensorInfo((36, 50), np.dtype("u1"))
"""Of 1,800 bytes, which are no whole number of words of 16."""


@pytest.fixture
def landings(cuda):
    with importlib.import_module("bridges.kernels.cuda_landing").Landings(cuda, LAYOUT) as made:
        yield made


def land(cuda, landings, number):
    """Have the device write a number; return the array, and the mark behind it."""
    driver = importlib.import_module("cuda.bindings.driver")
    address, array = landings.take()
    with cuda.current:
        stream = cuda.stream_handle
        (code,) = driver.cuMemsetD8Async(landings.source, number, LAYOUT.nbytes, stream)
    assert not code
    return array, landings.carry(address)


def test_what_landed_is_there_behind_its_mark(cuda, landings):
    landed = [land(cuda, landings, number) for number in range(20)]
    for number, (array, mark) in reversed(list(enumerate(landed))):
        landings.wait(mark)
        assert array.shape == LAYOUT.shape
        assert (array == number).all()


def test_marks_begin_anew(cuda, landings):
    landings._last = landings._reached.value = (1 << 32) - 3
    for number in range(1, 7):
        array, mark = land(cuda, landings, number)
        landings.wait(mark)
        assert (array == number).all()
    assert mark == 3


def test_memory_is_lent_again_once_nobody_refers_to_it(landings):
    lent = [landings.take()[0] for _ in range(4)]
    assert len(set(lent)) == 4
    assert [landings.take()[0] for _ in range(8)] == 2 * lent


@pytest.mark.parametrize(
    "part",
    [lambda array: array, lambda array: array[3:, ::2], memoryview, lambda array: array.base],
    ids=["itself", "view", "memoryview", "base"],
)
def test_what_somebody_holds_is_not_lent_again(landings, part):
    address, array = landings.take()
    held = part(array)
    del array
    assert address not in [landings.take()[0] for _ in range(8)]
    del held
    # It was passed by, and went back to where new memory comes from.
    gc.collect()
    places = [landings.take() for _ in range(8)]
    assert address in [address for address, _ in places]


def test_what_somebody_does_to_an_array_is_not_seen_in_the_next(landings):
    for _ in range(8):
        _, array = landings.take()
        assert (array.shape, array.flags.writeable) == (LAYOUT.shape, True)
        array.flags.writeable = False
        gone = weakref.ref(array)
        del array
        assert gone() is None


def test_many_are_held_at_a_time(cuda, landings):
    landed = [land(cuda, landings, number) for number in range(40)]
    landings.wait(landed[-1][1])
    for number, (array, _) in enumerate(landed):
        assert (array == number).all()


def test_a_thread_carries_that_has_entered_no_context(cuda, landings):
    driver = importlib.import_module("cuda.bindings.driver")
    address, array = landings.take()
    np.copyto(array, 1)
    found = []

    def work():
        current = driver.cuCtxGetCurrent()
        found.extend([int(current[1]), landings.carry(address)])

    thread = threading.Thread(target=work)
    with cuda.current:
        driver.cuMemsetD8Async(landings.source, 5, LAYOUT.nbytes, cuda.stream_handle)
    thread.start()
    thread.join()
    assert found[0] == 0
    landings.wait(found[1])
    assert (array == 5).all()


def test_the_device_s_memory_goes_when_they_are_closed(cuda, landings):
    array, mark = land(cuda, landings, 3)
    landings.wait(mark)
    assert cuda.count.taken >= LAYOUT.nbytes
    landings.close()
    assert cuda.count.taken == 0
    assert (array == 3).all()


def test_arrays_outlive_what_lent_them(cuda, landings):
    array, _ = land(cuda, landings, 7)
    landings.close()
    landings.close()
    assert (array == 7).all()
    cuda.close()
    assert (array == 7).all()


def test_a_decoder_is_kept_for_each_context_once(cuda):
    nvcuvid = importlib.import_module("bridges.native.nvcuvid")
    with cuda.current:
        kept = nvcuvid.keep_ready(cuda.cuda_handle)
        assert kept
        assert nvcuvid.keep_ready(cuda.cuda_handle) == kept


def test_calls_give_the_lock_away_while_the_driver_is_busy(cuda):
    library = importlib.import_module("bridges.backends.cuda_driver")
    held = library.quick()
    with cuda.busy:
        with cuda.busy:
            assert library.quick() is not held
        assert library.quick() is not held
        array = cuda.allocate(LAYOUT)
    assert library.quick() is held
    array.close()
