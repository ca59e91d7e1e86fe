"""What `gamma` takes of its parameter: the curve, as a table of all codes."""

import functools
from typing import Any

import numpy as np
import numpy.typing as npt

from bridges.frame import FrameInfo
from bridges.kernels.colour import WHITE
from bridges.kernels.kernel import Kernel

__all__ = ["prepare"]


def prepare(_kernel: Kernel, _info: FrameInfo, /, *, value: float) -> tuple[npt.NDArray[Any]]:
    """Return the code that each of the 65536 codes becomes.

    ``out = in ** (1 / value)`` of signals from 0 to 1, in binary64, rounded half up: values above 1
    brighten, as those of libavfilter's filter ``eq`` do. A shorter table would have to be
    interpolated, and the curve is too steep for that near black.
    """
    return (_curve(value),)


@functools.lru_cache(16)
def _curve(value: float) -> npt.NDArray[np.int32]:
    signals = np.arange(WHITE + 1) / WHITE
    codes = np.floor(signals ** (1 / value) * WHITE + 0.5).astype(np.int32)
    codes.setflags(write=False)
    return codes
