"""CUDA's memory in the contract suite."""

from __future__ import annotations

import importlib

import numpy as np

from bridges import MemoryType
from tests.bridges.memories.memory import Memory, strided
from tests.helpers.require import require


def needs_cuda():
    """Return the backend, or skip where cuda-core, the driver or a device is missing."""
    try:
        backend = importlib.import_module("bridges.backends.cuda")
    except ImportError as error:
        require("cuda", False, f"{error}; try: pip install 'cuda-core[cu13]'")
    found = backend.probe()
    require("cuda", found.available, f"{found.reason}; try: {found.remedy}")
    return backend


def checked(result):
    """Return what a driver call returned; these calls are the tests' own."""
    assert int(result[0]) == 0, result
    return result[1] if len(result) > 1 else None


def fetch(tensor):
    """Return copies of the samples, and all bytes between them, by the driver alone."""
    from cuda.bindings import driver

    memory = np.empty(tensor.info.span, np.uint8)
    tensor.context.stream.sync()
    with tensor.context.current:
        checked(driver.cuMemcpyDtoH(memory.ctypes.data, tensor.handle("data"), memory.nbytes))
    return strided(memory, tensor.info)


def store(tensor, samples):
    """Write all samples, and leave what lies between rows, by the driver alone."""
    from cuda.bindings import driver

    memory = fetch(tensor)
    memory[...] = samples
    with tensor.context.current:
        address = memory.ctypes.data
        checked(driver.cuMemcpyHtoD(tensor.handle("data"), address, tensor.info.span))
        checked(driver.cuCtxSynchronize())


class _CUDA(Memory):
    memory_type = MemoryType.CUDA

    def contexts(self, other=None):
        return [needs_cuda().CUDAContext()]

    def read(self, frame):
        return [fetch(tensor).copy() for tensor in frame.tensors]

    def write(self, frame, arrays):
        for tensor, samples in zip(frame.tensors, arrays, strict=True):
            store(tensor, samples)

    def address(self, tensor):
        return tensor.handle("data")

    def alive(self):
        """Return the bytes of the device's memory pool that are in use."""
        from cuda.bindings import driver

        device = checked(driver.cuDeviceGet(0))
        context = checked(driver.cuDevicePrimaryCtxRetain(device))
        checked(driver.cuCtxPushCurrent(context))
        checked(driver.cuCtxSynchronize())
        pool = checked(driver.cuDeviceGetMemPool(device))
        used = driver.CUmemPool_attribute.CU_MEMPOOL_ATTR_USED_MEM_CURRENT
        nbytes = int(checked(driver.cuMemPoolGetAttribute(pool, used)))
        checked(driver.cuCtxPopCurrent())
        checked(driver.cuDevicePrimaryCtxRelease(device))
        return nbytes


MEMORY = _CUDA()
