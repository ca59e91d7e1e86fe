"""Pictures for the tests of sessions and plugins."""

import numpy as np

from bridges.formats import pixel_format
from bridges.frame import FrameInfo
from xma_plugins.frames import XmaFrame


def picture(name="yuv420p", width=33, height=17, *, seed=0, pts=None):
    """Return a picture in host memory whose samples are random, but for the bits that none has."""
    info = FrameInfo(pixel_format(name), width, height)
    frame = XmaFrame.allocate(info)
    frame.pts = pts
    random = np.random.default_rng(seed)
    for array in arrays(frame):
        array[...] = random.integers(1 << info.format.bits, size=array.shape) << info.format.shift
    return frame


def gray(width, height, pts):
    """Return a gray picture of one value."""
    frame = XmaFrame.allocate(FrameInfo(pixel_format("gray"), width, height))
    frame.pts = pts
    return frame


def arrays(frame):
    """Return the planes of a picture in host memory."""
    return [plane.tensor.handle("array") for plane in frame.planes]


def dense(frame):
    """Return all samples of a picture in host memory, one after the other."""
    return b"".join(np.ascontiguousarray(array).tobytes() for array in arrays(frame))
