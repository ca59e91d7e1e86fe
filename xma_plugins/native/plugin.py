"""Classes that make compiled plugins take the place of our own."""

import ctypes as c
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from bridges.frame import FrameInfo
from xma_plugins.errors import InvalidError, PluginError
from xma_plugins.frames import XmaDataBuffer, XmaFrame
from xma_plugins.native import frames, libxma2api
from xma_plugins.native.properties import native_properties, parameters_of, told_format
from xma_plugins.native.structures import PLUGINS, SYMBOLS, Frame, FrameProperties, Parameter
from xma_plugins.plugin import (
    XMA_VERSION,
    DecoderPlugin,
    EncoderPlugin,
    FilterPlugin,
    KernelPlugin,
    Plugin,
    ScalerPlugin,
)
from xma_plugins.properties import MAX_SCALER_OUTPUTS, Port
from xma_plugins.status import Status

__all__ = ["NAME_PREFIX", "named_plugin", "native_plugin"]

NAME_PREFIX = "native:"
"""What the name of a compiled plugin begins with."""

_PARAMETERS, _PARAMETER_NBYTES = 32, 256
"""How many parameters a kernel plugin may give, and how long each may be."""

_MASK32 = (1 << 32) - 1


class _Native(Plugin):
    """What compiled plugins of all kinds have in common.

    Attributes
    ----------
    path : Path
        The shared object.
    """

    path: ClassVar[Path]
    xma_version = XMA_VERSION
    summary = "a compiled plugin, through libxma2api"
    uses_device = False

    def __init__(self) -> None:
        self._session: Any = None
        self._library = libxma2api.load()
        self._keep: object = None

    def init(self, session: Any) -> None:
        """Make a session of libxma2api, which calls the compiled plugin's ``init``.

        Raises
        ------
        OrderError
            `xma_plugins.native.initialize` was not called.
        PluginError
            libxma2api makes none.
        """
        libxma2api.check_initialized()
        properties, self._keep = native_properties(session.properties, self.path)
        made = self._function("session_create")(properties)
        if not made:
            place = properties.cu_name or properties.cu_index
            raise PluginError(
                f"libxma2api makes no session with {self.path} on compute unit {place} of card "
                f"{properties.dev_index}; XRT's log tells why"
            )
        self._session = made

    def close(self, session: Any) -> None:
        """Destroy the session of libxma2api, which calls the compiled plugin's ``close``."""
        made, self._session = self._session, None
        if made and self._function("session_destroy")(made):
            raise PluginError(f"libxma2api does not destroy a session with {self.path}")

    def _function(self, name: str) -> Any:
        return getattr(self._library, f"{libxma2api.PREFIXES[self.kind.name.lower()]}_{name}")

    def _call(self, name: str, *arguments: Any) -> Status:
        code = self._function(f"session_{name}")(self._session, *arguments)
        return libxma2api.check(code, f"{name} of {self.path.name}")

    def _send(self, frame: XmaFrame) -> Status:
        sent = frame
        if frame.info is not None and not frames.has_whole_rows(frame):
            sent = XmaFrame.allocate(frame.info)
            sent.copy_from(frame)
        native = frames.frame_over(sent, self._library)
        try:
            return self._call("send_frame", native)
        finally:
            frames.release_side_data(native, self._library)

    def _receive(self, frame: XmaFrame, info: FrameInfo, is_zero_copy: bool) -> Status:
        """Receive into a frame; a dummy gets host memory, or else the plugin's device buffers."""
        into, native = self._destination(frame, info, is_zero_copy)
        status = self._call("recv_frame", native)
        if status is Status.SUCCESS:
            self._deliver(frame, into, native)
        return status

    def _destination(
        self, frame: XmaFrame, info: FrameInfo, is_zero_copy: bool
    ) -> tuple[XmaFrame, Frame]:
        into = frame
        if not (is_zero_copy if frame.is_dummy else frames.has_whole_rows(frame)):
            into = XmaFrame.allocate(frame.info or info)
        native = frames.frame_over(into, self._library)
        if into.is_dummy:
            native.properties = frames.frame_properties(info)
            for there in native.data:
                there.refcount = 1
        return into, native

    def _deliver(self, frame: XmaFrame, into: XmaFrame, native: Frame) -> None:
        into.pts, into.is_idr = frames.time_of(native), bool(native.is_idr)
        frames.release_side_data(native, self._library)
        if into.is_dummy:
            frames.attach_native(into, native)
        elif frame.is_dummy:
            frame.take(into)
        elif into is not frame:
            frame.copy_from(into)


