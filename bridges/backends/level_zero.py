"""Level Zero's memory: USM of Intel's GPUs, which dma-bufs come into and go out of."""

import ctypes
from typing import Any

import numpy.typing as npt

from bridges.backends.host_array import array_at
from bridges.backends.layout import check_samples
from bridges.backends.level_zero_memory import Allocation, NativeContext, level_zero_errors
from bridges.backends.probe import BACKENDS, Probe
from bridges.backends.usm import USMBlock, USMContext, check_usm_type
from bridges.context import Context
from bridges.errors import ClosedError, DeviceNotFoundError, FormatError
from bridges.native import level_zero as ze
from bridges.tensor import MemoryType, TensorInfo

__all__ = [
    "Allocation",
    "LevelZeroContext",
    "USMTensor",
    "create",
    "level_zero_errors",
    "probe",
]

_INSTALL = BACKENDS[MemoryType.USM][1]


class USMTensor(USMBlock):
    """A block of samples in Level Zero's memory.

    Parameters
    ----------
    allocation : Allocation
        The memory.
    usm_type : str
        ``"device"``, ``"host"`` or ``"shared"``.
    offset : int
        Bytes from the start of the allocation to the first sample.
    keep : object, optional
        What else must live as long as the mapping.
    info, context, parent, on_open, on_close
        As for `Tensor`.
    """

    memory_type = MemoryType.USM

    def __init__(
        self,
        allocation: Allocation,
        info: TensorInfo,
        *,
        usm_type: str,
        offset: int = 0,
        keep: object | None = None,
        **tensor: Any,
    ) -> None:
        super().__init__(info, **tensor)
        self._allocation: Allocation | None = allocation
        self._address = allocation.address + offset
        self._keep = keep
        self.usm_type = usm_type

    @property
    def allocation(self) -> Allocation:
        """The memory: hold it to have it outlive this tensor."""
        if self._allocation is None:
            raise ClosedError("this USM tensor was closed; map it again")
        return self._allocation

    @property
    def keep(self) -> object | None:
        """What else must live for the samples to stay what they are."""
        return self._keep

    def _handles(self) -> dict[str, Any]:
        return {"data": self._address, "usm_type": self.usm_type}

    def _part(self, info: TensorInfo, offset: int) -> "USMTensor":
        allocation = self.allocation
        return USMTensor(
            allocation,
            info,
            usm_type=self.usm_type,
            offset=self._address + offset - allocation.address,
            keep=self._keep,
            context=self.context,
            parent=self,
        )

    def _array_in_place(self, *, writeable: bool) -> npt.NDArray[Any]:
        return array_at(
            self.handle("data"),
            self.info,
            owner=(self.allocation, self._keep),
            writeable=writeable,
        )

    def _host_array(self) -> npt.NDArray[Any]:
        return self.host_array()

    def __dlpack_device__(self) -> tuple[int, int]:
        """Return the host (``kDLCPU``).

        Raises
        ------
        BufferError
            It is device memory, which DLPack numbers by SYCL's devices.
        """
        if not self.is_host_visible:
            raise BufferError("DLPack knows device memory of SYCL only; map it to SYCL first")
        return super().__dlpack_device__()

    def __dlpack__(self, **options: Any) -> Any:
        """Return a DLPack capsule; see `HostArray`.

        Raises
        ------
        BufferError
            As for ``__dlpack_device__``.
        """
        self.__dlpack_device__()
        return super().__dlpack__(**options)

    def _release(self) -> None:
        self._allocation = self._keep = None


