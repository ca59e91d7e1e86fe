"""FFmpeg's VA-API: the display of its device, and the pools that its surfaces come from."""

import contextlib
import ctypes as c
import threading
import weakref
from collections.abc import Hashable, Iterator
from typing import TYPE_CHECKING

from av.video.frame import VideoFrame

from bridges.backends.ffmpeg_hardware import check, new_frames_context
from bridges.backends.ffmpeg_log import uncaptured_log
from bridges.backends.vaapi import VAAPIContext
from bridges.errors import ClosedError, DeviceError, FormatError
from bridges.frame import FrameInfo
from bridges.native.libavutil import (
    AVBufferRef,
    AVFrame,
    AVHWDeviceContext,
    frame_pointer,
    library,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bridges.backends.vaapi_surface import PlaneLayout

__all__ = [
    "AVVAAPIDeviceContext",
    "FramesPool",
    "SurfacePool",
    "borrow_device",
    "display_of",
    "frames_pool",
    "open_device",
    "surface_key",
    "surface_number",
]


class AVVAAPIDeviceContext(c.Structure):
    """``AVVAAPIDeviceContext`` (libavutil/hwcontext_vaapi.h)."""

    _fields_ = (("display", c.c_void_p), ("driver_quirks", c.c_uint))


class _Reference:
    """A reference to one of FFmpeg's buffers, dropped with this object."""

    def __init__(self, reference: int) -> None:
        self._held = c.c_void_p(library().av_buffer_ref(reference))
        if not self._held:
            raise DeviceError("FFmpeg has too little memory for a reference")
        self.data = int(AVBufferRef.from_address(self._held.value or 0).data)

    def __del__(self) -> None:
        if self._held:
            library().av_buffer_unref(c.byref(self._held))


def display_of(device: int) -> int:
    """Return the ``VADisplay`` of an AVHWDeviceContext of VA-API, by its ``AVBufferRef *``."""
    context = AVHWDeviceContext.from_address(AVBufferRef.from_address(device).data)
    return int(AVVAAPIDeviceContext.from_address(context.hwctx).display or 0)


def borrow_device(device: int) -> VAAPIContext:
    """Return a context of the display that FFmpeg has opened, which stays FFmpeg's.

    Parameters
    ----------
    device : int
        ``AVBufferRef *`` of its AVHWDeviceContext; the context holds a reference of its own.
    """
    return VAAPIContext.borrow(display_of(device), owner=_Reference(device))


class FramesPool(_Reference):
    """The AVHWFramesContext that surfaces belong to: none of them is destroyed while this is held.

    Attributes
    ----------
    data : int
        ``AVHWFramesContext *``.
    layout : sequence of PlaneLayout or None
        Where the planes of its surfaces lie, once a first one told: they are made alike.
    """

    def __init__(self, reference: int) -> None:
        super().__init__(reference)
        self.layout: Sequence[PlaneLayout] | None = None


_pools: "weakref.WeakValueDictionary[int, FramesPool]" = weakref.WeakValueDictionary()
_lock = threading.Lock()


def frames_pool(frame: VideoFrame) -> FramesPool:
    """Return the pool of a frame; frames of one pool have the same one for as long as it is held.

    Raises
    ------
    FormatError
        The frame belongs to no pool.
    """
    reference = AVFrame.from_address(frame_pointer(frame)).hw_frames_ctx
    if not reference:
        raise FormatError(
            f"this {frame.format.name} frame has no hw_frames_ctx; take frames that a decoder or "
            "filter of FFmpeg has made"
        )
    address = AVBufferRef.from_address(reference).data
    with _lock:
        pool = _pools.get(address)
        if pool is None:
            pool = _pools[address] = FramesPool(reference)
        return pool


def surface_number(frame: VideoFrame) -> int:
    """Return the ``VASurfaceID`` of a frame."""
    # libavutil/pixfmt.h of AV_PIX_FMT_VAAPI: "data[3] contains a VASurfaceID".
    return AVFrame.from_address(frame_pointer(frame)).data[3] or 0


def surface_key(frame: VideoFrame, index: int) -> Hashable:
    """Return what identifies a plane's memory: its surface, and the pool, which the key holds."""
    return surface_number(frame), index, frames_pool(frame)


class SurfacePool:
    """New surfaces of one form on the device of somebody else's frames, as frames of FFmpeg.

    Parameters
    ----------
    device : int
        ``AVBufferRef *`` of an AVHWDeviceContext of VA-API; the pool holds a reference of its own.
    info : FrameInfo
        Format and size.

    Raises
    ------
    DeviceError
        The device has no such surfaces.
    """

    def __init__(self, device: int, info: FrameInfo) -> None:
        self._frames = new_frames_context(
            device, "vaapi", info.format.name, info.width, info.height
        )
        self._letting_go = weakref.finalize(self, library().av_buffer_unref, c.byref(self._frames))

    def frame(self) -> VideoFrame:
        """Return a frame over a surface that nobody uses, of undefined samples.

        The surface comes back once nobody holds a frame over it.

        Raises
        ------
        DeviceError
            The device has too little memory.
        ClosedError
            The pool was closed.
        """
        if not self._frames:
            raise ClosedError("this pool of surfaces was closed; make another one")
        made = VideoFrame(0, 0, "vaapi")
        with uncaptured_log():
            code = library().av_hwframe_get_buffer(self._frames, frame_pointer(made), 0)
        check(code, "make a surface")
        return made

    def close(self) -> None:
        """Make no more; may be repeated. Surfaces live for as long as frames over them."""
        self._letting_go()


@contextlib.contextmanager
def open_device(node: str) -> Iterator[int]:
    """Lend the ``AVBufferRef *`` of a new AVHWDeviceContext of VA-API.

    Raises
    ------
    DeviceError
        FFmpeg cannot open it.
    """
    lib, device = library(), c.c_void_p()
    kind = lib.av_hwdevice_find_type_by_name(b"vaapi")
    code = lib.av_hwdevice_ctx_create(c.byref(device), kind, node.encode(), None, 0)
    check(code, f"open {node}")
    try:
        yield device.value or 0
    finally:
        lib.av_buffer_unref(c.byref(device))
