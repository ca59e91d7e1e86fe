"""Register maps: how they are packed, and that kernels run by them as their references compute."""

import struct

import numpy as np
import pytest

from bridges import Colour, ColourRange, FrameInfo, Matrix
from bridges.errors import FormatError, KernelError
from bridges.formats import PIXEL_FORMATS, pixel_format
from bridges.kernels import get, names
from tests.xma_plugins.devices import computed, noise, placed, run_command, views
from xma_plugins.command import CommandState
from xma_plugins.compute_unit import ComputeUnit, UnitDescription
from xma_plugins.errors import BufferUseError, InvalidError
from xma_plugins.registers import Planes, RegisterArgument, RegisterMap, lay_out

CUBE = "LUT_3D_SIZE 2\n" + "".join(
    f"{1 - r} {g} {b * 0.5}\n" for b in (0, 1) for g in (0, 1) for r in (0, 1)
)
CASES = [
    ("rgb_to_grayscale", "rgb24", {}),
    ("rgb_to_grayscale", "nv12", {}),
    ("resize", "nv12", {"width": 20, "height": 14, "filter": "lanczos", "antialias": False}),
    ("denoise", "yuv420p", {"strength": 0.9}),
    ("histogram", "rgba", {}),
    ("statistics", "yuv420p10le", {}),
    ("lut", "rgb24", {"interpolation": "trilinear"}),
    ("crop", "gbrap", {"x": 4, "y": 2, "width": 30, "height": 9}),
]


def picture_info(name: str, size: tuple[int, int] = (45, 31)) -> FrameInfo:
    colour = Colour(Matrix.BT709, ColourRange.LIMITED, 1, 13)
    return FrameInfo(pixel_format(name), *size, colour)


def unit_of(name: str) -> ComputeUnit:
    return ComputeUnit(0, UnitDescription(name))


@pytest.fixture(scope="module")
def cube(tmp_path_factory):
    path = tmp_path_factory.mktemp("lut") / "a ümlaut.cube"
    path.write_text(CUBE)
    return str(path)


@pytest.mark.parametrize(("name", "layout", "parameters"), CASES)
def test_a_register_map_runs_a_kernel(device, cube, name, layout, parameters):
    unit = device.compute_unit(name=name)
    if name == "lut":
        parameters = {**parameters, "file": cube}
    info = picture_info(layout)
    made = unit.kernel.output(info, **parameters)
    picture, previous = noise(info), noise(info, 1)
    with (
        placed(device, info, picture) as (_, source),
        placed(device, made) as (out, target),
        placed(device, info, previous) as (_, before),
    ):
        frames = {"source": source, "target": target}
        if unit.kernel.takes_previous:
            frames["previous"] = before
        registers = unit.pack(**frames, **parameters)
        command = run_command(device, unit, registers)
        assert command.error is None
        assert command.state is CommandState.COMPLETED
        out.read()
        expected = computed(
            unit.kernel, info, picture, previous if unit.kernel.takes_previous else [], parameters
        )
        for index, array in enumerate(views(out, target)):
            if index in unit.kernel.written(made):
                np.testing.assert_array_equal(array, expected[index])


def test_a_picture_without_one_before_it_is_its_own(device):
    unit = device.compute_unit(name="denoise")
    info = picture_info("gray")
    picture = noise(info)
    with placed(device, info, picture) as (_, source), placed(device, info) as (out, target):
        assert not run_command(device, unit, unit.pack(source=source, target=target)).failed
        out.read()
        np.testing.assert_array_equal(views(out, target)[0], picture[0])


def test_a_kernel_works_in_place_where_it_can(device):
    unit = device.compute_unit(name="invert")
    info = picture_info("rgb24")
    picture = noise(info)
    with placed(device, info, picture) as (buffer, planes):
        assert not run_command(device, unit, unit.pack(source=planes, target=planes)).failed
        buffer.read()
        expected = computed(unit.kernel, info, picture, [])
        np.testing.assert_array_equal(views(buffer, planes)[0], expected[0])


