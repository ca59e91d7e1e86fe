"""FFmpeg's frames on a device: their format in memory, their device, new frames for them."""

import ctypes as c

import av
from av.video.codeccontext import VideoCodecContext
from av.video.frame import VideoFrame

from bridges.backends.layout import check_linear
from bridges.errors import DeviceError, FormatError
from bridges.native.libavcodec import decoding_device
from bridges.native.libavutil import (
    AVBufferRef,
    AVFrame,
    AVHWDeviceContext,
    AVHWFramesContext,
    av_error,
    frame_pointer,
    library,
)
from bridges.native.libavutil_cuda import cuda_device
from bridges.native.libavutil_drm import AVDRMDeviceContext, AVDRMFrameDescriptor

__all__ = [
    "HARDWARE",
    "check",
    "check_linear_frame",
    "decode_on_stream",
    "device_reference",
    "hardware_of",
    "new_drm_device",
    "new_frames_context",
    "open_encoder_for",
    "plane_pitches",
    "set_size",
    "software_name",
    "surface_address",
]

HARDWARE = ("cuda", "drm_prime", "vaapi")
"""libav's names of the pixel formats that stand for memory on a device."""


def hardware_of(frame: VideoFrame) -> str:
    """Return the kind of device memory of a frame, one of `HARDWARE`; empty for host memory.

    Raises
    ------
    FormatError
        The frame is on a device of a kind that is not in `HARDWARE`.
    """
    name = frame.format.name
    if name in HARDWARE:
        return name
    if AVFrame.from_address(frame_pointer(frame)).hw_frames_ctx:
        raise FormatError(
            f"a frame in {name} memory cannot be shared, only {', '.join(HARDWARE)}; "
            "download it first, with VideoFrame.reformat"
        )
    return ""


def _frames_context(native: AVFrame) -> AVHWFramesContext:
    reference = AVBufferRef.from_address(native.hw_frames_ctx)
    frames = AVHWFramesContext.from_address(reference.data)
    if frames.format != native.format:
        raise DeviceError(
            f"a frame of format {native.format} belongs to frames of format {frames.format}; "
            "FFmpeg lays out hardware contexts in a way unknown to this version"
        )
    return frames


def software_name(frame: VideoFrame) -> str:
    """Return libav's name of how the samples of a frame on a device lie in its memory.

    Raises
    ------
    FormatError
        The frame tells of none.
    """
    native = AVFrame.from_address(frame_pointer(frame))
    if native.hw_frames_ctx:
        number = _frames_context(native).sw_format
        name = library().av_get_pix_fmt_name(number)
        return name.decode() if name else f"number {number}"
    if frame.format.name == "drm_prime" and native.data[0]:
        # Decoders of some boards (V4L2) give no frames context: the descriptor tells.
        return AVDRMFrameDescriptor.from_address(native.data[0]).pixel_format().name
    raise FormatError(
        f"this {frame.format.name} frame has no hw_frames_ctx that would tell its format; take "
        "frames that a decoder or filter of FFmpeg has made"
    )


def plane_pitches(frame: VideoFrame, count: int) -> list[int]:
    """Return the bytes from row to row of each plane; 0 where only the driver knows."""
    native = AVFrame.from_address(frame_pointer(frame))
    if frame.format.name == "drm_prime" and native.data[0]:
        planes = AVDRMFrameDescriptor.from_address(native.data[0]).flat_planes()
        if len(planes) != count:
            raise FormatError(
                f"a DRM_PRIME frame has {len(planes)} planes, its format {count}; a compression "
                "plane can only be read by its own device"
            )
        return [plane.pitch for plane in planes]
    return [max(native.linesize[index], 0) for index in range(count)]


def check_linear_frame(frame: VideoFrame) -> None:
    """Refuse a DRM_PRIME frame that has an object in another layout than rows one after the other.

    Raises
    ------
    FormatError
        The message names the layout's modifier.
    """
    native = AVFrame.from_address(frame_pointer(frame))
    descriptor = AVDRMFrameDescriptor.from_address(native.data[0])
    for index in range(descriptor.nb_objects):
        check_linear(descriptor.objects[index].format_modifier, "mapped to the host")


def device_reference(frame: VideoFrame) -> int:
    """Return the ``AVBufferRef *`` of the frame's AVHWDeviceContext; 0 where it has none.

    It lives as long as ``frame`` does.
    """
    native = AVFrame.from_address(frame_pointer(frame))
    return int(_frames_context(native).device_ref or 0) if native.hw_frames_ctx else 0


