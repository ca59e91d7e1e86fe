"""VAAPI > CPU: a surface as arrays, in place where its driver shows the memory itself."""

from bridges.backends.cpu import CPUTensor
from bridges.backends.host_array import array_at
from bridges.backends.layout import check_linear, plane_layout
from bridges.backends.vaapi import VAAPIContext, VAAPITensor, whole_surface
from bridges.backends.vaapi_image import MappedImage
from bridges.context import Context
from bridges.edges.countdown import Countdown
from bridges.errors import DeviceError
from bridges.frame import Frame
from bridges.routes import Copied, edge, frame_edge
from bridges.tensor import AccessMode, MemoryType, Tensor


def _is_copied(source: Context, target: Context) -> str:
    assert isinstance(source, VAAPIContext)
    return "" if source.derives_in_place else f"{source.name} shows the host a copy of its memory"


# Each mapping of an image may lie elsewhere, so that none can be opened again.
@edge(MemoryType.VAAPI, MemoryType.CPU, copies=False, refusal=_is_copied, reusable=False)
def view(source: Tensor, context: Context, access: AccessMode, copied: Copied) -> CPUTensor:
    """Map one plane in place, once the work on its surface is done.

    ``close()`` of a mapping for WRITE unmaps it, and its array must not be used after that; one for
    READ stays mapped for as long as an array needs it.

    Raises
    ------
    FormatError
        The surface is tiled.
    DeviceError
        The driver cannot map the surface, or the device failed.
    """
    assert isinstance(source, VAAPITensor)
    surface = source.surface
    plane = surface.layout[source.index]
    if not surface.is_linear:
        check_linear(plane.modifier, "seen in place by the host")
    image = MappedImage.derive(surface)
    address, pitch = image.plane(source.index)
    if pitch != plane.pitch:
        image.close()
        raise DeviceError(
            f"{surface} is shown with {pitch} bytes from row to row, and lies with {plane.pitch}"
        )
    writeable = bool(access & AccessMode.WRITE)
    array = array_at(
        address + source.offset, source.info, owner=(image, source.owner), writeable=writeable
    )
    on_close = image.close if writeable else None
    return CPUTensor(array, context=context, parent=source, on_close=on_close)


# The image is unmapped while the driver copies.
@frame_edge(MemoryType.VAAPI, MemoryType.CPU, copies=True, reusable=False)
def download(frame: Frame, context: Context, access: AccessMode, copied: Copied) -> Frame:
    """Copy a frame for READ, and back at ``close()`` of its last plane for WRITE.

    After that ``close()`` the arrays must not be used.

    Raises
    ------
    FormatError
        The frame's planes are not one part of one surface.
    DeviceError
        The driver cannot copy, or has too little memory.
    """
    surface, x, y = whole_surface(frame)
    info, owner = frame.info, [tensor.owner for tensor in frame.tensors]  # type: ignore[attr-defined]
    part = x, y, info.width, info.height
    image = MappedImage.create(surface, info.width, info.height)
    nbytes = sum(plane.nbytes for plane in info.planes)
    if access & AccessMode.READ:
        image.fetch(*part)
        copied(nbytes)

    def store() -> None:
        image.store(*part)
        copied(nbytes)
        image.close()

    close_one = Countdown(len(frame.tensors), store)
    mapped = []
    writeable = bool(access & AccessMode.WRITE)
    for index, tensor in enumerate(frame.tensors):
        address, pitch = image.plane(index)
        layout = plane_layout(info.format, index, info.width, info.height, pitch)
        array = array_at(address, layout, owner=(image, owner), writeable=writeable)
        on_close = close_one if writeable else None
        mapped.append(CPUTensor(array, context=context, parent=tensor, on_close=on_close))
    return frame.over(mapped)
