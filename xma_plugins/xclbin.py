"""xclbin files: which memory banks and compute units a card has once one of them is loaded.

The layout is that of ``struct axlf`` and its sections in xclbin.h (XRT 2.13); what kernels and
their arguments are is in XML, in the section EMBEDDED_METADATA. Compute units are counted, and
banks chosen, as XRT does it: see `Xclbin.units` and `Unit.banks`.
"""

import struct
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self
from xml.etree import ElementTree

from bridges.errors import FormatError

__all__ = ["Argument", "Bank", "Unit", "Xclbin"]

_MAGIC = b"xclbin2\0"
_METADATA, _TOPOLOGY, _CONNECTIVITY, _IP_LAYOUT = 2, 6, 7, 8
_GROUP_TOPOLOGY, _GROUP_CONNECTIVITY = 26, 27
"""``enum axlf_section_kind``; XRT reads a group section in the place of the plain one."""

_STREAMING = (3, 9)
"""``MEM_STREAMING`` and ``MEM_STREAMING_CONNECTION``: no memory, but a wire to another kernel."""

_IP_KERNEL = 1
_INTERRUPT_ID = 0x00FE
_NO_REGISTERS = (1 << 64) - 1
"""Base address of a kernel that streams alone, and is never started."""

_UUID_AT, _COUNT_AT, _SECTIONS_AT = 416, 448, 456
_SECTION = struct.Struct("<I20xQQ")
_MEMORY = struct.Struct("<BB6xQQ16s")
_IP = struct.Struct("<IIQ64s")
_CONNECTION = struct.Struct("<iii")


@dataclass(frozen=True, slots=True)
class Bank:
    """One memory bank, or a group of them.

    Attributes
    ----------
    name : str
        Such as ``"DDR[0]"``.
    nbytes : int
        How much it holds; 0 of a wire between kernels.
    address : int
        Where the card sees its first byte.
    is_used : bool
        Whether buffers can lie in it.
    """

    name: str
    nbytes: int
    address: int
    is_used: bool


@dataclass(frozen=True, slots=True)
class Argument:
    """One argument of a kernel.

    Attributes
    ----------
    index : int
        Its place among the arguments.
    name : str
        As its source has it.
    kind : str
        ``"scalar"``, ``"global"`` (a pointer), ``"constant"``, ``"local"`` or ``"stream"``.
    offset : int
        Bytes from the start of the register map.
    nbytes : int
        Bytes in the register map.
    type : str
        As its source has it, such as ``"uint"``.
    """

    index: int
    name: str
    kind: str
    offset: int
    nbytes: int
    type: str


_KINDS = ("scalar", "global", "constant", "local", "stream")


@dataclass(frozen=True, slots=True)
class Unit:
    """One compute unit.

    Attributes
    ----------
    name : str
        Kernel and instance, such as ``"copy:copy_1"``.
    address : int
        Where the card has its registers.
    register_nbytes : int
        How many bytes of registers it has.
    arguments : tuple of Argument
        By index.
    banks : mapping
        Index of an argument > index of the bank that it is wired to. Of several it is the last:
        XRT's choice, as groups of banks come after the banks themselves.
    """

    name: str
    address: int
    register_nbytes: int
    arguments: tuple[Argument, ...]
    banks: Mapping[int, int]

    @property
    def kernel(self) -> str:
        """What it is an instance of."""
        return self.name.partition(":")[0]

    @property
    def instance(self) -> str:
        """Which of the kernel's instances it is."""
        return self.name.partition(":")[2]


@dataclass(frozen=True, slots=True)
class Xclbin:
    """What an xclbin says.

    Attributes
    ----------
    id : uuid.UUID
        Of this very file; a card tells that of what is loaded.
    banks : tuple of Bank
        By index.
    units : tuple of Unit
        By the index that commands select them with: in the order of their interrupts, or of their
        addresses where they have none.
    """

    id: uuid.UUID
    banks: tuple[Bank, ...]
    units: tuple[Unit, ...]

    @classmethod
    def read(cls, path: str | Path) -> Self:
        """Read a file.

        Raises
        ------
        FormatError
            It is no xclbin, or one that is cut off or contradicts itself.
        OSError
            It cannot be read.
        """
        return cls.parse(Path(path).read_bytes(), str(path))

    @classmethod
    def parse(cls, content: bytes, name: str = "the xclbin") -> Self:
        """Read what is in memory; ``name`` is for messages.

        Raises
        ------
        FormatError
            As of `read`.
        """
        if not content.startswith(_MAGIC):
            raise FormatError(
                f"{name} does not begin as an xclbin does; give the file for the card"
            )
        try:
            sections = _sections(content)
            banks = tuple(_banks(sections.get(_GROUP_TOPOLOGY, sections.get(_TOPOLOGY, b""))))
            units = _units(sections)
        except (struct.error, ElementTree.ParseError, LookupError, ValueError) as error:
            raise FormatError(f"{name} is cut off or contradicts itself: {error}") from error
        for unit in units:
            for argument, bank in unit.banks.items():
                if not 0 <= bank < len(banks) or argument >= len(unit.arguments):
                    raise FormatError(
                        f"{name} wires argument {argument} of {unit.name} to bank {bank}; there "
                        f"are {len(unit.arguments)} arguments and {len(banks)} banks"
                    )
        return cls(uuid.UUID(bytes=content[_UUID_AT : _UUID_AT + 16]), banks, units)


