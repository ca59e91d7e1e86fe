"""A writer of xclbin files, for devices without hardware: what a card's compiler would give.

The layout is that of ``struct axlf`` in xclbin.h (XRT 2.13): a header, the sections' headers, the
sections, each at a multiple of 8 bytes. There is no bitstream in it.
"""

from __future__ import annotations

import struct
import uuid
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from xml.etree import ElementTree

if TYPE_CHECKING:
    from pathlib import Path

SECTION_METADATA, SECTION_TOPOLOGY, SECTION_CONNECTIVITY, SECTION_IP_LAYOUT = 2, 6, 7, 8
"""``enum axlf_section_kind``."""

MEMORY_DDR4, MEMORY_STREAMING = 1, 3
"""``enum MEM_TYPE``."""

IP_KERNEL = 1
"""``enum IP_TYPE``."""

SCALAR, GLOBAL, STREAM = 0, 1, 4
"""An argument's ``addressQualifier``."""


@dataclass(frozen=True)
class Bank:
    name: str
    nbytes: int = 1 << 30
    address: int = 0
    used: bool = True
    type: int = MEMORY_DDR4


@dataclass(frozen=True)
class Argument:
    name: str
    offset: int
    size: int = 8
    qualifier: int = GLOBAL
    type: str = "void*"


@dataclass(frozen=True)
class Kernel:
    name: str
    arguments: tuple[Argument, ...]
    instances: tuple[str, ...]
    register_range: int = 0x10000


@dataclass(frozen=True)
class Design:
    """What an xclbin says: ``connections`` names instance, argument and bank."""

    banks: tuple[Bank, ...]
    kernels: tuple[Kernel, ...]
    connections: tuple[tuple[str, int, int], ...]
    id: uuid.UUID = field(default_factory=uuid.uuid4)
    platform: str = "xtranscode_noop_1"

    def units(self):
        """Return ``(instance's full name, base address)``, in the order of IP_LAYOUT."""
        names = [f"{kernel.name}:{unit}" for kernel in self.kernels for unit in kernel.instances]
        return [(name, 0x1800000 + 0x10000 * index) for index, name in enumerate(names)]


def axlf(design: Design, extra: dict[int, bytes] | None = None) -> bytes:
    """Return the bytes of an xclbin file; ``extra`` adds sections, or replaces them."""
    sections = {
        SECTION_METADATA: _metadata(design),
        SECTION_TOPOLOGY: _topology(design),
        SECTION_CONNECTIVITY: _connectivity(design),
        SECTION_IP_LAYOUT: _ip_layout(design),
        **(extra or {}),
    }
    start = 456 + 40 * len(sections)  # struct axlf without its first section's header, and those.
    headers, body = b"", b""
    for kind, data in sections.items():
        headers += struct.pack("<I16s4xQQ", kind, b"", start + len(body), len(data))
        body += data + bytes(-len(data) % 8)
    length = start + len(body)
    head = struct.pack("<8si28s256sQ", b"xclbin2", -1, b"\xff" * 28, bytes(256), 1)
    head += struct.pack(
        "<QQQHBBHH16s64s16s16sI4x",
        *(length, 0, 0, 0, 2, 13, 4, 0, bytes(16)),  # Mode 4: XCLBIN_HW_EMU.
        *(design.platform.encode(), design.id.bytes, b"", len(sections)),
    )
    return head + headers + body


def write(path: Path, design: Design) -> Path:
    path.write_bytes(axlf(design))
    return path


def _topology(design):
    # struct mem_data counts in units of 1024 bytes.
    banks = [
        struct.pack("<BB6xQQ16s", b.type, b.used, b.nbytes >> 10, b.address, b.name.encode())
        for b in design.banks
    ]
    return struct.pack("<i4x", len(banks)) + b"".join(banks)


def _ip_layout(design):
    units = [struct.pack("<IIQ64s", IP_KERNEL, 0, at, n.encode()) for n, at in design.units()]
    return struct.pack("<i4x", len(units)) + b"".join(units)


def _connectivity(design):
    numbers = {name.partition(":")[2]: number for number, (name, _) in enumerate(design.units())}
    wires = [struct.pack("<iii", arg, numbers[n], bank) for n, arg, bank in design.connections]
    return struct.pack("<i", len(wires)) + b"".join(wires)


def _metadata(design):
    project = ElementTree.Element("project", name=design.platform)
    platform = ElementTree.SubElement(project, "platform", vendor="xilinx", name=design.platform)
    device = ElementTree.SubElement(platform, "device", name="fpga0", fpgaDevice="")
    core = ElementTree.SubElement(device, "core", name="OCL_REGION_0", target="hw_em", type="clc")
    addresses = dict(design.units())
    for kernel in design.kernels:
        of = ElementTree.SubElement(core, "kernel", name=kernel.name, language="c")
        ElementTree.SubElement(
            of, "port", name="M_AXI_GMEM", mode="master", range="0xFFFFFFFF", dataWidth="512"
        )
        ElementTree.SubElement(
            of, "port", name="S_AXI_CONTROL", mode="slave", range=hex(kernel.register_range)
        )
        for index, argument in enumerate(kernel.arguments):
            ElementTree.SubElement(of, "arg", _argument(index, argument))
        for unit in kernel.instances:
            instance = ElementTree.SubElement(of, "instance", name=unit)
            base = hex(addresses[f"{kernel.name}:{unit}"])
            ElementTree.SubElement(instance, "addrRemap", base=base, port="S_AXI_CONTROL")
    return ElementTree.tostring(project, "utf-8", xml_declaration=True)


def _argument(index, argument):
    port = "S_AXI_CONTROL" if argument.qualifier == SCALAR else "M_AXI_GMEM"
    return {
        "name": argument.name,
        "addressQualifier": str(argument.qualifier),
        "id": str(index),
        "port": port,
        "size": hex(argument.size),
        "offset": hex(argument.offset),
        "hostOffset": "0x0",
        "hostSize": hex(argument.size),
        "type": argument.type,
    }


COPY = Design(
    banks=(
        Bank("DDR[0]"),
        Bank("DDR[1]", 2 << 30, 1 << 30),
        Bank("DDR[2]", 1 << 30, 4 << 30, used=False),
    ),
    kernels=(
        Kernel(
            "copy",
            (
                Argument("source", 0x18),
                Argument("target", 0x24),
                Argument("nbytes", 0x30, 4, SCALAR, "uint"),
                Argument("scale", 0x38, 8, SCALAR, "double"),
            ),
            ("copy_1", "copy_2"),
        ),
        Kernel("fill", (Argument("target", 0x18),), ("fill_1",), 0x1000),
    ),
    connections=(
        ("copy_1", 0, 0),
        ("copy_1", 1, 1),
        ("copy_2", 0, 1),
        ("copy_2", 1, 1),
        ("fill_1", 0, 0),
    ),
    id=uuid.UUID("5f0c1d6e-9d1b-4c5a-8f43-0123456789ab"),
)
"""Two kernels with three compute units, over two banks of three."""
