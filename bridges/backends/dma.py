"""DMA memory: dma-bufs, which devices share by file descriptor, and memfds in their place."""

import mmap
import os
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy.typing as npt

from bridges.backends.dma_allocator import Allocator, allocators
from bridges.backends.dma_descriptor import FileDescriptor, dma_errors, open_descriptors
from bridges.backends.host_array import array_over
from bridges.backends.layout import check_linear, check_samples
from bridges.backends.probe import BACKENDS, Probe
from bridges.context import Context
from bridges.errors import ClosedError, DeviceError, DeviceNotFoundError, FormatError
from bridges.native.drm import (
    DMA_BUF_SYNC_END,
    DMA_BUF_SYNC_READ,
    DMA_BUF_SYNC_START,
    DMA_BUF_SYNC_WRITE,
    MODIFIER_LINEAR,
    dma_buf_sync,
)
from bridges.tensor import AccessMode, MemoryType, Tensor, TensorInfo

__all__ = [
    "DMAContext",
    "DMATensor",
    "FileDescriptor",
    "cpu_access",
    "create",
    "dma_errors",
    "open_descriptors",
    "probe",
    "samples",
    "synchronisation",
]

_HOLDER = "DMA memory"
_SYNC_FLAGS = {
    AccessMode.READ: DMA_BUF_SYNC_READ,
    AccessMode.WRITE: DMA_BUF_SYNC_WRITE,
    AccessMode.READ_WRITE: DMA_BUF_SYNC_READ | DMA_BUF_SYNC_WRITE,
}


@dataclass(frozen=True, slots=True)
class _MemoryKey:
    """Which memory: its inode, held open so that no other memory gets its number."""

    identity: tuple[int, int]
    offset: int
    modifier: int
    descriptor: FileDescriptor = field(compare=False)


class DMATensor(Tensor):
    """A plane in memory that is known by a file descriptor.

    Parameters
    ----------
    descriptor : FileDescriptor
        A dma-buf, or a memfd where there is none.
    info : TensorInfo
        Layout of the samples.
    offset : int
        Bytes from the start of the memory to the first sample.
    modifier : int
        DRM's 64 bits for the layout: 0 is linear, see ``drm/drm_fourcc.h``.
    keep : object, optional
        What else must live for the samples to stay what they are, such as a decoder's frame.
    context, parent, on_open, on_close
        As for `Tensor`.
    """

    memory_type = MemoryType.DMA

    def __init__(
        self,
        descriptor: FileDescriptor,
        info: TensorInfo,
        *,
        offset: int = 0,
        modifier: int = MODIFIER_LINEAR,
        keep: object | None = None,
        **tensor: Any,
    ) -> None:
        super().__init__(info, **tensor)
        self._descriptor: FileDescriptor | None = descriptor
        self._keep = keep
        self._key: _MemoryKey | None = None
        self.offset = offset
        self.modifier = modifier

    @property
    def descriptor(self) -> FileDescriptor:
        """The owner of the descriptor: hold it to have the memory outlive this tensor."""
        if self._descriptor is None:
            raise ClosedError("this DMA tensor was closed; map it again")
        return self._descriptor

    @property
    def keep(self) -> object | None:
        """What else must live for the samples to stay what they are."""
        return self._keep

    def _handles(self) -> dict[str, Any]:
        return {
            "dma_fd": self.descriptor.fd,
            "offset": self.offset,
            "drm_modifier": self.modifier,
        }

    def _part(self, info: TensorInfo, offset: int) -> "DMATensor":
        check_linear(self.modifier, "cut")
        return DMATensor(
            self.descriptor,
            info,
            offset=self.offset + offset,
            keep=self._keep,
            context=self.context,
            parent=self,
        )

    def memory_key(self) -> Hashable | None:
        """Return the inode of the memory and where the samples start; the key holds it open.

        It is None for memory that is somebody's to recycle: a kept mapping would hold that back.
        """
        if self._key is None and self._keep is None:
            own = FileDescriptor.duplicate(self.descriptor.fd)
            if own.identity is not None:
                self._key = _MemoryKey(own.identity, self.offset, self.modifier, own)
        return self._key

    def _release(self) -> None:
        self._descriptor = self._keep = self._key = None