def _sections(content: bytes) -> dict[int, bytes]:
    """Return the first section of each kind."""
    (count,) = struct.unpack_from("<I", content, _COUNT_AT)
    sections: dict[int, bytes] = {}
    for number in range(count):
        kind, offset, size = _SECTION.unpack_from(content, _SECTIONS_AT + number * _SECTION.size)
        if offset + size > len(content):
            raise ValueError(f"section {kind} ends at byte {offset + size} of {len(content)}")
        sections.setdefault(kind, content[offset : offset + size])
    return sections


def _records(section: bytes, record: struct.Struct, start: int) -> Iterator[tuple[object, ...]]:
    """Return the fields of each record after a count of them."""
    if not section:
        return
    (count,) = struct.unpack_from("<i", section)
    if not 0 <= count <= (len(section) - start) // record.size:
        raise ValueError(f"{len(section)} bytes do not hold {count} records of {record.size} bytes")
    for number in range(count):
        yield record.unpack_from(section, start + number * record.size)


def _text(field: object) -> str:
    assert isinstance(field, bytes)
    return field.partition(b"\0")[0].decode()


def _banks(section: bytes) -> Iterator[Bank]:
    for kind, used, kilobytes, address, name in _records(section, _MEMORY, 8):
        assert isinstance(kilobytes, int)
        assert isinstance(address, int)
        is_memory = kind not in _STREAMING
        yield Bank(
            _text(name), kilobytes * 1024 if is_memory else 0, address, bool(used) and is_memory
        )


def _units(sections: Mapping[int, bytes]) -> tuple[Unit, ...]:
    wired = sections.get(_GROUP_CONNECTIVITY, sections.get(_CONNECTIVITY, b""))
    banks: dict[int, dict[int, int]] = {}
    for argument, place, bank in _records(wired, _CONNECTION, 4):
        assert isinstance(argument, int)
        assert isinstance(place, int)
        assert isinstance(bank, int)
        of = banks.setdefault(place, {})
        of[argument] = max(bank, of.get(argument, 0))
    kernels = _kernels(sections.get(_METADATA, b""))
    found: list[tuple[int, Unit]] = []
    for place, (kind, properties, address, field) in enumerate(
        _records(sections.get(_IP_LAYOUT, b""), _IP, 8)
    ):
        if kind != _IP_KERNEL or address == _NO_REGISTERS:
            continue
        assert isinstance(properties, int)
        assert isinstance(address, int)
        name = _text(field)
        nbytes, arguments = kernels[name.partition(":")[0]]
        unit = Unit(name, address, nbytes, arguments, banks.get(place, {}))
        found.append((properties & _INTERRUPT_ID, unit))
    by_interrupt = any(interrupt for interrupt, _ in found)
    found.sort(key=lambda each: each[0] if by_interrupt else each[1].address)
    return tuple(unit for _, unit in found)


def _kernels(metadata: bytes) -> dict[str, tuple[int, tuple[Argument, ...]]]:
    """Return, by a kernel's name, how many bytes of registers it has, and its arguments."""
    if not metadata:
        return {}
    project = ElementTree.fromstring(metadata.rstrip(b"\0"))
    kernels = {}
    for kernel in project.iterfind("platform/device/core/kernel"):
        # XRT takes 64 KiB where no port says how many there are.
        nbytes = 0x10000
        for port in kernel.iterfind("port"):
            if port.get("mode") == "slave":
                nbytes = int(port.attrib["range"], 0)
        kernels[kernel.attrib["name"]] = nbytes, tuple(_arguments(kernel))
    return kernels


def _arguments(kernel: ElementTree.Element) -> Iterator[Argument]:
    """Return the arguments that are set by number, in that order.

    An argument of several parts, which all have its number, takes the place of all of them.
    """
    parts: dict[int, list[ElementTree.Element]] = {}
    for argument in kernel.iterfind("arg"):
        if argument.get("id"):
            parts.setdefault(int(argument.attrib["id"], 0), []).append(argument)
    for index, number in enumerate(sorted(parts)):
        if index != number:
            raise ValueError(f"kernel {kernel.get('name')} has no argument {index}")
        first = parts[number][0]
        yield Argument(
            number,
            first.attrib["name"],
            _KINDS[int(first.attrib["addressQualifier"], 0)],
            min(int(part.attrib["offset"], 0) for part in parts[number]),
            sum(int(part.attrib["size"], 0) for part in parts[number]),
            first.get("type", ""),
        )
