"""The Media Accelerator: sessions with plugins that decode, scale, filter and encode on devices.

An application makes a session of properties, and sends and receives; a `Status` tells what to do
next. A *plugin* does the work, on a *device* with memory banks, compute units and buffers. Names
are those of the Xilinx Media Accelerator, in Python's spelling; docs/xma.md has the whole story.
Importing this package loads no framework, not even NumPy: what needs one is imported when it is
first asked for.
"""

import importlib
from typing import TYPE_CHECKING, Any

from xma_plugins.errors import (
    BufferUseError,
    ChannelCapacityError,
    DataError,
    FilterError,
    InvalidError,
    NoChannelError,
    NoDeviceError,
    NoKernelError,
    OrderError,
    PluginError,
    XmaError,
    XmaTimeoutError,
)
from xma_plugins.kinds import (
    DecoderType,
    EncoderType,
    FilterType,
    FormatType,
    ScalerType,
    SessionType,
)
from xma_plugins.plugin import (
    XMA_VERSION,
    AdminPlugin,
    DecoderPlugin,
    EncoderPlugin,
    FilterPlugin,
    KernelPlugin,
    Plugin,
    ScalerPlugin,
)
from xma_plugins.properties import (
    AdminProperties,
    DecoderProperties,
    EncoderProperties,
    FilterProperties,
    KernelProperties,
    Port,
    Properties,
    ScalerProperties,
)
from xma_plugins.side_data import SideData, SideDataType
from xma_plugins.status import Status

if TYPE_CHECKING:
    from xma_plugins.admission import Reservation, holders, reserve
    from xma_plugins.buffers import BufferObject, BufferType
    from xma_plugins.command import CommandState, CuCommand
    from xma_plugins.compute_unit import ComputeUnit, UnitDescription
    from xma_plugins.device import Device, DeviceDescription, MemoryBank, Transfers, open_device
    from xma_plugins.drivers import BankDescription
    from xma_plugins.frame_pool import FramePool
    from xma_plugins.frames import BufferRef, XmaDataBuffer, XmaFrame, timeless
    from xma_plugins.host_frames import to_host
    from xma_plugins.load import CommandLoad
    from xma_plugins.params import check_port, read_params
    from xma_plugins.process import (
        exit,
        get_default_ddr_index,
        get_session_cmd_load,
        initialize,
        num_devices,
    )
    from xma_plugins.registers import Planes, RegisterArgument, RegisterMap, lay_out
    from xma_plugins.registry import find_plugin, plugin_names
    from xma_plugins.results import Results, planes_of
    from xma_plugins.session import Session
    from xma_plugins.sessions import (
        AdminSession,
        DecoderSession,
        EncoderSession,
        FilterSession,
        KernelSession,
        ScalerSession,
    )
    from xma_plugins.uploads import Uploads

__all__ = [
    "XMA_VERSION",
    "AdminPlugin",
    "AdminProperties",
    "AdminSession",
    "BankDescription",
    "BufferObject",
    "BufferRef",
    "BufferType",
    "BufferUseError",
    "ChannelCapacityError",
    "CommandLoad",
    "CommandState",
    "ComputeUnit",
    "CuCommand",
    "DataError",
    "DecoderPlugin",
    "DecoderProperties",
    "DecoderSession",
    "DecoderType",
    "Device",
    "DeviceDescription",
    "EncoderPlugin",
    "EncoderProperties",
    "EncoderSession",
    "EncoderType",
    "FilterError",
    "FilterPlugin",
    "FilterProperties",
    "FilterSession",
    "FilterType",
    "FormatType",
    "FramePool",
    "InvalidError",
    "KernelPlugin",
    "KernelProperties",
    "KernelSession",
    "MemoryBank",
    "NoChannelError",
    "NoDeviceError",
    "NoKernelError",
    "OrderError",
    "Planes",
    "Plugin",
    "PluginError",
    "Port",
    "Properties",
    "RegisterArgument",
    "RegisterMap",
    "Reservation",
    "Results",
    "ScalerPlugin",
    "ScalerProperties",
    "ScalerSession",
    "ScalerType",
    "Session",
    "SessionType",
    "SideData",
    "SideDataType",
    "Status",
    "Transfers",
    "UnitDescription",
    "Uploads",
    "XmaDataBuffer",
    "XmaError",
    "XmaFrame",
    "XmaTimeoutError",
    "check_port",
    "exit",
    "find_plugin",
    "get_default_ddr_index",
    "get_session_cmd_load",
    "holders",
    "initialize",
    "lay_out",
    "num_devices",
    "open_device",
    "planes_of",
    "plugin_names",
    "read_params",
    "reserve",
    "timeless",
    "to_host",
]

_LATE = {
    "admission": "Reservation holders reserve",
    "buffers": "BufferObject BufferType",
    "command": "CommandState CuCommand",
    "compute_unit": "ComputeUnit UnitDescription",
    "device": "Device DeviceDescription MemoryBank Transfers open_device",
    "drivers": "BankDescription",
    "frame_pool": "FramePool",
    "frames": "BufferRef XmaDataBuffer XmaFrame timeless",
    "host_frames": "to_host",
    "load": "CommandLoad",
    "params": "check_port read_params",
    "process": "exit get_default_ddr_index get_session_cmd_load initialize num_devices",
    "registers": "Planes RegisterArgument RegisterMap lay_out",
    "registry": "find_plugin plugin_names",
    "results": "Results planes_of",
    "session": "Session",
    "sessions": "AdminSession DecoderSession EncoderSession "
    "FilterSession KernelSession ScalerSession",
    "uploads": "Uploads",
}
"""Modules that are imported when one of their names is asked for: most of them need NumPy."""


def __getattr__(name: str) -> Any:
    for module, names in _LATE.items():
        if name in names.split():
            found = getattr(importlib.import_module(f"xma_plugins.{module}"), name)
            globals()[name] = found
            return found
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
