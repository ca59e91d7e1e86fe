"""XRT's memory: buffer objects of AMD's (Xilinx') accelerator cards, through XRT's C library.

A buffer object has memory on the device and, at the same size, memory of the host; ``xrtBOSync``
carries the samples between the two by DMA, which counts as a copy. A ``host_only`` one has memory
of the host alone, which the device reads and writes in place; then it only tidies caches.
"""

import ctypes
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy.typing as npt

from bridges.backends.host_array import HostArray, array_at
from bridges.backends.layout import check_samples
from bridges.backends.probe import BACKENDS, Probe
from bridges.backends.xrt_buffer import BufferObject
from bridges.context import Context
from bridges.errors import ClosedError, DeviceError, DeviceNotFoundError, FormatError
from bridges.native.xrt import (
    FLAG_DEVICE_ONLY,
    FLAG_HOST_ONLY,
    FLAG_NONE,
    XRT,
    last_error,
    load,
)
from bridges.tensor import MemoryType, Tensor, TensorInfo

__all__ = ["USER_ALIGNMENT", "XRTContext", "XRTTensor", "create", "probe"]

USER_ALIGNMENT = 4096
"""Bytes that a user pointer must be a multiple of; see ``xrt::bo`` in xrt/xrt_bo.h."""

_HOLDER = "XRT memory"
_SETUP = Path("/opt/xilinx/xrt/setup.sh")
"""Where AMD's own packages of XRT put what sets XILINX_XRT."""


class XRTTensor(HostArray, Tensor):
    """A block of samples in an XRT buffer object.

    Its array protocols show the host's side of the memory, as the last mapping left it.

    Parameters
    ----------
    bo : BufferObject
        The buffer.
    offset : int
        Bytes from its start to the first sample.
    info, context, parent, on_open, on_close
        As for `Tensor`.
    """

    memory_type = MemoryType.XRT

    def __init__(
        self, bo: BufferObject, info: TensorInfo, *, offset: int = 0, **tensor: Any
    ) -> None:
        super().__init__(info, **tensor)
        self._bo: BufferObject | None = bo
        self.offset = offset

    @property
    def bo(self) -> BufferObject:
        """The owner of the buffer: hold it to have the memory outlive this tensor.

        Raises
        ------
        ClosedError
            The tensor was closed.
        """
        if self._bo is None or self._closed:
            raise ClosedError("this XRT tensor was closed; map it again")
        return self._bo

    def _handles(self) -> dict[str, Any]:
        bo = self.bo
        handles = {
            "xrt_bo": bo.handle,
            "address": bo.device_address + self.offset,
            "offset": self.offset,
        }
        if not bo.device_only:
            handles["data"] = bo.address + self.offset
        return handles

    def _host_array(self) -> npt.NDArray[Any]:
        return array_at(self.bo.address + self.offset, self.info, owner=self.bo, writeable=True)

    def _part(self, info: TensorInfo, offset: int) -> "XRTTensor":
        return XRTTensor(
            self.bo, info, offset=self.offset + offset, context=self.context, parent=self
        )

    def _release(self) -> None:
        self._bo = None


class _Device:
    """An open device, closed with the last context or buffer that needs it."""

    def __init__(self, xrt: XRT, index: int) -> None:
        self._library = xrt.library
        self.handle = self._library.xrtDeviceOpen(index)
        if not self.handle:
            raise DeviceError(f"XRT cannot open device {index}: {last_error()}")

    def __del__(self) -> None:
        if getattr(self, "handle", None):
            self._library.xrtDeviceClose(self.handle)


