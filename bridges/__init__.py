"""Memory: one frame, many owners, no copies.

A `Context` is a device of a framework, a `Tensor` a block of its memory, a `Frame` the planes of
one picture. A mapper made by `create_mapper` shows the same samples through another framework.
Importing this package loads no framework, not even NumPy.
"""

from bridges.context import Context
from bridges.errors import XTranscodeError
from bridges.frame import Colour, ColourRange, Frame, FrameInfo, Matrix, MediaFrame
from bridges.mapper import MapperChain, MemoryMapper, create_mapper
from bridges.mapper_cache import MapperCache
from bridges.tensor import AccessMode, MemoryType, Tensor, TensorInfo

__all__ = [
    "AccessMode",
    "Colour",
    "ColourRange",
    "Context",
    "Frame",
    "FrameInfo",
    "MapperCache",
    "MapperChain",
    "Matrix",
    "MediaFrame",
    "MemoryMapper",
    "MemoryType",
    "Tensor",
    "TensorInfo",
    "XTranscodeError",
    "create_mapper",
]