@pytest.mark.parametrize("name", names())
def test_every_kernel_has_a_register_map(name, cube):
    unit = unit_of(name)
    given = {each.name: cube for each in unit.kernel.parameters if each.default is None}
    last = unit.arguments[-1]
    registers = unit.pack(channel_id=5, **given)
    assert len(registers) == last.offset + last.nbytes < 4096
    assert registers[:16] == bytes(16)
    assert (registers.channel_id, registers[0x14:0x18]) == (5, bytes(4))
    assert unit.arguments[0] == RegisterArgument("source_format", 0x18, "u32")
    ends = 0x18
    for each in unit.arguments:
        assert each.offset >= ends
        assert each.offset % (4 if each.type == "u32" else 8) == 0
        ends = each.offset + each.nbytes
    values = registers.unpack(unit.arguments)
    assert list(values) == [each.name for each in unit.arguments]
    for parameter in unit.kernel.parameters:
        assert values[parameter.name] == given.get(parameter.name, parameter.default)
    assert ("previous_plane0" in values) == unit.kernel.takes_previous


def test_the_bytes_are_where_they_are_said_to_be():
    unit = unit_of("resize")
    info = picture_info("nv12", (640, 480))
    planes = Planes(info, (0x1000, 0x2000), (768, 704))
    registers = unit.pack(source=planes, width=320, siting="centre")
    number = list(PIXEL_FORMATS).index("nv12")
    assert struct.unpack_from("<7I", registers, 0x18) == (number, 640, 480, 1, 1, 1, 13)
    assert struct.unpack_from("<4Q", registers, 0x38) == (0x1000, 0x2000, 0, 0)
    assert struct.unpack_from("<4I", registers, 0x58) == (768, 704, 0, 0)
    arguments = {each.name: each for each in unit.arguments}
    assert struct.unpack_from("<q", registers, arguments["width"].offset) == (320,)
    at = arguments["siting"].offset
    assert registers[at : at + 256] == b"centre".ljust(256, b"\0")


def test_planes_are_laid_out_behind_each_other():
    planes, nbytes = lay_out(picture_info("yuv420p", (65, 3)), 0x4000)
    assert planes.addresses == (0x4000, 0x4200, 0x4400)
    assert planes.strides == (128, 128, 128)
    assert nbytes == 0x600


@pytest.mark.parametrize("size", [0, 20, 26, 4096, 5000])
def test_the_size_of_a_register_map_is_checked(size):
    with pytest.raises(InvalidError, match=f"less than 4096 bytes in all, got {size}"):
        RegisterMap(bytes(size))


def test_the_largest_register_map_is_taken():
    assert len(RegisterMap(bytes(4092))) == 4092


def test_a_map_that_ends_too_early_is_refused():
    unit = unit_of("gamma")
    with pytest.raises(InvalidError, match="ends before 'value'"):
        RegisterMap(unit.pack()[:-4]).unpack(unit.arguments)


@pytest.mark.parametrize(
    ("values", "error", "text"),
    [
        ({"sauce": 1}, InvalidError, "no argument 'sauce'; it has source_format"),
        ({"width": "wide"}, KernelError, "width.* takes a whole number"),
        ({"width": -1}, KernelError, "between 0 and 65535"),
        ({"source_width": -1}, InvalidError, "'source_width' is a u32"),
        ({"source_plane0": 1 << 64}, InvalidError, "'source_plane0' is a address"),
        ({"source": Planes(picture_info("nv12"), (1,))}, InvalidError, "got 1 addresses"),
    ],
)
def test_values_that_do_not_fit_are_refused(values, error, text):
    with pytest.raises(error, match=text):
        unit_of("resize").pack(**values)


@pytest.mark.parametrize("file", ["x" * 256, "ü" * 128, "a\0b"])
def test_texts_have_less_than_256_bytes(file):
    with pytest.raises(InvalidError, match="less than 256 bytes of UTF-8"):
        unit_of("lut").pack(file=file)
    assert unit_of("lut").pack(file="x" * 255)


