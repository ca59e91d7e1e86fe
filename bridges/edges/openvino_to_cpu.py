"""OpenVINO > CPU: a tensor as an array over the same memory, or as a copy of a GPU's."""

from typing import Any

import numpy as np

from bridges.backends.cpu import CPUTensor
from bridges.backends.openvino import OpenVINORemoteTensor, OpenVINOTensor, openvino_errors
from bridges.backends.openvino_layout import describe
from bridges.context import Context
from bridges.edges.refusals import source_has_own_memory, source_shares_host_memory
from bridges.errors import FormatError
from bridges.routes import Copied, edge
from bridges.tensor import AccessMode, MemoryType, Tensor, TensorInfo


def _check(source: Tensor, access: AccessMode) -> None:
    is_promised = isinstance(source, OpenVINOTensor) and not source.writeable
    if is_promised and AccessMode.WRITE in access:
        raise FormatError("a READ mapping cannot be written to; map its source with READ_WRITE")


@edge(MemoryType.OPENVINO, MemoryType.CPU, copies=False, refusal=source_has_own_memory)
def view(source: Tensor, context: Context, access: AccessMode, copied: Copied) -> CPUTensor:
    """Map one tensor in place; an output's array is good until its request runs again.

    Raises
    ------
    FormatError
        The tensor lies on a GPU, or it is itself a READ mapping and this one is to be written to.
    """
    if not isinstance(source, OpenVINOTensor):
        raise FormatError(
            "a tensor on a GPU has no address in host memory; map it from the GPU's own context"
        )
    _check(source, access)
    array = source.array
    if AccessMode.WRITE not in access:
        array.flags.writeable = False
    return CPUTensor(array, context=context, parent=source)


@edge(MemoryType.OPENVINO, MemoryType.CPU, copies=True, refusal=source_shares_host_memory)
def download(source: Tensor, context: Context, access: AccessMode, copied: Copied) -> CPUTensor:
    """Copy one tensor to the host for READ, and back at ``close()`` for WRITE.

    Not run on a GPU's tensors yet: ``copy_to`` and ``copy_from`` of tensors in host memory, which
    are the same calls, stand for them.

    Raises
    ------
    FormatError
        The tensor is itself a READ mapping, and this one is to be written to.
    DeviceError
        A transfer failed.
    """
    assert isinstance(source, OpenVINOTensor | OpenVINORemoteTensor)
    # The source may be closed first; a box of openvino's does not keep its memory itself.
    info, owner = source.info, source.owner
    _check(source, access)
    array: np.ndarray[Any, Any] = np.empty(info.shape, info.dtype)
    shown = TensorInfo(tuple(owner[0].get_shape()), info.dtype)
    staged, _ = describe(shown).over(array.ctypes.data, array)

    def fetch() -> None:
        with openvino_errors(f"copy {array.nbytes} bytes from {source.context.name}"):
            owner[0].copy_to(staged)
        copied(array.nbytes)

    def store() -> None:
        with openvino_errors(f"copy {array.nbytes} bytes to {source.context.name}"):
            owner[0].copy_from(staged)
        copied(array.nbytes)

    samples = array.view()
    samples.flags.writeable = AccessMode.WRITE in access
    return CPUTensor(
        samples,
        context=context,
        parent=source,
        on_open=fetch if AccessMode.READ in access else None,
        on_close=store if AccessMode.WRITE in access else None,
    )
