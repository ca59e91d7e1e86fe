"""SYCL's memory: unified shared memory (USM) on the devices that dpctl reaches."""

import functools
from typing import TYPE_CHECKING, Any

import dpctl
import dpctl.memory
import numpy.typing as npt

from bridges.backends.host_array import array_at
from bridges.backends.layout import check_samples
from bridges.backends.probe import Probe
from bridges.backends.sycl_devices import SyclDevice, absence, choose, devices
from bridges.backends.sycl_memory import finish, layout_of, sycl_errors, usm_at
from bridges.backends.usm import USMBlock, USMContext, check_usm_type
from bridges.context import Context
from bridges.errors import DeviceError, FormatError, NoRouteError
from bridges.native.dlpack import CPU, ONE_API, capsule
from bridges.native.dpctl_memory import (
    HostMemory,
    host_memory,
    layout_failure,
    native_context,
    native_device,
)
from bridges.tensor import MemoryType, TensorInfo

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["SyclContext", "SyclDevice", "SyclTensor", "create", "devices", "probe", "sycl_errors"]

_ALLOCATE = {
    "shared": dpctl.memory.MemoryUSMShared,
    "host": dpctl.memory.MemoryUSMHost,
    "device": dpctl.memory.MemoryUSMDevice,
}
_SYSTEM = "system"
"""The kind of memory that SYCL's kernels reach without SYCL having allocated it: SYCL 2020, 4.8.1,
names it "system allocations"."""
_ANCHOR_BYTES = 4099
"""No likely value of another field of the object: see `layout_failure`."""


