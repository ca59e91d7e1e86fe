"""Reading .cube files, and what is said of those that are none."""

from pathlib import Path

import numpy as np
import pytest

from bridges.errors import KernelError
from bridges.kernels.families.cube import read_cube
from tests.bridges.kernel_files import write_cube

ENTRIES = "0 0 0\n1 0 0\n0 1 0\n1 1 0\n0 0 1\n1 0 1\n0 1 1\n1 1 1\n"


def read(folder: Path, text: str | bytes):
    path = folder / "x.cube"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return read_cube(str(path))


def test_red_changes_fastest(tmp_path):
    cube = read(tmp_path, f"LUT_3D_SIZE 2\n{ENTRIES}")
    assert cube.is_3d
    # The identity, by blue, green and red.
    blue, green, red = np.indices((2, 2, 2))
    assert np.array_equal(cube.table, np.stack([red, green, blue], -1))
    assert (cube.low, cube.high, cube.title) == ((0, 0, 0), (1, 1, 1), "")


def test_all_that_a_file_may_hold(tmp_path):
    text = (
        '\ufeff# made by hand\r\nTITLE "A warm  evening"\r\n\r\nDOMAIN_MIN -0.5 0 0.25\r\n'
        "DOMAIN_MAX 1 2.5e0 .75\r\n LUT_1D_SIZE\t3\r\n# entries\r\n"
        "-1.5 0 1e-3\r\n\r\n+.5 0.5 0.5\r\n1 1 12.0"
    )
    cube = read(tmp_path, text)
    assert cube.title == "A warm  evening"
    assert (cube.low, cube.high) == ((-0.5, 0, 0.25), (1, 2.5, 0.75))
    assert cube.table.tolist() == [[-1.5, 0, 0.001], [0.5, 0.5, 0.5], [1, 1, 12]]
    assert not cube.is_3d


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_ends_of_lines(tmp_path, end):
    cube = read(tmp_path, f"LUT_3D_SIZE 2\n{ENTRIES}".replace("\n", end))
    assert cube.table.shape == (2, 2, 2, 3)


def test_a_range_for_all_channels(tmp_path):
    cube = read(tmp_path, f"LUT_3D_SIZE 2\nLUT_3D_INPUT_RANGE -0.25 1.5\n{ENTRIES}")
    assert (cube.low, cube.high) == ((-0.25,) * 3, (1.5,) * 3)


def test_what_is_written_is_read(tmp_path):
    table = np.random.default_rng(1).uniform(-2, 3, (4, 4, 4, 3))
    cube = read_cube(str(write_cube(tmp_path / "x.cube", table)))
    assert np.array_equal(cube.table, table)


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("", 0, "expected LUT_1D_SIZE or LUT_3D_SIZE, found the end"),
        ('TITLE "x"\n0 0 0\n', 2, "expected LUT_1D_SIZE or LUT_3D_SIZE before"),
        (f"LUT_3D_SIZE 3\n{ENTRIES}", 9, "expected 27 entries, found 8"),
        (f"LUT_3D_SIZE 2\n{ENTRIES}0 0 0\n", 10, "expected 8 entries, found one more"),
        ("LUT_1D_SIZE 2\n0 0 0\n1 1 one\n", 3, "an entry is 3 finite numbers, found '1 1 one'"),
        ("LUT_1D_SIZE 2\n0 0 0\n1 1\n", 3, "an entry is 3 finite numbers, found '1 1'"),
        ("LUT_1D_SIZE 2\n0 0 0 0\n", 2, "an entry is 3 finite numbers, found '0 0 0 0'"),
        ("LUT_1D_SIZE 2\nnan 0 0\n", 2, "finite numbers, found 'nan 0 0'"),
        ("LUT_1D_SIZE 2\n0 inf 0\n", 2, "finite numbers, found '0 inf 0'"),
        ("LUT_1D_SIZE 2\n0 1_0 0\n", 2, "finite numbers, found '0 1_0 0'"),
        ("LUT_1D_SIZE 2\n0 0 128\n", 2, "entries lie between -127 and 127, found 0 0 128"),
        ("LUT_3D_SIZE 257\n", 1, "LUT_3D_SIZE is a whole number from 2 to 256, found '257'"),
        ("LUT_1D_SIZE 65537\n", 1, "LUT_1D_SIZE is a whole number from 2 to 65536"),
        ("LUT_1D_SIZE 1\n", 1, "from 2 to 65536, found '1'"),
        ("LUT_3D_SIZE -3\n", 1, "from 2 to 256, found '-3'"),
        ("LUT_3D_SIZE 2.5\n", 1, "from 2 to 256, found '2.5'"),
        ("LUT_3D_SIZE\n", 1, "from 2 to 256, found ''"),
        ("LUT_3D_SIZE 2\nLUT_1D_SIZE 2\n", 2, "LUT_1D_SIZE beside LUT_3D_SIZE in line 1"),
        ("LUT_3D_SIZE 2\nLUT_3D_SIZE 2\n", 2, "LUT_3D_SIZE is given twice, first in line 1"),
        ('LUT_3D_SIZE 2\n0 0 0\nTITLE "x"\n', 3, "TITLE has to come before the entries"),
        ("DOMAIN_MIN 0 0\n", 1, "DOMAIN_MIN is 3 finite numbers, found '0 0'"),
        (f"DOMAIN_MAX 1 0 1\nLUT_3D_SIZE 2\n{ENTRIES}", 1, "wider than nothing, found 0 to 0"),
        ("LUT_4D_SIZE 2\n", 1, "a keyword .*, found 'LUT_4D_SIZE'"),
        ("<html>\n", 1, "three numbers or a keyword .*, found '<html>'"),
        (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", 1, "three numbers or a keyword"),
        (b"LUT_3D_SIZE 2\n\0\0\0", 2, "this is no text"),
        ("1" * 100_000, 1, "this is no text of lines of up to 1024 characters"),
        ("LUT_3D_SIZE 2\n".encode("utf-16"), 1, "this is no text"),
    ],
)
def test_errors_tell_the_line(tmp_path, text, line, message):
    with pytest.raises(KernelError, match=message) as raised:
        read(tmp_path, text)
    assert str(raised.value).startswith(f"{tmp_path / 'x.cube'}:{line}: ")
    assert "\n" not in str(raised.value)


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(KernelError, match=r"cannot read the \.cube file .*: No such file"):
        read_cube(str(tmp_path / "none.cube"))
    with pytest.raises(KernelError, match="Is a directory"):
        read_cube(str(tmp_path))


def test_huge_files_are_not_read_whole(tmp_path):
    path = tmp_path / "huge.cube"
    with open(path, "wb") as file:
        file.write(b"LUT_1D_SIZE 2\n0 0 0\n1 1 1\n0 0 0\n")
        file.truncate(1 << 40)  # Nearly all of it a hole.
    with pytest.raises(KernelError, match=r"huge\.cube:4: expected 2 entries, found one more"):
        read_cube(str(path))
