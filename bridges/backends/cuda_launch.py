"""Kernels as NVIDIA's driver launches them again and again."""

import ctypes

from bridges.backends.cuda_driver import quick

__all__ = ["CUDALaunch"]


class _LaunchConfig(ctypes.Structure):
    """``CUlaunchConfig`` (cuda.h)."""

    _fields_ = (
        ("grid", ctypes.c_uint * 3),
        ("block", ctypes.c_uint * 3),
        ("shared_bytes", ctypes.c_uint),
        ("stream", ctypes.c_void_p),
        ("attributes", ctypes.c_void_p),
        ("attribute_count", ctypes.c_uint),
    )


class CUDALaunch:
    """A kernel, its grid and its stream, told once; telling it at each launch takes thrice as long.

    Parameters
    ----------
    entry : int
        ``CUkernel``; whoever launches keeps what it is part of.
    grid, block : tuple of int
        Blocks, and threads of a block, in three dimensions.
    stream : int
        Where to put it, but for the null stream. No context has to be current: a ``CUkernel`` runs
        in that of the stream (``cuLaunchKernel`` in the driver's reference).
    pointers : ctypes array
        Where each argument lies, which the driver reads at each launch; the caller keeps what they
        point to.
    """

    def __init__(
        self,
        entry: int,
        grid: tuple[int, int, int],
        block: tuple[int, int, int],
        stream: int,
        pointers: "ctypes.Array[ctypes.c_void_p]",
    ) -> None:
        config = _LaunchConfig(grid, block, 0, stream, None, 0)
        self._keep = config, pointers
        self._arguments = ctypes.addressof(config), entry, ctypes.addressof(pointers), None

    def start(self) -> int:
        """Launch it; return the driver's code for `check_code`."""
        code: int = quick().cuLaunchKernelEx(*self._arguments)
        return code
