"""polyphase against its definition, in floating point, sample by sample and table by table."""

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridges.errors import KernelError
from bridges.frame import FrameInfo
from bridges.kernels import Runtime, get
from bridges.kernels.families.polyphase import check_coefficients, coefficients
from bridges.kernels.reference import polyphase
from bridges.kernels.views import View, views
from tests.bridges.kernel_bench import check_kernel, target_for
from tests.bridges.kernel_files import random_coefficients, write_coefficients
from tests.bridges.picture import Picture, frame_info
from tests.bridges.test_resize import codes_of, weight

KERNEL = get("polyphase")
FORMATS = ("gray", "rgb24", "yuv420p", "yuv411p", "nv12", "uyvy422", "p010le", "gray12le", "ya16le")
SIZES = (((40, 30), (27, 45)), ((41, 27), (20, 9)), ((12, 9), (36, 18)), ((1, 1), (3, 2)))
IDENTITY = np.repeat(4096 * np.eye(12, dtype=int)[5:6], 64, 0)


def position(x: int, ratio: Fraction, sites: int = 1) -> tuple[int, int]:
    """Return the sample at or before output ``x``, and the phase, of 64, that is nearest to it."""
    at = ((sites * x + Fraction(1, 2)) * ratio - Fraction(1, 2)) / sites
    return divmod(math.floor(64 * at + Fraction(1, 2)), 64)


def matrix(
    pixels: tuple[int, int], samples: tuple[int, int], table: np.ndarray, sites: int
) -> np.ndarray:
    """Return what each output sample of an axis takes of each source sample."""
    found = np.zeros((samples[1], samples[0]))
    for x in range(samples[1]):
        first, phase = position(x, Fraction(*pixels), sites)
        for tap in range(12):
            found[x, min(max(first - 5 + tap, 0), samples[0] - 1)] += table[phase, tap] / 4096
    return found


def exact(view: View, picture: Picture, target: FrameInfo, tables, siting: str) -> np.ndarray:
    """Return the elements of a view of the resized picture, neither rounded nor clamped."""
    info = picture.frame.info
    sizes = view.size(info.width, info.height), view.size(target.width, target.height)
    columns, rows = zip(*sizes, strict=True)
    sites = 1 << view.log2_width if siting == "left" else 1
    across = matrix((info.width, target.width), columns, tables[0], sites)
    down = matrix((info.height, target.height), rows, tables[1], 1)
    codes = codes_of(view, picture.arrays, info)
    return np.einsum("yj,xi,jic->yxc", down, across, codes, optimize=True)


def resized(picture: Picture, **values) -> tuple[FrameInfo, list[np.ndarray]]:
    info = picture.frame.info
    target = KERNEL.output(info, **values)
    return target, polyphase(picture.arrays, info, target, **KERNEL.check(values))


@pytest.fixture
def tables(tmp_path):
    """Return two random tables, and the file that holds them."""
    random = np.random.default_rng(7)
    made = random_coefficients(random), random_coefficients(random)
    return made, str(write_coefficients(tmp_path / "two.txt", *made))


@pytest.mark.parametrize("siting", ["left", "centre"])
def test_samples_are_those_of_the_definition(tables, siting: str):
    made, file = tables
    for format_name in FORMATS:
        for size, (width, height) in SIZES:
            picture = Picture.create(frame_info(format_name, size), seed=1)
            values = {"coefficients": file, "siting": siting, "width": width, "height": height}
            target, planes = resized(picture, **values)
            for view in views(target.format):
                wanted = exact(view, picture, target, made, siting)
                wanted = wanted.clip(0, (1 << target.format.bits) - 1)
                assert np.abs(codes_of(view, planes, target) - wanted).max() < 0.6


@pytest.mark.parametrize("name", ["bilinear", "bicubic", "lanczos"])
def test_sets_are_their_filters_at_64_phases(name: str):
    tables = coefficients(name, 0.4, 7.0)
    assert tables[0] is tables[1]
    for phase in range(64):
        wanted = np.array([weight(name, tap - 5 - phase / 64) for tap in range(12)])
        found = tables[0].array[phase]
        assert found.sum() == 4096
        assert np.abs(found - 4096 * wanted / wanted.sum()).max() < 1