class _NativeEncoder(_Native, EncoderPlugin):
    def init(self, session: Any) -> None:
        given = session.properties
        frames.native_format(FrameInfo(told_format(given.format), given.width, given.height))
        super().init(session)
        raw = given.width * given.height * given.format.dtype.itemsize * 3
        self._memory = np.empty(given.params.get("data_nbytes", raw + 65536), np.uint8)
        # Times of coded data have but 32 bits.
        self._times: dict[int, int] = {}

    def send_frame(self, session: Any, frame: XmaFrame) -> Status:
        status = self._send(frame)
        if frame.pts is not None and status in (Status.SUCCESS, Status.SEND_MORE_DATA):
            self._times[frame.pts & _MASK32] = frame.pts
        return status

    def recv_data(self, session: Any, data: XmaDataBuffer) -> Status:
        native, size = frames.data_over(self._memory), c.c_int32()
        status = self._call("recv_data", native, size)
        if status is not Status.SUCCESS:
            return status
        if not 0 <= size.value <= self._memory.nbytes:
            raise PluginError(
                f"{self.path} wrote {size.value} bytes of {self._memory.nbytes} that there were"
            )
        data.data = self._memory[: size.value].tobytes()
        data.pts = self._times.pop(native.pts & _MASK32, native.pts)
        data.poc, data.is_eof = native.poc, bool(native.is_eof)
        return status


class _NativeDecoder(_Native, DecoderPlugin):
    def send_data(self, session: Any, data: XmaDataBuffer) -> tuple[Status, int]:
        memory = None if data.is_eof else np.frombuffer(data.data, np.uint8)
        native, used = frames.data_over(memory), c.c_int32()
        native.is_eof = data.is_eof
        native.pts = 0 if data.pts is None else c.c_int32(data.pts & _MASK32).value
        status = self._call("send_data", native, used)
        return status, used.value

    def get_properties(self, session: Any) -> FrameInfo | None:
        native = FrameProperties()
        self._call("get_properties", native)
        if not native.width or not native.height:
            return None
        return frames.frame_info(native)

    def recv_frame(self, session: Any, frame: XmaFrame) -> Status:
        info = frame.info or self.get_properties(session)
        if info is None:
            return Status.TRY_AGAIN
        return self._receive(frame, info, session.properties.params.get("zerocopy", False))


class _NativeFilter(_Native, FilterPlugin):
    def init(self, session: Any) -> None:
        self._output = _info_of(session.properties.output or session.properties.input)
        super().init(session)

    def send_frame(self, session: Any, frame: XmaFrame) -> Status:
        return self._send(frame)

    def recv_frame(self, session: Any, frame: XmaFrame) -> Status:
        is_zero_copy = session.properties.params.get("zerocopy", False)
        return self._receive(frame, self._output, is_zero_copy)


class _NativeScaler(_Native, ScalerPlugin):
    def init(self, session: Any) -> None:
        self._outputs = [_info_of(each) for each in session.properties.outputs]
        super().init(session)

    def send_frame(self, session: Any, frame: XmaFrame) -> Status:
        if frame.is_last_frame:
            return self._call("send_frame", None)
        return self._send(frame)

    def recv_frame_list(self, session: Any, frames: list[XmaFrame]) -> Status:
        is_zero_copy = session.properties.params.get("zerocopy", False)
        made = [
            self._destination(frame, info, is_zero_copy)
            for frame, info in zip(frames, self._outputs, strict=True)
        ]
        natives = (c.POINTER(Frame) * MAX_SCALER_OUTPUTS)(
            *(c.pointer(native) for _, native in made)
        )
        status = self._call("recv_frame_list", natives)
        if status is Status.SUCCESS:
            for frame, (into, native) in zip(frames, made, strict=True):
                self._deliver(frame, into, native)
        return status


