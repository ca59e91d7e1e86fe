"""A small program of libva: surfaces that NumPy fills, and video processing of them.

Numbers and structures are those of libva's ``va/va.h`` and ``va/va_vpp.h``.
"""

from __future__ import annotations

import contextlib
import ctypes as c
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from bridges.native.libva import (
    EXPORT_READ_WRITE,
    EXPORT_SEPARATE_LAYERS,
    MEMORY_TYPE_DRM_PRIME_2,
    DRMPRIMESurfaceDescriptor,
    GenericValue,
    Image,
    SurfaceAttribute,
    SurfaceAttributeType,
    libva,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = [
    "LAYOUTS",
    "PROFILE_NONE",
    "VIDEO_PROCESSING",
    "Layout",
    "Processor",
    "Properties",
    "Rectangle",
    "Surface",
    "VAError",
]

PROFILE_NONE, VIDEO_PROCESSING = -1, 10
_YUV420, _YUV420_10, _YUV400, _RGB32 = 0x1, 0x100, 0x10, 0x20000
_PIPELINE_PARAMETERS = 41


class VAError(Exception):
    """A ``VAStatus`` that is none of success."""


def _call(name: str, display: int, *arguments: object) -> None:
    status = getattr(libva(), name)(c.c_void_p(display), *arguments)
    if status:
        raise VAError(f"{name}: {libva().vaErrorStr(status).decode()}")


@dataclass(frozen=True)
class Layout:
    """How the samples of a format lie: of each plane, channels and log2 of the subsampling."""

    rt_format: int
    planes: tuple[tuple[int, int], ...]
    dtype: type = np.uint8

    def shapes(self, width: int, height: int) -> list[tuple[int, int, int]]:
        """Return rows, columns and channels of each plane."""
        return [(-(-height >> log2), -(-width >> log2), count) for count, log2 in self.planes]


LAYOUTS = {
    "NV12": Layout(_YUV420, ((1, 0), (2, 1))),
    "P010": Layout(_YUV420_10, ((1, 0), (2, 1)), np.uint16),
    "I420": Layout(_YUV420, ((1, 0), (1, 1), (1, 1))),
    "Y800": Layout(_YUV400, ((1, 0),)),
    "BGRA": Layout(_RGB32, ((4, 0),)),
    "BGRX": Layout(_RGB32, ((4, 0),)),
    "RGBA": Layout(_RGB32, ((4, 0),)),
}


class Surface:
    """A surface of a format that is named by its fourcc."""

    def __init__(self, display: int, fourcc: str, width: int, height: int) -> None:
        self.display, self.fourcc, self.width, self.height = display, fourcc, width, height
        self.layout = LAYOUTS[fourcc]
        value = GenericValue(GenericValue.INTEGER)
        value.value.i = int.from_bytes(fourcc.encode(), "little")
        wanted = SurfaceAttribute(
            SurfaceAttributeType.PIXEL_FORMAT, SurfaceAttributeType.SETTABLE, value
        )
        number, rt_format = c.c_uint32(), self.layout.rt_format
        out = c.byref(number), 1, c.byref(wanted), 1
        _call("vaCreateSurfaces", display, rt_format, width, height, *out)
        self.number = number.value

    @contextlib.contextmanager
    def planes(self) -> Iterator[list[np.ndarray]]:
        """Lend the samples of each plane, to be read and written, as (rows, columns, channels)."""
        image, address = Image(), c.c_void_p()
        _call("vaDeriveImage", self.display, self.number, c.byref(image))
        _call("vaMapBuffer", self.display, image.buf, c.byref(address))
        memory = (c.c_uint8 * image.data_size).from_address(address.value)
        size = np.dtype(self.layout.dtype).itemsize
        shapes = self.layout.shapes(self.width, self.height)
        yield [
            np.ndarray(shape, self.layout.dtype, memory, offset, (pitch, shape[2] * size, size))
            for shape, offset, pitch in zip(shapes, image.offsets, image.pitches, strict=False)
        ]
        _call("vaUnmapBuffer", self.display, image.buf)
        _call("vaDestroyImage", self.display, image.image_id)

    def write(self, samples: list[np.ndarray]) -> None:
        """Set all samples."""
        with self.planes() as planes:
            for plane, given in zip(planes, samples, strict=True):
                plane[...] = given

    def read(self) -> list[np.ndarray]:
        """Return a copy of all samples."""
        with self.planes() as planes:
            return [plane.copy() for plane in planes]

    def export(self) -> DRMPRIMESurfaceDescriptor:
        """Return the surface's memory; its descriptors are the caller's."""
        found = DRMPRIMESurfaceDescriptor()
        flags = EXPORT_READ_WRITE | EXPORT_SEPARATE_LAYERS
        wanted = (MEMORY_TYPE_DRM_PRIME_2, flags, c.byref(found))
        _call("vaExportSurfaceHandle", self.display, self.number, *wanted)
        return found

    def close(self) -> None:
        """Destroy the surface."""
        _call("vaDestroySurfaces", self.display, c.byref(c.c_uint32(self.number)), 1)


class Rectangle(c.Structure):
    """``VARectangle``."""

    _fields_ = (("x", c.c_int16), ("y", c.c_int16), ("width", c.c_uint16), ("height", c.c_uint16))


class Properties(c.Structure):
    """``VAProcColorProperties``."""

    _fields_ = (
        ("chroma_sample_location", c.c_uint8),
        ("color_range", c.c_uint8),
        ("colour_primaries", c.c_uint8),
        ("transfer_characteristics", c.c_uint8),
        ("matrix_coefficients", c.c_uint8),
        ("reserved", c.c_uint8 * 3),
    )


class _Pipeline(c.Structure):
    """``VAProcPipelineParameterBuffer``."""

    _fields_ = (
        ("surface", c.c_uint32),
        ("surface_region", c.POINTER(Rectangle)),
        ("surface_color_standard", c.c_int),
        ("output_region", c.POINTER(Rectangle)),
        ("output_background_color", c.c_uint32),
        ("output_color_standard", c.c_int),
        ("pipeline_flags", c.c_uint32),
        ("filter_flags", c.c_uint32),
        ("filters", c.c_void_p),
        ("num_filters", c.c_uint32),
        ("forward_references", c.c_void_p),
        ("num_forward_references", c.c_uint32),
        ("backward_references", c.c_void_p),
        ("num_backward_references", c.c_uint32),
        ("rotation_state", c.c_uint32),
        ("blend_state", c.c_void_p),
        ("mirror_state", c.c_uint32),
        ("additional_outputs", c.c_void_p),
        ("num_additional_outputs", c.c_uint32),
        ("input_surface_flag", c.c_uint32),
        ("output_surface_flag", c.c_uint32),
        ("input_color_properties", Properties),
        ("output_color_properties", Properties),
        ("processing_mode", c.c_int),
        ("output_hdr_metadata", c.c_void_p),
        ("va_reserved", c.c_uint32 * 16),
    )


class Processor:
    """A context of video processing."""

    def __init__(self, display: int) -> None:
        self.display = display
        self._config, self._context = c.c_uint32(), c.c_uint32()
        config = (PROFILE_NONE, VIDEO_PROCESSING, None, 0, c.byref(self._config))
        _call("vaCreateConfig", display, *config)
        context = (self._config, 64, 64, 0, None, 0, c.byref(self._context))
        _call("vaCreateContext", display, *context)

    def run(self, source: Surface, target: Surface, **parameters: object) -> None:
        """Process a picture; the parameters are fields of ``VAProcPipelineParameterBuffer``."""
        kept = {
            name: c.pointer(value) if isinstance(value, Rectangle) else value
            for name, value in parameters.items()
        }
        wanted, buffer = _Pipeline(surface=source.number, **kept), c.c_uint32()
        _call(
            "vaCreateBuffer", self.display, self._context, _PIPELINE_PARAMETERS,
            c.sizeof(wanted), 1, c.byref(wanted), c.byref(buffer),
        )  # fmt: skip
        try:
            _call("vaBeginPicture", self.display, self._context, target.number)
            _call("vaRenderPicture", self.display, self._context, c.byref(buffer), 1)
            _call("vaEndPicture", self.display, self._context)
        finally:
            _call("vaDestroyBuffer", self.display, buffer)

    def close(self) -> None:
        """Destroy the context and its configuration."""
        _call("vaDestroyContext", self.display, self._context)
        _call("vaDestroyConfig", self.display, self._config)
