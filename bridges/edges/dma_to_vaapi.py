"""DMA > VAAPI: the planes of a picture in dma-bufs as one VA surface over the same memory."""

import struct

from bridges.backends.dma import DMATensor
from bridges.backends.layout import check_plane
from bridges.backends.vaapi import VAAPIContext, VAAPITensor
from bridges.backends.vaapi_surface import PlaneLayout, create_surface, surface_format
from bridges.context import Context
from bridges.errors import FormatError
from bridges.frame import Frame, FrameInfo
from bridges.native.drm import fourcc
from bridges.native.libva import DRMPRIMESurfaceDescriptor
from bridges.routes import Copied, frame_edge
from bridges.tensor import AccessMode, MemoryType

_MAX_NUMBER = 0xFFFF_FFFF
"""What the fields of a ``VADRMPRIMESurfaceDescriptor`` hold (``va_drmcommon.h``)."""


@frame_edge(MemoryType.DMA, MemoryType.VAAPI, copies=False)
def dma_to_vaapi(frame: Frame, context: Context, access: AccessMode, copied: Copied) -> Frame:
    """Map a whole frame; its driver may want all planes in one dma-buf, at aligned offsets.

    Raises
    ------
    FormatError
        VA-API has no such format, or samples of a row are not side by side.
    DeviceError
        The driver cannot take the memory; a memfd it never takes.
    """
    assert isinstance(context, VAAPIContext)
    tensors = [tensor for tensor in frame.tensors if isinstance(tensor, DMATensor)]
    info = frame.info
    _check(tensors, info)
    native, layout = _describe(tensors, info)
    surface = create_surface(
        context.display,
        info.format,
        info.width,
        info.height,
        native,
        keep=[(tensor.descriptor, tensor.keep) for tensor in tensors],
        layout=layout,
        planes=[tensor.info for tensor in tensors],
    )
    mapped = [
        VAAPITensor(surface, index, tensor.info, context=context, parent=tensor)
        for index, tensor in enumerate(tensors)
    ]
    if access & AccessMode.WRITE:
        mapped[0].on_close = surface.sync
    return frame.over(mapped)


def _describe(
    tensors: list[DMATensor], info: FrameInfo
) -> tuple[DRMPRIMESurfaceDescriptor, list[PlaneLayout]]:
    """Return the memory of a picture as one layer, each piece of memory once."""
    numbers, objects = _objects(tensors)
    layout = [
        PlaneLayout(number, tensor.offset, tensor.info.strides[0], tensor.modifier)
        for number, tensor in zip(numbers, tensors, strict=True)
    ]
    memory: list[int] = []
    for tensor in objects:
        nbytes = min(tensor.descriptor.nbytes, _MAX_NUMBER)
        memory += tensor.descriptor.fd, nbytes, tensor.modifier
    native = DRMPRIMESurfaceDescriptor()
    _HEAD.pack_into(
        native,
        0,
        surface_format(info.format)[0],
        info.width,
        info.height,
        len(objects),
        *_filled(memory, 12),
        1,
        fourcc(info.format.drm),
        len(layout),
        *_filled(numbers, 4),
        *_filled([plane.offset for plane in layout], 4),
        *_filled([plane.pitch for plane in layout], 4),
    )
    return native, layout


_HEAD = struct.Struct("=4I" + 4 * "iIQ" + "I" + "2I" + 3 * "4I")
"""A ``VADRMPRIMESurfaceDescriptor`` up to its first layer; field by field takes four times as long.
"""


def _filled(numbers: list[int], count: int) -> list[int]:
    return numbers + [0] * (count - len(numbers))


def _objects(tensors: list[DMATensor]) -> tuple[list[int], list[DMATensor]]:
    """Return the number of each tensor's piece of memory, and the first tensor in each."""
    numbers: list[int] = []
    objects: list[DMATensor] = []
    for tensor in tensors:
        same = [number for number, one in enumerate(objects) if _is_same(one, tensor)]
        numbers.append(same[0] if same else len(objects))
        if not same:
            objects.append(tensor)
    return numbers, objects


def _is_same(one: DMATensor, other: DMATensor) -> bool:
    if one.modifier != other.modifier:
        return False
    if one.descriptor is other.descriptor:
        return True
    identity = one.descriptor.identity
    return identity is not None and identity == other.descriptor.identity


def _check(tensors: list[DMATensor], info: FrameInfo) -> None:
    """Refuse what a ``VADRMPRIMESurfaceDescriptor`` cannot say."""
    surface_format(info.format)
    if not info.format.drm:
        raise FormatError(f"DRM has no name for {info.format.name}; convert to nv12 or bgra first")
    for index, (tensor, dense) in enumerate(zip(tensors, info.planes, strict=True)):
        check_plane("VA-API", index, tensor.info, dense)
        pitch = tensor.info.strides[0]
        if pitch > _MAX_NUMBER or tensor.offset > _MAX_NUMBER:
            raise FormatError(
                f"VA-API needs planes and rows within 4 GiB, got plane {index} at byte "
                f"{tensor.offset} with rows {pitch} bytes apart"
            )
