"""Kernels of people's own: what is wrong with a file is told with its line, and all else runs."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import pytest

from bridges.backends.opencl import OpenCLContext, devices
from bridges.errors import KernelError
from bridges.kernels import create_runtime, load, parse_call
from bridges.kernels.reference.pixels import Pixels
from tests.bridges.kernel_bench import check_kernel
from tests.bridges.picture import Picture, frame_info
from tests.helpers.require import require

TINT = """/* tint: warms the picture.
 * param amount: float = 0.5 in [0, 1]   how much
 */
DEVICE pixel tint(pixel p, i32 x, i32 y, i32 amount) {
    p.r += scale(WHITE - p.r, amount);
    return p;
}
"""
MIXED = """/* mixed: takes one of each type.
 * param gain: float = 1.5 in [-2, 2]
 * param steps: int = 3 in [-9, 9]
 * param keep: bool = true
 */
DEVICE pixel mixed(pixel p, i32 x, i32 y, i32 gain, i32 steps, i32 keep) {
    p.r = keep ? gain : 0;
    p.g = 1000 * steps;
    p.b = 100 * x + y;
    return p;
}
"""
NAMES = [
    "my.cl",
    "with space.cl",
    "with (1) parentheses.cl",
    "a:colon.cl",
    "it's.cl",
    'say "hi".cl',
    "back\\slash.cl",
    "grün 绿.cl",
    "line\nend.cl",
    "no text \udcff.cl",
    "folder.cl/my.cl",
]


@pytest.fixture
def file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def write(text, name="my.cl"):
        Path(name).parent.mkdir(exist_ok=True)
        Path(name).write_bytes(text.encode())
        return name

    return write


@pytest.fixture(params=["Intel(R) OpenCL", "Portable Computing Language", "SYCL"])
def runtime(request):
    if request.param == "SYCL":
        return request.getfixturevalue("sycl_runtime")
    there = request.param in [device.platform for device in devices()]
    name = {"Intel(R) OpenCL": "intel-opencl"}.get(request.param, "pocl")
    require(name, there, f"{request.param} is not installed")
    return create_runtime(OpenCLContext.create(request.param))


def complaint_of(runtime, kernel, tmp_path, monkeypatch):
    """Return what is said of a kernel that does not compile; nothing else may be left of it."""
    empty = tmp_path / "empty"
    empty.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(empty))
    source = Picture.create(frame_info("rgb24", (64, 2)), seed=1)
    with pytest.raises(KernelError) as caught:
        check_kernel_runs(runtime, kernel, source)
    assert list(empty.iterdir()) == []
    assert "\n" not in str(caught.value)
    return str(caught.value)


def check_kernel_runs(runtime, kernel, source):
    from bridges import AccessMode, create_mapper
    from bridges.backends.cpu import CPUContext

    mapper = create_mapper([CPUContext(), runtime.context])
    with mapper.map(source.frame, AccessMode.READ_WRITE) as frame:
        runtime.run(kernel, frame, frame)


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ("param amount:", "param amount", "my.cl:2: kernel tint: cannot read the parameter"),
        ("float = 0.5", "flaot = 0.5", "my.cl:2: kernel tint: cannot read the parameter"),
        ("float = 0.5", "int = 0.5", "my.cl:2: kernel tint: parameter 'amount' takes a whole"),
        ("0.5 in", "1.5 in", "my.cl:2: kernel tint: parameter 'amount' lies between 0 and 1"),
        ("= 0.5 in [0, 1]", "in [1, 0]", "my.cl:2: kernel tint: .* the wrong way round"),
        ("[0, 1]", "[0; 1]", r"my.cl:2: kernel tint: .* write 'in \[low, high\]'"),
        ("in [0, 1]", "[0, 1]", r"my.cl:2: kernel tint: .* write 'in \[low, high\]'"),
        ("in [0, 1]", "in 0 to 1", r"my.cl:2: kernel tint: .* write 'in \[low, high\]'"),
        ("[0, 1]", "[a, b]", "my.cl:2: kernel tint: .* is no two numbers"),
        ("[0, 1]", "[0, 40000]", "my.cl:2: kernel tint: .* goes beyond 32767"),
        ("[0, 1]", "[0, nan]", "my.cl:2: kernel tint: .*nan"),
        ("float = 0.5 in [0, 1]", "str = x", "my.cl:2: kernel tint: .* is a text, which no device"),
        (" */\n", " * reads yuv9\n */\n", "my.cl:3: kernel tint: no pixel format matches 'yuv9'"),
        (" */\n", " * writs gray\n */\n", "my.cl:3: kernel tint: cannot read the declaration"),
        (" */\n", " * reads gray\n * kind blur\n */\n", "my.cl:4: .* leave kind out"),
        (" */\n", " * prepare os\n */\n", "my.cl:3: .* leave prepare out"),
        (" */\n", " * previous yes\n */\n", "my.cl:3: .* leave previous out"),
        ("/* tint:", "/* Tint:", "my.cl:1: a kernel source has a comment '/. name: what it does'"),
        ("DEVICE pixel", "pixel", "my.cl:4: the function tint is 'pixel tint"),
        ("DEVICE pixel", "DEVICE i32", "my.cl:4: the function tint is 'DEVICE i32 tint"),
        (", i32 amount", "", r"my.cl:4: .* asks for 'DEVICE pixel tint\(pixel p, i32 x, i32 y, i"),
        ("i32 amount", "i32 amount, i32 z", "my.cl:4: the function tint is"),
        ("i32 amount", "float amount", "my.cl:4: the function tint is .*float amount"),
        ("i32 amount", "GLOBAL const i32 *amount", "my.cl:4: the function tint is"),
        ("pixel tint", "pixel tnt", "my.cl:1: kernel tint has no function of its name; write 'DEV"),
    ],
)
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_what_is_wrong_with_a_file_names_its_line(file, old, new, complaint, end):
    assert old in TINT
    with pytest.raises(KernelError, match=f"^{complaint}") as caught:
        load(file(TINT.replace(old, new, 1).replace("\n", end)))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["(0 leaves it)", "in 8-bit codes", "[see below]", "in 3D"])
def test_explanations_that_are_no_range(file, text):
    assert load(file(TINT.replace("in [0, 1]", text))).parameters[0].summary.startswith(text)


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (None, "my.cl: no such file or directory"),
        (b"\xff\xfe", "my.cl is no text"),
        (b"\0" * 9, "my.cl is no text"),
        (b"x" * (1 << 20) + b"y", "my.cl is larger than 1048576 bytes"),
        (b"", "my.cl:1: a kernel source has a comment"),
    ],
)
def test_what_is_no_source(tmp_path, monkeypatch, content, complaint):
    monkeypatch.chdir(tmp_path)
    if content is not None:
        Path("my.cl").write_bytes(content)
    with pytest.raises(KernelError, match=f"^{complaint}"):
        load("my.cl")
    with pytest.raises(KernelError, match="is a directory"):
        load(tmp_path)


def test_a_file_of_several_kernels(file):
    name = file(TINT + MIXED.replace("p.r =", "p.q ="))
    with pytest.raises(KernelError, match=r"^my.cl holds tint, mixed; say which: my.cl:tint$"):
        load(name)
    with pytest.raises(KernelError, match=r"^my.cl holds no kernel 'none'; it holds tint, mixed$"):
        parse_call("my.cl:none")
    assert load(name, "mixed").line == TINT.count("\n") + 1
    assert parse_call("my.cl:tint(amount=1)")[1] == {"amount": 1.0}


@pytest.mark.parametrize(
    ("call", "complaint"),
    [
        ("my.cl(amont=1)", "tint has no parameter 'amont'; it has amount"),
        ("my.cl(amount=2)", "tint: parameter 'amount' lies between 0 and 1, got 2.0"),
        ("my.cl(amount=much)", "tint: parameter 'amount' takes a number, got 'much'"),
        ("my.cl(amount=1", "cannot read the kernel call"),
    ],
)
def test_wrong_calls(file, call, complaint):
    file(TINT)
    with pytest.raises(KernelError, match=f"^{complaint}"):
        parse_call(call)


@pytest.mark.parametrize("name", NAMES)
def test_any_name_of_a_file_is_called(file, name):
    file(TINT, name)
    for text in (name, f"{name}:tint", f"./{name}", str(Path(name).resolve())):
        assert parse_call(text)[1] == {"amount": 0.5}
        assert parse_call(f"{text}(amount=0.25)")[1] == {"amount": 0.25}


def test_tabs_comments_and_a_byte_order_mark(file):
    text = TINT.replace(" * param amount: float", "\t*\tparam\tamount:\tfloat")
    text = text.replace("DEVICE", "// DEVICE pixel tint(pixel p)\nDEVICE static inline")
    text = text.replace("i32 x, i32 y", "const i32 x, /* a, b */ int y")
    kernel = load(file("\ufeff" + text))
    assert [parameter.name for parameter in kernel.parameters] == ["amount"]


@pytest.mark.parametrize("name", NAMES)
def test_a_compile_error_names_the_line_of_any_file(file, name, runtime, tmp_path, monkeypatch):
    kernel = load(file(TINT.replace("\n    p.r +=", "\n\t\tp.q +=").replace("\n", "\r\n"), name))
    shown = name.replace('"', "'").replace("\\", "/").replace("\n", "?").replace("\udcff", "?")
    said = complaint_of(runtime, kernel, tmp_path, monkeypatch)
    assert said == (
        f"kernel tint does not compile: {shown}:5: error: no member named 'q' in 'pixel': "
        "'p.q += scale(WHITE - p.r, amount);'"
    )


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ("amount);", "amount)", "my.cl:5: error: expected ';' after expression: 'p.r += scale(W"),
        ("return p;", "return q; z;", "my.cl:6: error: use of undeclared identifier 'q'"),
        ("}\n", "", "my.cl: error behind its last line: "),
        ("/* tint", "/* Clip. */\nint f(int);\n/* tint", None),
    ],
)
def test_compile_errors(file, runtime, tmp_path, monkeypatch, old, new, complaint):
    text = TINT.replace(old, new, 1)
    if complaint is None:  # Found by the linker, which knows no lines.
        text, complaint = text.replace("return p;", "p.g = f(x); return p;"), ""
    said = complaint_of(runtime, load(file(text)), tmp_path, monkeypatch)
    assert said.startswith(f"kernel tint does not compile: {complaint}")
    assert "/tmp" not in said
    assert len(said) < 400
    if "z;" in new:
        assert said.endswith(" (and 1 more)")


def mixed(p: Pixels, x, y, gain, steps, keep) -> Pixels:
    zero = np.zeros_like(p.r)
    return Pixels(zero + (gain if keep else 0), zero + 1000 * steps, 100 * x + y + zero, p.a)


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize(
    "values", [{}, {"gain": 0.3, "steps": 9, "keep": False}, {"gain": -2.0, "steps": -9}]
)
def test_parameters_of_every_type(file, runtime, values, end):
    kernel = load(file(MIXED.replace("\n", end)), reference=mixed)
    source = Picture.create(frame_info("rgb48le", (67, 3)), seed=1)
    target = Picture.create(frame_info("rgb48le", (67, 3)), padding=2)
    check_kernel(runtime, kernel, source, target, kernel.check(values))
    gain = 65536 * values.get("gain", 1.5) * values.get("keep", True)
    expected = [round(gain), 1000 * values.get("steps", 3), 6602]
    assert target.arrays[0][2, 66].tolist() == np.clip(expected, 0, 65535).tolist()


def test_without_a_reference_it_does_not_run_on_numpy(file, numpy_runtime):
    picture = Picture.create(frame_info("rgb24", (4, 4)), seed=1)
    with pytest.raises(KernelError, match=r"tint of my\.cl has no NumPy reference"):
        numpy_runtime.run(load(file(TINT)), picture.frame, picture.frame)


def test_a_format_that_it_does_not_read_names_its_line(file):
    kernel = load(file(TINT.replace(" */", " * reads rgb24\n */", 1)))
    with pytest.raises(KernelError, match=r"tint \(my.cl:1\) does not read gray; convert first"):
        kernel.output(frame_info("gray", (4, 4)))
