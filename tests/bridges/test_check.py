"""Comparing a kernel between devices: what is not portable is found, with its place."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from bridges.backends.opencl import devices as opencl_devices
from bridges.errors import KernelError
from bridges.kernels import check as module
from bridges.kernels import get, load
from bridges.kernels.check import check, trials
from bridges.kernels.devices import Device, devices
from bridges.kernels.float_reference import load_function
from bridges.kernels.reference.pixels import Pixels
from tests.helpers.require import require

HEAD = "/* tint: warms the picture.\n * param amount: float = 0.5 in [0, 1]\n */\n"
FUNCTION = "DEVICE pixel tint(pixel p, i32 x, i32 y, i32 amount)"
GOOD = "p.r += scale(WHITE - p.r, amount); p.b = scale(p.b, 65536 - amount);"
REFERENCE = "def tint(r, g, b, a, x, y, amount):\n    return {}\n"
RIGHT = "r + (1 - r) * amount, g, b * (1 - amount)"


@pytest.fixture(autouse=True)
def _quick(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(module, "FORMATS", ("rgb24", "yuv420p10le"))


@pytest.fixture
def tint(tmp_path):
    def write(body, head=HEAD):
        (tmp_path / "my.cl").write_text(f"{head}{FUNCTION} {{ {body} return p; }}\n")
        return load("my.cl")

    return write


@pytest.fixture
def reference(tmp_path):
    def write(text):
        (tmp_path / "my.py").write_text(text)
        return load_function("my.py", "tint")

    return write


@pytest.fixture
def one(opencl_runtime):
    return [Device("one", opencl_runtime)]


@pytest.fixture
def two(opencl_runtime, sycl_runtime):
    return [Device("one", opencl_runtime), Device("two", sycl_runtime)]


def test_a_portable_kernel_is_alike_everywhere(tint, two):
    first, second = check(tint(GOOD), {}, two)
    assert (first.name, first.state, first.detail) == ("one", "measure", "")
    assert (second.name, second.state, second.detail) == ("two", "equal", "")
    # Two formats, three values, two sizes, two layouts.
    assert first.formats == ("rgb24", "yuv420p10le")
    assert first.pictures == second.pictures == 2 * 3 * 2 * 2


def test_what_depends_on_the_work_item_differs_by_the_layout_of_a_picture(tint, one):
    (found,) = check(tint("p.r = (i32)INDEX(0) * 4000;"), {}, one)
    assert found.state == "differs"
    # Of aligned rows, the last column is the first item of a launch of its own. RGB is limited.
    assert found.detail.startswith(
        "rgb24 5x3, amount=0.5: plane 0, row 0, column 4, channel 0: 29, not 16 ("
    )


def test_what_depends_on_the_device_differs(tint, one):
    bodies = ("p.r = 257 * 7;", "p.r = 257 * 7; if (x == 2 && y == 1) p.g = 257 * 9;")
    kernels = [tint(body) for body in bodies]

    class Other:
        """A device whose compiler understands the source in another way."""

        context = one[0].runtime.context

        def run(self, _kernel, *frames, **options):
            one[0].runtime.run(kernels[1], *frames, **options)

    _, found = check(kernels[0], {"amount": 0.5}, [*one, Device("other", Other())])
    assert (found.name, found.state) == ("other", "differs")
    assert found.detail.startswith(
        "rgb24 5x3, amount=0.5: plane 0, row 1, column 2, channel 1: 24, not "
    )
    assert found.detail.endswith("(1 of 45 samples differ)")


def test_floating_point_differs_between_compilers(tint):
    there = {device.platform for device in opencl_devices()}
    for name, platform in (
        ("intel-opencl", "Intel(R) OpenCL"),
        ("pocl", "Portable Computing Language"),
    ):
        require(name, platform in there, f"no such platform among {there}")
    body = "p.r = (i32)(native_exp(native_sin((float)(x * 977 + y))) * 1e9f) & 65535;"
    with devices() as found:
        opencl = [device for device in found if device.name.startswith("opencl:")]
        states = [result.state for result in check(tint(body), {"amount": 0.5}, opencl)]
    assert states[0] == "measure"
    assert "differs" in states


def test_a_kernel_that_does_not_compile_fails_where_it_does_not(tint, one):
    (found,) = check(tint("p.q = 1;"), {}, one)
    assert (found.state, found.pictures) == ("failed", 0)
    assert found.detail.startswith("kernel tint does not compile: my.cl:4: error: no member")


def test_a_device_without_a_runtime_is_passed_over(tint, one):
    skipped, measure = check(
        tint(GOOD), {"amount": 0.1}, [Device("old", None, "no compiler"), *one]
    )
    assert (skipped.state, skipped.detail) == ("skipped", "no compiler")
    assert measure.state == "measure"


@pytest.mark.parametrize("name", ["invert", "denoise", "histogram"])
def test_kernels_of_the_package_are_compared_with_their_references(name, one):
    measure, found = check(get(name), {}, one)
    assert (measure.name, measure.state) == ("NumPy reference", "measure")
    assert found.state == "equal", found.detail


def test_an_exact_reference_of_one_s_own(tint, one):
    def wrong(p: Pixels, _x, _y, amount) -> Pixels:
        return Pixels(p.r, p.g, p.b, p.a)

    kernel = replace(tint(GOOD), reference=wrong)
    assert [result.state for result in check(kernel, {"amount": 0.0}, one)] == ["measure", "equal"]
    assert [result.state for result in check(kernel, {}, one)] == ["measure", "differs"]


def test_a_right_reference_on_float64(tint, one, reference):
    *_, found = check(tint(GOOD), {}, one, reference(REFERENCE.format(RIGHT)))
    assert (found.name, found.state) == ("float64 reference", "equal")
    assert found.detail == "every code is alike" or found.detail.startswith("within a code; the ")


@pytest.mark.parametrize(
    ("made", "place"),
    [
        ("r, g, b", "channel "),
        ("r, g, b + (x == 4) * (y == 2)", "plane 0, row 2, column 4, channel 2: "),
        ("r * 0.99, g, b", "channel 0: "),
    ],
)
def test_a_wrong_reference_on_float64(tint, one, reference, monkeypatch, made, place):
    monkeypatch.setattr(module, "FORMATS", ("rgb24",))
    exact = reference(REFERENCE.format(made))
    *_, found = check(tint(GOOD), {"amount": 0.9 * (made == "r, g, b")}, one, exact)
    assert found.state == "differs"
    assert place in found.detail


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        (REFERENCE.format("r, g"), "my.py:1: tint has to return r, g, b or r, g, b, a"),
        (REFERENCE.format("r, g, b / 0 * 0"), "my.py:2: "),
        (REFERENCE.format("r, g, 'b'"), "my.py:1: tint has to return numbers"),
        (REFERENCE.format("r, g, float('nan')"), "my.py:1: tint returns what is not a number"),
        (REFERENCE.format("r, g, wrong"), "my.py:2: NameError: name 'wrong' is not defined"),
        ("def tint(r, g, b):\n    return r, g, b\n", "my.py:1: tint: TypeError: "),
    ],
)
@pytest.mark.filterwarnings("error")
def test_a_reference_that_fails(tint, one, reference, text, complaint):
    with pytest.raises(KernelError, match=f"^{complaint}"):
        list(check(tint(GOOD), {}, one, reference(text)))


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("tint = 3", "my.py has no function tint"),
        ("def other(): pass", "my.py has no function tint"),
        ("def tint(:\n", "my.py:1: "),
        ("\nraise ValueError('no')", "my.py:2: ValueError: no"),
        ("raise SystemExit(0)", "my.py:1: SystemExit: 0"),
    ],
)
def test_a_file_without_the_reference(reference, text, complaint):
    with pytest.raises(KernelError, match=f"^{complaint}"):
        reference(text)
    with pytest.raises(KernelError, match=r"^none\.py: no such file"):
        load_function("none.py", "tint")


def test_a_reference_on_float64_is_one_of_a_point_kernel(one, reference):
    exact = reference("def tint(r, g, b, a, x, y, sigma):\n    return r, g, b\n")
    with pytest.raises(KernelError, match="gaussian_blur takes no reference on float64"):
        list(check(get("gaussian_blur"), {"sigma": 1.0}, one, exact))


def test_defaults_and_ends_of_ranges_are_tried():
    head = (
        "/* tint: warms.\n * param amount: float = 0.5 in [0, 1]\n * param count: int = 3\n"
        " * param steps: int in [-2, 2]\n * param keep: bool = true\n */\n"
    )
    kernel = _loaded(head)
    base = {"amount": 0.5, "count": 3, "steps": -2, "keep": True}
    changes = ({}, {"amount": 0.0}, {"amount": 1.0}, {"steps": 2}, {"keep": False})
    assert trials(kernel, {}) == [base | change for change in changes]
    assert trials(kernel, {"steps": 1}) == [base | {"steps": 1}]


def _loaded(head):
    function = FUNCTION.replace("i32 amount", "i32 amount, i32 count, i32 steps, i32 keep")
    Path("my.cl").write_text(f"{head}{function} {{ return p; }}\n")
    return load("my.cl")


def test_a_parameter_that_cannot_be_guessed_has_to_be_given(tint):
    kernel = tint("", HEAD.replace(" = 0.5 in [0, 1]", ""))
    with pytest.raises(KernelError, match="parameter 'amount' has to be given"):
        trials(kernel, {})


def test_a_kernel_that_takes_no_picture(tint, one):
    with pytest.raises(KernelError, match="takes none of the pictures that it is tried on"):
        list(check(get("crop"), {"x": 4000}, one))


def test_every_device_is_opened():
    with devices() as found:
        names = [device.name.split(" ")[0] for device in found]
        listed = [f"opencl:{d.platform_index}:{d.device_index}" for d in opencl_devices()]
        assert names[: len(listed)] == listed
        assert all((device.runtime is None) == bool(device.reason) for device in found)
