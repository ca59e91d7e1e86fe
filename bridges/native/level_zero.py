"""The few calls of Level Zero that allocate, share and copy memory.

Names, numbers and layouts are those of ``ze_api.h`` (https://github.com/oneapi-src/level-zero),
version 1.17 of the specification; all of them are there since version 1.0.
"""

import ctypes as c
import functools
from collections.abc import Sequence
from typing import Any, ClassVar

__all__ = [
    "DMA_BUF",
    "LIBRARY",
    "MEMORY_TYPES",
    "LevelZeroError",
    "address_range",
    "command_list",
    "context",
    "copy",
    "destroy_command_list",
    "destroy_context",
    "device_name",
    "devices",
    "export",
    "free",
    "load",
    "malloc_device",
    "malloc_host",
    "malloc_shared",
    "memory_type",
]

LIBRARY = "libze_loader.so.1"
"""Level Zero's loader, which finds the drivers."""

DMA_BUF = 1 << 1
"""``ZE_EXTERNAL_MEMORY_TYPE_FLAG_DMA_BUF``."""

MEMORY_TYPES = {1: "host", 2: "device", 3: "shared", 4: "host"}
"""``ze_memory_type_t``: HOST, DEVICE, SHARED, and HOST_IMPORTED."""

# ze_structure_type_t
_DEVICE_PROPERTIES = 0x3
_CONTEXT_DESC = 0xD
_COMMAND_QUEUE_DESC = 0xE
_DEVICE_MEM_ALLOC_DESC = 0x15
_HOST_MEM_ALLOC_DESC = 0x16
_MEMORY_ALLOCATION_PROPERTIES = 0x17
_EXTERNAL_MEMORY_EXPORT_DESC = 0x18
_EXTERNAL_MEMORY_IMPORT_FD = 0x19
_EXTERNAL_MEMORY_EXPORT_FD = 0x1A

_GPU_ONLY = 1 << 0
"""``ZE_INIT_FLAG_GPU_ONLY``: no neural processors, which have no memory to share."""
_SYNCHRONOUS = 1
"""``ZE_COMMAND_QUEUE_MODE_SYNCHRONOUS``: a command is done when its call returns."""
_ALIGNMENT = 64
"""Bytes; a power of two, as the specification asks. A cache line."""

_RESULTS = {
    0x70000001: "DEVICE_LOST",
    0x70000002: "OUT_OF_HOST_MEMORY",
    0x70000003: "OUT_OF_DEVICE_MEMORY",
    0x70010000: "INSUFFICIENT_PERMISSIONS",
    0x70020000: "DEPENDENCY_UNAVAILABLE",
    0x78000001: "UNINITIALIZED",
    0x78000002: "UNSUPPORTED_VERSION",
    0x78000003: "UNSUPPORTED_FEATURE",
    0x78000004: "INVALID_ARGUMENT",
    0x78000005: "INVALID_NULL_HANDLE",
    0x78000006: "HANDLE_OBJECT_IN_USE",
    0x78000007: "INVALID_NULL_POINTER",
    0x78000008: "INVALID_SIZE",
    0x78000009: "UNSUPPORTED_SIZE",
    0x7800000A: "UNSUPPORTED_ALIGNMENT",
    0x7800000C: "INVALID_ENUMERATION",
    0x7800000D: "UNSUPPORTED_ENUMERATION",
    0x7FFFFFFE: "UNKNOWN",
}
"""``ze_result_t``, each without ``ZE_RESULT_ERROR_``."""


class LevelZeroError(Exception):
    """A call returned something other than ``ZE_RESULT_SUCCESS``."""

    def __init__(self, function: str, code: int) -> None:
        self.code = code
        super().__init__(f"{function}: {_RESULTS.get(code, 'error')} ({code:#x})")


class _Described(c.Structure):
    """What every structure starts with."""

    _fields_: ClassVar[Sequence[tuple[str, Any]]] = (("stype", c.c_uint32), ("pNext", c.c_void_p))


class DeviceProperties(_Described):
    """``ze_device_properties_t``."""

    _fields_ = (
        ("type", c.c_uint32),
        ("vendorId", c.c_uint32),
        ("deviceId", c.c_uint32),
        ("flags", c.c_uint32),
        ("subdeviceId", c.c_uint32),
        ("coreClockRate", c.c_uint32),
        ("maxMemAllocSize", c.c_uint64),
        ("maxHardwareContexts", c.c_uint32),
        ("maxCommandQueuePriority", c.c_uint32),
        ("numThreadsPerEU", c.c_uint32),
        ("physicalEUSimdWidth", c.c_uint32),
        ("numEUsPerSubslice", c.c_uint32),
        ("numSubslicesPerSlice", c.c_uint32),
        ("numSlices", c.c_uint32),
        ("timerResolution", c.c_uint64),
        ("timestampValidBits", c.c_uint32),
        ("kernelTimestampValidBits", c.c_uint32),
        ("uuid", c.c_uint8 * 16),
        ("name", c.c_char * 256),
    )