class _Mapping(mmap.mmap):
    """Mapped memory; ``keep`` lives as long as any array over it."""

    keep: object | None = None


def samples(tensor: DMATensor, access: AccessMode) -> npt.NDArray[Any]:
    """Return a tensor's samples in host memory, not synchronised.

    The memory is unmapped when no view of the array is left. With READ the array, and the pages
    behind it, cannot be written.

    Raises
    ------
    FormatError
        The memory is not linear, or the layout is empty or runs backward.
    DeviceError
        The kernel cannot map the memory.
    """
    check_linear(tensor.modifier, "mapped to the host")
    info = tensor.info
    check_samples(_HOLDER, info)
    # From its first byte on: the kernel's drm_gem_shmem_fault ignores where a mapping starts.
    protection = mmap.PROT_READ | (mmap.PROT_WRITE if access & AccessMode.WRITE else 0)
    try:
        memory = _Mapping(
            tensor.descriptor.fd,
            tensor.offset + info.span,
            mmap.MAP_SHARED,
            protection,
        )
    except (OSError, ValueError) as error:
        raise DeviceError(
            f"the kernel cannot map {info.span} bytes of DMA memory from byte {tensor.offset} on, "
            f"for {access.name}: {error}"
        ) from error
    if tensor.keep is not None:
        memory.keep = tensor.keep
    return array_over(memory, info, tensor.offset)


Hook = Callable[[], None]


def synchronisation(tensor: DMATensor, access: AccessMode) -> tuple[Hook | None, Hook | None]:
    """Return what begins and what ends the CPU's access; (None, None) for a memfd.

    A memfd is no dma-buf: it answers DMA_BUF_IOCTL_SYNC with ENOTTY, and needs none, for no device
    but the CPU can reach it.
    """
    descriptor = tensor.descriptor
    if not descriptor.is_dma_buf:
        return None, None
    flags = _SYNC_FLAGS[access]

    def begin() -> None:
        with dma_errors("give a dma-buf to the CPU"):
            dma_buf_sync(descriptor.fd, DMA_BUF_SYNC_START | flags)

    def end() -> None:
        with dma_errors("give a dma-buf back to its devices"):
            dma_buf_sync(descriptor.fd, DMA_BUF_SYNC_END | flags)

    return begin, end


@contextmanager
def cpu_access(tensor: DMATensor, access: AccessMode) -> Iterator[None]:
    """Synchronise what the CPU does with a tensor's samples in a ``with`` block."""
    begin, end = synchronisation(tensor, access)
    if begin is not None:
        begin()
    try:
        yield
    finally:
        if end is not None:
            end()


