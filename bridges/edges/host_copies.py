"""Copies between host memory and a device that moves dense bytes: the hooks of such mappings."""

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from bridges.backends.cpu import CPUTensor
from bridges.backends.host_array import array_over
from bridges.context import Context
from bridges.routes import Copied
from bridges.tensor import AccessMode, Tensor

__all__ = ["Hook", "Move", "download_to_array", "upload_hooks", "whole_span_hooks"]

Hook = Callable[[], None]
Move = Callable[[npt.NDArray[Any]], object]
"""Carries all bytes of a dense array to a device, or fills it from there, and waits."""


def upload_hooks(
    array: npt.NDArray[Any], access: AccessMode, copied: Copied, *, send: Move, fetch: Move
) -> tuple[Hook | None, Hook | None]:
    """Return what opens and what closes a mapping of an array to dense memory on a device.

    Parameters
    ----------
    array : numpy.ndarray
        Of any layout; the hooks hold it.
    access, copied
        As an edge gets them.
    send, fetch : callable
        To the device, and from it.
    """

    def upload() -> None:
        send(np.ascontiguousarray(array))
        copied(array.nbytes)

    def download() -> None:
        # Rows are placed one by one where padding lies between: it may be somebody else's.
        rows = array if array.flags.c_contiguous else np.empty(array.shape, array.dtype)
        fetch(rows)
        if rows is not array:
            np.copyto(array, rows)
        copied(array.nbytes)

    return (
        upload if access & AccessMode.READ else None,
        download if access & AccessMode.WRITE else None,
    )


def whole_span_hooks(
    source: Tensor,
    memory: npt.NDArray[Any],
    access: AccessMode,
    copied: Copied,
    *,
    fetch: Move,
    send: Move,
) -> tuple[Hook | None, Hook | None]:
    """Return what opens and what closes a mapping of a device's memory, padding between rows too.

    Parameters
    ----------
    source : Tensor
        On the device.
    memory : numpy.ndarray
        Bytes of the host, as many as the source's span.
    access, copied
        As an edge gets them.
    fetch, send : callable
        From the device, and to it.
    """
    info = source.info

    def download() -> None:
        fetch(memory)
        copied(info.span)

    def upload() -> None:
        send(memory)
        copied(info.span)

    # What lies between rows goes back with them, so that it too has to be fetched first.
    is_fetched = bool(access & AccessMode.READ) or not info.is_contiguous
    return download if is_fetched else None, upload if access & AccessMode.WRITE else None


def download_to_array(
    source: Tensor,
    context: Context,
    access: AccessMode,
    copied: Copied,
    *,
    fetch: Move,
    send: Move,
) -> CPUTensor:
    """Return a new array that a tensor on a device is copied to, and back; see `whole_span_hooks`.

    Padding between rows is kept, so that the device's bytes are the host's.
    """
    info = source.info
    memory = np.empty(info.span, np.uint8)
    array = array_over(memory, info)
    array.flags.writeable = bool(access & AccessMode.WRITE)
    on_open, on_close = whole_span_hooks(source, memory, access, copied, fetch=fetch, send=send)
    return CPUTensor(array, context=context, parent=source, on_open=on_open, on_close=on_close)