class XRTContext(Context):
    """One XRT device.

    Parameters
    ----------
    index : int
        Which, as XRT counts them.
    host_only : bool
        Whether new buffers lie in the host's memory alone, for the device to use in place. It needs
        a card with host memory enabled (``xbutil configure --host-mem``).
    memory_group : int
        The memory bank of new buffers (``xrtMemoryGroup``).

    Raises
    ------
    DeviceNotFoundError
        XRT or the device is not there.
    DeviceError
        The device cannot be opened.
    """

    memory_type = MemoryType.XRT

    def __init__(self, index: int = 0, *, host_only: bool = False, memory_group: int = 0) -> None:
        super().__init__()
        xrt = _load()
        if not 0 <= index < xrt.device_count:
            raise DeviceNotFoundError(
                f"no XRT device {index}; XRT finds {xrt.device_count}; see xbutil examine"
            )
        self.xrt = xrt
        self.name = f"XRT device {index}" + (f" ({xrt.mode})" if xrt.mode else "")
        self.shares_host_memory = host_only
        self._flags = FLAG_HOST_ONLY if host_only else FLAG_NONE
        self._group = memory_group
        self._device: _Device | None = _Device(xrt, index)

    def _handles(self) -> dict[str, Any]:
        return {"xrt_device": self._open().handle}

    def _open(self) -> _Device:
        if self._device is None:
            raise ClosedError(f"the XRT context {self.name} was closed; make another one")
        return self._device

    @cached_property
    def export_refusal(self) -> str:
        """Why its buffers cannot be exported as file descriptors; empty where they can."""
        try:
            _ = self._buffer(USER_ALIGNMENT).exported
        except DeviceError as error:
            return f"{self.name}: {error}"
        return ""

    def _buffer(
        self, nbytes: int, group: int | None = None, device_only: bool = False
    ) -> BufferObject:
        device = self._open()
        flags = FLAG_DEVICE_ONLY if device_only else self._flags
        group = self._group if group is None else group
        handle = self.xrt.library.xrtBOAlloc(device.handle, nbytes, flags, group)
        if not handle:
            raise DeviceError(
                f"XRT cannot allocate {nbytes} bytes in bank {group} of {self.name}: {last_error()}"
            )
        return BufferObject(self.xrt, handle, keep=device, device_only=device_only)

    def allocate(
        self, info: TensorInfo, *, memory_group: int | None = None, device_only: bool = False
    ) -> XRTTensor:
        """Return a tensor in a new buffer; the samples start undefined.

        Parameters
        ----------
        info : TensorInfo
            Layout of the samples.
        memory_group : int, optional
            The memory bank; by default the context's own.
        device_only : bool
            Whether the host needs no side of it.

        Raises
        ------
        FormatError
            The layout is empty or runs backward.
        DeviceError
            The device has too little memory, or no such bank.
        """
        # XRT 2.13 takes a size of 0, and ends the process later.
        check_samples(_HOLDER, info)
        bo = self._buffer(info.span, memory_group, device_only)
        return XRTTensor(bo, info, context=self)

    def load_xclbin(self, content: bytes) -> None:
        """Load an xclbin: the kernels of the device, and their wires to its memory.

        What was loaded before is gone; no kernel of it may be open in any process.

        Parameters
        ----------
        content : bytes
            The whole file.

        Raises
        ------
        DeviceError
            It is not for this device, or something of what is loaded is in use.
        """
        if self.xrt.library.xrtDeviceLoadXclbin(self._open().handle, content):
            raise DeviceError(
                f"{self.name} does not load an xclbin of {len(content)} bytes: {last_error()}; "
                "is it for this card, and does no other process use the card?"
            )

    @property
    def xclbin_id(self) -> bytes:
        """The 16 bytes that identify the xclbin that is loaded; zero where none is."""
        found = ctypes.create_string_buffer(16)
        if self.xrt.library.xrtDeviceGetXclbinUUID(self._open().handle, found):
            raise DeviceError(f"{self.name} does not tell its xclbin: {last_error()}")
        return found.raw

    def import_descriptor(self, descriptor: int, info: TensorInfo, *, offset: int = 0) -> XRTTensor:
        """Return a tensor over memory that another device exported, without a copy.

        Parameters
        ----------
        descriptor : int
            A dma-buf. It stays the caller's.
        info : TensorInfo
            Layout of the samples.
        offset : int
            Bytes from the start of the memory to the first sample.

        Raises
        ------
        DeviceError
            The device cannot reach that memory.
        FormatError
            The layout is empty, runs backward, or does not fit the memory.
        """
        check_samples(_HOLDER, info, offset=offset)
        device = self._open()
        handle = self.xrt.library.xrtBOImport(device.handle, descriptor)
        if not handle:
            raise DeviceError(
                f"{self.name} cannot import file descriptor {descriptor}: {last_error()}; is it a "
                "dma-buf of a device on the same bus?"
            )
        bo = BufferObject(self.xrt, handle, keep=device)
        return self._tensor(bo, info, offset)

    def use_host_memory(self, address: int, nbytes: int, keep: object) -> BufferObject:
        """Return a buffer whose host side is memory that exists.

        Parameters
        ----------
        address : int
            A multiple of `USER_ALIGNMENT`.
        nbytes : int
            At least 1.
        keep : object
            Owns the memory; the buffer holds it.

        Raises
        ------
        DeviceError
            XRT cannot use that memory.
        """
        device = self._open()
        handle = self.xrt.library.xrtBOAllocUserPtr(
            device.handle, address, nbytes, FLAG_NONE, self._group
        )
        if not handle:
            raise DeviceError(
                f"XRT cannot use {nbytes} bytes of host memory at {address:#x}: {last_error()}"
            )
        return BufferObject(self.xrt, handle, keep=(device, keep))

    def wrap(self, handle: int, info: TensorInfo, *, offset: int = 0) -> XRTTensor:
        """Return a tensor over a buffer that exists and stays the caller's.

        Parameters
        ----------
        handle : int
            ``xrtBufferHandle`` of a buffer on this device, host-only where this context is.
        info : TensorInfo
            Layout of the samples.
        offset : int
            Bytes from the buffer's start to the first sample.

        Raises
        ------
        FormatError
            The layout is empty, runs backward, or does not fit the buffer.
        DeviceError
            The host cannot see the buffer.
        """
        check_samples(_HOLDER, info, offset=offset)
        return self._tensor(BufferObject(self.xrt, handle, owned=False), info, offset)

    def _tensor(self, bo: BufferObject, info: TensorInfo, offset: int) -> XRTTensor:
        if offset + info.span > bo.nbytes:
            raise FormatError(
                f"{info.span} bytes from byte {offset} on do not fit into an XRT buffer of "
                f"{bo.nbytes} bytes; check shape, strides and offset"
            )
        return XRTTensor(bo, info, offset=offset, context=self)

    def close(self) -> None:
        """Let go of the device; may be repeated. Tensors that are still open stay usable."""
        super().close()
        self._device = None


