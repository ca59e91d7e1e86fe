"""Declarations, calls and parameters of kernels."""

import subprocess
import sys

import numpy as np
import pytest

from bridges import AccessMode, create_mapper
from bridges.errors import KernelError
from bridges.formats import PIXEL_FORMATS
from bridges.kernels import Parameter, apply, get, names, parse_call, reference
from bridges.kernels import call as call_module
from bridges.kernels.kernel import parse
from tests.bridges.picture import Picture, frame_info

SOURCE = """/* invert: the photographic negative.
 * param amount: float = 1.0 in [0, 1]   strength
 * param steps: int = 3
 * param chroma: bool = true   invert U and V too
 * param curve: str = linear
 * reads gray yuv4??p
 * reads rgb24 gbrap*
 * writes gray
 *
 * Prose, which may say: param nothing.
 */
KERNEL void invert_samples(void) {}
"""


@pytest.fixture
def invert(monkeypatch: pytest.MonkeyPatch):
    kernel = parse(SOURCE)["invert"]
    monkeypatch.setattr(call_module, "get", lambda name: kernel)
    return kernel


def test_a_head_comment_declares_the_kernel():
    kernel = parse(SOURCE)["invert"]
    assert (kernel.name, kernel.summary) == ("invert", "the photographic negative.")
    assert kernel.parameters == (
        Parameter("amount", float, 1.0, 0, 1, summary="strength"),
        Parameter("steps", int, 3),
        Parameter("chroma", bool, True, summary="invert U and V too"),
        Parameter("curve", str, "linear"),
    )
    assert {"gray", "yuv420p", "yuv444p", "rgb24", "gbrap16le"} <= set(kernel.formats_read)
    assert kernel.formats_written == ("gray",)
    assert kernel.kind == "point"


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("param amount = 1", "cannot read the parameter"),
        ("param amount: complex = 1", "one of float, int, bool, str"),
        ("param amount: float = 2 in [0, 1]", "between 0 and 1"),
        ("param amount: int = 0.5", "takes a whole number"),
        ("reads yuv999p", "no pixel format matches 'yuv999p'"),
        ("raeds gray", "cannot read the declaration"),
    ],
)
def test_a_malformed_declaration_is_refused(line: str, complaint: str):
    with pytest.raises(KernelError, match=complaint):
        parse(f"/* broken: it is.\n * {line}\n */\n")


def test_a_source_without_a_head_is_refused():
    with pytest.raises(KernelError, match="has a comment"):
        parse("KERNEL void f(void) {}")


def test_every_kernel_has_its_declaration_and_reference():
    assert "rgb_to_grayscale" in names()
    for name in names():
        kernel = get(name)
        assert kernel.name == name
        assert hasattr(reference, name) or kernel.kind == "convert"
        assert set(kernel.formats_read + kernel.formats_written) <= PIXEL_FORMATS.keys()


def test_gray_reads_every_format_of_the_table():
    assert set(get("rgb_to_grayscale").formats_read) == PIXEL_FORMATS.keys()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("invert", {"amount": 1.0, "steps": 3, "chroma": True, "curve": "linear"}),
        (" invert ( ) ", {}),
        ("invert(amount=0.5)", {"amount": 0.5}),
        ("invert(amount=0, steps=-2,chroma=False)", {"amount": 0.0, "steps": -2, "chroma": False}),
        ("invert(curve='a, b(c)')", {"curve": "a, b(c)"}),
        ('invert(curve="", amount=1e-1)', {"curve": "", "amount": 0.1}),
    ],
)
def test_calls_are_parsed(invert, text: str, expected: dict[str, object]):
    kernel, values = parse_call(text)
    assert kernel is invert
    assert values == {"amount": 1.0, "steps": 3, "chroma": True, "curve": "linear", **expected}
    assert [type(value) for value in values.values()] == [float, int, bool, str]


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "cannot read the kernel call"),
        ("invert(amount=0.5", "cannot read the kernel call"),
        ("invert; rm", "cannot read the kernel call"),
        ("invert(0.5)", "cannot read '0.5'"),
        ("invert(amount=0.5 steps=2)", "cannot read"),
        ("invert(amount=max(1))", "cannot read"),
        ("invert(amont=0.5)", "no parameter 'amont'; it has amount, steps, chroma, curve"),
        ("invert(amount=0.5, amount=1)", "gives 'amount' twice"),
        ("invert(amount=1.5)", "between 0 and 1, got 1.5"),
        ("invert(amount=nan)", "between 0 and 1, got nan"),
        ("invert(amount=much)", "takes a number, got 'much'"),
        ("invert(steps=1.5)", "takes a whole number"),
        ("invert(chroma=1)", "takes true or false"),
    ],
)
def test_wrong_calls_say_what_is_wrong(invert, text: str, complaint: str):
    with pytest.raises(KernelError, match=complaint.replace("(", r"\(")):
        parse_call(text)


def test_an_unknown_kernel_names_those_there_are():
    with pytest.raises(KernelError, match="did you mean rgb_to_grayscale"):
        parse_call("rgb_to_greyscale")
    with pytest.raises(KernelError, match=r"no kernel 'os'; there is .*rgb_to_grayscale"):
        parse_call("os")


def test_values_given_in_python_are_checked_too():
    kernel = parse(SOURCE)["invert"]
    assert kernel.check({"amount": 1})["amount"] == 1.0
    for wrong in ({"amount": True}, {"amount": "1"}, {"steps": 1.0}, {"chroma": 1}, {"curve": 1}):
        with pytest.raises(KernelError):
            kernel.check(wrong)


def test_output_refuses_wrong_parameters():
    kernel = get("rgb_to_grayscale")
    with pytest.raises(KernelError, match="no parameter 'amount'; it has no parameters"):
        kernel.output(frame_info("rgb24", (4, 4)), amount=1)


def test_importing_kernels_loads_no_device_library():
    code = (
        "import sys, bridges, bridges.kernels, bridges.backends.probe; "
        "sys.exit(sorted(sys.modules.keys() & {'pyopencl', 'av', 'cv2'}) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_apply_makes_the_target(numpy_runtime, opencl_runtime, cpu):
    source = Picture.create(frame_info("rgb24", (9, 5)), seed=1)
    with apply(numpy_runtime, get("resize"), source.frame, {"width": 3, "height": 2}) as small:
        assert (small.info.width, small.info.height) == (3, 2)
    with apply(numpy_runtime, get("histogram"), source.frame, {"bins": 4}) as numbers:
        assert np.asarray(numbers.tensors[0]).sum() == 3 * 9 * 5
    mapper = create_mapper([cpu, opencl_runtime.context])
    with (
        mapper.map(source.frame, AccessMode.READ) as read,
        apply(opencl_runtime, get("invert"), read) as made,
        create_mapper([opencl_runtime.context, cpu]).map(made, AccessMode.READ) as seen,
    ):
        assert np.array_equal(np.asarray(seen.tensors[0]), 255 - source.arrays[0])
    with pytest.raises(KernelError, match="lies between"):
        apply(numpy_runtime, get("invert"), source.frame, {"amount": 2})
