"""FFmpeg > CPU: a plane of an AVFrame as a NumPy array over the same memory."""

import ctypes

import numpy as np

from bridges.backends.cpu import CPUTensor
from bridges.context import Context
from bridges.routes import Copied, edge
from bridges.tensor import AccessMode, MemoryType, Tensor


@edge(MemoryType.FFMPEG, MemoryType.CPU, copies=False)
def ffmpeg_to_cpu(
    source: Tensor, context: Context, access: AccessMode, copied: Copied
) -> CPUTensor:
    """Map one plane; a READ mapping cannot be written to."""
    info = source.info
    memory = (ctypes.c_uint8 * info.span).from_address(source.handle("data"))
    # The array holds the frame, so that ``source`` may be closed before it.
    memory.frame = source.handle("av_frame")  # type: ignore[attr-defined]
    array = np.ndarray(info.shape, info.dtype, memoryview(memory), strides=info.strides)
    array.flags.writeable = bool(access & AccessMode.WRITE)
    return CPUTensor(array, context=context, parent=source)