@pytest.mark.parametrize(
    ("ratio", "widening"),
    [(0.1, 1), (1.0, 1), (1.01, 1.5), (1.5, 1.5), (1.6, 2), (2.0, 2), (2.5, 3), (3, 3), (9, 3)],
)
def test_auto_takes_one_of_four_sets_for_each_axis(ratio: float, widening: float):
    across, down = coefficients("auto", ratio, 1.0)
    assert np.array_equal(down.array, coefficients("bicubic", 1, 1)[0].array)
    for phase in (0, 1, 31, 63):
        wanted = np.array(
            [weight("bicubic", (tap - 5 - phase / 64) / widening) for tap in range(12)]
        )
        assert np.abs(across.array[phase] - 4096 * wanted / wanted.sum()).max() < 1


def test_the_same_size_is_a_copy():
    for format_name in FORMATS:
        picture = Picture.create(frame_info(format_name, (22, 14)), seed=4)
        for name in ("auto", "bilinear", "bicubic", "lanczos"):
            _, made = resized(picture, width=22, coefficients=name)
            assert all(map(np.array_equal, made, picture.arrays))


def test_one_table_is_for_both_axes(tmp_path):
    table = random_coefficients(np.random.default_rng(3))
    one = write_coefficients(tmp_path / "one.txt", table)
    two = write_coefficients(tmp_path / "two.txt", table, table)
    picture = Picture.create(frame_info("gray", (31, 17)), seed=2)
    made = [resized(picture, width=50, height=9, coefficients=str(file))[1] for file in (one, two)]
    assert np.array_equal(made[0][0], made[1][0])


def test_columns_come_first_in_a_file(tmp_path):
    # Rows are left as they are; columns take the sample after their own.
    later = np.roll(IDENTITY, 1, 1)
    file = write_coefficients(tmp_path / "later.txt", later, IDENTITY)
    picture = Picture.create(frame_info("gray", (9, 5)), seed=2)
    _, (made,) = resized(picture, width=9, coefficients=str(file))
    assert np.array_equal(made[:, :-1], picture.arrays[0][:, 1:])
    assert np.array_equal(made[:, -1], picture.arrays[0][:, -1])


def test_positions_are_rounded_to_the_nearest_phase(tmp_path):
    # Each phase tells its number, by how much of white it lets through.
    table = IDENTITY.copy()
    table[:, 5] = 4096 - np.arange(64)
    file = write_coefficients(tmp_path / "phases.txt", table, IDENTITY)
    picture = Picture.create(frame_info("gray12le", (37, 1)))
    picture.arrays[0][...] = 4095
    for width in (37, 50, 111, 128, 301):
        _, (made,) = resized(picture, width=width, height=1, coefficients=str(file))
        phases = [position(x, Fraction(37, width))[1] for x in range(width)]
        wanted = [math.floor(4095 * (4096 - phase) / 4096 + 0.5) for phase in phases]
        assert made[0].tolist() == wanted


def test_a_file_is_read_anew_when_it_changes(tmp_path):
    picture = Picture.create(frame_info("gray", (8, 8)), seed=1)
    path = tmp_path / "changes.txt"
    found = []
    for shift in range(2):
        write_coefficients(path, np.roll(IDENTITY, shift, 1))
        found.append(resized(picture, width=8, coefficients=str(path))[1][0])
    assert np.array_equal(found[0], picture.arrays[0])
    assert np.array_equal(found[1][:-1, :-1], picture.arrays[0][1:, 1:])


def test_phases_that_change_brightness_are_noted(tmp_path, tables):
    info = frame_info("nv12", (8, 8))
    assert KERNEL.note(info, width=4) == "chroma sited left (assumed)"
    assert KERNEL.note(info, width=4, coefficients=tables[1]) == "chroma sited left (assumed)"
    table = IDENTITY.copy()
    table[7, 3], table[9, 4] = 5, -3
    said = KERNEL.note(info, width=4, coefficients=str(write_coefficients(tmp_path / "t", table)))
    assert "add up to 4093 to 4101, where 4096 keeps brightness" in said


