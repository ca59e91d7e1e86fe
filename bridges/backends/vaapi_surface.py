"""VA-API's surfaces: who owns them, how they lie in memory, what is exported."""

import ctypes as c
import functools
import threading
import weakref
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from bridges.backends.dma_descriptor import FileDescriptor
from bridges.backends.layout import plane_layout
from bridges.backends.vaapi_display import Display, check
from bridges.errors import DeviceError, FormatError
from bridges.formats import ColourModel, PixelFormat
from bridges.native import libva as va
from bridges.native.drm import MODIFIER_INVALID, MODIFIER_LINEAR
from bridges.native.libva import libva
from bridges.tensor import AccessMode, TensorInfo

__all__ = [
    "Export",
    "PlaneLayout",
    "Surface",
    "create_surface",
    "surface_format",
]


_BITS = {8: 0, 10: 8, 12: 12, 16: 12}
"""How far ``VA_RT_FORMAT_*`` of more bits are shifted; 16 bits are drawn as 12 (va.h's P016)."""
_SAMPLINGS = {(1, 1): 0x1, (1, 0): 0x2, (0, 0): 0x4, (2, 0): 0x8}
"""``VA_RT_FORMAT_YUV420``, ``422``, ``444`` and ``411``, by log2 of the chroma's divisors."""
_YUV400, _RGB32 = 0x10, 0x2_0000
"""``VA_RT_FORMAT_YUV400`` and ``VA_RT_FORMAT_RGB32``."""


def surface_format(pixel_format: PixelFormat) -> tuple[int, int]:
    """Return VA-API's fourcc of a format and the ``VA_RT_FORMAT_*`` to create surfaces with.

    Raises
    ------
    FormatError
        VA-API has no such format.
    """
    known = _SURFACE_FORMATS.get(pixel_format.name)
    if known is None:
        known = _SURFACE_FORMATS[pixel_format.name] = _surface_format(pixel_format)
    return known


_SURFACE_FORMATS: dict[str, tuple[int, int]] = {}


def _surface_format(pixel_format: PixelFormat) -> tuple[int, int]:
    fourcc = int.from_bytes(pixel_format.va.encode("ascii"), "little")
    if fourcc and pixel_format.model is ColourModel.RGB:
        return fourcc, _RGB32
    if fourcc and pixel_format.model is ColourModel.GRAY:
        return fourcc, _YUV400
    chroma = next((plane for plane in pixel_format.planes if "U" in plane.channels), None)
    if fourcc and chroma is not None:
        sampling = _SAMPLINGS.get((chroma.log2_width, chroma.log2_height))
        if sampling is not None:
            return fourcc, sampling << _BITS[pixel_format.bits]
    raise FormatError(
        f"VA-API has no surfaces of {pixel_format.name}; convert first, to nv12, p010le or bgra"
    )


@dataclass(frozen=True, slots=True)
class PlaneLayout:
    """Where a plane of a surface lies.

    Attributes
    ----------
    object_index : int
        Of the memory object that holds it.
    offset, pitch : int
        Bytes to its first sample, and from row to row; a pitch of 0 is not known.
    modifier : int
        DRM's 64 bits for the order of its samples: see `bridges.native.drm`.
    """

    object_index: int
    offset: int
    pitch: int
    modifier: int


class Export:
    """A surface as dma-bufs; their descriptors are closed when nobody holds them any more.

    Attributes
    ----------
    descriptors : tuple of FileDescriptor
        One per memory object.
    planes : tuple of PlaneLayout
        One per plane.
    """

    __slots__ = ("__weakref__", "descriptors", "planes")

    def __init__(self, native: va.DRMPRIMESurfaceDescriptor) -> None:
        objects = native.objects[: native.num_objects]
        self.descriptors = tuple(FileDescriptor(entry.fd) for entry in objects)
        self.planes = tuple(
            PlaneLayout(
                layer.object_index[index],
                layer.offset[index],
                layer.pitch[index],
                objects[layer.object_index[index]].drm_format_modifier,
            )
            for layer in native.layers[: native.num_layers]
            for index in range(layer.num_planes)
        )


