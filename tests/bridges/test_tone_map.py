"""tone_map: the standards' own numbers, and a float64 formula over the whole cube of signals."""

import itertools
import math
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bridges.errors import KernelError
from bridges.formats import pixel_format
from bridges.frame import Colour, ColourRange, FrameInfo, Matrix
from bridges.kernels import get
from bridges.kernels.families import hdr

KERNEL = get("tone_map")
PQ, HLG = 16, 18
CODED = ("pq", "hlg")


def tagged(name: str, width: int, height: int, transfer: int, primaries: int = 9) -> FrameInfo:
    layout = pixel_format(name)
    matrix = Matrix.RGB if "rgb" in name or "gbr" in name else Matrix.BT2020_NCL
    colour = Colour(matrix, ColourRange.UNSPECIFIED, primaries, transfer)
    return FrameInfo(layout, width, height, colour)


def mapped(planes: list[np.ndarray], info: FrameInfo, **parameters) -> list[np.ndarray]:
    """Return what the kernel makes of planes."""
    made = KERNEL.output(info, **parameters)
    out = [np.zeros(plane.shape, plane.dtype) for plane in made.planes]
    KERNEL.compute(planes, info, made, out, KERNEL.check(parameters))
    return out


def of_rgb(signals: np.ndarray, coded: str, **parameters) -> np.ndarray:
    """Return the 16-bit codes that the kernel makes of ``(3, n)`` 16-bit codes."""
    row = np.ascontiguousarray(signals.T[np.newaxis], "<u2")
    info = tagged("rgb48le", row.shape[1], 1, {"pq": PQ, "hlg": HLG}[coded])
    return mapped([row], info, **parameters)[0][0].T.astype(np.int64)


# SMPTE ST 2084, ITU-R BT.2100 and Report ITU-R BT.2390, written once more for arrays (3, n).


def pq_light(signal):
    root = signal ** (32 / 2523)
    ratio = np.maximum(root - 3424 / 4096, 0) / (2413 / 128 - 2392 / 128 * root)
    return 10000 * ratio ** (16384 / 2610)


def pq_signal(light):
    power = (light / 10000) ** (2610 / 16384)
    return ((3424 + 77216 * power) / (4096 + 76544 * power)) ** (2523 / 32)


def hlg_light(signal, peak):
    a = 0.17883277
    b, c = 1 - 4 * a, 0.5 - a * math.log(4 * a)
    scene = np.where(signal <= 0.5, signal**2 / 3, (np.exp((signal - c) / a) + b) / 12)
    gamma = 1.2 + 0.42 * math.log10(peak / 1000)
    if not 400 <= peak <= 2000:
        gamma = 1.2 * 1.111 ** math.log2(peak / 1000)
    luminance = 0.2627 * scene[0] + 0.678 * scene[1] + 0.0593 * scene[2]
    return peak * np.where(luminance > 0, luminance, 1) ** (gamma - 1) * scene


def spline(signal, peak, target):
    given, highest = np.minimum(signal / pq_signal(peak), 1), pq_signal(target) / pq_signal(peak)
    if highest >= 1:
        return given * pq_signal(peak)
    ks = 1.5 * highest - 0.5
    t = (given - ks) / (1 - ks)
    curve = (2 * t**3 - 3 * t**2 + 1) * ks + (t**3 - 2 * t**2 + t) * (1 - ks)
    curve += (-2 * t**3 + 3 * t**2) * highest
    return np.where(given < ks, given, curve) * pq_signal(peak)


def to_bt709() -> np.ndarray:
    """Return the matrix of linear light, of chromaticities alone."""

    def to_xyz(corners):
        columns = np.array([(x / y, 1, (1 - x - y) / y) for x, y in corners]).T
        white = np.array([0.3127 / 0.3290, 1, (1 - 0.3127 - 0.3290) / 0.3290])
        return columns * np.linalg.solve(columns, white)

    bt2020 = to_xyz([(0.708, 0.292), (0.170, 0.797), (0.131, 0.046)])
    return np.linalg.solve(to_xyz([(0.64, 0.33), (0.30, 0.60), (0.15, 0.06)]), bt2020)