class _NativeKernel(_Native, KernelPlugin):
    def write(self, session: Any, parameters: Mapping[str, Any]) -> None:
        array, _keep = parameters_of(parameters)
        self._call("write", array, len(parameters))

    def read(self, session: Any) -> Mapping[str, Any]:
        # The plugin writes names, types and lengths; values where it finds memory for them.
        memory = [c.create_string_buffer(_PARAMETER_NBYTES) for _ in range(_PARAMETERS)]
        array = (Parameter * _PARAMETERS)(
            *(Parameter(length=_PARAMETER_NBYTES, value=c.addressof(each)) for each in memory)
        )
        count = c.c_int32(_PARAMETERS)
        self._call("read", array, count)
        if not 0 <= count.value <= _PARAMETERS:
            raise PluginError(f"{self.path} says that it wrote {count.value} parameters")
        return dict(_value_of(each) for each in array[: count.value])


_NUMBERS: dict[int, type[Any]] = {2: c.c_int32, 3: c.c_uint32, 4: c.c_int64, 5: c.c_uint64}


def _value_of(parameter: Parameter) -> tuple[str, Any]:
    name = (parameter.name or b"").decode()
    if parameter.type in _NUMBERS:
        return name, _NUMBERS[parameter.type].from_address(parameter.value).value
    content = c.string_at(parameter.value, parameter.length)
    return name, content.partition(b"\0")[0].decode()


def _info_of(port: Port) -> FrameInfo:
    if not port.width or not port.height:
        raise InvalidError("a compiled plugin has to be told the size of what it makes")
    info = FrameInfo(told_format(port.format), port.width, port.height)
    frames.native_format(info)
    return info


_CLASSES: dict[str, type[_Native]] = {
    "encoder": _NativeEncoder,
    "decoder": _NativeDecoder,
    "scaler": _NativeScaler,
    "filter": _NativeFilter,
    "kernel": _NativeKernel,
}


def native_plugin(path: str | Path, kind: str = "") -> type[Plugin]:
    """Return the class of a compiled plugin, for the ``plugin`` of a session's properties.

    The library and its ``xma_version`` are called here; nothing else of it is before a session.

    Parameters
    ----------
    path : str or Path
        The shared object.
    kind : str
        ``"encoder"``, ``"decoder"``, ``"scaler"``, ``"filter"`` or ``"kernel"``; may be left out
        where the library has one of them alone.

    Raises
    ------
    PluginError
        There is no such library, it cannot be loaded, has no such plugin, or was made for another
        version of libxma2api.
    DeviceNotFoundError
        libxma2api is not installed, or not set up.
    """
    path = Path(path).resolve()
    libxma2api.load_plugin_side()
    try:
        library = c.CDLL(str(path))
    except OSError as error:
        raise PluginError(f"compiled plugin {path} cannot be loaded: {error}") from error
    there = [name for name, symbol in SYMBOLS.items() if hasattr(library, symbol)]
    if kind not in (there if kind else ("",)) or (not kind and len(there) != 1):
        raise PluginError(
            f"compiled plugin {path} has {' and '.join(there) or 'nothing that XMA knows'}; asked "
            f"for {kind or 'the only one'}"
        )
    kind = kind or there[0]
    plugin: Any = PLUGINS[kind].in_dll(library, SYMBOLS[kind])
    version = _version(path, plugin)
    # This very one, where sessions of our own take lower sub versions too.
    if version != XMA_VERSION:
        raise PluginError(
            f"compiled plugin {path} was made for version {version[0]}.{version[1]} of "
            f"libxma2api, which is {XMA_VERSION[0]}.{XMA_VERSION[1]} here; build it anew"
        )
    members = {"path": path, "vendor": (plugin.vendor or b"").decode(errors="replace")}
    return type(path.stem, (_CLASSES[kind],), members)


def named_plugin(name: str) -> type[Plugin]:
    """Return the class of a compiled plugin by its name.

    Parameters
    ----------
    name : str
        ``native:<path>``, or ``native:<kind>:<path>`` where the library has several kinds.

    Raises
    ------
    PluginError, DeviceNotFoundError
        As of `native_plugin`.
    """
    kind, colon, path = name.removeprefix(NAME_PREFIX).partition(":")
    if colon and kind in SYMBOLS:
        return native_plugin(path, kind)
    return native_plugin(name.removeprefix(NAME_PREFIX))


def _version(path: Path, plugin: Any) -> tuple[int, int]:
    main, sub = c.c_int32(-1), c.c_int32(-1)
    if not plugin.xma_version or plugin.xma_version(main, sub) < 0:
        raise PluginError(f"compiled plugin {path} does not say which version it was made for")
    return main.value, sub.value
