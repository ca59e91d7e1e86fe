"""CPU > OpenVINO: an array as an ov.Tensor over the same memory, padding between rows kept."""

from bridges.backends.openvino import OpenVINOTensor
from bridges.backends.openvino_layout import describe
from bridges.context import Context
from bridges.edges.refusals import target_has_own_memory
from bridges.errors import FormatError
from bridges.routes import Copied, edge
from bridges.tensor import AccessMode, MemoryType, Tensor


def _has_own_memory(source: Context, target: Context) -> str:
    reason = target_has_own_memory(source, target)
    return reason and f"{reason}; its requests take the tensors of OpenVINO CPU too"


@edge(MemoryType.CPU, MemoryType.OPENVINO, copies=False, refusal=_has_own_memory)
def share(source: Tensor, context: Context, access: AccessMode, copied: Copied) -> OpenVINOTensor:
    """Map one plane in place; requests that use it are to be finished before ``close()``.

    openvino has no read-only tensors: a READ mapping, also one of a read-only array, can be written
    to through ``ov.Tensor.data``, and must not be. Where rows are no whole number of pixels apart,
    the ``ov.Tensor`` shows rows of samples; see `bridges.backends.openvino_layout`.

    Raises
    ------
    FormatError
        The array is empty, or has a sample type or strides that openvino has not, or it is
        read-only and the mapping is not.
    """
    info = source.info
    layout = describe(info)
    array = source.handle("array")
    writeable = AccessMode.WRITE in access
    if writeable and not array.flags.writeable:
        raise FormatError(
            f"a WRITE mapping needs an array that can be written to, got a read-only one of shape "
            f"{info.shape}; map it with READ, or copy it first"
        )
    address = source.handle("data")
    # The source may be closed first: its array and what that was mapped from stay alive.
    native, base = layout.over(address, (array, source.parent))
    return OpenVINOTensor(
        native,
        info,
        address=address,
        keep=base,
        writeable=writeable,
        context=context,
        parent=source,
    )