def formula(signals: np.ndarray, coded: str, peak: float = 1000, target: float = 100):
    """Return SDR signals of HDR signals, both 0 to 1 in ``(3, n)``."""
    light = pq_light(signals) if coded == "pq" else hlg_light(signals, peak)
    highest = light.max(0)
    shown = pq_light(spline(pq_signal(highest), peak, target))
    light = light * np.where(highest > 0, shown / np.where(highest > 0, highest, 1), 0) / target
    return np.clip(to_bt709() @ light, 0, 1) ** (1 / 2.4)


def cube(*axes: np.ndarray) -> np.ndarray:
    return np.stack(np.meshgrid(*axes)).reshape(3, -1)


def rgb_cube() -> np.ndarray:
    """Return codes all over the cube, and densely near black."""
    axis = np.unique([*range(0, 65536, 1771), *range(0, 256, 33), *range(0, 4096, 409), 65535])
    low = np.arange(0, 40, 3)
    return np.concatenate([cube(axis, axis, axis), cube(low, low, low)], 1)


# What the standards say.


def test_pq_is_that_of_st_2084():
    light = hdr.pq_light([0, 0.5081, 0.7518, 1])
    assert light == pytest.approx([0, 100, 1000, 10000], rel=5e-4)
    assert light[3] == 10000
    signals = np.linspace(0, 1, 1001)
    assert hdr.pq_signal(hdr.pq_light(signals)) == pytest.approx(signals, abs=1e-6)
    assert hdr.pq_light(signals) == pytest.approx(pq_light(signals), rel=1e-12)


def test_hlg_is_that_of_bt2100():
    assert hdr.hlg_scene([0, 0.5, 1]) == pytest.approx([0, 1 / 12, 1], abs=1e-6)
    # Report ITU-R BT.2408: 75 % HLG is 203 cd/m2 on a display of 1000.
    assert 1000 * hdr.hlg_scene(0.75) ** 1.2 == pytest.approx(203, abs=0.5)
    assert hdr.hlg_gamma(1000) == pytest.approx(1.2)
    assert hdr.hlg_gamma(2000) == pytest.approx(1.3264, abs=1e-4)
    assert hdr.hlg_gamma(4000) == pytest.approx(1.4812, abs=1e-4)


def test_primaries_are_those_of_bt2087():
    matrix = hdr.primaries_matrix()
    assert [sum(row) for row in matrix] == [Fraction(1)] * 3
    # BT.2087-0 has the way back, with four digits.
    back = [
        [0.6274, 0.3293, 0.0433],
        [0.0691, 0.9195, 0.0114],
        [0.0164, 0.0880, 0.8956],
    ]
    assert np.linalg.inv(np.array(matrix, np.float64)) == pytest.approx(np.array(back), abs=5.1e-5)


@settings(max_examples=50, deadline=None)
@given(
    peak=st.floats(100, 10000, allow_subnormal=False),
    target=st.floats(50, 1000, allow_subnormal=False),
)
def test_eetf_is_that_of_bt2390(peak: float, target: float):
    signals = np.linspace(0, 1, 2001)
    made = hdr.eetf(signals, peak, target)
    white, highest = hdr.pq_signal(peak), hdr.pq_signal(min(peak, target))
    assert made[0] == 0
    assert np.diff(made).min() >= -1e-12
    assert made.max() <= highest + 1e-12
    assert hdr.eetf(white, peak, target) == pytest.approx(highest)
    below = signals < min(1.5 * highest - 0.5 * white, white)
    assert made[below] == pytest.approx(signals[below], rel=1e-12)
    assert made == pytest.approx(spline(signals, peak, target), abs=1e-9)


# What the kernel makes.


