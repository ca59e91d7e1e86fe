"""GStreamer for tests: the context, or a skip, and buffers of known bytes."""

import numpy as np

from bridges import FrameInfo
from bridges.backends.gstreamer import GStreamerContext, probe
from bridges.backends.gstreamer_caps import namespaces
from bridges.formats import pixel_format
from tests.helpers.require import require


def open_gstreamer():
    found = probe()
    require("gstreamer", found.available, f"{found.reason}; try: {found.remedy}")
    return GStreamerContext()


def info_of(name="gray", size=(64, 36), **more):
    return FrameInfo(pixel_format(name), *size, **more)


def filled(nbytes):
    """Return a buffer of running numbers, and the numbers."""
    numbers = np.arange(nbytes, dtype=np.uint32).astype(np.uint8)
    buffer = namespaces().gst.Buffer.new_allocate(None, nbytes, None)
    buffer.fill(0, numbers.tobytes())
    return buffer, numbers