def create(selector: str = "") -> XRTContext:
    """Open a device.

    Parameters
    ----------
    selector : str
        Its index, as in ``"0"``; empty for the first one.

    Raises
    ------
    DeviceNotFoundError
        XRT or the device is not there, or the selector is no number.
    """
    if selector and not selector.isdecimal():
        raise DeviceNotFoundError(f"an XRT device has a number, as in xrt:0, not {selector!r}")
    return XRTContext(int(selector or 0))


def _remedy(reason: str) -> str:
    if "not installed" in reason:
        return BACKENDS[MemoryType.XRT][1]
    if _SETUP.exists():
        return f"source {_SETUP}"
    # Debian's package has no folder of XRT's own: one with a link to its libraries does.
    return (
        "mkdir -p ~/.local/xrt && ln -sfn /usr/lib/$(uname -m)-linux-gnu ~/.local/xrt/lib && "
        "export XILINX_XRT=~/.local/xrt"
    )


def _load() -> XRT:
    try:
        return load()
    except DeviceNotFoundError as error:
        raise DeviceNotFoundError(f"{error}; try: {_remedy(str(error))}") from error


def probe() -> Probe:
    """Report XRT and the devices that it finds."""
    try:
        xrt = load()
    except DeviceNotFoundError as error:
        return Probe("xrt", False, str(error), _remedy(str(error)))
    if not xrt.device_count:
        return Probe("xrt", False, "XRT is installed, and finds no device", "xbutil examine")
    mode = f", emulated ({xrt.mode})" if xrt.mode else ""
    names = tuple(f"{index} XRT device{mode}" for index in range(xrt.device_count))
    return Probe("xrt", True, f"libxrt_coreutil.so.2{mode}", devices=names)
