"""DLPack capsules, as consumers see them."""

from __future__ import annotations

import ctypes
import gc
import weakref

import numpy as np
import pytest

from bridges import TensorInfo
from bridges.backends.host_array import array_at
from bridges.native import dlpack


class Memory:
    """A block of host memory that can be watched."""

    def __init__(self):
        self.array = np.arange(24, dtype=np.uint16).reshape(4, 6)
        self.info = TensorInfo((4, 3), np.dtype("u2"), (12, 4))


class Exporter:
    def __init__(self, memory, device=(dlpack.CPU, 0), *, versioned=True, read_only=False):
        self.memory, self.device = memory, device
        self.versioned, self.read_only = versioned, read_only

    def __dlpack_device__(self):
        return self.device

    def __dlpack__(self, **options):
        memory = self.memory
        address, writeable = memory.array.ctypes.data, not self.read_only
        return dlpack.capsule(
            array_at(address, memory.info, owner=memory, writeable=writeable),
            device=self.device,
            max_version=options.get("max_version") if self.versioned else None,
        )


@pytest.mark.parametrize("versioned", [False, True])
def test_numpy_takes_the_same_memory(versioned):
    memory = Memory()
    watched, expected = weakref.ref(memory), memory.array[:, ::2].copy()
    array = np.from_dlpack(Exporter(memory, versioned=versioned))
    assert array.ctypes.data == memory.array.ctypes.data
    memory.array[0, 0] = expected[0, 0] = 77
    del memory
    gc.collect()
    assert np.array_equal(array, expected)
    assert watched() is not None
    del array
    assert watched() is None


def test_read_only_is_told():
    array = np.from_dlpack(Exporter(Memory(), read_only=True))
    assert not array.flags.writeable
    assert np.from_dlpack(Exporter(Memory())).flags.writeable
    with pytest.raises(BufferError, match=r"[Rr]ead"):
        Exporter(Memory(), versioned=False, read_only=True).__dlpack__()


@pytest.mark.parametrize("versioned", [False, True])
def test_a_capsule_that_nobody_takes_lets_go(versioned):
    memory = Memory()
    watched = weakref.ref(memory)
    version = {"max_version": (1, 0)} if versioned else {}
    capsule = Exporter(memory, versioned=versioned).__dlpack__(**version)
    del memory
    assert watched() is not None
    del capsule
    assert watched() is None


@pytest.mark.parametrize("versioned", [False, True])
def test_a_capsule_that_is_refused_lets_go(versioned):
    memory = Memory()
    watched = weakref.ref(memory)
    # NumPy drops the capsule while its own exception is on the way.
    with pytest.raises((RuntimeError, BufferError), match="device"):
        np.from_dlpack(Exporter(memory, (dlpack.ONE_API, 0), versioned=versioned))
    with pytest.raises(ZeroDivisionError):
        (Exporter(memory).__dlpack__(), 1 // 0)
    del memory
    gc.collect()
    assert watched() is None


@pytest.mark.parametrize("versioned", [False, True])
def test_the_structure_of_memory_that_the_host_cannot_read(versioned):
    info = TensorInfo((4, 6), np.dtype("f4"), (64, 4))
    address = 1 << 46
    capsule = dlpack.capsule(
        array_at(address, info, owner=None, writeable=True),
        device=(dlpack.CUDA, 3),
        max_version=(1, 1) if versioned else None,
    )
    name = b"dltensor_versioned" if versioned else b"dltensor"
    structure = dlpack.DLManagedTensorVersioned if versioned else dlpack.DLManagedTensor
    pointer = ctypes.pythonapi.PyCapsule_GetPointer
    pointer.restype, pointer.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]
    managed = structure.from_address(pointer(capsule, name))
    tensor = managed.dl_tensor
    assert tensor.data + tensor.byte_offset == address
    assert (tensor.device_type, tensor.device_id) == (2, 3)
    assert (tensor.code, tensor.bits, tensor.lanes) == (2, 32, 1)
    assert tensor.shape[: tensor.ndim] == [4, 6]
    assert tensor.strides[: tensor.ndim] == [16, 1]
    assert managed.deleter
    if versioned:
        assert managed.major == 1
        assert managed.flags == 0


def test_samples_that_dlpack_does_not_know():
    times = TensorInfo((2,), np.dtype("M8[s]"))
    uneven = TensorInfo((2, 2), np.dtype("u2"), (5, 2))
    memory = Memory()
    for info in (times, uneven):
        array = array_at(memory.array.ctypes.data, info, owner=memory, writeable=True)
        with pytest.raises(BufferError):
            dlpack.capsule(array, device=(dlpack.CPU, 0))