class LevelZeroContext(USMContext):
    """One device that Level Zero drives.

    Parameters
    ----------
    native
        The ``ze_context``, with the device.
    usm_type : str
        Which memory it allocates, and takes to be its own: ``"device"``, ``"host"`` or
        ``"shared"``. The host maps the last two in place, and copies from the first; dma-bufs come
        into and go out of the first only.
    """

    memory_type = MemoryType.USM

    def __init__(self, native: NativeContext, *, usm_type: str = "device") -> None:
        super().__init__()
        check_usm_type(usm_type)
        self._native: NativeContext | None = native
        self.usm_type = usm_type
        with level_zero_errors("name a device"):
            self.name = f"Level Zero: {ze.device_name(native.library, native.device)}"

    @classmethod
    def borrow(cls, ze_context: int, ze_device: int, *, keep: object) -> "LevelZeroContext":
        """Return a context over one of another framework, such as SYCL, which ``keep`` owns.

        Raises
        ------
        DeviceNotFoundError
            Level Zero's loader is not installed.
        """
        return cls(NativeContext(_library(None), ze_context, ze_device, (keep,)))

    @property
    def native(self) -> NativeContext:
        """What holds the native context; tensors that are still open keep it."""
        if self._native is None:
            raise ClosedError(f"the USM context {self.name} was closed")
        return self._native

    def _handles(self) -> dict[str, Any]:
        return {"ze_context": self.native.context, "ze_device": self.native.device}

    def _derive(self, memory_type: MemoryType) -> Context | None:
        if memory_type is MemoryType.CPU and self.usm_type != "device":
            from bridges.backends.cpu import CPUContext

            return CPUContext()
        return None

    def allocate(self, info: TensorInfo) -> USMTensor:
        """Return a tensor in new memory; the samples start undefined.

        Raises
        ------
        FormatError
            The layout is empty or runs backward.
        DeviceError
            The device has too little memory.
        """
        check_samples("USM", info)
        native, nbytes = self.native, info.span
        with level_zero_errors(f"allocate {nbytes} bytes of {self.usm_type} memory"):
            if self.usm_type == "device":
                address = ze.malloc_device(native.library, native.context, native.device, nbytes)
            elif self.usm_type == "host":
                address = ze.malloc_host(native.library, native.context, nbytes)
            else:
                address = ze.malloc_shared(native.library, native.context, native.device, nbytes)
        allocation = Allocation(native, address)
        return USMTensor(allocation, info, usm_type=self.usm_type, context=self)

    def import_fd(self, fd: int, nbytes: int) -> Allocation:
        """Return the memory behind a dma-buf as device memory; ``fd`` stays the caller's.

        Raises
        ------
        DeviceError
            The device cannot reach that memory.
        """
        native = self.native
        with level_zero_errors(f"import {nbytes} bytes from the dma-buf {fd}"):
            address = ze.malloc_device(
                native.library, native.context, native.device, nbytes, import_fd=fd
            )
        return Allocation(native, address)

    def wrap(self, address: int, info: TensorInfo, *, owner: object) -> USMTensor:
        """Return a tensor over memory of this context that exists, which ``owner`` frees.

        Raises
        ------
        FormatError
            It is not memory of this context, or the layout does not fit or is empty.
        """
        check_samples("USM", info)
        native = self.native
        with level_zero_errors(f"tell the kind of memory at {address:#x}"):
            usm_type = ze.memory_type(native.library, native.context, address)
            if not usm_type:
                raise FormatError(
                    f"{address:#x} is no address in memory of {self.name}; allocate it there"
                )
            start, nbytes = ze.address_range(native.library, native.context, address)
        if address + info.span > start + nbytes:
            raise FormatError(
                f"{info.span} bytes from byte {address - start} on do not fit into {nbytes} bytes"
            )
        # Without an owner it would be freed here, so that even None is one.
        allocation = Allocation(native, address, (owner,))
        return USMTensor(allocation, info, usm_type=usm_type, context=self)

    def close(self) -> None:
        """Release the device; tensors that are still open stay usable. May be repeated."""
        super().close()
        self._native = None


def _library(path: str | None) -> ctypes.CDLL:
    path = path or ze.LIBRARY
    try:
        return ze.load(path)
    except OSError as error:
        raise DeviceNotFoundError(
            f"no Level Zero device: its loader is not installed: {error}; try: {_INSTALL}"
        ) from error
    except ze.LevelZeroError as error:
        raise DeviceNotFoundError(
            f"no Level Zero device: {path} is there, but no driver for it: {error}; try: {_INSTALL}"
        ) from error


def create(
    selector: str = "", *, usm_type: str = "device", library: str | None = None
) -> LevelZeroContext:
    """Open a device.

    Parameters
    ----------
    selector : str
        Its number, as `probe` lists them; empty for the first.
    usm_type : str
        As for `LevelZeroContext`.
    library : str, optional
        Path of what takes the place of Level Zero's loader, in tests.

    Raises
    ------
    DeviceNotFoundError
        There is no such device, or no Level Zero at all.
    DeviceError
        The driver cannot open it.
    """
    loaded = _library(library)
    with level_zero_errors("list its devices"):
        found = ze.devices(loaded)
        if not found or selector not in ("", *map(str, range(len(found)))):
            there = [f"{n} {ze.device_name(loaded, each)}" for n, (_, each) in enumerate(found)]
            raise DeviceNotFoundError(
                f"no Level Zero device {selector!r}; there is {'; '.join(there) or 'none'}. "
                f"Name one by its number, or try: {_INSTALL}"
            )
    driver, device = found[int(selector or 0)]
    with level_zero_errors(f"open device {selector or 0}"):
        native = NativeContext(loaded, ze.context(loaded, driver), device, None)
    return LevelZeroContext(native, usm_type=usm_type)


def probe(*, library: str | None = None) -> Probe:
    """Report Level Zero's loader and the devices that it finds."""
    try:
        loaded = _library(library)
    except DeviceNotFoundError as error:
        return Probe("level_zero", False, str(error.__cause__), _INSTALL)
    with level_zero_errors("list its devices"):
        found = [
            f"{number} {ze.device_name(loaded, device)}"
            for number, (_, device) in enumerate(ze.devices(loaded))
        ]
    if not found:
        return Probe("level_zero", False, "its drivers found no device", _INSTALL)
    return Probe("level_zero", True, library or ze.LIBRARY, devices=tuple(found))
