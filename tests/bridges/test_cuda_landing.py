"""What a device carries to the host by itself, what is kept of NVDEC, and waits for the driver."""

from __future__ import annotations

import gc
import importlib

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
    landings._last = (1 << 32) - 3
    for number in range(6):
        array, mark = land(cuda, landings, number)
        landings.wait(mark)
        assert (array == number).all()
    assert mark == 3


def test_arrays_are_lent_again_once_nobody_refers_to_them(landings):
    lent = [landings.take()[0] for _ in range(4)]
    assert len(set(lent)) == 4
    assert [landings.take()[0] for _ in range(8)] == 2 * lent


def test_what_somebody_holds_is_not_lent_again(landings):
    address, array = landings.take()
    part = array[3:, ::2]
    del array
    others = [landings.take()[0] for _ in range(8)]
    assert address not in others
    del part
    # It was passed by, and went back to where new arrays are made.
    gc.collect()
    held = [landings.take() for _ in range(8)]
    assert address in [place[0] for place in held]


def test_many_are_held_at_a_time(cuda, landings):
    landed = [land(cuda, landings, number) for number in range(40)]
    landings.wait(landed[-1][1])
    for number, (array, _) in enumerate(landed):
        assert (array == number).all()


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