class ContextDesc(_Described):
    """``ze_context_desc_t``."""

    _fields_ = (("flags", c.c_uint32),)


class CommandQueueDesc(_Described):
    """``ze_command_queue_desc_t``."""

    _fields_ = (
        ("ordinal", c.c_uint32),
        ("index", c.c_uint32),
        ("flags", c.c_uint32),
        ("mode", c.c_uint32),
        ("priority", c.c_uint32),
    )


class DeviceMemAllocDesc(_Described):
    """``ze_device_mem_alloc_desc_t``."""

    _fields_ = (("flags", c.c_uint32), ("ordinal", c.c_uint32))


class HostMemAllocDesc(_Described):
    """``ze_host_mem_alloc_desc_t``."""

    _fields_ = (("flags", c.c_uint32),)


class MemoryAllocationProperties(_Described):
    """``ze_memory_allocation_properties_t``."""

    _fields_ = (("type", c.c_uint32), ("id", c.c_uint64), ("pageSize", c.c_uint64))


class ExternalMemoryExportDesc(_Described):
    """``ze_external_memory_export_desc_t``."""

    _fields_ = (("flags", c.c_uint32),)


class ExternalMemoryFd(_Described):
    """``ze_external_memory_import_fd_t`` and ``ze_external_memory_export_fd_t``."""

    _fields_ = (("flags", c.c_uint32), ("fd", c.c_int))


_HANDLE, _POINTER, _COUNT = c.c_void_p, c.c_void_p, c.POINTER(c.c_uint32)
_OUT = c.POINTER(c.c_void_p)
_PROTOTYPES: dict[str, list[Any]] = {
    "zeInit": [c.c_uint32],
    "zeDriverGet": [_COUNT, _OUT],
    "zeDeviceGet": [_HANDLE, _COUNT, _OUT],
    "zeDeviceGetProperties": [_HANDLE, c.POINTER(DeviceProperties)],
    "zeContextCreate": [_HANDLE, c.POINTER(ContextDesc), _OUT],
    "zeContextDestroy": [_HANDLE],
    "zeMemAllocDevice": [
        _HANDLE,
        c.POINTER(DeviceMemAllocDesc),
        c.c_size_t,
        c.c_size_t,
        _HANDLE,
        _OUT,
    ],
    "zeMemAllocHost": [_HANDLE, c.POINTER(HostMemAllocDesc), c.c_size_t, c.c_size_t, _OUT],
    "zeMemAllocShared": [
        _HANDLE,
        c.POINTER(DeviceMemAllocDesc),
        c.POINTER(HostMemAllocDesc),
        c.c_size_t,
        c.c_size_t,
        _HANDLE,
        _OUT,
    ],
    "zeMemFree": [_HANDLE, _POINTER],
    "zeMemGetAllocProperties": [_HANDLE, _POINTER, c.POINTER(MemoryAllocationProperties), _OUT],
    "zeMemGetAddressRange": [_HANDLE, _POINTER, _OUT, c.POINTER(c.c_size_t)],
    "zeCommandListCreateImmediate": [_HANDLE, _HANDLE, c.POINTER(CommandQueueDesc), _OUT],
    "zeCommandListDestroy": [_HANDLE],
    "zeCommandListAppendMemoryCopy": [
        _HANDLE,
        _POINTER,
        _POINTER,
        c.c_size_t,
        _HANDLE,
        c.c_uint32,
        _POINTER,
    ],
}


def _check(code: int, function: Any, arguments: tuple[Any, ...]) -> int:
    # ze_result_t is unsigned.
    if code:
        raise LevelZeroError(function.__name__, code & 0xFFFF_FFFF)
    return code


@functools.cache
def load(path: str = LIBRARY) -> c.CDLL:
    """Return Level Zero, initialised; another path than the loader's serves tests.

    Raises
    ------
    OSError
        There is no such library, or it lacks a function.
    LevelZeroError
        It has no driver, or a driver failed.
    """
    library = c.CDLL(path)
    for name, arguments in _PROTOTYPES.items():
        try:
            function: Any = library[name]
        except AttributeError as error:
            raise OSError(f"{path} is no Level Zero loader: it lacks {name}") from error
        function.restype, function.argtypes, function.errcheck = c.c_uint32, arguments, _check
        setattr(library, name, function)
    library.zeInit(_GPU_ONLY)
    return library


def _listed(function: Any, *leading: int) -> list[int]:
    count = c.c_uint32()
    function(*leading, count, None)
    handles = (c.c_void_p * count.value)()
    function(*leading, count, handles)
    return [handle or 0 for handle in handles[: count.value]]


def devices(library: c.CDLL) -> list[tuple[int, int]]:
    """Return ``(ze_driver_handle_t, ze_device_handle_t)`` of every device."""
    return [
        (driver, device)
        for driver in _listed(library.zeDriverGet)
        for device in _listed(library.zeDeviceGet, driver)
    ]


