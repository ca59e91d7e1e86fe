"""What the kernels of custom_kernel.cl compute, in float64.

    xtranscode kernels check samples/custom_kernel.cl:grid --reference samples/custom_kernel.py

Red, green, blue and alpha are arrays of signals from 0 to 1, ``x`` and ``y`` the columns and rows
of the pixels, and the parameters those of the kernel.
"""
# ruff: noqa: ANN001, ANN201

import numpy as np


def tint(r, g, b, a, x, y, amount):
    """Move red towards white, and blue towards black."""
    return r + (1 - r) * amount, g, b * (1 - amount)


def grid(r, g, b, a, x, y, step, strength, dotted):
    """Move the pixels of every line towards white."""
    line = (x % step == 0) | (y % step == 0)
    if dotted:
        line &= (x + y) % 2 == 0
    return tuple(np.where(line, part + (1 - part) * strength, part) for part in (r, g, b))