class DMAContext(Context):
    """Memory that is known by file descriptors, whichever device has made it.

    Parameters
    ----------
    allocator : Allocator, optional
        Where new memory comes from; the best there is where it is left out.
    drm_device : str, optional
        The node of the device that shares this memory, such as ``"/dev/dri/renderD128"``.

    Attributes
    ----------
    is_dma_buf : bool
        Whether what it allocates are dma-bufs, which devices can import; else they are memfds.
    """

    memory_type = MemoryType.DMA
    shares_host_memory = True

    def __init__(
        self, allocator: Allocator | None = None, *, drm_device: str | None = None
    ) -> None:
        super().__init__()
        self._allocator = allocator or allocators()[0]
        self._drm_device = drm_device
        self.is_dma_buf = self._allocator.is_dma_buf
        self.name = str(self._allocator)

    def _handles(self) -> dict[str, Any]:
        return {"drm_device": self._drm_device}

    def _derive(self, memory_type: MemoryType) -> Context | None:
        if memory_type is MemoryType.FFMPEG:
            from bridges.backends.ffmpeg import FFmpegContext

            return FFmpegContext("drm_prime")
        if memory_type is MemoryType.VAAPI and self._drm_device is not None:
            from bridges.backends.probe import open_context

            try:
                return open_context(memory_type, self._drm_device)
            except DeviceNotFoundError:
                return None
        return None

    def allocate(self, info: TensorInfo) -> DMATensor:
        """Return a tensor in new linear memory, of zeros where it is a memfd.

        Raises
        ------
        FormatError
            The layout is empty or runs backward.
        DeviceError
            There is too little memory.
        """
        if self._closed:
            raise ClosedError(f"the DMA context {self.name} was closed; make another one")
        check_samples(_HOLDER, info)
        with dma_errors(f"allocate {info.span} bytes of {self.name}"):
            descriptor = FileDescriptor(self._allocator.allocate(info.span))
        return DMATensor(descriptor, info, context=self)

    def wrap(
        self,
        fd: int,
        info: TensorInfo,
        *,
        offset: int = 0,
        modifier: int = MODIFIER_LINEAR,
        take: bool = False,
    ) -> DMATensor:
        """Return a tensor over memory that exists.

        Parameters
        ----------
        fd : int
            A dma-buf, or a memfd.
        info, offset, modifier
            As for `DMATensor`.
        take : bool
            Whether the tensor owns ``fd`` from now on; it makes a descriptor of its own otherwise.
            What is refused is not taken.

        Raises
        ------
        FormatError
            The layout is empty, runs backward, or does not fit the memory.
        DeviceError
            ``fd`` is not open, or is no memory.
        """
        check_samples(_HOLDER, info, offset=offset)
        with dma_errors(f"tell the size of the memory behind file descriptor {fd}"):
            nbytes = os.lseek(fd, 0, os.SEEK_END)
        # How many bytes a tiled picture takes is known to its device only.
        if modifier == MODIFIER_LINEAR and offset + info.span > nbytes:
            raise FormatError(
                f"{info.span} bytes from byte {offset} on do not fit into {nbytes} bytes of DMA "
                "memory; check shape, strides and offset"
            )
        descriptor = FileDescriptor(fd) if take else FileDescriptor.duplicate(fd)
        return DMATensor(descriptor, info, offset=offset, modifier=modifier, context=self)


def create(selector: str = "") -> DMAContext:
    """Return a context.

    Parameters
    ----------
    selector : str
        Where new memory comes from: ``"udmabuf"``, ``"vgem"``, ``"memfd"``, the name of a heap in
        ``/dev/dma_heap`` such as ``"system"``, or empty for the best there is; or the node of the
        DRM device that shares the memory, such as ``"/dev/dri/renderD128"``.

    Raises
    ------
    DeviceNotFoundError
        There is no such source or node.
    """
    if selector.startswith("/dev/dri/"):
        if not Path(selector).exists():
            raise DeviceNotFoundError(
                f"there is no DRM device {selector}; see ls /dev/dri, or name none"
            )
        return DMAContext(drm_device=selector)
    found = allocators()
    for allocator in found:
        if selector in ("", allocator.name):
            return DMAContext(allocator)
    there = ", ".join(allocator.name for allocator in found)
    raise DeviceNotFoundError(
        f"no DMA memory from {selector!r}, only from {there}; try: {BACKENDS[MemoryType.DMA][1]}"
    )


def probe() -> Probe:
    """Report what makes dma-bufs here; memfds alone make it unavailable, yet usable."""
    found = allocators()
    names = tuple(str(allocator) for allocator in found)
    if not found[0].is_dma_buf:
        reason = "no /dev/udmabuf, /dev/dma_heap or vgem that can be opened; memfds stand in"
        return Probe("dma", False, reason, BACKENDS[MemoryType.DMA][1], devices=names)
    return Probe("dma", True, f"Linux {os.uname().release}", devices=names)