@pytest.mark.parametrize(
    ("peak", "target"), [(1000, 100), (10000, 50), (4000, 203), (100, 100), (100, 1000)]
)
@pytest.mark.parametrize("coded", CODED)
def test_rgb_is_the_formula(coded: str, peak: float, target: float):
    codes = rgb_cube()
    made = of_rgb(codes, coded, peak=peak, target=target)
    exact = 65535 * formula(codes / 65535, coded, peak, target)
    # A quarter of a code of 10 bits, where the gamma is steepest; half a code but for that.
    assert np.abs(made - exact).max() <= 16
    assert np.abs(made - exact)[exact > 2000].max() <= 2


@pytest.mark.parametrize("coded", CODED)
@pytest.mark.parametrize("name", ["rgb24", "gbrp10le"])
def test_rgb_codes_are_within_one_of_the_formula(coded: str, name: str):
    target = pixel_format(name)
    signals = rgb_cube()
    row = np.ascontiguousarray(signals.T[np.newaxis], "<u2")
    info = tagged("rgb48le", row.shape[1], 1, {"pq": PQ, "hlg": HLG}[coded])
    planes = mapped([row], info, format=name)
    made = np.concatenate([plane.reshape(plane.shape[1], -1) for plane in planes], 1).T
    order = [target.find(channel)[0] + target.find(channel)[1] for channel in "RGB"]
    exact = formula(signals / 65535, coded) * ((1 << target.bits) - 1)
    assert np.abs(made[order] - exact).max() <= 0.75


def yuv_codes(rgb: np.ndarray, bits: int) -> np.ndarray:
    """Return exact codes of Y, U and V of BT.709 in limited range."""
    r, g, b = rgb
    luma = 0.2126 * r + 0.7152 * g + 0.0722 * b
    codes = 16 + 219 * luma, 128 + 224 * (b - luma) / 1.8556, 128 + 224 * (r - luma) / 1.5748
    return np.array(codes) * (1 << bits - 8)


@pytest.mark.parametrize(("name", "bits"), [("auto", 10), ("yuv420p", 8)])
@pytest.mark.parametrize("coded", CODED)
def test_yuv_is_the_formula(coded: str, name: str, bits: int):
    codes = cube(np.arange(64, 941, 12), np.arange(64, 961, 28), np.arange(64, 961, 28))
    # Whole blocks of one colour, so that nothing is said of how chroma is averaged.
    planes = [np.repeat(np.repeat(codes[:1], 2, 0), 2, 1), codes[1:2], codes[2:3]]
    info = tagged("yuv420p10le", 2 * codes.shape[1], 2, {"pq": PQ, "hlg": HLG}[coded])
    planes = mapped([plane.astype("<u2") for plane in planes], info, format=name)
    assert (planes[0][:, 1::2] == planes[0][0, ::2]).all()
    made = np.array([planes[0][0, ::2], planes[1][0], planes[2][0]], np.float64)

    luma, blue, red = (codes[0] - 64) / 876, (codes[1] - 512) / 896, (codes[2] - 512) / 896
    r, b = luma + 1.4746 * red, luma + 1.8814 * blue
    signals = np.clip([r, (luma - 0.2627 * r - 0.0593 * b) / 0.678, b], 0, 1)
    error = np.abs(made - yuv_codes(formula(signals, coded), bits))
    assert (error > 1).mean() < 1e-4
    assert np.median(error) < 0.3
    # On the very border of BT.709 the gamma is endlessly steep: there, half a code of the 16 bits
    # of a pixel shows. Nowhere is the error larger than that.
    corners = [
        formula(np.clip(signals + 0.52 / 65535 * np.array(corner)[:, np.newaxis], 0, 1), coded)
        for corner in itertools.product((-1, 0, 1), repeat=3)
    ]
    exact = [yuv_codes(each, bits) for each in corners]
    assert (made - np.maximum.reduce(exact)).max() <= 0.6
    assert (np.minimum.reduce(exact) - made).max() <= 0.6


