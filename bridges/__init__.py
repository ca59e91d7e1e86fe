"""Memory: one frame, many owners, no copies.

A `Context` is a device of a framework, a `Tensor` a block of its memory, a `Frame` the planes of
one picture. A mapper made by `create_mapper` shows the same samples through another framework.
Importing this package loads no framework, not even NumPy.
"""

from bridges.backends.probe import open_context
from bridges.context import Context
from bridges.errors import XTranscodeError
from bridges.frame import (
    AudioFrame,
    Colour,
    ColourRange,
    Frame,
    FrameInfo,
    Matrix,
    MediaFrame,
    TensorFrame,
)
from bridges.mapper import MapperChain, MemoryMapper, create_mapper
from bridges.mapper_cache import MapperCache
from bridges.media import (
    AudioInfo,
    DataType,
    ImageFormat,
    ImageInfo,
    ImageLayout,
    MediaType,
    TensorsInfo,
)
from bridges.tensor import AccessMode, MemoryType, Tensor, TensorInfo

__all__ = [
    "AccessMode",
    "AudioFrame",
    "AudioInfo",
    "Colour",
    "ColourRange",
    "Context",
    "DataType",
    "Frame",
    "FrameInfo",
    "ImageFormat",
    "ImageInfo",
    "ImageLayout",
    "MapperCache",
    "MapperChain",
    "Matrix",
    "MediaFrame",
    "MediaType",
    "MemoryMapper",
    "MemoryType",
    "Tensor",
    "TensorFrame",
    "TensorInfo",
    "TensorsInfo",
    "XTranscodeError",
    "create_mapper",
    "open_context",
]
