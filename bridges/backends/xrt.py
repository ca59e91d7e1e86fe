"""XRT's memory: buffer objects of AMD's (Xilinx') accelerator cards, through XRT's C library.

A buffer object has memory on the device and, at the same size, memory of the host; ``xrtBOSync``
carries the samples between the two by DMA, which counts as a copy. A ``host_only`` one has memory
of the host alone, which the device reads and writes in place; then it only tidies caches.
"""

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
        return {
            "xrt_bo": bo.handle,
            "data": bo.address + self.offset,
            "address": bo.device_address + self.offset,
            "offset": self.offset,
        }

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

    def _buffer(self, nbytes: int) -> BufferObject:
        device = self._open()
        handle = self.xrt.library.xrtBOAlloc(device.handle, nbytes, self._flags, self._group)
        if not handle:
            raise DeviceError(
                f"XRT cannot allocate {nbytes} bytes in bank {self._group} of {self.name}: "
                f"{last_error()}"
            )
        return BufferObject(self.xrt, handle, keep=device)

    def allocate(self, info: TensorInfo) -> XRTTensor:
        """Return a tensor in a new buffer; the samples start undefined.

        Raises
        ------
        FormatError
            The layout is empty or runs backward.
        DeviceError
            The device has too little memory, or no such bank.
        """
        # XRT 2.13 takes a size of 0, and ends the process later.
        check_samples(_HOLDER, info)
        return XRTTensor(self._buffer(info.span), info, context=self)

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
        bo = BufferObject(self.xrt, handle, owned=False)
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
