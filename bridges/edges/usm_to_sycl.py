"""USM > SYCL: Level Zero's memory as a kernel's argument, in the queue's own native context."""

from bridges.backends.level_zero import USMTensor
from bridges.backends.sycl import SyclContext, SyclTensor
from bridges.context import Context
from bridges.native.dpctl_memory import native_context
from bridges.routes import Copied, edge
from bridges.tensor import AccessMode, MemoryType, Tensor


def _is_another_context(source: Context, target: Context) -> str:
    assert isinstance(target, SyclContext)
    if target.device.backend != "level_zero":
        return f"{target.name} is driven by {target.device.backend}, not by Level Zero"
    if source.handle("ze_context") != native_context(target.queue.sycl_context):
        return f"{target.name} has another ze_context; derive the USM context from the SYCL one"
    return ""


@edge(MemoryType.USM, MemoryType.SYCL, copies=False, refusal=_is_another_context)
def usm_to_sycl(source: Tensor, context: Context, access: AccessMode, copied: Copied) -> SyclTensor:
    """Map one block in place; ``close()`` waits for the kernels that use it.

    Raises
    ------
    DeviceError
        The memory is not of the queue's context.
    """
    assert isinstance(source, USMTensor)
    assert isinstance(context, SyclContext)
    owner = (source.allocation, source.keep, source.parent)
    memory = context.native_memory(
        source.handle("data"), source.info.span, owner, usm_type=source.usm_type
    )
    return SyclTensor(
        memory,
        source.info,
        usm_type=source.usm_type,
        context=context,
        parent=source,
        on_close=context.finish,
    )
