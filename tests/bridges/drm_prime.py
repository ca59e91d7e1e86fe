"""DRM_PRIME frames as FFmpeg's own decoders make them: from a pool of a frames context.

They lie on memfds, or on dma-bufs where this machine makes them, and need no DRM node.
"""

from __future__ import annotations

import ctypes as c
import mmap
import os
from fractions import Fraction

import numpy as np
from av.video.frame import VideoFrame

from bridges import Colour, ColourRange, FrameInfo, Matrix, TensorInfo
from bridges.backends.dma_allocator import allocators
from bridges.backends.ffmpeg_properties import set_info
from bridges.formats import pixel_format
from bridges.native.drm import fourcc, is_dma_buf
from bridges.native.libavutil import (
    AVBufferRef,
    AVFrame,
    AVHWDeviceContext,
    AVHWFramesContext,
    BufferFree,
    frame_pointer,
    library,
)
from bridges.native.libavutil_drm import AVDRMFrameDescriptor

__all__ = [
    "alive",
    "descriptor_of",
    "drm_prime_frame",
    "filled",
    "info_of",
    "memory_kind",
    "plane_arrays",
    "samples_of",
]

COLOUR = Colour(Matrix.BT2020_NCL, ColourRange.FULL, 9, 16)

_Allocate = c.CFUNCTYPE(c.c_void_p, c.c_void_p, c.c_size_t)
_GAP = 320
_layouts: dict[int, tuple] = {}
_alive: dict[int, AVDRMFrameDescriptor] = {}


def alive():
    """Return how many frames' memory FFmpeg has not given back."""
    return len(_alive)


def memory_kind():
    """Return what the frames lie on here."""
    return "dma-buf" if allocators()[0].is_dma_buf else "memfd"


@BufferFree
def _free(key, address):
    descriptor = _alive.pop(address)
    for index in range(descriptor.nb_objects):
        os.close(descriptor.objects[index].fd)


@_Allocate
def _allocate(key, size):
    code, layouts, modifier, is_split = _layouts[key]
    descriptor = AVDRMFrameDescriptor()
    offset, places = _GAP, []
    for layout in layouts:
        places.append((len(places) if is_split else 0, _GAP if is_split else offset, layout))
        offset += -(-layout.span // 64) * 64 + _GAP
    descriptor.nb_objects = len(layouts) if is_split else 1
    for index in range(descriptor.nb_objects):
        nbytes = layouts[index].span + _GAP if is_split else offset
        made = descriptor.objects[index]
        made.fd, made.size, made.format_modifier = (
            allocators()[0].allocate(nbytes),
            nbytes,
            modifier,
        )
    descriptor.nb_layers = 1 if code else len(layouts)
    for index, (where, start, layout) in enumerate(places):
        layer = descriptor.layers[0 if code else index]
        layer.format = fourcc(code or "R8  ")
        plane = layer.planes[layer.nb_planes]
        plane.object_index, plane.offset, plane.pitch = where, start, layout.strides[0]
        layer.nb_planes += 1
    address = c.addressof(descriptor)
    _alive[address] = descriptor
    return library().av_buffer_create(address, c.sizeof(descriptor), _free, None, 0)


def _prototypes():
    lib = library()
    lib.av_buffer_pool_init2.restype = c.c_void_p
    lib.av_buffer_pool_init2.argtypes = [c.c_size_t, c.c_void_p, _Allocate, c.c_void_p]
    lib.av_buffer_pool_uninit.argtypes = [c.POINTER(c.c_void_p)]
    lib.av_hwframe_get_buffer.argtypes = [c.c_void_p, c.c_void_p, c.c_int]
    return lib


def _native(reference, kind):
    return kind.from_address(AVBufferRef.from_address(reference.value).data)


def drm_prime_frame(info, padding=0, *, modifier=0, is_split=False):
    """Return a VideoFrame; ``is_split`` puts each plane into a buffer of its own."""
    lib = _prototypes()
    layouts = []
    for dense in info.planes:
        row = dense.strides[0] + padding * dense.dtype.itemsize
        layouts.append(TensorInfo(dense.shape, dense.dtype, (row, *dense.strides[1:])))
    device = c.c_void_p(lib.av_hwdevice_ctx_alloc(lib.av_hwdevice_find_type_by_name(b"drm")))
    c.c_int.from_address(_native(device, AVHWDeviceContext).hwctx).value = -1
    assert lib.av_hwdevice_ctx_init(device) == 0
    frames = c.c_void_p(lib.av_hwframe_ctx_alloc(device))
    native = _native(frames, AVHWFramesContext)
    native.format = lib.av_get_pix_fmt(b"drm_prime")
    native.sw_format = lib.av_get_pix_fmt(info.format.name.encode())
    native.width, native.height = info.width, info.height
    key = id(layouts)
    _layouts[key] = info.format.drm, layouts, modifier, is_split
    pool = c.c_void_p(
        lib.av_buffer_pool_init2(c.sizeof(AVDRMFrameDescriptor), key, _allocate, None)
    )
    native.pool = pool
    assert lib.av_hwframe_ctx_init(frames) == 0
    frame = VideoFrame(0, 0, "drm_prime")
    lib.av_frame_unref(frame_pointer(frame))
    assert lib.av_hwframe_get_buffer(frames, frame_pointer(frame), 0) == 0
    # The frame holds its buffer, which holds the pool, which nobody else ends.
    lib.av_buffer_pool_uninit(c.byref(pool))
    lib.av_buffer_unref(c.byref(frames))
    lib.av_buffer_unref(c.byref(device))
    del _layouts[key]
    set_info(frame, info)
    return frame


def descriptor_of(frame):
    """Return what a DRM_PRIME frame points at."""
    return AVDRMFrameDescriptor.from_address(AVFrame.from_address(frame_pointer(frame)).data[0])


def plane_arrays(frame, info):
    """Return an array over each plane of a frame, mapped through its file descriptors."""
    descriptor, arrays = descriptor_of(frame), []
    for plane, dense in zip(descriptor.flat_planes(), info.planes, strict=True):
        made = descriptor.objects[plane.object_index]
        assert is_dma_buf(made.fd) == (memory_kind() == "dma-buf")
        memory = mmap.mmap(made.fd, made.size)
        strides = (plane.pitch, *dense.strides[1:])
        arrays.append(np.ndarray(dense.shape, dense.dtype, memory, plane.offset, strides))
    return arrays


def info_of(name="nv12", width=36, height=20):
    return FrameInfo(pixel_format(name), width, height, COLOUR, 42, Fraction(1, 30000))


def samples_of(info, seed=1):
    random = np.random.default_rng(seed)
    top = 1 << info.format.bits
    return [
        (random.integers(0, top, plane.shape) << info.format.shift).astype(plane.dtype)
        for plane in info.planes
    ]


def filled(info, seed=1, **made):
    """A DRM_PRIME frame of FFmpeg's with known samples."""
    frame = drm_prime_frame(info, **made)
    for array, samples in zip(plane_arrays(frame, info), samples_of(info, seed), strict=True):
        array[...] = samples
    return frame
