"""xclbin files: what the parser reads, and what it refuses."""

from __future__ import annotations

import dataclasses
import struct

import pytest

from bridges.errors import FormatError
from tests.xma_plugins.xclbin import (
    COPY,
    GLOBAL,
    MEMORY_STREAMING,
    SCALAR,
    SECTION_CONNECTIVITY,
    SECTION_IP_LAYOUT,
    SECTION_METADATA,
    SECTION_TOPOLOGY,
    Argument,
    Bank,
    Design,
    Kernel,
    axlf,
    write,
)
from xma_plugins.xclbin import Xclbin


def test_what_is_in_a_file(tmp_path):
    found = Xclbin.read(write(tmp_path / "copy.xclbin", COPY))
    assert found.id == COPY.id
    assert [(bank.name, bank.nbytes, bank.address, bank.is_used) for bank in found.banks] == [
        ("DDR[0]", 1 << 30, 0, True),
        ("DDR[1]", 2 << 30, 1 << 30, True),
        ("DDR[2]", 1 << 30, 4 << 30, False),
    ]
    assert [unit.name for unit in found.units] == ["copy:copy_1", "copy:copy_2", "fill:fill_1"]
    first, second, fill = found.units
    assert (first.kernel, first.instance, fill.register_nbytes) == ("copy", "copy_1", 0x1000)
    assert (first.banks, second.banks, fill.banks) == ({0: 0, 1: 1}, {0: 1, 1: 1}, {0: 0})
    assert [(each.name, each.kind, each.offset, each.nbytes) for each in first.arguments] == [
        ("source", "global", 0x18, 8),
        ("target", "global", 0x24, 8),
        ("nbytes", "scalar", 0x30, 4),
        ("scale", "scalar", 0x38, 8),
    ]


def test_units_are_counted_by_address_or_by_interrupt():
    def layout(*units):
        records = [struct.pack("<IIQ64s", 1, i, at, n.encode()) for n, i, at in units]
        return {SECTION_IP_LAYOUT: struct.pack("<i4x", len(units)) + b"".join(records)}

    by_address = layout(("copy:copy_1", 0, 0x30000), ("copy:copy_2", 0, 0x10000))
    found = Xclbin.parse(axlf(COPY, by_address))
    assert [unit.name for unit in found.units] == ["copy:copy_2", "copy:copy_1"]
    assert found.units[1].banks == {0: 0, 1: 1}
    by_interrupt = layout(("copy:copy_1", 1 << 1, 0x30000), ("copy:copy_2", 2 << 1, 0x10000))
    found = Xclbin.parse(axlf(COPY, by_interrupt))
    assert [unit.name for unit in found.units] == ["copy:copy_1", "copy:copy_2"]
    without_registers = layout(("copy:copy_1", 0, (1 << 64) - 1), ("copy:copy_2", 0, 0x10000))
    found = Xclbin.parse(axlf(COPY, without_registers))
    assert [unit.name for unit in found.units] == ["copy:copy_2"]


def test_groups_stand_before_banks():
    wires = struct.pack("<i6i", 2, 0, 0, 0, 0, 0, 1)
    found = Xclbin.parse(axlf(COPY, {27: wires}))
    assert found.units[0].banks == {0: 1}
    streams = Design((Bank("stream", type=MEMORY_STREAMING), Bank("DDR[0]")), (), ())
    assert [(b.is_used, b.nbytes) for b in Xclbin.parse(axlf(streams)).banks] == [
        (False, 0),
        (True, 1 << 30),
    ]


def test_an_argument_of_several_parts():
    metadata = axlf(
        Design(
            (Bank("DDR[0]"),),
            (
                Kernel(
                    "pair",
                    (Argument("a", 0x18, 4, SCALAR, "uint"), Argument("b", 0x20, 8, GLOBAL)),
                    ("pair_1",),
                ),
            ),
            (),
        )
    )
    # The second one becomes a part of the first, at a lower offset.
    assert metadata.count(b'id="1"') == 1
    changed = metadata.replace(b'id="1"', b'id="0"').replace(b'offset="0x20"', b'offset="0x10"')
    (unit,) = Xclbin.parse(changed).units
    assert [(each.offset, each.nbytes) for each in unit.arguments] == [(0x10, 12)]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "does not begin"),
        (b"\x7fELF" + bytes(600), "does not begin"),
        (axlf(COPY)[:300], "cut off"),
        (axlf(COPY)[:480], "cut off"),
        (axlf(COPY)[:-8], "section 8 ends at byte"),
        (axlf(COPY, {SECTION_TOPOLOGY: struct.pack("<i", 9)}), "do not hold 9 records"),
        (axlf(COPY, {SECTION_TOPOLOGY: struct.pack("<i", -1)}), "do not hold -1 records"),
        (axlf(COPY, {SECTION_METADATA: b"<project><platform>"}), "contradicts itself"),
        (axlf(COPY, {SECTION_METADATA: b"<project/>"}), "contradicts itself: 'copy'"),
        (
            axlf(COPY, {SECTION_CONNECTIVITY: struct.pack("<iiii", 1, 0, 0, 7)}),
            "argument 0 of copy:copy_1 to bank 7; there are 4 arguments and 3 banks",
        ),
        (
            axlf(COPY, {SECTION_CONNECTIVITY: struct.pack("<iiii", 1, 5, 0, 0)}),
            "argument 5 of copy:copy_1",
        ),
    ],
)
def test_what_is_no_xclbin(content, reason):
    with pytest.raises(FormatError, match=reason):
        Xclbin.parse(content, "broken.xclbin")


def test_arguments_have_to_be_numbered_without_a_gap():
    content = axlf(COPY).replace(b'id="3"', b'id="7"')
    with pytest.raises(FormatError, match="kernel copy has no argument 3"):
        Xclbin.parse(content)


def test_a_design_without_kernels():
    found = Xclbin.parse(axlf(dataclasses.replace(COPY, kernels=(), connections=())))
    assert found.units == ()
