"""Register maps: what a compute unit is told before it starts, as the bytes of its registers.

A map begins with the four control registers of a kernel (16 bytes, left zero), the channel in at
0x10 and the channel out at 0x14; arguments follow from 0x18 on, each at a multiple of its own size.
That is how Xilinx lays out kernels with channels (``xma_plg_schedule_work_item`` of
``xmaplugin.h``, XRT 2.13; "SDAccel Kernel Interface Requirements" in UG1393). Numbers are
little-endian.
"""

import functools
import itertools
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple, Self

from bridges.kernels.kernel import Value
from xma_plugins.errors import InvalidError
from xma_plugins.planes import Planes, frame_values, lay_out

if TYPE_CHECKING:
    from xma_plugins.compute_unit import ComputeUnit

__all__ = [
    "CHANNEL_IN",
    "FIRST_ARGUMENT",
    "MAX_NBYTES",
    "Planes",
    "RegisterArgument",
    "RegisterLayout",
    "RegisterMap",
    "lay_out",
    "register_layout",
]

MAX_NBYTES = 4096
"""A register map has fewer bytes; XMA's limit."""

CHANNEL_IN, FIRST_ARGUMENT = 0x10, 0x18
_TEXT_NBYTES = 256

_TYPES = {
    "u32": struct.Struct("<I"),
    "i64": struct.Struct("<q"),
    "f64": struct.Struct("<d"),
    "address": struct.Struct("<Q"),
    "text": struct.Struct(f"<{_TEXT_NBYTES}s"),
}


@dataclass(frozen=True, slots=True)
class RegisterArgument:
    """One argument of a compute unit.

    Attributes
    ----------
    name : str
        Such as ``"source_plane0"``.
    offset : int
        Bytes from the start of the register map.
    type : str
        ``"u32"``, ``"i64"``, ``"f64"``, ``"address"`` (the ``paddr`` of a buffer, or an address
        inside of it, of 64 bits) or ``"text"`` (256 bytes of UTF-8, with zeros at the end).
    """

    name: str
    offset: int
    type: str

    @property
    def nbytes(self) -> int:
        """Bytes that it takes."""
        return _TYPES[self.type].size

    def __post_init__(self) -> None:
        if self.type not in _TYPES:
            there = ", ".join(_TYPES)
            raise InvalidError(f"argument {self.name!r} is of type {self.type!r}; types: {there}")


class RegisterLayout(NamedTuple):
    """Where register maps of a compute unit have its arguments.

    Attributes
    ----------
    form : struct.Struct
        Of all arguments, in the order of their offsets.
    names : tuple of str
        In that order.
    texts : tuple of RegisterArgument
        Those of type ``"text"``.
    """

    form: struct.Struct
    names: tuple[str, ...]
    texts: tuple[RegisterArgument, ...]


@functools.lru_cache(256)
def register_layout(arguments: tuple[RegisterArgument, ...]) -> RegisterLayout:
    """Return where arguments lie in register maps."""
    ordered = sorted(arguments, key=lambda each: each.offset)
    form, end = "<", 0
    for each in ordered:
        form += f"{each.offset - end}x{_TYPES[each.type].format[1:]}"
        end = each.offset + each.nbytes
    names = tuple(each.name for each in ordered)
    texts = tuple(each for each in ordered if each.type == "text")
    return RegisterLayout(struct.Struct(form), names, texts)