class SyclTensor(USMBlock):
    """A block of samples that SYCL's kernels reach.

    Parameters
    ----------
    memory : dpctl.memory.MemoryUSMShared, MemoryUSMHost or MemoryUSMDevice
        The samples start at its first byte.
    usm_type : str
        ``"shared"``, ``"host"``, ``"device"``, or ``"system"`` for host memory that SYCL did not
        allocate.
    keep : object, optional
        What else must live as long as the mapping.
    info, context, parent, on_open, on_close
        As for `Tensor`.
    """

    memory_type = MemoryType.SYCL

    def __init__(
        self,
        memory: Any,
        info: TensorInfo,
        *,
        usm_type: str,
        keep: object | None = None,
        **tensor: Any,
    ) -> None:
        super().__init__(info, **tensor)
        self._memory: Any = memory
        self._keep = keep
        self.usm_type = usm_type

    @property
    def memory(self) -> Any:
        """The samples, as dpctl's object: an argument of kernels and of ``queue.memcpy``."""
        return self.handle("usm_memory")

    def _handles(self) -> dict[str, Any]:
        return {
            "data": self._memory._pointer,
            "usm_memory": self._memory,
            "usm_type": self.usm_type,
        }

    def _part(self, info: TensorInfo, offset: int) -> "SyclTensor":
        assert isinstance(self.context, SyclContext)
        memory = self.context.native_memory(
            self._memory._pointer + offset, info.span, self._memory, usm_type=self.usm_type
        )
        return SyclTensor(memory, info, usm_type=self.usm_type, context=self.context, parent=self)

    @property
    def __sycl_usm_array_interface__(self) -> dict[str, Any]:
        """As dpctl documents it; host memory that SYCL did not allocate has none."""
        if self.usm_type == _SYSTEM:
            raise AttributeError("host memory that SYCL did not allocate is no USM")
        itemsize = self.info.dtype.itemsize
        if any(stride % itemsize for stride in self.info.strides):
            raise AttributeError(
                f"strides {self.info.strides} are not whole samples of {itemsize} bytes"
            )
        return {
            # dpctl's second item says whether the memory is writable (SUAI says read-only).
            "data": (self.handle("data"), True),
            "shape": self.info.shape,
            "strides": tuple(stride // itemsize for stride in self.info.strides),
            "typestr": self.info.dtype.str,
            "version": 1,
            "syclobj": self.context.handle("sycl_queue"),
            "offset": 0,
        }

    def _array_in_place(self, *, writeable: bool) -> npt.NDArray[Any]:
        memory = self.handle("usm_memory")
        return array_at(memory._pointer, self.info, owner=memory, writeable=writeable)

    def _host_array(self) -> npt.NDArray[Any]:
        self._finish()
        return self.host_array()

    def __dlpack_device__(self) -> tuple[int, int]:
        """Return the host (``kDLCPU``) where it reaches the samples, else ``kDLOneAPI``."""
        if self.is_host_visible:
            return CPU, 0
        assert isinstance(self.context, SyclContext)
        return ONE_API, self.context.device_number

    def __dlpack__(self, **options: Any) -> Any:
        """Return a DLPack capsule, which keeps the memory alive; the queue is waited for.

        Raises
        ------
        BufferError
            Device memory is asked for on another device, or as a copy, or cannot be described.
        """
        if self.is_host_visible:
            return super().__dlpack__(**options)
        device, memory = self.__dlpack_device__(), self.handle("usm_memory")
        if options.get("copy") or options.get("dl_device") not in (None, device):
            raise BufferError(f"this memory is on DLPack's device {device}, and is not copied")
        self._finish()
        array = array_at(memory._pointer, self.info, owner=memory, writeable=True)
        return capsule(array, device=device, max_version=options.get("max_version"))

    def _finish(self) -> None:
        assert isinstance(self.context, SyclContext)
        self.context.finish()

    def _release(self) -> None:
        self._memory = self._keep = None


class SyclContext(USMContext):
    """One SYCL device, with one in-order queue.

    Parameters
    ----------
    device : SyclDevice
        What `devices` tells of it.
    native : dpctl.SyclDevice
        The device itself.
    usm_type : str
        Which memory it allocates, and takes to be its own: ``"shared"``, ``"host"`` or
        ``"device"``. The host maps the first two in place, and copies from the third.

    Attributes
    ----------
    device : SyclDevice
        The device chosen.
    finish : callable
        Wait for all kernels and copies on the queue; also once the context was closed.
    """

    memory_type = MemoryType.SYCL

    def __init__(self, device: SyclDevice, native: Any, *, usm_type: str = "") -> None:
        super().__init__()
        if usm_type:
            check_usm_type(usm_type)
        self.device = device
        self.name = f"SYCL {device.backend}: {device.name}"
        self.shares_host_memory = device.shares_host_memory
        self.usm_type = usm_type or (
            "shared" if native.has_aspect_usm_shared_allocations else "host"
        )
        with sycl_errors(f"open {device}"):
            self._queue: Any = dpctl.SyclQueue(native, property="in_order")
        # It holds the queue, so that a mapping can be finished after its context was closed.
        self.finish: Callable[[], None] = functools.partial(finish, self._queue, self.name)

    @property
    def queue(self) -> Any:
        """The in-order ``dpctl.SyclQueue`` that mappings and kernels share."""
        return self.handle("sycl_queue")

    @functools.cached_property
    def _anchor(self) -> Any:
        """A little USM, which objects over host memory are made from."""
        with sycl_errors(f"allocate {_ANCHOR_BYTES} bytes on {self.name}"):
            return dpctl.memory.MemoryUSMShared(_ANCHOR_BYTES, queue=self.queue)

    @functools.cached_property
    def host_memory_refusal(self) -> str:
        """Why this dpctl cannot give kernels host memory in place; empty where it can."""
        return layout_failure(self._anchor)

    @functools.cached_property
    def device_number(self) -> int:
        """The device's place in ``dpctl.get_devices()``, which DLPack numbers it by."""
        return int(dpctl.get_devices().index(self._queue.sycl_device))

    def _handles(self) -> dict[str, Any]:
        return {"sycl_queue": self._queue}

    def _derive(self, memory_type: MemoryType) -> Context | None:
        if memory_type is not MemoryType.USM:
            return None
        if self.device.backend != "level_zero":
            raise NoRouteError(
                f"no USM context can be derived from {self.name}: this device is driven by "
                f"{self.device.backend}, not by Level Zero; open sycl:level_zero:gpu"
            )
        from bridges.backends.level_zero import LevelZeroContext

        queue = self.queue
        return LevelZeroContext.borrow(
            native_context(queue.sycl_context), native_device(queue.sycl_device), keep=queue
        )

    def native_memory(self, address: int, nbytes: int, owner: object, *, usm_type: str) -> Any:
        """Return memory that lies somewhere already, as dpctl's object; it keeps ``owner`` alive.

        Raises
        ------
        DeviceError
            It is not USM of this queue's context.
        """
        if usm_type == _SYSTEM:
            return self.system_memory(address, nbytes, owner)
        return usm_at(address, nbytes, self.queue, owner)

    def system_memory(self, address: int, nbytes: int, owner: object) -> HostMemory:
        """Return host memory, in place, as an argument of kernels; it keeps ``owner`` alive."""
        return host_memory(self._anchor, address, nbytes, owner)

    def allocate(self, info: TensorInfo) -> SyclTensor:
        """Return a tensor in new USM; the samples start undefined.

        Raises
        ------
        FormatError
            The layout is empty or runs backward.
        DeviceError
            The device has too little memory.
        """
        check_samples("USM", info)
        queue = self.queue
        with sycl_errors(f"allocate {info.span} bytes of {self.usm_type} memory on {self.name}"):
            memory = _ALLOCATE[self.usm_type](info.span, queue=queue)
        return SyclTensor(memory, info, usm_type=self.usm_type, context=self)

    def wrap(self, array: Any, info: TensorInfo | None = None) -> SyclTensor:
        """Return a tensor over USM that exists, without a copy; it keeps ``array`` alive.

        Parameters
        ----------
        array : object
            Anything with ``__sycl_usm_array_interface__``, such as dpctl's memory or dpnp's arrays.
        info : TensorInfo, optional
            The layout, where ``array`` is but a block of bytes.

        Raises
        ------
        FormatError
            It has no such interface, lies in the memory of another context, or the layout is empty,
            runs backward or does not fit.
        """
        interface = getattr(array, "__sycl_usm_array_interface__", None)
        if interface is None:
            raise FormatError(
                "SYCL takes objects with __sycl_usm_array_interface__, got "
                f"{type(array).__name__}; map host memory from a CPU context instead"
            )
        found = layout_of(interface)
        info = info or found
        check_samples("USM", info)
        if info.span > found.span:
            raise FormatError(f"{info.span} bytes do not fit into {found.span} bytes of USM")
        start = int(interface["data"][0]) + interface.get("offset", 0) * found.dtype.itemsize
        refusal = (
            f"this memory belongs to another context than the queue of {self.name}; allocate it "
            "with that queue, or copy it"
        )
        # A runtime may know the addresses of all of its contexts.
        theirs = getattr(interface["syclobj"], "sycl_context", interface["syclobj"])
        if isinstance(theirs, dpctl.SyclContext) and theirs != self.queue.sycl_context:
            raise FormatError(refusal)
        try:
            memory = usm_at(start, info.span, self.queue, array)
        except DeviceError as error:
            raise FormatError(refusal) from error
        return SyclTensor(memory, info, usm_type=memory.get_usm_type(), context=self)

    def close(self) -> None:
        """Wait for the device and release it; may be repeated.

        Tensors that are still open stay usable: each holds the native queue itself.
        """
        if not self._closed:
            self.finish()
        super().close()
        self._queue = None


def create(selector: str = "", *, usm_type: str = "") -> SyclContext:
    """Open a device.

    Parameters
    ----------
    selector : str
        SYCL's filter string, ``backend:kind:index``, each part of which may be left out:
        ``"cpu"``, ``"opencl:cpu:0"``; or empty for the best device there is: a GPU before a CPU.
    usm_type : str
        As for `SyclContext`.

    Raises
    ------
    DeviceNotFoundError
        There is no such device; the message lists those there are, or what to install.
    DeviceError
        The runtime cannot open the device.
    """
    return SyclContext(*choose(selector), usm_type=usm_type)


def probe() -> Probe:
    """Report dpctl and the devices that it finds."""
    found = devices()
    if not found:
        reason, remedy = absence()
        return Probe("sycl", False, reason, remedy)
    return Probe(
        "sycl", True, f"dpctl {dpctl.__version__}", devices=tuple(str(entry) for entry in found)
    )
