"""Compute units: what a device runs commands on, and the channels of it that sessions take."""

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from bridges.kernels.kernel import Kernel, get
from xma_plugins.drivers.driver import HardwareUnit
from xma_plugins.errors import ChannelCapacityError, InvalidError, NoChannelError
from xma_plugins.planes import frame_arguments
from xma_plugins.properties import MAX_CHANNEL_LOAD
from xma_plugins.registers import (
    FIRST_ARGUMENT,
    MAX_NBYTES,
    RegisterArgument,
    RegisterMap,
    register_layout,
)

__all__ = ["MAX_CHANNELS", "ComputeUnit", "UnitDescription", "describe_unit"]

MAX_CHANNELS = 128
"""Channels of a compute unit, numbered from 0."""

_PARAMETERS = {float: "f64", int: "i64", bool: "u32", str: "text"}
"""In which type each parameter of a kernel is told."""


@dataclass(frozen=True)
class UnitDescription:
    """A compute unit that a device is to have.

    Attributes
    ----------
    kernel : Kernel or str
        What it runs; a text is the name of one of the package's, or ``my.cl:name``.
    name : str
        By which sessions find it; by default the kernel's.
    connectivity : mapping
        The memory bank that each pointer argument is wired to, by the argument's name
        (``"source_plane1"``) or by its frame (``"source"``); what is left out is wired to bank 0.
    """

    kernel: Kernel | str
    name: str = ""
    connectivity: Mapping[str, int] = field(default_factory=dict)


def describe_unit(given: UnitDescription | Kernel | str) -> UnitDescription:
    """Return the description of a compute unit, with its kernel looked up.

    Raises
    ------
    KernelError
        There is no such kernel.
    InvalidError
        A text calls the kernel with parameters; those go into register maps.
    """
    made = given if isinstance(given, UnitDescription) else UnitDescription(given)
    kernel = made.kernel
    if isinstance(kernel, str):
        kernel = _find(kernel)
    return UnitDescription(kernel, made.name or kernel.name, made.connectivity)


def _find(name: str) -> Kernel:
    if ".cl" not in name:
        return get(name)
    from bridges.kernels.call import parse_given

    kernel, given = parse_given(name)
    if given:
        raise InvalidError(
            f"a compute unit runs {kernel.name} with the parameters of its register maps; leave "
            f"{', '.join(given)} out of {name!r}"
        )
    return kernel


