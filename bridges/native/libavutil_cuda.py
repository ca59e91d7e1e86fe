"""What FFmpeg tells of a CUDA device: ``AVCUDADeviceContext`` (libavutil/hwcontext_cuda.h)."""

import ctypes as c

from bridges.native.libavutil import AVBufferRef, AVHWDeviceContext

__all__ = ["AVCUDADeviceContext", "cuda_device"]


class AVCUDADeviceContext(c.Structure):
    """``AVCUDADeviceContext``: the CUDA context and stream that FFmpeg works with."""

    _fields_ = (("cuda_ctx", c.c_void_p), ("stream", c.c_void_p), ("internal", c.c_void_p))


def cuda_device(reference: int) -> AVCUDADeviceContext:
    """Return what lies behind the ``AVBufferRef *`` of a CUDA device's AVHWDeviceContext."""
    device = AVHWDeviceContext.from_address(AVBufferRef.from_address(reference).data)
    return AVCUDADeviceContext.from_address(device.hwctx)
