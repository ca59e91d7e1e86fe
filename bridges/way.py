"""The way from one device's memory to another's: which contexts a route may pass between them."""

import contextlib

from bridges.context import Context
from bridges.errors import NoRouteError
from bridges.tensor import MemoryType

__all__ = ["contexts_between"]


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
