"""gamma: a power of R'G'B' signals, by the table that the kernel reads."""

from typing import Any

import numpy as np
import numpy.typing as npt

from bridges.kernels.reference.pixels import Pixels

__all__ = ["gamma"]


def gamma(p: Pixels, _x: Any, _y: Any, curve: npt.NDArray[np.int32]) -> Pixels:
    """Return ``c ** (1 / value)`` of each signal; see `bridges.kernels.families.gamma`."""
    return p.map(lambda c: curve[c].astype(np.int64))