def device_name(library: c.CDLL, device: int) -> str:
    """Return what people call a device."""
    properties = DeviceProperties(stype=_DEVICE_PROPERTIES)
    library.zeDeviceGetProperties(device, properties)
    return bytes(properties.name).decode("utf-8", "replace").strip()


def context(library: c.CDLL, driver: int) -> int:
    """Return a new ``ze_context_handle_t``."""
    made = c.c_void_p()
    library.zeContextCreate(driver, ContextDesc(stype=_CONTEXT_DESC), made)
    return made.value or 0


def destroy_context(library: c.CDLL, context: int) -> None:
    """Destroy a context; everything allocated in it has to be gone."""
    library.zeContextDestroy(context)


def malloc_device(
    library: c.CDLL, context: int, device: int, nbytes: int, *, import_fd: int = -1
) -> int:
    """Return the address of new device memory that can be exported, or of a dma-buf's memory.

    Parameters
    ----------
    library, context, device
        As from `load`, `context` and `devices`.
    nbytes : int
        How much; with ``import_fd``, the size of the dma-buf.
    import_fd : int
        A dma-buf. Level Zero holds its memory, and leaves the descriptor to the caller.
    """
    external: c.Structure
    if import_fd >= 0:
        external = ExternalMemoryFd(stype=_EXTERNAL_MEMORY_IMPORT_FD, flags=DMA_BUF, fd=import_fd)
    else:
        external = ExternalMemoryExportDesc(stype=_EXTERNAL_MEMORY_EXPORT_DESC, flags=DMA_BUF)
    description = DeviceMemAllocDesc(stype=_DEVICE_MEM_ALLOC_DESC, pNext=c.addressof(external))
    address = c.c_void_p()
    library.zeMemAllocDevice(context, description, nbytes, _ALIGNMENT, device, address)
    return address.value or 0


def malloc_host(library: c.CDLL, context: int, nbytes: int) -> int:
    """Return the address of new host memory that devices reach."""
    address = c.c_void_p()
    description = HostMemAllocDesc(stype=_HOST_MEM_ALLOC_DESC)
    library.zeMemAllocHost(context, description, nbytes, _ALIGNMENT, address)
    return address.value or 0


def malloc_shared(library: c.CDLL, context: int, device: int, nbytes: int) -> int:
    """Return the address of new memory that moves between the host and the device."""
    address = c.c_void_p()
    library.zeMemAllocShared(
        context,
        DeviceMemAllocDesc(stype=_DEVICE_MEM_ALLOC_DESC),
        HostMemAllocDesc(stype=_HOST_MEM_ALLOC_DESC),
        nbytes,
        _ALIGNMENT,
        device,
        address,
    )
    return address.value or 0


def free(library: c.CDLL, context: int, address: int) -> None:
    """Free memory; work that uses it has to be finished."""
    library.zeMemFree(context, address)


def memory_type(library: c.CDLL, context: int, address: int) -> str:
    """Return ``"host"``, ``"device"`` or ``"shared"``, or ``""`` for memory of somebody else."""
    properties = MemoryAllocationProperties(stype=_MEMORY_ALLOCATION_PROPERTIES)
    library.zeMemGetAllocProperties(context, address, properties, None)
    return MEMORY_TYPES.get(properties.type, "")


def address_range(library: c.CDLL, context: int, address: int) -> tuple[int, int]:
    """Return where the allocation that an address is in starts, and its size in bytes."""
    start, nbytes = c.c_void_p(), c.c_size_t()
    library.zeMemGetAddressRange(context, address, start, nbytes)
    return start.value or 0, nbytes.value


def export(library: c.CDLL, context: int, address: int) -> int:
    """Return a new dma-buf descriptor of device memory; it is the caller's to close."""
    exported = ExternalMemoryFd(stype=_EXTERNAL_MEMORY_EXPORT_FD, flags=DMA_BUF, fd=-1)
    properties = MemoryAllocationProperties(
        stype=_MEMORY_ALLOCATION_PROPERTIES, pNext=c.addressof(exported)
    )
    library.zeMemGetAllocProperties(context, address, properties, None)
    return int(exported.fd)


def command_list(library: c.CDLL, context: int, device: int) -> int:
    """Return a new immediate command list, whose commands are done when their calls return."""
    made = c.c_void_p()
    description = CommandQueueDesc(stype=_COMMAND_QUEUE_DESC, mode=_SYNCHRONOUS)
    library.zeCommandListCreateImmediate(context, device, description, made)
    return made.value or 0


def destroy_command_list(library: c.CDLL, commands: int) -> None:
    """Destroy a command list."""
    library.zeCommandListDestroy(commands)


def copy(library: c.CDLL, commands: int, target: int, source: int, nbytes: int) -> None:
    """Copy memory, and wait; one thread at a time may use a command list."""
    library.zeCommandListAppendMemoryCopy(commands, target, source, nbytes, None, 0, None)
