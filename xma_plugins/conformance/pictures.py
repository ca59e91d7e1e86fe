"""The pictures that are sent to plugins, and what is found in those that are received."""

import hashlib
import threading
from typing import TYPE_CHECKING, Any

import numpy as np

from bridges.backends.cpu import CPUContext
from bridges.backends.host_array import array_over
from bridges.frame import FrameInfo
from xma_plugins.buffers import BufferType
from xma_plugins.conformance.setup import FIRST_PTS, PTS_STEP, TIME_BASE, Setup
from xma_plugins.frames import BufferRef, XmaDataBuffer, XmaFrame, padded_planes
from xma_plugins.host_frames import host_side, to_host
from xma_plugins.side_data import SideData, SideDataType

if TYPE_CHECKING:
    from xma_plugins.device import Device

__all__ = ["HOLDER", "Counter", "data_digest", "digest", "marked", "picture", "pts_of"]

_HOST = CPUContext()
HOLDER = "the check"
"""Of the device buffers that pictures are sent in."""

_SCRIBBLE = 0xA5
_MARK = SideDataType.RC_FSFA
"""No plugin of the package reads or makes it."""


class Counter:
    """How many planes of a check's pictures are held, and their side data. Thread-safe.

    Attributes
    ----------
    held : int
        Planes.
    marks : list of SideData
        That was sent, held or not.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.held = 0
        self.marks: list[SideData] = []

    def add(self, number: int) -> None:
        """Count planes."""
        with self._lock:
            self.held += number


def pts_of(setup: Setup, index: int) -> int | None:
    """Return the time of what is sent as number ``index``."""
    if setup.packets:
        return setup.packets[index][1]
    return FIRST_PTS + PTS_STEP * index


def picture(setup: Setup, index: int, counter: Counter, device: "Device | None") -> XmaFrame:
    """Return picture number ``index``: the same samples each time, in new memory.

    Samples are overwritten as soon as nobody holds them.

    Parameters
    ----------
    setup : Setup
        What it is like.
    index : int
        Which.
    counter : Counter
        Counts its planes for as long as they are held.
    device : Device or None
        Where to have it in device buffers; None for host memory.
    """
    info = setup.info
    random = np.random.default_rng(index)
    planes = []
    for layout in padded_planes(info):
        memory = np.zeros(layout.span, np.uint8)
        array = array_over(memory, layout)
        codes = random.integers(1 << info.format.bits, size=layout.shape, dtype=np.uint16)
        array[...] = codes << info.format.shift
        planes.append(_plane(array, memory, counter, device))
    frame = XmaFrame(info, planes, pts=pts_of(setup, index), time_base=TIME_BASE)
    counter.marks.append(frame.put_side_data(_MARK, index.to_bytes(4, "little")))
    return frame


def _plane(array: Any, memory: Any, counter: Counter, device: "Device | None") -> BufferRef:
    counter.add(1)
    if device is None:

        def returned() -> None:
            memory[:] = _SCRIBBLE
            counter.add(-1)

        return BufferRef(_HOST.wrap(array), on_last=returned)
    buffer = device.allocate(memory.size, holder=HOLDER)
    assert buffer.data is not None
    buffer.data[:] = memory
    buffer.write()

    def freed() -> None:
        buffer.close()
        counter.add(-1)

    layout = _HOST.wrap(array).info
    return BufferRef(buffer.view(layout), buffer=buffer, on_last=freed)


def marked(frame: XmaFrame) -> int | None:
    """Return which picture the side data of a frame says that it is."""
    side_data = frame.side_data(_MARK)
    return None if side_data is None else int.from_bytes(side_data.buffer, "little")


def digest(frame: XmaFrame) -> str:
    """Return a short text that is the same for the same samples in the same form."""
    info = frame.info
    assert info is not None
    found = hashlib.sha256(_form(info).encode())
    if frame.buffer_type is BufferType.DEVICE:
        for plane in frame.planes:
            found.update(host_side(plane).tobytes())
    else:
        with to_host(frame) as here:
            for plane in here.planes:
                found.update(plane.tensor.handle("array").tobytes())
    return found.hexdigest()[:12]


def data_digest(data: XmaDataBuffer) -> str:
    """Return a short text that is the same for the same bytes."""
    return hashlib.sha256(bytes(data.data)).hexdigest()[:12]


def _form(info: FrameInfo) -> str:
    return f"{info.format.name} {info.width}x{info.height}"
