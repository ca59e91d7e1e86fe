"""Chains of point kernels: what is fused, and that it gives what the formulas say."""

import numpy as np
import pytest

from bridges import ColourRange, Matrix
from bridges.errors import KernelError
from bridges.kernels import Runtime, fuse, load, parse_call
from bridges.kernels.reference.pixels import Pixels
from tests.bridges.kernel_bench import check_kernel, target_for
from tests.bridges.picture import RANGES, Picture, frame_info

LIMITED, FULL = RANGES


def fused(*texts: str):
    return fuse([parse_call(text) for text in texts])


def names(*texts: str) -> list[str]:
    return [kernel.name.replace("()", "") for kernel, _ in fused(*texts)]


@pytest.fixture(params=["opencl_runtime", "sycl_runtime", "cuda_runtime", "numpy_runtime"])
def runtime(request: pytest.FixtureRequest) -> Runtime:
    return request.getfixturevalue(request.param)


def test_neighbouring_point_kernels_become_one():
    assert names("invert", "contrast(amount=2)") == ["invert(amount=1.0) + contrast(amount=2.0)"]
    assert names("invert", "flip", "contrast", "brightness") == [
        "invert",
        "flip",
        "contrast(amount=1.0) + brightness(amount=0.0)",
    ]
    assert names("flip", "invert") == ["flip", "invert"]
    assert fused() == []


def test_conversions_are_the_ends_of_a_chain():
    assert len(names("yuv_to_rgb", "invert", "rgb_to_yuv")) == 1
    assert len(names("invert", "rgb_to_grayscale")) == 1
    assert len(names("rgb_to_grayscale", "invert")) == 2
    assert len(names("invert", "yuv_to_rgb")) == 2
    assert len(names("rgb_to_yuv", "invert")) == 2
    assert len(names("invert", "rgb_to_yuv", "yuv_to_rgb", "invert")) == 2


def test_files_of_people_are_not_mixed(tmp_path):
    text = "/* {0}: it does.\n */\nDEVICE pixel {0}(pixel p, i32 x, i32 y) {{ return p; }}\n"
    for file, name in (("a.cl", "one"), ("b.cl", "two"), ("c.cl", "invert")):
        (tmp_path / file).write_text(text.format(name))
    one, two, other = (str(tmp_path / file) for file in ("a.cl", "b.cl", "c.cl"))
    assert len(fused(one, "invert", one)) == 1
    assert len(fused(one, two)) == 2
    assert len(fused("invert", other)) == 2


def test_a_chain_is_one_launch_and_makes_no_picture_between():
    ((kernel, values),) = fused("yuv_to_rgb", "invert", "contrast(amount=2)", "rgb_to_yuv")
    info = frame_info("nv12", (64, 16), LIMITED, Matrix.BT709)
    made = kernel.output(info)
    assert made.format.name == "yuv420p"
    (launch,) = kernel.launches(info, made, values)
    planes = [each for each in launch.arguments if type(each).__name__ == "Plane"]
    assert len(planes) == 3 + 2
    assert not any(type(each).__name__ in ("Scratch", "Table") for each in launch.arguments)


CHAINS = [
    ("invert", "contrast(amount=1.3)"),
    ("yuv_to_rgb", "brightness(amount=0.1)", "saturation(amount=2)"),
    ("saturation(amount=0.5)", "rgb_to_yuv(siting=centre)"),
    ("invert", "rgb_to_grayscale"),
    ("yuv_to_rgb(siting=topleft)", "rgb_to_yuv(format=yuv444p10le, siting=topleft)"),
]


@pytest.mark.parametrize("texts", CHAINS, ids=" + ".join)
def test_every_runtime_gives_the_samples_of_the_reference(runtime: Runtime, texts):
    done = 0
    for name in ("rgb24", "yuv420p", "p010le", "gbrp10le", "gray", "uyvy422"):
        for size, layout in (((63, 9), {}), ((64, 8), {"padding": 5, "shift": 3})):
            info = frame_info(name, size, LIMITED, Matrix.BT709)
            (call,) = fused(*texts)
            kernel, values = call
            if name not in kernel.formats_read:
                continue
            source = Picture.create(info, seed=1, **layout)
            try:
                target = target_for(kernel, info, values, **layout)
            except KernelError:  # rgb_to_yuv reads no YUV.
                continue
            check_kernel(runtime, kernel, source, target, values)
            done += 1
    assert done


def test_gray_at_the_end_leaves_chroma_alone(opencl_runtime: Runtime):
    ((kernel, values),) = fused("invert", "rgb_to_grayscale")
    for name in ("rgb24", "yuv420p"):
        source = Picture.create(frame_info(name, (64, 8), FULL, Matrix.BT709), seed=2)
        made = kernel.output(source.frame.info, **values)
        assert made.format.name == "gray"
        target = Picture.create(frame_info("yuv420p", (64, 8), FULL, Matrix.BT709))
        check_kernel(opencl_runtime, kernel, source, target, values)


def test_it_runs_in_place(opencl_runtime: Runtime):
    ((kernel, values),) = fused("invert", "contrast(amount=3)")
    for name in ("rgb24", "nv12", "yuv422p10le"):
        source = Picture.create(frame_info(name, (67, 9)), seed=3)
        check_kernel(opencl_runtime, kernel, source, source, values)


def test_nothing_is_rounded_to_the_pictures_depth_between(numpy_runtime: Runtime):
    """A hundredth of the contrast and back again: 8-bit pictures between would lose all of it."""
    source = Picture.create(frame_info("rgb24", (64, 8)), seed=4)
    ((kernel, values),) = fused(
        "contrast(amount=0.0625)", "contrast(amount=8)", "contrast(amount=2)"
    )
    target = target_for(kernel, source.frame.info, values)
    numpy_runtime.run(kernel, source.frame, target.frame, values)
    difference = target.arrays[0].astype(int) - source.arrays[0]
    assert np.abs(difference).max() <= 1


def test_sitings_must_agree():
    ((kernel, _),) = fused("yuv_to_rgb(siting=left)", "rgb_to_yuv(siting=centre)")
    with pytest.raises(KernelError, match="of one siting, got centre and left"):
        kernel.output(frame_info("yuv420p", (8, 8)))


def test_it_says_what_its_kernels_assume():
    ((kernel, _),) = fused("yuv_to_rgb", "invert")
    assert kernel.note(frame_info("yuv420p", (8, 8))) == "untagged YUV taken as BT.601"
    assert ColourRange.FULL is kernel.output(frame_info("yuv420p", (8, 8))).colour.range


@pytest.mark.parametrize("name", ["rgba", "yuva420p10le"])
def test_what_people_return_is_clipped(opencl_runtime: Runtime, tmp_path, name: str):
    file = tmp_path / "far.cl"
    file.write_text(
        "/* far: leaves the range.\n */\n"
        "DEVICE pixel far(pixel p, i32 x, i32 y) {\n"
        "    p.r = p.r * 3 - WHITE; p.g = -p.g; p.b = 2 * WHITE - p.b; p.a = p.a * 3 - WHITE;\n"
        "    return p;\n"
        "}\n"
    )

    def reference(p, _x, _y):
        alpha, blue = p.a * 3 - 65535, 2 * 65535 - p.b
        return Pixels(p.r * 3 - 65535, -p.g, blue, alpha)

    kernel = load(file, reference=reference)
    source = Picture.create(frame_info(name, (66, 10)), seed=5)
    target = Picture.create(frame_info(name, (66, 10)))
    check_kernel(opencl_runtime, kernel, source, target, {})