@settings(max_examples=25, deadline=None)
@given(
    coded=st.sampled_from(CODED),
    peak=st.floats(100, 10000, allow_subnormal=False),
    target=st.floats(50, 1000, allow_subnormal=False),
)
def test_gray_stays_gray_and_never_falls(coded: str, peak: float, target: float):
    ramp = np.broadcast_to(np.arange(65536), (3, 65536))
    made = of_rgb(ramp, coded, peak=peak, target=target)
    assert (made[0] == made[1]).all()
    assert (made[0] == made[2]).all()
    assert made[0, 0] == 0
    # Of tables of light over its logarithm, neighbours may differ by their last bit.
    assert np.diff(made[0]).min() >= -1
    if target <= peak:
        assert made[0, -1] >= 65534


def test_the_mastering_peak_becomes_white_and_black_stays():
    info = tagged("yuv420p10le", 2, 2, PQ)
    luma = np.array([[64, 64 + round(876 * 0.7518)], [940, 64]], "<u2")
    neutral = np.full((1, 1), 512, "<u2")
    made = mapped([luma, neutral, neutral], info)
    assert made[0].tolist() == [[64, 940], [940, 64]]
    assert made[1].tolist() == made[2].tolist() == [[512]]


def test_alpha_is_left():
    row = np.arange(4 * 9, dtype="<u2").reshape(1, 9, 4) * 1700
    info = tagged("rgba64le", 9, 1, PQ)
    assert (mapped([row], info)[0][..., 3] == row[..., 3]).all()


# What it says of its pictures.


def test_the_picture_becomes_bt709():
    info = replace(tagged("p010le", 8, 8, PQ), pts=7)
    colour = KERNEL.output(info).colour
    assert colour == Colour(Matrix.BT709, ColourRange.UNSPECIFIED, 1, 1)
    assert KERNEL.output(info) == replace(info, colour=colour)
    full = replace(info, colour=replace(info.colour, range=ColourRange.FULL))
    assert KERNEL.output(full).colour.range is ColourRange.FULL
    assert KERNEL.output(full, format="nv12").colour.range is ColourRange.FULL
    nv12 = KERNEL.output(info, format="nv12")
    assert (nv12.format.name, nv12.is_full_range) == ("nv12", False)
    assert KERNEL.output(info, format="yuvj420p").is_full_range
    assert KERNEL.output(tagged("gbrp10le", 8, 8, HLG)).colour.matrix is Matrix.RGB


def test_what_is_assumed_is_said():
    info = tagged("p010le", 8, 8, PQ)
    assert KERNEL.note(info, peak=4000) == "PQ of 4000 cd/m2 shown on 100 cd/m2"
    said = KERNEL.note(tagged("yuv420p10le", 8, 8, 2, primaries=2), transfer="hlg")
    assert said == (
        "HLG of 1000 cd/m2 shown on 100 cd/m2; untagged primaries taken as BT.2020; "
        "in spite of transfer 2, which it is tagged with"
    )


@pytest.mark.parametrize(
    ("transfer", "primaries", "message"),
    [
        (2, 9, r"untagged \(transfer 2\).* transfer=pq or transfer=hlg"),
        (1, 9, r"tagged with another \(transfer 1\)"),
        (PQ, 1, "BT.2020 primaries .9 in H.273., got a picture tagged with primaries 1"),
    ],
)
def test_other_pictures_are_refused(transfer: int, primaries: int, message: str):
    info = tagged("yuv420p10le", 8, 8, transfer, primaries)
    for call in (KERNEL.output, KERNEL.note):
        with pytest.raises(KernelError, match=message):
            call(info)


@pytest.mark.parametrize("name", ["rgb24", "gray", "nothing"])
def test_the_colour_model_is_kept(name: str):
    with pytest.raises(KernelError, match=f"makes YUV of p010le, got format='{name}'"):
        KERNEL.output(tagged("p010le", 8, 8, PQ), format=name)


@pytest.mark.parametrize("wrong", [{"peak": 99}, {"target": 49}, {"transfer": "sdr"}])
def test_wrong_parameters(wrong):
    with pytest.raises(KernelError, match="parameter"):
        KERNEL.output(tagged("p010le", 8, 8, PQ), **wrong)
