"""XRT > CPU: the host's side of a buffer as an array; in place where it has no other side."""

from bridges.backends.cpu import CPUTensor
from bridges.backends.host_array import array_at
from bridges.backends.xrt import XRTTensor
from bridges.backends.xrt_buffer import uncounted
from bridges.context import Context
from bridges.edges.refusals import source_has_own_memory, source_shares_host_memory
from bridges.routes import Copied, edge
from bridges.tensor import AccessMode, MemoryType, Tensor


def _map(
    source: Tensor, context: Context, access: AccessMode, fetches: bool, copied: Copied
) -> CPUTensor:
    assert isinstance(source, XRTTensor)
    info, bo, offset = source.info, source.bo, source.offset
    nbytes = info.span

    def fetch() -> None:
        bo.from_device(offset, nbytes)
        copied(nbytes)

    def flush() -> None:
        bo.to_device(offset, nbytes)
        copied(nbytes)

    writes = bool(access & AccessMode.WRITE)
    return CPUTensor(
        array_at(bo.address + offset, info, owner=bo, writeable=writes),
        context=context,
        parent=source,
        on_open=fetch if fetches else None,
        on_close=flush if writes else None,
    )


@edge(MemoryType.XRT, MemoryType.CPU, copies=False, refusal=source_has_own_memory)
def view(source: Tensor, context: Context, access: AccessMode, copied: Copied) -> CPUTensor:
    """Map a host-only buffer in place.

    Raises
    ------
    DeviceError
        XRT cannot synchronise the buffer.
    """
    return _map(source, context, access, bool(access & AccessMode.READ), uncounted)


@edge(MemoryType.XRT, MemoryType.CPU, copies=True, refusal=source_shares_host_memory)
def transfer(source: Tensor, context: Context, access: AccessMode, copied: Copied) -> CPUTensor:
    """Carry the samples to the buffer's host side for READ, and back at ``close()`` for WRITE.

    Raises
    ------
    DeviceError
        A transfer failed.
    """
    # What lies between rows goes back with them, so that it too has to be fetched first.
    fetches = bool(access & AccessMode.READ) or not source.info.is_contiguous
    return _map(source, context, access, fetches, copied)
