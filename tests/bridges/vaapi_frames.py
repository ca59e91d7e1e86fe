"""FFmpeg's frames on a VA device, made by hand: PyAV's wheel has no VA-API that would decode any.

AVFrame, AVBufferRef and who frees them are the real libavutil's; the frames and device contexts are
written as libavutil/hwcontext_vaapi.h has them, around a surface of the real libva and our software
driver.
"""

from __future__ import annotations

import contextlib
import ctypes as c
from dataclasses import replace
from unittest import mock

import numpy as np
from av.video.frame import VideoFrame

from bridges import AccessMode, FrameInfo, create_mapper
from bridges.backends.cpu import CPUContext
from bridges.backends.ffmpeg import FFmpegContext
from bridges.backends.vaapi_ffmpeg import AVVAAPIDeviceContext
from bridges.edges import ffmpeg_to_cpu, ffmpeg_to_vaapi
from bridges.formats import pixel_format
from bridges.native.libavutil import (
    AVFrame,
    AVHWDeviceContext,
    AVHWFramesContext,
    BufferFree,
    frame_pointer,
    library,
)
from bridges.routes import EDGES

__all__ = ["INFO", "Pool", "pretended_vaapi", "samples", "write"]

INFO = FrameInfo(pixel_format("nv12"), 64, 36)


@contextlib.contextmanager
def pretended_vaapi():
    """Have routes take FFmpeg's surfaces, as they do where PyAV has VA-API.

    A libavutil without it cannot copy them: libva alone does.
    """
    create_mapper([CPUContext(), FFmpegContext()])  # Loads the edges.
    (index,) = (n for n, one in enumerate(EDGES) if one.function is ffmpeg_to_cpu.download)
    before = EDGES[index]
    EDGES[index] = replace(before, refusal=lambda source, target: "libavutil has no VA-API")
    try:
        with mock.patch.object(ffmpeg_to_vaapi, "hwdevices_available", return_value=["vaapi"]):
            yield
    finally:
        EDGES[index] = before


def samples(seed, info=INFO):
    random = np.random.default_rng(seed)
    return [random.integers(0, 255, plane.shape, np.uint8) for plane in info.planes]


_pools = []
"""All there were: FFmpeg calls them when it frees what a test that failed still holds."""


def write(frame, arrays):
    """Write into a surface by copies of its driver's, whatever its layout."""
    mapper = create_mapper([frame.tensors[0].context, CPUContext()])
    with mapper.map(frame, AccessMode.WRITE) as mapped:
        for tensor, given in zip(mapped.tensors, arrays, strict=True):
            tensor.handle("array")[...] = given


class Pool:
    """Frames of one AVHWFramesContext; ``freed`` lists what FFmpeg has let go of."""

    def __init__(self, context, count=2, info=INFO):
        _pools.append(self)
        self._info = info
        self.freed = []
        self._free = BufferFree(lambda opaque, data: self.freed.append(opaque or 0))
        self.frames = [context.allocate_frame(info) for _ in range(count)]
        self.surfaces = [frame.tensors[0].handle("va_surface") for frame in self.frames]
        self._vaapi = AVVAAPIDeviceContext(context.handle("va_display"), 0)
        self._device = AVHWDeviceContext(hwctx=c.addressof(self._vaapi))
        number = library().av_get_pix_fmt
        self._frames = AVHWFramesContext(
            device_ref=self._buffer(self._device, "device"),
            format=number(b"vaapi"),
            sw_format=number(info.format.name.encode()),
            width=info.width,
            height=info.height + 12,
        )
        self.reference = c.c_void_p(self._buffer(self._frames, "pool"))

    def _buffer(self, structure, name):
        key = {"device": 1000, "pool": 1001}.get(name, name)
        return library().av_buffer_create(
            c.addressof(structure), c.sizeof(structure), self._free, key, 0
        )

    def frame(self, index):
        frame = VideoFrame(0, 0, "vaapi")
        native = AVFrame.from_address(frame_pointer(frame))
        native.width, native.height = self._info.width, self._info.height
        native.data[3] = self.surfaces[index]
        native.buf[0] = self._buffer(c.c_uint8(), index + 1)
        native.hw_frames_ctx = library().av_buffer_ref(self.reference)
        return frame

    def close(self):
        library().av_buffer_unref(c.byref(self.reference))
        for frame in self.frames:
            frame.close()
