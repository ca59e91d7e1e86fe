"""DMA > OpenCL: the same memory as a buffer: through the CPU's mapping, or imported by a GPU.

A CPU device uses the mapped pages in place. A GPU imports the dma-buf itself, where it has
cl_khr_external_memory_dma_buf; any other is refused, and the route leads through the CPU.
"""

import pyopencl as cl

from bridges.backends.cpu import CPUContext, CPUTensor
from bridges.backends.dma import DMATensor, samples, synchronisation
from bridges.backends.layout import check_linear
from bridges.backends.opencl import OpenCLContext, OpenCLTensor, opencl_errors
from bridges.context import Context
from bridges.edges.cpu_to_opencl import share
from bridges.edges.refusals import target_has_own_memory
from bridges.errors import FormatError
from bridges.native.libopencl import create_buffer_from_dma_buf, hand_over
from bridges.routes import Copied, edge
from bridges.tensor import AccessMode, MemoryType, Tensor

_EXTENSION = "cl_khr_external_memory_dma_buf"
_host = CPUContext()


def _cannot_import(source: Context, target: Context) -> str:
    if target.shares_host_memory:
        return f"{target.name} works in host memory"
    has = _EXTENSION in target.handle("cl_device").extensions.split()
    return "" if has else f"{target.name} has no {_EXTENSION}"


@edge(MemoryType.DMA, MemoryType.OPENCL, copies=False, refusal=target_has_own_memory)
def share_mapped(
    source: Tensor, context: Context, access: AccessMode, copied: Copied
) -> OpenCLTensor:
    """Map one plane to the CPU and use it there; ``close()`` waits for the kernels.

    The pages of a READ mapping cannot be written to: a kernel that tries ends the process.

    Raises
    ------
    FormatError
        The memory is tiled, or the layout is empty or runs backward.
    DeviceError
        The kernel cannot map the memory, or an OpenCL kernel that used it failed.
    """
    assert isinstance(source, DMATensor)
    begin, end = synchronisation(source, access)
    host = CPUTensor(samples(source, access), context=_host)
    tensor = share(host, context, access, copied)
    assert isinstance(tensor, OpenCLTensor)
    tensor.parent = source
    finish = tensor.on_close

    def give_back() -> None:
        try:
            if finish is not None:
                finish()
        finally:
            if end is not None:
                end()

    tensor.on_open = begin
    tensor.on_close = finish if end is None else give_back
    return tensor


@edge(MemoryType.DMA, MemoryType.OPENCL, copies=False, refusal=_cannot_import)
def import_dma_buf(
    source: Tensor, context: Context, access: AccessMode, copied: Copied
) -> OpenCLTensor:
    """Import one plane into a device; it is acquired when opened, and released at ``close()``.

    Written after OpenCL's specification (cl_khr_external_memory, cl_khr_external_memory_dma_buf),
    and not yet run: no runtime at hand has the extension.

    Raises
    ------
    FormatError
        The memory is tiled, is no dma-buf, or starts where the device cannot begin a buffer.
    DeviceError
        The runtime cannot import the memory.
    """
    assert isinstance(source, DMATensor)
    assert isinstance(context, OpenCLContext)
    check_linear(source.modifier, "imported as an OpenCL buffer")
    descriptor, info, offset = source.descriptor, source.info, source.offset
    device, queue, finish = context.handle("cl_device"), context.queue, context.finish
    alignment = device.mem_base_addr_align // 8
    if not descriptor.is_dma_buf or offset % alignment or not info.span:
        raise FormatError(
            f"{context.name} imports dma-bufs from multiples of {alignment} bytes on, got "
            f"{'a dma-buf' if descriptor.is_dma_buf else 'a memfd'} from byte {offset} on; map it "
            "through host memory instead"
        )
    is_written = bool(access & AccessMode.WRITE)
    native = create_buffer_from_dma_buf(
        context.native.int_ptr, descriptor.fd, offset + info.span, is_written=is_written
    )
    whole = cl.Buffer.from_int_ptr(native, retain=False)
    with opencl_errors(f"take a part of a dma-buf on {context.name}"):
        buffer = whole.get_sub_region(offset, info.span) if offset else whole
    platform = device.platform.int_ptr

    def acquire() -> None:
        hand_over("Acquire", platform, queue.int_ptr, native)

    def release() -> None:
        hand_over("Release", platform, queue.int_ptr, native)
        finish()

    return OpenCLTensor(
        buffer,
        info,
        keep=(whole, descriptor, source.keep),
        context=context,
        parent=source,
        on_open=acquire,
        on_close=release,
    )
