"""lut against interpolation in binary64, written here anew."""

import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bridges import Matrix
from bridges.errors import KernelError
from bridges.kernels import Runtime, get
from bridges.kernels.families import cube
from tests.bridges.kernel_bench import expected_planes, run_kernel, target_for
from tests.bridges.kernel_files import write_cube
from tests.bridges.picture import RANGES, Picture, frame_info

LUT = get("lut")
RGB = ("rgb24", "bgra", "gbrp10le", "rgb48le")
METHODS = ("tetrahedral", "trilinear")


def places(signals, table, low, high):
    """Return the entry below each signal of a channel, and how far it is from there."""
    at = np.clip((signals - low) / (high - low), 0, 1) * (len(table) - 1)
    below = np.minimum(np.floor(at).astype(int), len(table) - 2)
    return below, at - below


def interpolated(signals, table, method="tetrahedral", low=(0, 0, 0), high=(1, 1, 1)):
    """Return what a table makes of ``(n, 3)`` signals, clipped."""
    below, share = places(signals, table, np.asarray(low), np.asarray(high))
    if table.ndim == 2:
        channel = np.arange(3)
        made = table[below, channel] * (1 - share) + table[below + 1, channel] * share
    elif method == "trilinear":
        made = 0
        for corner in np.ndindex(2, 2, 2):
            weight = np.where(corner, share, 1 - share).prod(1, keepdims=True)
            at = below + corner
            made = made + weight * table[at[:, 2], at[:, 1], at[:, 0]]
    else:
        # A walk from the corner below to that above, along the axis of the largest share first.
        made, at = table[below[:, 2], below[:, 1], below[:, 0]], below.copy()
        order, every = np.argsort(-share, 1), np.arange(len(signals))
        for axis in order.T:
            before = table[at[:, 2], at[:, 1], at[:, 0]]
            at[every, axis] += 1
            step = table[at[:, 2], at[:, 1], at[:, 0]] - before
            made = made + share[every, axis, None] * step
    return np.clip(made, 0, 1)


def made(runtime: Runtime, picture: Picture, path: Path, method: str = "tetrahedral") -> Picture:
    target = target_for(LUT, picture.frame.info, {"file": str(path)})
    run_kernel(runtime, LUT, picture, target, {"file": str(path), "interpolation": method})
    return target


def distance(found: Picture, picture: Picture, table, **how) -> float:
    """Return how far RGB codes are from the interpolated ones, in codes."""
    peak = 2**picture.frame.info.format.bits - 1
    signals = np.stack([picture.codes(each).ravel() for each in "RGB"], -1) / peak
    exact = interpolated(signals, table, **how) * peak
    codes = np.stack([found.codes(each).ravel() for each in "RGB"], -1)
    return np.abs(codes - exact).max()


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    name=st.sampled_from(RGB),
    method=st.sampled_from(METHODS),
    size=st.integers(2, 12),
    spread=st.sampled_from([(0, 1), (-1, 2), (-127, 127)]),
    domain=st.sampled_from([(0, 1), (-0.25, 1.5), (0.2, 0.7), (-4, 12), (0.5, 0.501), (2, 3)]),
)
def test_3d_tables(opencl_runtime, tmp_path, name, method, size, spread, domain):
    table = np.random.default_rng(size).uniform(*spread, (size, size, size, 3))
    low, high = ((end,) * 3 for end in domain)
    path = write_cube(
        tmp_path / f"{size}{spread}{domain}.cube",
        table,
        f"DOMAIN_MIN {low[0]} {low[0]} {low[0]}",
        f"DOMAIN_MAX {high[0]} {high[0]} {high[0]}",
    )
    picture = Picture.create(frame_info(name, (37, 9)), seed=size)
    found = made(opencl_runtime, picture, path, method)
    # Steps between entries weigh what places are off: by 2**-23 entries, by the rounded first code
    # of a domain, and for 10 bits by the rounding to 16.
    peak = 2**picture.frame.info.format.bits - 1
    step = (spread[1] - spread[0]) * peak
    off = 0.5 if peak == 1023 else 2**-13 if domain[0] else 0
    slope = (size - 1) / (domain[1] - domain[0]) / 65535
    bound = 0.51 + 3 * step * (2**-23 + off * slope)
    assert distance(found, picture, table, method=method, low=low, high=high) < bound