def changed(row: int, column: int, value: int) -> np.ndarray:
    table = IDENTITY.astype(object)
    table[row, column] = value
    return table


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (IDENTITY[:63], "expected 64 or 128 lines of 12 integers, found 63"),
        (IDENTITY[:, :11], ":2: expected 12 integers, found '0, 0"),
        (IDENTITY / 2, ":2: expected 12 integers"),
        (changed(3, 5, 4000), "phase 3 add up to 4000; they have to make 4096"),
        (changed(3, 5, 1 << 70), "64 phases of 12 integers, found"),
        (IDENTITY + np.array([3000, -3000] * 6), "magnitudes of phase 0 add up to"),
    ],
)
def test_wrong_files_are_refused(tmp_path, table: np.ndarray, message: str):
    file = write_coefficients(tmp_path / "wrong.txt", table)
    with pytest.raises(KernelError, match=message):
        KERNEL.output(frame_info("gray", (8, 8)), width=4, coefficients=str(file))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({}, "polyphase needs a width"),
        ({"width": 4, "coefficients": "/no/such"}, "auto, bilinear.*cannot be read: No such file"),
        ({"width": 4, "coefficients": "/"}, "cannot be read"),
        ({"width": 4, "siting": "top"}, "left, centre"),
    ],
)
def test_wrong_parameters_are_refused(values, message: str):
    with pytest.raises(KernelError, match=message):
        KERNEL.output(frame_info("gray", (8, 8)), **values)


def test_tables_of_a_program_are_checked_alike():
    assert check_coefficients(IDENTITY.tolist(), "ours").dtype == np.int16
    for table in (IDENTITY.astype(float), IDENTITY.T, None):
        with pytest.raises(KernelError, match="ours: coefficients are 64 phases of 12 integers"):
            check_coefficients(table, "ours")


@given(
    phase=st.lists(st.integers(-2000, 3000), min_size=12, max_size=12),
    format_name=st.sampled_from(["gray", "gray10le", "gray12le", "gray16le"]),
)
def test_no_table_that_is_taken_overflows(tmp_path_factory, phase: list[int], format_name: str):
    phase[5] += 4096 - sum(phase)
    table = np.repeat([phase], 64, 0)
    try:
        check_coefficients(table, "")
    except KernelError:
        return
    file = write_coefficients(tmp_path_factory.mktemp("t") / "any.txt", table)
    picture = Picture.create(frame_info(format_name, (5, 5)))
    info = picture.frame.info
    # Where codes are highest exactly where taps are positive, sums are as high as they can be.
    high = (np.array(phase)[3:8] > 0)[:, None] & (np.array(phase)[3:8] > 0)
    picture.arrays[0][...] = np.where(high, (1 << info.format.bits) - 1, 0)
    values = {"width": 5, "height": 5, "coefficients": str(file)}
    target, (made,) = resized(picture, **values)
    (view,) = views(info.format)
    wanted = exact(view, picture, target, (table, table), "left")[:, :, 0]
    assert np.abs(made - wanted.clip(0, (1 << info.format.bits) - 1)).max() < 0.6


# Ratios that repeat soon, rows of several groups, and all of the arithmetic.
WIDE = [
    ("gray", (384, 24), {"width": 256}),
    ("gray", (256, 24), {"width": 512, "coefficients": "bilinear"}),
    ("rgb24", (384, 24), {"width": 128}),
    ("p010le", (256, 24), {"width": 384, "coefficients": "lanczos"}),
    ("yuv420p12le", (402, 10), {"width": 201}),
    ("yuyv422", (257, 24), {"width": 129}),
    ("rgba64le", (6000, 2), {"width": 4000}),
]


@pytest.mark.parametrize(("name", "size", "values"), WIDE, ids=str)
def test_wide_pictures(opencl_runtime: Runtime, name, size, values):
    picture = Picture.create(frame_info(name, size), seed=6, padding=4)
    target = target_for(KERNEL, picture.frame.info, values)
    check_kernel(opencl_runtime, KERNEL, picture, target, values)


def test_any_tables_on_wide_pictures(opencl_runtime: Runtime, tables):
    for name in ("gray", "rgb24", "p010le"):
        picture = Picture.create(frame_info(name, (384, 24)), seed=6)
        values = {"width": 256, "coefficients": tables[1]}
        target = target_for(KERNEL, picture.frame.info, values)
        check_kernel(opencl_runtime, KERNEL, picture, target, values)
