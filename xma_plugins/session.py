"""What all sessions have in common: a plugin on a device, its buffers and its commands."""

import itertools
import logging
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from types import TracebackType
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar

from bridges.closable import Closable
from bridges.errors import XTranscodeError
from bridges.frame import FrameInfo
from xma_plugins.buffers import BufferObject
from xma_plugins.errors import (
    BufferUseError,
    InvalidError,
    NoKernelError,
    OrderError,
    PluginError,
)
from xma_plugins.kinds import SessionType
from xma_plugins.plugin import Plugin
from xma_plugins.properties import Properties
from xma_plugins.registry import find_plugin, handshake

if TYPE_CHECKING:
    from xma_plugins.command import CommandState, CuCommand
    from xma_plugins.compute_unit import ComputeUnit
    from xma_plugins.device import Device
    from xma_plugins.frame_pool import FramePool
    from xma_plugins.scheduler import Seat

__all__ = ["Session"]

_log = logging.getLogger("xma_plugins")
_numbers = itertools.count(1)

P = TypeVar("P", bound=Properties)
T = TypeVar("T")


class Session(Closable, Generic[P]):
    """A plugin at work on a device, from its creation to ``destroy()``.

    A session is used by one thread at a time; sessions may be made and destroyed by any.

    Parameters
    ----------
    properties : Properties
        Of the session's own kind.
    device : Device, optional
        Where to work; by default the one of those initialized that ``properties.dev_index`` names.

    Attributes
    ----------
    id : int
        Its number in this process, from 1.
    name : str
        Such as ``"encoder session 3 (libav_encoder)"``.
    properties : Properties
        As given, with the memory bank and compute unit that were taken.
    compute_unit : ComputeUnit or None
        What runs its commands; None of a plugin that needs none.
    plugin : Plugin
        The instance that works for this session alone.
    seconds : float
        Time spent in the plugin so far.
    calls : int
        How often it was called so far, for pictures and data.

    Raises
    ------
    PluginError
        There is no such plugin, or it is for another kind of session.
    NoDeviceError, NoKernelError, NoChannelError, ChannelCapacityError
        What was asked of the device is not there.
    """

    kind: ClassVar[SessionType]

    def __init__(self, properties: P, device: "Device | None" = None) -> None:
        if properties.kind is not self.kind:
            raise PluginError(
                f"{type(self).__name__} is made with {self.kind.name.capitalize()}Properties, got "
                f"{type(properties).__name__}"
            )
        plugin = _plugin_class(properties.plugin, self.kind)
        _check_vendor(properties, plugin)
        if device is not None and not isinstance(device, Closable):
            raise InvalidError(
                f"a session works on a Device, got {device!r}; open_device({device!r}) opens one"
            )
        self.id = next(_numbers)
        self._plugin_name = _name_of(properties.plugin)
        self.name = f"{self.kind.name.lower()} session {self.id} ({self._plugin_name})"
        self.seconds, self.calls = 0.0, 0
        self._turn = threading.Lock()
        self._state = "created"
        self._buffers: dict[int, BufferObject] = {}
        self._pools: list[FramePool] = []
        self._completion = ""
        self._unclaimed: list[CuCommand] = []
        self.properties = properties
        self.compute_unit: ComputeUnit | None = None
        self._device = device
        self._seat: Seat | None = None
        self._asked = properties
        self.plugin: Any = plugin()
        if device is not None or plugin.uses_device or properties.cu_name:
            self._place(properties)
        try:
            self._call(self.plugin.init, "init")
        except BaseException:
            # A failure of closing what was half made is no news, and must not hide the first.
            try:
                self._call(self.plugin.close, "close")
            except XTranscodeError as failure:
                _log.debug("%s", failure)
            self._tear_down()
            raise
        self._state = "open"

    @property
    def device(self) -> "Device":
        """Where the session works."""
        if self._device is None:
            from xma_plugins.process import device

            self._device = device(self.properties.dev_index)
        return self._device

    def _place(self, properties: P) -> None:
        """Take a compute unit and a memory bank."""
        device = self.device
        unit: ComputeUnit | None = None
        if properties.cu_index >= 0 or properties.cu_name:
            unit = device.compute_unit(properties.cu_index, properties.cu_name)
        bank = properties.ddr_bank_index
        bank = device.default_bank(unit) if bank < 0 else device.bank(bank).index
        self.compute_unit = unit
        self.properties = replace(
            properties,
            dev_index=device.index,
            ddr_bank_index=bank,
            cu_index=-1 if unit is None else unit.index,
            cu_name="" if unit is None else unit.name,
        )
        self._seat = device.scheduler.join(
            self.name,
            unit,
            channel_id=properties.channel_id,
            channel_load=properties.channel_load,
            ooo=properties.ooo_execution,
        )

    @property
    def params(self) -> Mapping[str, Any]:
        """What the plugin was given by name."""
        return self.properties.params

    @property
    def state(self) -> str:
        """``"open"``, ``"failed"`` or ``"destroyed"``."""
        return self._state

    def use_compute_unit(self, name: str) -> "ComputeUnit":
        """Take a compute unit that the application did not name; for a plugin's ``init``.

        Raises
        ------
        OrderError
            The session is past its creation.
        NoKernelError
            The device has none of that name.
        """
        if self._state != "created":
            raise OrderError(f"{self.name} chooses its compute unit in init, and never after it")
        if self._seat is not None:
            self._seat.leave()
        # The bank too is chosen again, unless the application named one.
        self._place(replace(self._asked, cu_index=-1, cu_name=name))
        assert self.compute_unit is not None
        return self.compute_unit

    # What an application's call has in common.

    def _enter(self, call: str) -> None:
        """Begin an application's call; whoever does must release ``_turn`` at its end.

        Raises
        ------
        OrderError
            Another thread is in a call, or the session is not open.
        """
        if not self._turn.acquire(blocking=False):
            raise OrderError(
                f"{call} of {self.name} was called while another thread is in it; a session is "
                "used by one thread at a time"
            )
        if self._state != "open":
            self._turn.release()
            does = "failed; destroy it" if self._state == "failed" else f"is {self._state}"
            raise OrderError(f"{call} of {self.name} is out of order: the session {does}")

    def _call(self, callback: Callable[..., T], name: str, *arguments: Any) -> T:
        """Call the plugin, and note what it took."""
        started = time.perf_counter()
        try:
            return callback(self, *arguments)
        except InvalidError:
            # What is wrong with one item says nothing of the next.
            raise
        except XTranscodeError:
            self._state = "failed"
            raise
        except Exception as error:
            self._state = "failed"
            raise PluginError(f"{name} of {self.name} failed: {error!r}") from error
        finally:
            self.seconds += time.perf_counter() - started
            self.calls += 1

    # Buffers: the plugin side.

    def buffer_alloc(self, nbytes: int, *, device_only: bool = False) -> BufferObject:
        """Return a new buffer on the session's bank; its side on the host is zeroed.

        Parameters
        ----------
        nbytes : int
            At least 1.
        device_only : bool
            Whether it has no side on the host: ``data`` is then None.

        Raises
        ------
        InvalidError
            The size is none.
        DeviceError
            The bank is full; the message says who holds what.
        """
        if self._seat is None:
            self._place(self.properties)
        bank = self.properties.ddr_bank_index
        return self.buffer_alloc_ddr(nbytes, bank, device_only=device_only)

    def buffer_alloc_arg_num(
        self, nbytes: int, argument: int, *, device_only: bool = False
    ) -> BufferObject:
        """Return a new buffer on the bank that an argument of the compute unit is wired to.

        Raises
        ------
        NoKernelError
            The session has no compute unit.
        InvalidError
            The compute unit has no such argument, or it is no pointer.
        """
        bank = self._unit().bank_of(argument)
        return self.buffer_alloc_ddr(nbytes, bank, device_only=device_only)

    def buffer_alloc_ddr(
        self, nbytes: int, bank: int, *, device_only: bool = False
    ) -> BufferObject:
        """Return a new buffer on a given bank; see `buffer_alloc`."""
        if self._state == "destroyed":
            raise OrderError(f"buffer_alloc of {self.name} is out of order: it is destroyed")
        buffer = self.device.allocate(nbytes, bank=bank, device_only=device_only, holder=self.name)
        buffer.on_free = self._forget
        self._buffers[id(buffer)] = buffer
        return buffer

    def _forget(self, buffer: BufferObject) -> None:
        self._buffers.pop(id(buffer), None)

    def buffer_free(self, buffer: BufferObject) -> None:
        """Free a buffer of this session.

        Raises
        ------
        BufferUseError
            It was freed before, or belongs to another session, which the message names.
        """
        if id(buffer) not in self._buffers:
            buffer.check()
            raise BufferUseError(f"{self.name} cannot free a buffer of {buffer.holder}")
        buffer.free()

    def buffer_write(self, buffer: BufferObject, nbytes: int, offset: int = 0) -> None:
        """Carry bytes from the host's side of a buffer to the device; see `BufferObject.write`."""
        buffer.write(nbytes, offset)

    def buffer_read(self, buffer: BufferObject, nbytes: int, offset: int = 0) -> None:
        """Carry bytes of a buffer to the host's side of it; see `BufferObject.read`."""
        buffer.read(nbytes, offset)

    def frame_pool(
        self, info: FrameInfo, capacity: int, *, device_only: bool = True, **layout: Any
    ) -> "FramePool":
        """Return a pool of frames in buffers of this session, which closes it.

        Parameters
        ----------
        info : FrameInfo
            Format, size and colour of the frames.
        capacity : int
            How many there are at most; they are made as they are needed.
        device_only : bool
            Whether the buffers have no side on the host.
        **layout
            ``strides`` and ``written``, as of `FramePool`.
        """
        # Many sessions have none.
        from xma_plugins.frame_pool import FramePool

        pool = FramePool(self, info, capacity, device_only=device_only, **layout)
        self._pools.append(pool)
        return pool

    # Commands: the plugin side.

    def schedule_work_item(self, registers: bytes) -> "CuCommand":
        """Start the session's compute unit with a register map; see `schedule_cu_cmd`."""
        return self.schedule_cu_cmd(registers)

    def schedule_cu_cmd(self, registers: bytes, cu_index: int = -1) -> "CuCommand":
        """Start a compute unit with a register map, and do not wait.

        Parameters
        ----------
        registers : bytes
            As the compute unit's ``pack`` makes them: less than 4 KiB, a multiple of 4.
        cu_index : int
            For an admin session, which compute unit of the device; others use their own.

        Returns
        -------
        CuCommand
            What tells when it is done, and whether it failed.

        Raises
        ------
        NoKernelError
            There is no such compute unit, or the session has none.
        InvalidError
            The register map does not fit, or a session other than admin chose a compute unit.
        """
        unit = self._unit(cu_index)
        assert self._seat is not None  # Whoever has a compute unit has one.
        command = self._seat.submit(unit, registers)
        if self._completion != "commands":
            self._unclaimed.append(command)
        return command

    def _unit(self, cu_index: int = -1) -> "ComputeUnit":
        """Return the compute unit for a command."""
        if cu_index < 0 or (self.compute_unit and cu_index == self.compute_unit.index):
            if self.compute_unit is None:
                raise NoKernelError(
                    f"{self.name} has no compute unit; name one by cu_name or cu_index"
                )
            return self.compute_unit
        raise NoKernelError(
            f"{self.name} runs compute unit {self.properties.cu_index}, not {cu_index}; an admin "
            "session chooses"
        )

    def is_work_item_done(self, timeout_ms: int) -> bool:
        """Wait for a command that this was not told of yet; each is told once.

        Parameters
        ----------
        timeout_ms : int
            How long to wait at most.

        Returns
        -------
        bool
            Whether one is done; it may have failed, which `work_item_return_code` tells.

        Raises
        ------
        OrderError
            The session asks by `cu_cmd_status`, or has no command that is not told of.
        """
        self._choose("work items", "is_work_item_done", "cu_cmd_status")
        if not self._unclaimed:
            raise OrderError(
                f"is_work_item_done of {self.name} is out of order: no command is under way; "
                "schedule one first"
            )
        assert self._seat is not None
        done = self._seat.wait_any(self._unclaimed, timeout_ms / 1000)
        if done is not None:
            self._unclaimed.remove(done)
        return done is not None

    def cu_cmd_status(
        self, commands: Sequence["CuCommand"], *, wait: bool = True
    ) -> "list[CommandState]":
        """Return the state of each command.

        Parameters
        ----------
        commands : sequence of CuCommand
            Of this session.
        wait : bool
            Whether to wait until all are done.

        Raises
        ------
        OrderError
            The session asks by `is_work_item_done`.
        """
        self._choose("commands", "cu_cmd_status", "is_work_item_done")
        self._unclaimed.clear()
        if wait:
            for command in commands:
                command.wait()
        return [command.state for command in commands]

    def work_item_return_code(self, commands: Iterable["CuCommand"]) -> int:
        """Return how many of some commands failed; what is not done yet did not."""
        return sum(command.failed for command in commands)

    def _choose(self, style: str, call: str, other: str) -> None:
        if self._completion not in ("", style):
            raise OrderError(
                f"{call} of {self.name} is out of order: it asks by {other} since its first "
                "command; use one of the two in a session"
            )
        self._completion = style

    # The end.

    def cancel(self) -> None:
        """Have calls fail that wait for frames to come back, in any thread; then destroy it."""
        for pool in list(self._pools):
            pool.retire()

    def destroy(self) -> None:
        """Close the plugin and free what it left; may be repeated.

        Raises
        ------
        OrderError
            Another thread is in a call of it; nothing was destroyed.
        BufferUseError
            Buffers of it are still held; they were freed, and their holders cannot use them.
        PluginError
            The plugin failed to close.
        """
        if not self._turn.acquire(blocking=False):
            raise OrderError(
                f"destroy of {self.name} was called while another thread is in it; let that end"
            )
        try:
            if self._state == "destroyed":
                return
            try:
                self._call(self.plugin.close, "close")
            finally:
                left = self._tear_down()
            if left:
                raise BufferUseError(f"{self.name} was destroyed, and {left}")
        finally:
            self._turn.release()

    def _tear_down(self) -> str:
        """Free everything; return what should have been free before."""
        self._state = "destroyed"
        if self._seat is not None:
            self._seat.leave()
        left = [text for pool in self._pools if (text := pool.close())]
        self._pools.clear()
        if self._buffers:
            nbytes = sum(buffer.size for buffer in self._buffers.values())
            left.append(f"its plugin did not free {len(self._buffers)} buffers of {nbytes} bytes")
        for buffer in list(self._buffers.values()):
            buffer.close()
        self._buffers.clear()
        return "; ".join(left)

    def close(self) -> None:
        """Destroy the session; see `destroy`."""
        self.destroy()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is None:
            self.destroy()
            return
        # What is left over after a failure is no news, and must not hide it.
        try:
            self.destroy()
        except XTranscodeError as left:
            _log.warning("%s", left)

    def __repr__(self) -> str:
        return f"<{self.name}, {self._state}>"


def _plugin_class(given: str | type[Plugin], kind: SessionType) -> type[Plugin]:
    if isinstance(given, str):
        plugin = find_plugin(given)
    else:
        handshake(given)
        plugin = given
    if plugin.kind is not kind:
        raise PluginError(
            f"plugin {_name_of(given)} is for {plugin.kind.name.lower()} sessions, not for "
            f"{kind.name.lower()} sessions"
        )
    return plugin


def _check_vendor(properties: Properties, plugin: type[Plugin]) -> None:
    wanted = getattr(properties, "vendor", "")
    if wanted and wanted != plugin.vendor:
        raise PluginError(
            f"plugin {_name_of(properties.plugin)} is made by {plugin.vendor or 'nobody'}, and "
            f"{wanted} is asked for; leave vendor out to take any"
        )


def _name_of(plugin: str | type[Plugin]) -> str:
    return plugin if isinstance(plugin, str) else plugin.__name__
