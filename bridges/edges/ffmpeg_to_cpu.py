"""FFmpeg > CPU: a plane of an AVFrame as a NumPy array, in place where it is not on a device."""

import ctypes
import threading
from typing import Any

import numpy as np
import numpy.typing as npt
from av.video.frame import VideoFrame

from bridges.backends.cpu import CPUTensor
from bridges.backends.ffmpeg import FFmpegContext, new_frame
from bridges.backends.ffmpeg_hardware import check, check_linear
from bridges.context import Context
from bridges.frame import Frame
from bridges.native.libavutil import AVFrame, frame_pointer, library
from bridges.routes import Copied, edge, frame_edge
from bridges.tensor import AccessMode, MemoryType, Tensor, TensorInfo

_MAP_READ, _MAP_WRITE = 1, 2
"""``AV_HWFRAME_MAP_*`` of libavutil/hwcontext.h."""


def _hardware(source: Context) -> str:
    assert isinstance(source, FFmpegContext)
    return source.hardware


def _is_on_device(source: Context, target: Context) -> str:
    hardware = _hardware(source)
    return f"its frames are in {hardware} memory" if hardware else ""


def _is_not_drm_prime(source: Context, target: Context) -> str:
    hardware = _hardware(source)
    return "" if hardware == "drm_prime" else f"FFmpeg maps no {hardware or 'host'} memory"


def _is_not_on_device(source: Context, target: Context) -> str:
    return "" if _hardware(source) else "its frames are in host memory"


def _samples(
    frame: VideoFrame, address: int, info: TensorInfo, access: AccessMode
) -> npt.NDArray[Any]:
    memory = (ctypes.c_uint8 * info.span).from_address(address)
    # The array holds the frame, so that the source may be closed before it.
    memory.frame = frame  # type: ignore[attr-defined]
    array = np.ndarray(info.shape, info.dtype, memoryview(memory), strides=info.strides)
    array.flags.writeable = bool(access & AccessMode.WRITE)
    return array


@edge(MemoryType.FFMPEG, MemoryType.CPU, copies=False, refusal=_is_on_device)
def ffmpeg_to_cpu(
    source: Tensor, context: Context, access: AccessMode, copied: Copied
) -> CPUTensor:
    """Map one plane; a READ mapping cannot be written to."""
    array = _samples(source.handle("av_frame"), source.handle("data"), source.info, access)
    return CPUTensor(array, context=context, parent=source)


@frame_edge(
    MemoryType.FFMPEG, MemoryType.CPU, copies=False, refusal=_is_not_drm_prime, reusable=False
)
def map_drm_prime(frame: Frame, context: Context, access: AccessMode, copied: Copied) -> Frame:
    """Map the dma-bufs of a frame; they are unmapped when neither it nor an array needs them.

    Raises
    ------
    FormatError
        The frame is tiled.
    DeviceError
        FFmpeg cannot map the frame.
    """
    flags = _MAP_READ | (_MAP_WRITE if access & AccessMode.WRITE else 0)
    source = frame.tensors[0].handle("av_frame")
    check_linear(source)
    name = frame.info.format.name
    # Without a size PyAV allocates nothing; FFmpeg sets the size as it maps.
    host = VideoFrame(0, 0, name)
    target = frame_pointer(host)
    check(
        library().av_hwframe_map(target, frame_pointer(source), flags),
        f"map a {name} frame of DRM_PRIME to host memory",
    )
    native = AVFrame.from_address(target)
    mapped = []
    for index, tensor in enumerate(frame.tensors):
        # The rows are as far apart as the descriptor says, and the tensor with it.
        array = _samples(host, native.data[index], tensor.info, access)
        mapped.append(CPUTensor(array, context=context, parent=tensor))
    return frame.over(mapped)


@frame_edge(
    MemoryType.FFMPEG, MemoryType.CPU, copies=True, refusal=_is_not_on_device, reusable=False
)
def download(frame: Frame, context: Context, access: AccessMode, copied: Copied) -> Frame:
    """Copy a frame from its device for READ, and back at ``close()`` of its last plane for WRITE.

    Raises
    ------
    FormatError
        The frame is of DRM_PRIME and tiled, which FFmpeg would take for linear.
    DeviceError
        A transfer failed.
    """
    device = frame.tensors[0].context
    source = frame.tensors[0].handle("av_frame")
    if _hardware(device) == "drm_prime":
        check_linear(source)
    host = new_frame(frame.info)
    planes = FFmpegContext().wrap(host).tensors
    nbytes = sum(plane.info.nbytes for plane in planes)
    open_planes = len(planes)
    lock = threading.Lock()

    def transfer(target: VideoFrame, origin: VideoFrame) -> None:
        code = library().av_hwframe_transfer_data(frame_pointer(target), frame_pointer(origin), 0)
        check(code, f"transfer {nbytes} bytes of a frame in {_hardware(device)} memory")
        copied(nbytes)

    def close_one() -> None:
        nonlocal open_planes
        with lock:
            open_planes -= 1
            is_last = open_planes == 0
        if is_last:
            transfer(source, host)

    mapped = []
    for tensor, plane in zip(frame.tensors, planes, strict=True):
        array = _samples(host, plane.handle("data"), plane.info, access)
        mapped.append(CPUTensor(array, context=context, parent=tensor))
    if access & AccessMode.READ:
        mapped[0].on_open = lambda: transfer(host, source)
    if access & AccessMode.WRITE:
        for tensor in mapped:
            tensor.on_close = close_one
    return frame.over(mapped)
