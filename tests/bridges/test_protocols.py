"""Other libraries take a tensor's samples with no copy, and keep them alive for themselves."""

from __future__ import annotations

import gc
import sys

import numpy as np
import pytest

from bridges import AccessMode, create_mapper
from bridges.backends.cpu import CPUContext
from bridges.backends.ffmpeg import FFmpegContext
from bridges.errors import FormatError
from tests.bridges.picture import Picture, frame_info

CPU = CPUContext()


def ffmpeg_tensor():
    frame = FFmpegContext().allocate_frame(frame_info("yuv420p10le", (65, 37)))
    return frame.tensors[1]


def cpu_tensor():
    return Picture.create(frame_info("yuv420p10le", (65, 37)), padding=6, seed=1).frame.tensors[1]


@pytest.fixture(params=[cpu_tensor, ffmpeg_tensor], ids=["cpu", "ffmpeg"])
def tensor(request):
    return request.param()


def by_interface(tensor):
    return np.asarray(tensor)


def by_dlpack(tensor):
    return np.from_dlpack(tensor)


def by_buffer(tensor):
    if sys.version_info < (3, 12):
        pytest.skip("Python asks for __buffer__ from 3.12 on")
    return np.asarray(memoryview(tensor))


WAYS = [by_interface, by_dlpack, by_buffer]


@pytest.mark.parametrize("take", WAYS)
def test_samples_are_shared(tensor, take):
    array = take(tensor)
    info = tensor.info
    assert (array.shape, array.dtype, array.strides) == (info.shape, info.dtype, info.strides)
    assert array.ctypes.data == tensor.handle("data")


@pytest.mark.parametrize("take", WAYS)
def test_samples_outlive_the_tensor(tensor, take):
    np.asarray(tensor)[...] = 777
    array = take(tensor)
    tensor.close()
    gc.collect()
    others = [type(tensor).__name__ and np.zeros(tensor.info.shape, "u2") for _ in range(8)]
    assert set(array.flat) == {777}
    assert len(others) == 8


@pytest.mark.parametrize("take", WAYS)
def test_a_read_mapping_stays_read_only(take):
    frame = FFmpegContext().allocate_frame(frame_info("gray", (64, 36)))
    with create_mapper([FFmpegContext(), CPU]).map(frame, AccessMode.READ) as mapped:
        array = take(mapped.tensors[0])
        assert not array.flags.writeable


def test_where_the_samples_are(tensor):
    assert tensor.__dlpack_device__() == (1, 0)


def test_opencv_and_torch_take_what_numpy_takes(tensor):
    torch = pytest.importorskip("torch", reason="torch is not installed")
    taken = torch.from_dlpack(tensor)
    assert taken.data_ptr() == tensor.handle("data")
    assert tuple(taken.shape) == tensor.info.shape


def test_rows_that_run_backward_are_taken_as_they_are():
    array = np.arange(24, dtype=np.uint8).reshape(4, 6)[::-1]
    taken = np.asarray(CPU.wrap(array))
    assert np.array_equal(taken, array)
    assert np.shares_memory(taken, array)


def test_memory_that_the_host_cannot_read_is_no_array(opencl):
    info = frame_info("gray", (64, 36)).planes[0]
    with (
        opencl.allocate(info) as tensor,
        pytest.raises(FormatError, match="map the tensor to the CPU first"),
    ):
        np.asarray(tensor)