@pytest.mark.parametrize("name", RGB)
@pytest.mark.parametrize("same", [False, True])
@pytest.mark.parametrize("size", [2, 3, 1024, 65536])
def test_1d_tables(opencl_runtime, tmp_path, name, same, size):
    table = np.sort(np.random.default_rng(size).uniform(-0.2, 1.2, (size, 3)), 0)
    if same:
        table[:] = table[:, :1]
    path = write_cube(tmp_path / "x.cube", table, "DOMAIN_MIN -0.5 0 0.1", "DOMAIN_MAX 1 2 0.8")
    picture = Picture.create(frame_info(name, (41, 11)), seed=size)
    found = made(opencl_runtime, picture, path)
    assert distance(found, picture, table, low=(-0.5, 0, 0.1), high=(1, 2, 0.8)) < 0.6


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", RGB)
@pytest.mark.parametrize("size", [2, 17, 33])
def test_the_identity_leaves_the_picture(opencl_runtime, tmp_path, name, method, size):
    blue, green, red = np.indices((size,) * 3) / (size - 1)
    path = write_cube(tmp_path / "x.cube", np.stack([red, green, blue], -1))
    picture = Picture.create(frame_info(name, (64, 32)), seed=1)
    found = made(opencl_runtime, picture, path, method)
    assert all(map(np.array_equal, found.arrays, picture.arrays))


@pytest.mark.parametrize("colour_range", RANGES)
@pytest.mark.parametrize("name", ["yuv444p", "yuv444p10le", "yuv444p16le"])
def test_yuv(opencl_runtime, tmp_path, name, colour_range):
    # H.273: Y' = Kr R + Kg G + Kb B, Cb = (B - Y') / 1.8556, Cr = (R - Y') / 1.5748 for BT.709.
    rng = np.random.default_rng(7)
    table = rng.uniform(0.1, 0.9, (3, 3, 3, 3))
    path = write_cube(tmp_path / "x.cube", table)
    picture = Picture.create(frame_info(name, (32, 16), colour_range, Matrix.BT709), seed=1)
    bits = picture.frame.info.format.bits
    black, luma_span, chroma_span = (16 << bits - 8, 219 << bits - 8, 224 << bits - 8)
    if colour_range is RANGES[1]:
        black, luma_span, chroma_span = 0, 2**bits - 1, 2**bits - 1
    y = (picture.codes("Y") - black) / luma_span
    u, v = ((picture.codes(each) - 2 ** (bits - 1)) / chroma_span for each in "UV")
    r, b = y + 1.5748 * v, y + 1.8556 * u
    g = (y - 0.2126 * r - 0.0722 * b) / 0.7152
    signals = np.clip(np.stack([r, g, b], -1).reshape(-1, 3), 0, 1)
    r, g, b = interpolated(signals, table).T
    y = 0.2126 * r + 0.7152 * g + 0.0722 * b
    found = made(opencl_runtime, picture, path)
    # R, G and B are codes of 16 bits before the table too, and chroma has the largest weights.
    for channel, value, span, zero in (
        ("Y", y, luma_span, black),
        ("U", (b - y) / 1.8556, chroma_span, 2 ** (bits - 1)),
        ("V", (r - y) / 1.5748, chroma_span, 2 ** (bits - 1)),
    ):
        exact = value * span + zero
        bound = 0.55 + 4 * 2.0 ** (bits - 16)
        assert np.abs(found.codes(channel).ravel() - exact).max() < bound, channel


