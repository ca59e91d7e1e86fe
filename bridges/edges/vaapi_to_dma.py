"""VAAPI > DMA: the planes of a surface as the dma-bufs that its driver exports."""

from bridges.backends.dma import DMATensor
from bridges.backends.layout import check_linear
from bridges.backends.vaapi import VAAPIContext, VAAPITensor
from bridges.context import Context
from bridges.errors import DeviceError
from bridges.routes import Copied, edge
from bridges.tensor import AccessMode, MemoryType, Tensor


def _exports_nothing(source: Context, target: Context) -> str:
    assert isinstance(source, VAAPIContext)
    return "" if source.can_export else f"{source.name} exports no surfaces"


@edge(MemoryType.VAAPI, MemoryType.DMA, copies=False, refusal=_exports_nothing)
def vaapi_to_dma(source: Tensor, context: Context, access: AccessMode, copied: Copied) -> DMATensor:
    """Map one plane, once the work on its surface is done; with READ it cannot be written.

    Raises
    ------
    FormatError
        The surface is compressed, or a part of a tiled one was asked for.
    DeviceError
        The driver cannot export the surface, or the device failed.
    """
    assert isinstance(source, VAAPITensor)
    surface = source.surface
    export = surface.export(access)
    plane = export.planes[source.index]
    if source.offset:
        check_linear(plane.modifier, "cut")
    if plane.pitch != surface.layout[source.index].pitch:
        raise DeviceError(
            f"{surface} is exported with {plane.pitch} bytes from row to row, and was laid out "
            f"with {surface.layout[source.index].pitch}"
        )
    # Let go of at close(): a cache keeps the dma-bufs, and must not keep the surface from its pool.
    owner = [source.owner]
    return DMATensor(
        export.descriptors[plane.object_index],
        source.info,
        offset=plane.offset + source.offset,
        modifier=plane.modifier,
        # The source may be closed first: the surface stays, and all mappings share one export.
        keep=(surface, export, owner),
        context=context,
        parent=source,
        on_open=surface.sync,
        on_close=owner.clear,
    )