@pytest.mark.parametrize("content", [b"x" * 256, b"a\0b".ljust(256, b"\0"), b"\xff".ljust(256)])
def test_texts_that_are_none_are_refused(content):
    unit = unit_of("lut")
    argument = next(each for each in unit.arguments if each.name == "file")
    registers = bytearray(unit.pack(file="x"))
    registers[argument.offset : argument.offset + 256] = content
    with pytest.raises(InvalidError, match="'file' holds no text"):
        RegisterMap(registers).unpack(unit.arguments)


def _poke(registers: bytes, unit: ComputeUnit, **values: int) -> bytes:
    """Return registers with other numbers in some of them."""
    changed = bytearray(registers)
    for each in unit.arguments:
        if each.name in values:
            number = values[each.name].to_bytes(each.nbytes, "little")
            changed[each.offset : each.offset + each.nbytes] = number
    return bytes(changed)


@pytest.mark.parametrize(
    ("values", "error", "text"),
    [
        ({"source_format": 1000}, InvalidError, "source_format is 1000, of 92"),
        ({"source_width": 0}, InvalidError, "0x31 pixels"),
        ({"source_width": 1 << 31}, InvalidError, "sides have 1 to 16384"),
        ({"source_range": 3}, InvalidError, "source_range is 3"),
        ({"source_plane0": 0}, InvalidError, "source_plane0 of resize: 0x0 is in no buffer"),
        ({"target_plane0": 12345}, InvalidError, "target_plane0 of resize: 0x3039 is in no buffer"),
        ({"source_stride0": 4000}, InvalidError, "takes .* of the test, which ends before"),
        ({"target_stride0": 1}, FormatError, "rows overlap"),
        ({"antialias": 2}, InvalidError, "'antialias' is 0 or 1"),
        ({"width": 1 << 40}, KernelError, "between 0 and 65535"),
        ({"target_width": 12}, FormatError, "makes"),
    ],
)
def test_wrong_registers_end_a_command_in_error(host, values, error, text):
    unit = host.compute_unit(name="resize")
    info = picture_info("rgb24")
    with placed(host, info) as (_, source), placed(host, info) as (_, target):
        registers = unit.pack(source=source, target=target, width=45)
        registers = _poke(registers, unit, **values)
        command = run_command(host, unit, registers)
        assert command.state is CommandState.ERROR
        with pytest.raises(error, match=text):
            raise command.error


def test_a_freed_buffer_ends_a_command_in_error(device):
    unit = device.compute_unit(name="invert")
    info = picture_info("gray")
    with placed(device, info) as (_, source), placed(device, info) as (freed, target):
        freed.free()
        command = run_command(device, unit, unit.pack(source=source, target=target))
        with pytest.raises(BufferUseError, match=r"target_plane0.*that was freed at .*test_regis"):
            raise command.error


def test_pictures_that_overlap_in_part_are_refused(host):
    unit = host.compute_unit(name="invert")
    info = picture_info("gray")
    with placed(host, picture_info("rgb24")) as (buffer, _):
        source, _ = lay_out(info, buffer.paddr)
        target, _ = lay_out(info, buffer.paddr + 128)
        command = run_command(host, unit, unit.pack(source=source, target=target))
        with pytest.raises(InvalidError, match="while it reads"):
            raise command.error


def test_an_address_inside_of_a_buffer_is_an_offset(device):
    unit = device.compute_unit(name="invert")
    info = picture_info("gray")
    picture = noise(info)
    _, nbytes = lay_out(info)
    with device.allocate(2 * nbytes) as buffer:
        source, _ = lay_out(info, buffer.paddr)
        target, _ = lay_out(info, buffer.paddr + nbytes)
        views(buffer, source)[0][...] = picture[0]
        buffer.write()
        assert not run_command(device, unit, unit.pack(source=source, target=target)).failed
        buffer.read()
        expected = computed(get("invert"), info, picture, [])
        np.testing.assert_array_equal(views(buffer, target)[0], expected[0])