def test_golden_values(numpy_runtime, tmp_path):
    # Red is what green was, green what blue was, blue what red was; by hand.
    path = tmp_path / "turn.cube"
    path.write_text("LUT_3D_SIZE 2\n0 0 0\n0 0 1\n1 0 0\n1 0 1\n0 1 0\n0 1 1\n1 1 0\n1 1 1\n")
    picture = Picture.create(frame_info("rgb24", (2, 1)))
    picture.arrays[0][...] = [[[10, 20, 30], [255, 0, 128]]]
    for method in METHODS:
        found = made(numpy_runtime, picture, path, method)
        assert found.arrays[0].tolist() == [[[20, 30, 10], [0, 128, 255]]]


def test_the_methods_differ_between_corners(numpy_runtime, tmp_path):
    # White alone is lit: at (3/5, 2/5, 1/5) the least share counts, or the product of all.
    table = np.zeros((2, 2, 2, 3))
    table[1, 1, 1] = 1
    path = write_cube(tmp_path / "x.cube", table)
    picture = Picture.create(frame_info("rgb24", (1, 1)))
    picture.arrays[0][...] = [[[153, 102, 51]]]
    found = [made(numpy_runtime, picture, path, each).arrays[0][0, 0, 0] for each in METHODS]
    assert found == [51, 12]  # 255 / 5, and 255 * 6 / 125 = 12.24.


def test_alpha_stays(opencl_runtime, tmp_path):
    path = write_cube(tmp_path / "x.cube", np.full((2, 2, 2, 3), 0.5))
    picture = Picture.create(frame_info("rgba", (9, 5)), seed=1)
    found = made(opencl_runtime, picture, path)
    assert np.array_equal(found.codes("A"), picture.codes("A"))
    assert (found.codes("G") == 128).all()


def test_a_file_is_read_once_until_it_changes(numpy_runtime, tmp_path, monkeypatch):
    reads = []

    def read(path: str) -> cube.Cube:
        reads.append(path)
        return cube.read_cube(path)

    monkeypatch.setattr("bridges.kernels.families.lut.read_cube", read)
    path = write_cube(tmp_path / "x.cube", np.full((2, 3), 0.25))
    picture = Picture.create(frame_info("rgb24", (4, 4)), seed=1)
    assert (made(numpy_runtime, picture, path).arrays[0] == 64).all()
    made(numpy_runtime, picture, path)
    assert len(reads) == 1
    write_cube(path, np.full((2, 3), 0.75))
    os.utime(path, ns=(1, 1))
    assert (made(numpy_runtime, picture, path).arrays[0] == 191).all()
    assert len(reads) == 2


@pytest.mark.parametrize(
    "domain", ["DOMAIN_MIN -5 0 0", "DOMAIN_MAX 1 0.0001 1", "DOMAIN_MAX 1 1 1e10"]
)
def test_domains_beyond_the_integers(tmp_path, domain):
    path = write_cube(tmp_path / "x.cube", np.zeros((2, 2, 2, 3)), domain)
    picture = Picture.create(frame_info("rgb24", (4, 4)), seed=1)
    with pytest.raises(KernelError, match=r"x\.cube: a domain begins between -4 and 4 .* found"):
        expected_planes(LUT, picture, picture, {"file": str(path)})


def test_wrong_parameters():
    with pytest.raises(KernelError, match="parameter 'file' has to be given"):
        LUT.check({})
    with pytest.raises(KernelError, match="one of tetrahedral, trilinear, got 'cubic'"):
        LUT.check({"file": "x.cube", "interpolation": "cubic"})


def test_a_wrong_file_is_told_before_the_first_frame(tmp_path):
    info = frame_info("rgb24", (4, 4))
    with pytest.raises(KernelError, match=r"cannot read the \.cube file .*: No such file"):
        LUT.output(info, file=str(tmp_path / "none.cube"))
    path = tmp_path / "x.cube"
    path.write_text("LUT_1D_SIZE 2\n0 0 0\n")
    with pytest.raises(KernelError, match=r"x\.cube:2: expected 2 entries, found 1"):
        LUT.output(info, file=str(path))