def _arguments(kernel: Kernel) -> tuple[RegisterArgument, ...]:
    """Return the arguments of a compute unit that runs a kernel of `bridges.kernels`.

    For ``source`` and ``target``, and ``previous`` where the kernel takes it: ``_format`` (the
    place in `bridges.formats.PIXEL_FORMATS`), ``_width``, ``_height``, ``_matrix``, ``_range``,
    ``_primaries``, ``_transfer``, ``_plane0`` to ``_plane3`` and ``_stride0`` to ``_stride3``.
    Then the kernel's parameters, by their own names.

    Raises
    ------
    InvalidError
        They do not fit into a register map, or a parameter has the name of another argument.
    """
    frames = ("source", "target", *(("previous",) if kernel.takes_previous else ()))
    wanted = [each for frame in frames for each in frame_arguments(frame)]
    wanted += [(each.name, _PARAMETERS[each.type]) for each in kernel.parameters]
    arguments, offset = [], FIRST_ARGUMENT
    for name, kind in wanted:
        alignment = 4 if kind == "u32" else 8
        offset = -(-offset // alignment) * alignment
        arguments.append(RegisterArgument(name, offset, kind))
        offset += arguments[-1].nbytes
    if len({name for name, _ in wanted}) < len(wanted):
        raise InvalidError(f"{kernel.name} has a parameter named as a register of its frames is")
    if offset >= MAX_NBYTES:
        raise InvalidError(
            f"the arguments of {kernel.name} end at byte {offset}, and a register map has less "
            f"than {MAX_NBYTES}; give it fewer parameters"
        )
    return tuple(arguments)


class ComputeUnit:
    """Something on a device that runs commands, each told by a register map. Thread-safe.

    Attributes
    ----------
    index : int
        On its device, from 0.
    name : str
        By which sessions find it; no other on the device has it.
    kernel : Kernel or None
        What it runs; None where the hardware itself is the kernel.
    hardware : HardwareUnit or None
        The part of the hardware that it is.
    arguments : tuple of RegisterArgument
        What its register maps hold; an argument's number is its place here.
    layout : RegisterLayout
        Where they hold it.
    connectivity : mapping
        The bank that each pointer argument is wired to, by the argument's name.
    """

    def __init__(
        self, index: int, what: UnitDescription | HardwareUnit, *, bank_count: int = 1
    ) -> None:
        self.index, self.name = index, what.name
        self.kernel: Kernel | None = None
        self.hardware: HardwareUnit | None = None
        self.arguments: tuple[RegisterArgument, ...]
        if isinstance(what, HardwareUnit):
            self.hardware, self.arguments = what, what.arguments
        else:
            described = describe_unit(what)
            assert isinstance(described.kernel, Kernel)
            self.name, self.kernel = described.name, described.kernel
            self.arguments = _arguments(described.kernel)
        self.layout = register_layout(self.arguments)
        self.connectivity = self._wired(what.connectivity, bank_count)
        self._channels: dict[str, tuple[int, int]] = {}
        self._lock = threading.Lock()

    def _wired(self, given: Mapping[str, int], bank_count: int) -> dict[str, int]:
        pointers = [each.name for each in self.arguments if each.type == "address"]
        wired = {
            name: given.get(name, given.get(name.partition("_plane")[0], 0)) for name in pointers
        }
        known = {*pointers, *(name.partition("_plane")[0] for name in pointers)}
        for name, bank in given.items():
            if name not in known:
                raise InvalidError(
                    f"compute unit {self.name} has no pointer {name!r} to wire to a bank; it has "
                    f"{', '.join(pointers)}"
                )
            if not 0 <= bank < bank_count:
                raise InvalidError(
                    f"{name!r} of compute unit {self.name} is wired to bank {bank}, and the device "
                    f"has banks 0 to {bank_count - 1}"
                )
        return wired

    def __repr__(self) -> str:
        return f"<compute unit {self.index} {self.name}>"

    @property
    def default_bank(self) -> int:
        """The bank that most pointer arguments are wired to; of several the first."""
        banks = list(self.connectivity.values())
        return min(set(banks), key=lambda bank: (-banks.count(bank), bank), default=0)

    def bank_of(self, argument: int) -> int:
        """Return the bank that an argument is wired to, by its number in `arguments`.

        Raises
        ------
        InvalidError
            There is no such argument, or it is no pointer; the message lists those.
        """
        found = self.arguments[argument] if 0 <= argument < len(self.arguments) else None
        if found is None or found.type != "address":
            what = f"is {found.name}, a {found.type}" if found else "does not exist"
            there = ", ".join(
                f"{number} {each.name}"
                for number, each in enumerate(self.arguments)
                if each.type == "address"
            )
            raise InvalidError(
                f"argument {argument} of compute unit {self.name} {what}; pointers are {there}"
            )
        return self.connectivity[found.name]

    def pack(
        self,
        parameters: Mapping[str, object] = MappingProxyType({}),
        /,
        *,
        channel_id: int = 0,
        **values: object,
    ) -> RegisterMap:
        """Return the register map of a command; see `RegisterMap.pack`."""
        return RegisterMap.pack(self, parameters, channel_id=channel_id, **values)

    @property
    def channel_load(self) -> int:
        """What sessions take of it, in thousandths."""
        with self._lock:
            return sum(load for _, load in self._channels.values())

    def take_channel(self, holder: str, channel_id: int, load: int) -> None:
        """Take part of the compute unit for a session, until `leave_channel`.

        Parameters
        ----------
        holder : str
            The session.
        channel_id : int
            Sessions may share a channel.
        load : int
            Thousandths of what the compute unit can do.

        Raises
        ------
        NoChannelError
            There is no such channel.
        ChannelCapacityError
            Less is left; the message says who has the most.
        """
        if not 0 <= channel_id < MAX_CHANNELS:
            raise NoChannelError(
                f"compute unit {self.name} has channels 0 to {MAX_CHANNELS - 1}, not {channel_id}"
            )
        with self._lock:
            taken = sum(load for _, load in self._channels.values())
            if taken + load > MAX_CHANNEL_LOAD:
                most = sorted(self._channels.items(), key=lambda item: -item[1][1])[:3]
                told = ", ".join(f"{name} {share}" for name, (_, share) in most)
                raise ChannelCapacityError(
                    f"{holder} asks for {load} thousandths of compute unit {self.name}, of which "
                    f"{MAX_CHANNEL_LOAD - taken} are left ({told}); destroy a session, or use "
                    "another compute unit"
                )
            self._channels[holder] = channel_id, load

    def leave_channel(self, holder: str) -> None:
        """Give back what `take_channel` took; nothing happens where it took nothing."""
        with self._lock:
            self._channels.pop(holder, None)
