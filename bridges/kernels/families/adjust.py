"""What `saturation` takes beside its parameter: the weights of luma."""

import numpy as np

from bridges.frame import FrameInfo
from bridges.kernels.kernel import Kernel
from bridges.kernels.point import fixed_point
from bridges.kernels.weights import weights_for

__all__ = ["prepare"]


def prepare(_kernel: Kernel, info: FrameInfo, /, *, amount: float) -> tuple[np.int32, ...]:
    """Return the amount, and Kr, Kg and Kb of the picture's matrix, in 16.16 fixed point."""
    red, _, blue = (round(weight * 65536) for weight in weights_for(info)[0])
    return (fixed_point(amount), np.int32(red), np.int32(65536 - red - blue), np.int32(blue))