class RegisterMap(bytes):
    """The bytes of a compute unit's registers: a multiple of 4, fewer than 4096.

    Raises
    ------
    InvalidError
        There are more bytes, or no whole number of registers, or none for the channels.
    """

    def __new__(cls, content: bytes | bytearray | memoryview) -> Self:
        """Check the bytes; see the class."""
        made = super().__new__(cls, content)
        if len(made) % 4 or not FIRST_ARGUMENT <= len(made) < MAX_NBYTES:
            raise InvalidError(
                f"a register map has whole registers of 4 bytes, at least {FIRST_ARGUMENT} and "
                f"less than {MAX_NBYTES} bytes in all, got {len(made)}"
            )
        return made

    @classmethod
    def pack(
        cls,
        compute_unit: "ComputeUnit",
        parameters: Mapping[str, object] = MappingProxyType({}),
        /,
        *,
        channel_id: int = 0,
        **values: object,
    ) -> "RegisterMap":
        """Return the register map that tells a compute unit what to do.

        Parameters
        ----------
        compute_unit : ComputeUnit
            Which arguments there are.
        parameters : mapping
            A kernel's parameters by name, as an alternative to ``values`` that also knows one
            called ``target``.
        channel_id : int
            What is written to the channel register.
        **values
            By the names of arguments; `Planes` for ``source``, ``target`` and ``previous`` stand
            for all of that frame's. A kernel's parameters that are left out take their defaults;
            any other argument is zero.

        Raises
        ------
        InvalidError
            There is no such argument, or a value does not fit it.
        KernelError
            A parameter is missing, has another type or is out of range.
        """
        given: dict[str, Any] = {}
        for name, value in values.items():
            given |= frame_values(name, value) if isinstance(value, Planes) else {name: value}
        given |= parameters
        layout, names, texts = compute_unit.layout
        if not given.keys() <= set(names):
            _refuse_unknown(compute_unit, given)
        if compute_unit.kernel is not None:
            known = {each.name for each in compute_unit.kernel.parameters}
            given |= compute_unit.kernel.check({n: v for n, v in given.items() if n in known})
        for each in texts:
            given[each.name] = _text_bytes(each, given.get(each.name, ""))
        content = bytearray(max(-(-layout.size // 4) * 4, FIRST_ARGUMENT))
        try:
            layout.pack_into(content, 0, *map(given.get, names, itertools.repeat(0)))
        except struct.error:
            _refuse_unfit(compute_unit, given)
            raise
        _put(content, RegisterArgument("channel_id", CHANNEL_IN, "u32"), channel_id)
        return cls(content)

    def unpack(self, arguments: tuple[RegisterArgument, ...]) -> dict[str, Value]:
        """Return the value of every argument by its name.

        Raises
        ------
        InvalidError
            The map ends before an argument does, or a text is not one.
        """
        return self.read(register_layout(arguments))

    def read(self, registers: RegisterLayout) -> dict[str, Value]:
        """Return the value of every argument by its name; see `unpack`."""
        layout, names, texts = registers
        if layout.size > len(self):
            raise InvalidError(
                f"a register map of {len(self)} bytes ends before {names[-1]!r} does, which ends "
                f"at byte {layout.size}"
            )
        values: dict[str, Value] = dict(zip(names, layout.unpack_from(self), strict=True))
        for each in texts:
            values[each.name] = _text(each, values[each.name])
        return values

    @property
    def channel_id(self) -> int:
        """What the channel register says."""
        return int.from_bytes(self[CHANNEL_IN : CHANNEL_IN + 4], "little")


def _refuse_unknown(compute_unit: "ComputeUnit", given: Mapping[str, object]) -> None:
    known = [each.name for each in compute_unit.arguments]
    unknown = [name for name in given if name not in known]
    if unknown:
        raise InvalidError(
            f"compute unit {compute_unit.name} has no argument {unknown[0]!r}; it has "
            f"{', '.join(known)}"
        )


def _refuse_unfit(compute_unit: "ComputeUnit", given: Mapping[str, object]) -> None:
    """Say which value does not fit its register."""
    content = bytearray(MAX_NBYTES)
    for argument in compute_unit.arguments:
        _put(content, argument, given.get(argument.name, 0))


def _put(content: bytearray, argument: RegisterArgument, value: Any) -> None:
    try:
        _TYPES[argument.type].pack_into(content, argument.offset, value)
    except struct.error as error:
        raise InvalidError(
            f"argument {argument.name!r} is a {argument.type}, which {value!r} does not fit: "
            f"{error}"
        ) from error


def _text_bytes(argument: RegisterArgument, value: object) -> bytes:
    content = value.encode() if isinstance(value, str) else b"\0"
    if b"\0" in content or len(content) >= _TEXT_NBYTES:
        raise InvalidError(
            f"argument {argument.name!r} takes a text of less than {_TEXT_NBYTES} bytes of UTF-8 "
            f"without zeros, got {value!r}"
        )
    return content


def _text(argument: RegisterArgument, content: Any) -> str:
    text, end, rest = content.partition(b"\0")
    try:
        if end and not rest.strip(b"\0"):
            return str(text, "utf-8")
    except UnicodeDecodeError:
        pass
    raise InvalidError(f"argument {argument.name!r} holds no text of UTF-8 with a zero at its end")
