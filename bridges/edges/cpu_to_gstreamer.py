"""CPU > GStreamer: arrays as the memories of a Gst.Buffer, which holds them until its last user."""

from collections.abc import Callable
from typing import Any

from bridges.backends.gstreamer import GStreamerContext, GStreamerTensor
from bridges.backends.gstreamer_buffer import RELEASE, check_picture, hold, new_buffer
from bridges.context import Context
from bridges.edges.countdown import Countdown
from bridges.errors import FormatError
from bridges.frame import Frame
from bridges.native.libgstreamer import MEMORY_READ_ONLY, library
from bridges.routes import Copied, frame_edge
from bridges.tensor import AccessMode, MemoryType

__all__ = ["cpu_to_gstreamer", "give_to_gstreamer"]


def _has_other_memory(source: Context, target: Context) -> str:
    assert isinstance(target, GStreamerContext)
    return "" if target.memory == "system" else f"it takes buffers in {target.memory} memory"


# A buffer carries the time of its picture.
@frame_edge(
    MemoryType.CPU,
    MemoryType.GSTREAMER,
    copies=False,
    refusal=_has_other_memory,
    reusable=False,
)
def cpu_to_gstreamer(frame: Frame, context: Context, access: AccessMode, copied: Copied) -> Frame:
    """Map a whole frame; the arrays stay alive until GStreamer's last reference is dropped.

    Raises
    ------
    FormatError
        GStreamer has no such format or time, samples of a row are not side by side, rows are
        closer than a row is wide, or a read-only array is mapped for WRITE.
    """
    arrays = [tensor.handle("array") for tensor in frame.tensors]
    buffer, addresses = _share(frame, arrays, access, arrays.clear)
    tensors = [
        GStreamerTensor(
            buffer, buffer.peek_memory(index), 0, tensor.info, address=address, context=context
        )
        for index, (tensor, address) in enumerate(zip(frame.tensors, addresses, strict=True))
    ]
    return Frame(frame.info, tensors, parent=frame)


def give_to_gstreamer(frame: Frame) -> Any:
    """Give a host frame to GStreamer as a Gst.Buffer, and close it once nobody there reads it.

    The samples are read-only to GStreamer: an element that would write in place copies them.

    Raises
    ------
    FormatError
        As for `cpu_to_gstreamer`.
    """
    arrays = [tensor.handle("array") for tensor in frame.tensors]
    return _share(frame, arrays, AccessMode.READ, frame.close)[0]


def _share(
    frame: Frame, arrays: list[Any], access: AccessMode, done: Callable[[], None]
) -> tuple[Any, list[int]]:
    """Return a buffer over the planes, and their addresses; ``done`` is called at its end."""
    planes = [tensor.info for tensor in frame.tensors]
    check_picture(frame.info, planes)
    addresses = [_address(index, array, access) for index, array in enumerate(arrays)]
    flags = 0 if access & AccessMode.WRITE else MEMORY_READ_ONLY
    let_one_go = Countdown(len(planes), done)
    wrap = library().gst_memory_new_wrapped
    memories = [
        wrap(flags, address, plane.span, 0, plane.span, hold(let_one_go), RELEASE)
        for plane, address in zip(planes, addresses, strict=True)
    ]
    return new_buffer(frame.info, planes, memories), addresses


def _address(index: int, array: Any, access: AccessMode) -> int:
    address, is_read_only = array.__array_interface__["data"]
    if is_read_only and access & AccessMode.WRITE:
        raise FormatError(f"plane {index} is a read-only array; map it for READ, or copy it")
    return int(address)
