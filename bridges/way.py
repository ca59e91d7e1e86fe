"""The way from one device's memory to another's: which contexts a route may pass between them."""

import contextlib

from bridges.context import Context
from bridges.errors import NoRouteError
from bridges.frame import MediaFrame
from bridges.mapper import create_mapper
from bridges.native.drm import MODIFIER_LINEAR
from bridges.tensor import AccessMode, MemoryType

__all__ = ["contexts_between", "contexts_for", "surface_modifier"]


def contexts_for(frame: MediaFrame, target: Context) -> list[Context]:
    """Return `contexts_between` a frame's device and another, as far as its memory can be seen.

    A surface that does not lie row after row is seen by its display alone: what other devices and
    the host get of it are copies. Whoever calls this closes the contexts.

    Parameters
    ----------
    frame : MediaFrame
        The first of those to be mapped; the others are taken to lie alike.
    target : Context
        Where they are to be seen.
    """
    source = frame.tensors[0].context
    between = [] if source is None else contexts_between(source, target)
    if not between or between[0].memory_type is not MemoryType.VAAPI:
        return between
    seen = 0
    try:
        seen = len(between) if surface_modifier(frame, between[0]) == MODIFIER_LINEAR else 1
    finally:
        for context in between[seen:]:
            context.close()
    return between[:seen]


def surface_modifier(frame: MediaFrame, display: Context) -> int:
    """Return DRM's modifier of a surface's memory: linear, or of the first plane that is not.

    Parameters
    ----------
    frame : MediaFrame
        A surface, as a frame of FFmpeg.
    display : Context
        Its VA display.
    """
    from bridges.backends.vaapi import VAAPITensor

    source = frame.tensors[0].context
    assert source is not None
    with create_mapper([source, display]).map(frame, AccessMode.READ) as on_display:
        plane = on_display.tensors[0]
        assert isinstance(plane, VAAPITensor)
        found = (each.modifier for each in plane.surface.layout)
        return next((each for each in found if each != MODIFIER_LINEAR), MODIFIER_LINEAR)


def contexts_between(source: Context, target: Context) -> list[Context]:
    """Return the contexts of the same devices that a route from one end to the other may pass.

    From FFmpeg's frames on a video engine they are its display and its dma-bufs, and those of Level
    Zero where the target is a SYCL device of it: FFmpeg > VAAPI > DMA > USM > SYCL. From host
    memory there are none that would be of use. Whoever calls this closes them.

    Parameters
    ----------
    source, target : Context
        The two ends, for `bridges.create_mapper` with what is returned between them. FFmpeg's
        frames have to have told their device: wrap one first.
    """
    if source.shares_host_memory:
        return []
    found: list[Context] = []
    last = source
    for kind in (MemoryType.VAAPI, MemoryType.DMA):
        if kind not in (source.memory_type, target.memory_type):
            with contextlib.suppress(NoRouteError):
                last = last.derive(kind)
                found.append(last)
    if not target.shares_host_memory and target.memory_type is not MemoryType.USM:
        with contextlib.suppress(NoRouteError):
            found.append(target.derive(MemoryType.USM))
    return found
