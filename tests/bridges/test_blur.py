"""gaussian_blur and sharpen against the definitions of the Gaussian and of the unsharp mask."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridges import ColourRange, Matrix
from bridges.errors import FormatError, KernelError
from bridges.formats import pixel_format
from bridges.kernels import get
from bridges.kernels.families.blur import blur_for
from bridges.kernels.reference import gaussian_blur, sharpen
from bridges.kernels.views import views
from tests.bridges.kernel_bench import check_kernel, target_for
from tests.bridges.picture import Picture, frame_info

BLUR, SHARPEN = get("gaussian_blur"), get("sharpen")
FORMATS = ("gray", "rgb24", "bgr0", "nv12", "yuv410p", "yuv420p10le", "p010le", "uyvy422", "ya16le")
SIZE = (61, 47)


def gauss(codes: np.ndarray, sigma: float, axis: int) -> np.ndarray:
    """Weight samples along an axis by a Gaussian that ends at ceil(3 sigma); edges are repeated."""
    radius = math.ceil(3 * sigma)
    distances = np.arange(-radius, radius + 1)
    weights = np.exp(-(distances**2) / (2 * sigma**2))
    padding = [(radius, radius) if each == axis else (0, 0) for each in (0, 1)]
    padded = np.pad(codes.astype(np.float64), padding, "edge")
    length = codes.shape[axis]
    parts = (
        weight * np.take(padded, range(k, k + length), axis) for k, weight in enumerate(weights)
    )
    return sum(parts) / weights.sum()


def channels(picture: Picture, planes) -> dict[str, tuple[np.ndarray, int, int]]:
    """Return the codes of each channel at its own size, and its subsampling in both directions."""
    info = picture.frame.info
    found = {}
    for view in views(info.format):
        stored = view.of(planes[view.plane], info.width, info.height)
        for index, name in enumerate(view.names):
            codes = stored[..., index].astype(np.int64) >> info.format.shift
            found[name] = codes, 1 << view.log2_width, 1 << view.log2_height
    return found


@pytest.mark.parametrize("sigma", [0.1, 0.7, 1.5, 5.0, 20.0])
@pytest.mark.parametrize("name", FORMATS)
def test_blur_is_the_gaussian(name: str, sigma: float):
    picture = Picture.create(frame_info(name, SIZE), seed=1)
    info = picture.frame.info
    made = channels(picture, gaussian_blur(picture.arrays, info, sigma))
    error = 0.5 + (1 / 4 if info.format.bits == 8 else 1 / 256)
    for channel, (codes, across, down) in channels(picture, picture.arrays).items():
        exact = gauss(gauss(codes, sigma / down, 0), sigma / across, 1)
        assert np.abs(made[channel][0] - exact).max() <= error


@pytest.mark.parametrize(("amount", "sigma"), [(1.0, 1.0), (5.0, 1.0), (0.3, 10.0), (2.5, 0.1)])
@pytest.mark.parametrize("name", FORMATS)
def test_sharpening_is_the_unsharp_mask(name: str, amount: float, sigma: float):
    picture = Picture.create(frame_info(name, SIZE), seed=2)
    info = picture.frame.info
    made = channels(picture, sharpen(picture.arrays, info, amount, sigma))
    error = 0.5 + (0.25 + 5 / 128 if info.format.bits == 8 else 1 / 128)
    for channel, (codes, _, _) in channels(picture, picture.arrays).items():
        if channel in "YRGB":
            blurred = gauss(gauss(codes, sigma, 0), sigma, 1)
            exact = np.clip(codes + amount * (codes - blurred), 0, (1 << info.format.bits) - 1)
            assert np.abs(made[channel][0] - exact).max() <= error
        else:
            assert np.array_equal(made[channel][0], codes)


def test_a_point_spreads_as_the_weights_say():
    picture = Picture.create(frame_info("gray16le", (9, 9)))
    picture.arrays[0][...] = 0
    picture.arrays[0][4, 4] = 65535
    (made,) = gaussian_blur(picture.arrays, picture.frame.info, 1.0)
    # exp(-k**2 / 2) for k = 0 to 3, divided by the sum for k = -3 to 3.
    weights = [0.3990503, 0.2420362, 0.0540056, 0.0044330]
    for k, weight in enumerate(weights):
        expected = 65535 * weight * weights[0]
        for found in (made[4, 4 + k], made[4, 4 - k], made[4 + k, 4], made[4 - k, 4]):
            assert found == pytest.approx(expected, abs=0.51)
    assert made[4, 8] == made[0, 4] == 0


@pytest.mark.parametrize("sigma", [0.1, 1.5, 4.9, 20.0])
@pytest.mark.parametrize("name", ["gray", "rgb24", "gray10le", "gray16le"])
def test_a_flat_picture_stays_as_it_is(name: str, sigma: float):
    picture = Picture.create(frame_info(name, (40, 9)))
    peak = (1 << picture.frame.info.format.bits) - 1
    for code in (0, 1, peak // 2, peak - 1, peak):
        picture.arrays[0][...] = code
        for made in (
            gaussian_blur(picture.arrays, picture.frame.info, sigma),
            sharpen(picture.arrays, picture.frame.info, 5.0, min(sigma, 10.0)),
        ):
            assert np.unique(made[0]).tolist() == [code]


def test_blur_knows_no_direction():
    picture = Picture.create(frame_info("rgb24", SIZE), seed=3)
    (made,) = gaussian_blur(picture.arrays, picture.frame.info, 2.0)
    for turned in (np.s_[::-1], np.s_[:, ::-1]):
        flipped = np.ascontiguousarray(picture.arrays[0][turned])
        (found,) = gaussian_blur([flipped], picture.frame.info, 2.0)
        assert np.array_equal(found, made[turned])


@given(
    sigma=st.floats(0.1, 20),
    name=st.sampled_from(["gray", "nv12", "yuv410p", "gray10le", "yuv420p16le"]),
    gain=st.floats(0, 5),
)
def test_weights_add_up_to_one_and_fit_their_words(sigma: float, name: str, gain: float):
    layout = pixel_format(name)
    for view in views(layout):
        blur = blur_for(layout, view, sigma, gain)
        for weights, bits in (
            (blur.vertical, blur.word_bits - 1),
            (blur.horizontal, blur.word_bits),
        ):
            assert 2 * sum(weights) == 1 << bits
            assert min(weights) >= 0
            assert max(weights) < 1 << blur.word_bits - 1 or bits == blur.word_bits


def test_an_amount_of_nothing_changes_nothing():
    picture = Picture.create(frame_info("yuva420p10le", SIZE), seed=4)
    made = sharpen(picture.arrays, picture.frame.info, 0.0, 3.0)
    assert all(map(np.array_equal, made, picture.arrays))


def test_sharpening_makes_an_edge_steeper_and_stays_in_range():
    picture = Picture.create(frame_info("gray", (20, 5)))
    picture.arrays[0][:, :10], picture.arrays[0][:, 10:] = 100, 150
    (made,) = sharpen(picture.arrays, picture.frame.info, 1.0, 1.0)
    assert (made[:, 9] < 90).all()
    assert (made[:, 10] > 160).all()
    assert (made[:, :6] == 100).all()
    assert (made[:, 14:] == 150).all()
    picture.arrays[0][:, :10], picture.arrays[0][:, 10:] = 0, 255
    (made,) = sharpen(picture.arrays, picture.frame.info, 5.0, 1.0)
    assert np.array_equal(made, picture.arrays[0])


def test_planes_that_hold_green_blue_and_red_are_sharpened_all():
    untagged = Picture.create(frame_info("yuv444p", SIZE), seed=5)
    tagged = Picture.create(frame_info("yuv444p", SIZE, matrix=Matrix.RGB), seed=5)
    kept, changed = (sharpen(each.arrays, each.frame.info) for each in (untagged, tagged))
    assert np.array_equal(kept[0], changed[0])
    for plane in (1, 2):
        assert np.array_equal(kept[plane], untagged.arrays[plane])
        assert not np.array_equal(changed[plane], tagged.arrays[plane])


def test_the_sample_behind_an_odd_width_is_like_the_last():
    picture = Picture.create(frame_info("uyvy422", (11, 4)), seed=6)
    for made in (
        gaussian_blur(picture.arrays, picture.frame.info),
        sharpen(picture.arrays, picture.frame.info),
    ):
        luma = made[0].reshape(4, -1)[:, 1::2]
        assert luma.shape == (4, 12)
        assert np.array_equal(luma[:, 11], luma[:, 10])


@pytest.mark.parametrize("runtime", ["opencl_runtime", "sycl_runtime", "cuda_runtime"])
@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("gaussian_blur", {"sigma": 0.1}),
        ("gaussian_blur", {"sigma": 5.0}),
        ("gaussian_blur", {"sigma": 20.0}),
        ("sharpen", {"amount": 5.0, "sigma": 1.0}),
        ("sharpen", {"amount": 0.5, "sigma": 10.0}),
    ],
    ids=str,
)
def test_all_strengths_equal_the_reference(request, runtime: str, name: str, values):
    kernel = get(name)
    for layout, size in (("rgb24", (1367, 7)), ("gray", (50, 130)), ("ya16le", (70, 5))):
        source = Picture.create(frame_info(layout, size), seed=7)
        target = target_for(kernel, source.frame.info, values)
        check_kernel(request.getfixturevalue(runtime), kernel, source, target, values)


def test_what_cannot_be_is_refused(numpy_runtime):
    info = frame_info("gray", (4, 4))
    for kernel, values in (
        (BLUR, {"sigma": 0.0}),
        (BLUR, {"sigma": 21.0}),
        (SHARPEN, {"amount": -1.0}),
        (SHARPEN, {"amount": 5.5}),
    ):
        with pytest.raises(KernelError, match="lies between"):
            kernel.output(info, **values)
    source = Picture.create(info, seed=8)
    full = Picture.create(frame_info("gray", (4, 4), ColourRange.FULL))
    for target in (Picture.create(frame_info("gray10le", (4, 4))), full):
        with pytest.raises(FormatError, match="gaussian_blur makes gray of limited range of it"):
            numpy_runtime.run(BLUR, source.frame, target.frame)