class Surface:
    """One VA surface: owned, and destroyed when nobody holds it any more, or somebody else's.

    Parameters
    ----------
    display : Display
        Whose surface it is.
    number : int
        ``VASurfaceID``.
    pixel_format, width, height
        What it holds; a decoder's surface may be larger.
    is_owned : bool
        Whether it is destroyed with this object.
    keep : object, optional
        What has to live for as long as the surface, such as memory that it was made over.
    layout : sequence of PlaneLayout, optional
        Where its planes lie; the driver is asked where it is left out.
    planes : sequence of TensorInfo, optional
        The layout of each plane's samples, where it is known already.

    Attributes
    ----------
    layout, planes : tuple
        As above, one per plane.
    """

    def __init__(
        self,
        display: Display,
        number: int,
        pixel_format: PixelFormat,
        width: int,
        height: int,
        *,
        is_owned: bool = False,
        keep: object | None = None,
        layout: Sequence[PlaneLayout] | None = None,
        planes: Sequence[TensorInfo] | None = None,
    ) -> None:
        self.display, self.number, self._keep = display, number, keep
        self.format, self.width, self.height = pixel_format, width, height
        self._lock = threading.Lock()
        self._exports: dict[AccessMode, weakref.ref[Export]] = {}
        self._is_owned = is_owned
        if is_owned:
            display.hold()
        self.layout = tuple(layout) if layout is not None else self._ask()
        self.planes = tuple(
            planes
            or (
                plane_layout(pixel_format, index, width, height, plane.pitch)
                for index, plane in enumerate(self.layout)
            )
        )

    def __str__(self) -> str:
        return f"{self.format.name} surface {self.number} of {self.width}x{self.height}"

    @property
    def is_linear(self) -> bool:
        """Whether all of its rows are known to lie one after the other."""
        return all(plane.modifier == MODIFIER_LINEAR for plane in self.layout)

    def _ask(self) -> tuple[PlaneLayout, ...]:
        """Ask the driver: what it exports tells most, an image that it derives the pitch."""
        try:
            return self.export(AccessMode.READ).planes
        except (DeviceError, FormatError):
            pass  # The driver exports nothing, or what only the device can read.
        count = len(self.format.planes)
        image = va.Image()
        if libva().vaDeriveImage(self.display.native, self.number, c.byref(image)):
            return (PlaneLayout(0, 0, 0, MODIFIER_INVALID),) * count
        libva().vaDestroyImage(self.display.native, image.image_id)
        return tuple(
            PlaneLayout(0, image.offsets[index], image.pitches[index], MODIFIER_INVALID)
            for index in range(count)
        )

    def export(self, access: AccessMode) -> Export:
        """Return the surface as dma-bufs; those who hold them at one time share the descriptors.

        Raises
        ------
        FormatError
            The surface has planes that its format has not, such as those of a compression.
        DeviceError
            The driver cannot export it.
        """
        with self._lock:
            known = self._exports.get(access)
            export = known() if known is not None else None
            if export is None:
                export = self._export(access)
                self._exports[access] = weakref.ref(export)
            return export

    def _export(self, access: AccessMode) -> Export:
        wanted = va.EXPORT_READ_WRITE if access & AccessMode.WRITE else va.EXPORT_READ_ONLY
        native = va.DRMPRIMESurfaceDescriptor()
        status = libva().vaExportSurfaceHandle(
            self.display.native,
            self.number,
            va.MEMORY_TYPE_DRM_PRIME_2,
            wanted | va.EXPORT_SEPARATE_LAYERS,
            c.byref(native),
        )
        if status:
            check(status, f"export {self} of {self.display.vendor}")
        export = Export(native)
        if len(export.planes) != len(self.format.planes):
            raise FormatError(
                f"{self} has {len(export.planes)} planes in memory, its format "
                f"{len(self.format.planes)}; a compression plane can only be read by its own device"
            )
        return export

    def sync(self) -> None:
        """Wait for what is being drawn into the surface.

        Raises
        ------
        DeviceError
            The device failed.
        """
        status = libva().vaSyncSurface(self.display.native, self.number)
        if status:
            check(status, f"finish the work on {self} of {self.display.vendor}")

    def __del__(self) -> None:
        if self._is_owned:
            number = c.c_uint32(self.number)
            libva().vaDestroySurfaces(self.display.native, c.byref(number), 1)
            self.display.drop()


def _attribute(kind: int, value_type: int, value: int) -> va.SurfaceAttribute:
    attribute = va.SurfaceAttribute(kind, va.SurfaceAttributeType.SETTABLE)
    attribute.value.type = value_type
    if value_type == va.GenericValue.POINTER:
        attribute.value.value.p = value
    else:
        attribute.value.value.i = value
    return attribute


def _attributes(fourcc: int, memory: va.DRMPRIMESurfaceDescriptor | None) -> Any:
    """Return the attributes of a surface that is to be made."""
    if memory is None:
        return _written(fourcc, False)
    attributes = type(_written(fourcc, True)).from_buffer_copy(_written(fourcc, True))
    attributes[2].value.value.p = c.addressof(memory)
    return attributes


@functools.cache
def _written(fourcc: int, is_import: bool) -> Any:
    kinds, integer = va.SurfaceAttributeType, va.GenericValue.INTEGER
    attributes = [_attribute(kinds.PIXEL_FORMAT, integer, fourcc)]
    if is_import:
        attributes += [
            _attribute(kinds.MEMORY_TYPE, integer, va.MEMORY_TYPE_DRM_PRIME_2),
            _attribute(kinds.EXTERNAL_BUFFER_DESCRIPTOR, va.GenericValue.POINTER, 0),
        ]
    return (va.SurfaceAttribute * len(attributes))(*attributes)


def create_surface(
    display: Display,
    pixel_format: PixelFormat,
    width: int,
    height: int,
    memory: va.DRMPRIMESurfaceDescriptor | None = None,
    *,
    keep: object | None = None,
    layout: Sequence[PlaneLayout] | None = None,
    planes: Sequence[TensorInfo] | None = None,
) -> Surface:
    """Return a new surface, over memory of the driver's own or over dma-bufs.

    Parameters
    ----------
    display, pixel_format, width, height, keep, layout, planes
        As for `Surface`.
    memory : DRMPRIMESurfaceDescriptor, optional
        The dma-bufs; the driver makes descriptors of its own.

    Raises
    ------
    FormatError
        VA-API has no such format.
    DeviceError
        The driver cannot make such a surface, or cannot take such memory.
    """
    fourcc, rt_format = surface_format(pixel_format)
    attributes = _attributes(fourcc, memory)
    number = c.c_uint32(va.INVALID_SURFACE)
    status = libva().vaCreateSurfaces(
        display.native,
        rt_format,
        width,
        height,
        c.byref(number),
        1,
        attributes,
        len(attributes),
    )
    if status:
        what = "create" if memory is None else "import DMA memory as"
        asked = f"a {pixel_format.name} surface of {width}x{height} on {display.vendor}"
        check(status, f"{what} {asked}")
    return Surface(
        display,
        number.value,
        pixel_format,
        width,
        height,
        is_owned=True,
        keep=keep,
        layout=layout,
        planes=planes,
    )