def surface_address(frame: VideoFrame) -> int:
    """Return the address of the first plane of a frame on a device, as FFmpeg tells it."""
    return int(AVFrame.from_address(frame_pointer(frame)).data[0] or 0)


def decode_on_stream(decoder: VideoCodecContext, stream: int) -> None:
    """Have a decoder on a CUDA device put its work on a stream, before its first frame.

    It is the legacy default stream otherwise, which all decoders of a device share: each waits for
    whoever works with the frames of another. So it stays where PyAV lays its objects out in a way
    unknown to this version.

    Parameters
    ----------
    decoder : av.VideoCodecContext
        Not open yet.
    stream : int
        A ``CUstream`` of the context that the decoder uses. It has to outlive what is decoded.
    """
    reference = decoding_device(decoder)
    if reference:
        device = AVHWDeviceContext.from_address(AVBufferRef.from_address(reference).data)
        if device.type == library().av_hwdevice_find_type_by_name(b"cuda"):
            cuda_device(reference).stream = stream


def set_size(frame: VideoFrame, width: int, height: int) -> None:
    """Have a frame on a device show only so many columns and rows of its memory."""
    native = AVFrame.from_address(frame_pointer(frame))
    native.width, native.height = width, height


def new_drm_device() -> int:
    """Return the ``AVBufferRef *`` of a new AVHWDeviceContext for DRM that needs no device node.

    Raises
    ------
    DeviceError
        This FFmpeg was built without DRM.
    """
    lib = library()
    device = c.c_void_p(lib.av_hwdevice_ctx_alloc(lib.av_hwdevice_find_type_by_name(b"drm")))
    if not device.value:
        raise DeviceError("this FFmpeg was built without DRM; install av from PyPI")
    native = AVHWDeviceContext.from_address(AVBufferRef.from_address(device.value).data)
    AVDRMDeviceContext.from_address(native.hwctx).fd = -1
    return _initialised(device, lib.av_hwdevice_ctx_init(device), "open DRM").value or 0


def new_frames_context(
    device: int, hardware: str, name: str, width: int, height: int
) -> c.c_void_p:
    """Return the ``AVBufferRef *`` of a new AVHWFramesContext.

    Parameters
    ----------
    device : int
        ``AVBufferRef *`` of an AVHWDeviceContext.
    hardware : str
        The kind of its frames, one of `HARDWARE`; those of DRM_PRIME are made by others.
    name : str
        libav's name of the format in memory.
    width, height : int
        In pixels.

    Raises
    ------
    DeviceError
        FFmpeg refused.
    """
    lib = library()
    frames = c.c_void_p(lib.av_hwframe_ctx_alloc(device))
    if not frames.value:
        raise DeviceError("FFmpeg has too little memory for a frames context")
    native = AVHWFramesContext.from_address(AVBufferRef.from_address(frames.value).data)
    native.format = lib.av_get_pix_fmt(hardware.encode())
    native.sw_format = lib.av_get_pix_fmt(name.encode())
    native.width, native.height = width, height
    action = f"make {name} frames of {width}x{height} in {hardware} memory"
    return _initialised(frames, lib.av_hwframe_ctx_init(frames), action)


def open_encoder_for(context: VideoCodecContext, first: VideoFrame) -> None:
    """Open an encoder for frames of the pool that ``first`` belongs to.

    Raises
    ------
    av.FFmpegError
        The encoder was refused.
    """
    # PyAV gives an encoder the pool of the first frame that it is sent, and opens it then. A frame
    # of that pool without samples goes no further than that: libavcodec refuses it.
    empty = VideoFrame(0, 0, first.format.name)
    native = AVFrame.from_address(frame_pointer(empty))
    native.hw_frames_ctx = library().av_buffer_ref(
        AVFrame.from_address(frame_pointer(first)).hw_frames_ctx
    )
    try:
        context.encode(empty)
    except av.FFmpegError:
        if not context.is_open:
            raise


def _initialised(reference: c.c_void_p, code: int, action: str) -> c.c_void_p:
    if code < 0:
        library().av_buffer_unref(c.byref(reference))
    check(code, action)
    return reference


def check(code: int, action: str) -> None:
    """Translate a return code of libavutil; ``action`` completes "FFmpeg cannot ...".

    Raises
    ------
    DeviceError
        The code is negative.
    """
    if code < 0:
        raise DeviceError(f"FFmpeg cannot {action}: {av_error(code)}")
