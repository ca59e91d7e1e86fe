"""FFmpeg > CPU: a plane of an AVFrame as a NumPy array, in place where it is not on a device."""

from av.video.frame import VideoFrame

from bridges.backends.cpu import CPUTensor
from bridges.backends.ffmpeg import FFmpegContext, new_frame
from bridges.backends.ffmpeg_hardware import check, check_linear_frame
from bridges.backends.host_array import array_at
from bridges.context import Context
from bridges.edges.countdown import Countdown
from bridges.frame import Frame
from bridges.native.libavutil import AVFrame, frame_pointer, library
from bridges.routes import Copied, edge, frame_edge
from bridges.tensor import AccessMode, MemoryType, Tensor

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


@edge(MemoryType.FFMPEG, MemoryType.CPU, copies=False, refusal=_is_on_device)
def ffmpeg_to_cpu(
    source: Tensor, context: Context, access: AccessMode, copied: Copied
) -> CPUTensor:
    """Map one plane; a READ mapping cannot be written to."""
    # The array holds the frame, so that the source may be closed before it.
    frame, writeable = source.handle("av_frame"), bool(access & AccessMode.WRITE)
    array = array_at(source.handle("data"), source.info, owner=frame, writeable=writeable)
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
    writeable = bool(access & AccessMode.WRITE)
    flags = _MAP_READ | (_MAP_WRITE if writeable else 0)
    source = frame.tensors[0].handle("av_frame")
    check_linear_frame(source)
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
        array = array_at(native.data[index], tensor.info, owner=host, writeable=writeable)
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
        check_linear_frame(source)
    host = new_frame(frame.info)
    planes = FFmpegContext().wrap(host).tensors
    nbytes = sum(plane.info.nbytes for plane in planes)
    writeable = bool(access & AccessMode.WRITE)

    def transfer(target: VideoFrame, origin: VideoFrame) -> None:
        code = library().av_hwframe_transfer_data(frame_pointer(target), frame_pointer(origin), 0)
        check(code, f"transfer {nbytes} bytes of a frame in {_hardware(device)} memory")
        copied(nbytes)

    mapped = []
    for tensor, plane in zip(frame.tensors, planes, strict=True):
        array = array_at(plane.handle("data"), plane.info, owner=host, writeable=writeable)
        mapped.append(CPUTensor(array, context=context, parent=tensor))
    if access & AccessMode.READ:
        mapped[0].on_open = lambda: transfer(host, source)
    if writeable:
        close_one = Countdown(len(mapped), lambda: transfer(source, host))
        for tensor in mapped:
            tensor.on_close = close_one
    return frame.over(mapped)
