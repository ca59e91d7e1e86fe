"""``xtranscode kernels``, and kernels of files of one's own on the command line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bridges.backends.opencl import probe
from bridges.kernels import check as check_module
from bridges.kernels import devices as devices_module
from bridges.kernels import names
from tests.cli.conftest import call
from tests.helpers.require import require
from transcode import probe as probe_clip

SAMPLES = Path(__file__).parents[2] / "samples"
TINT = """/* tint: warms the picture.
 * param amount: float = 0.2 in [0, 1]   how much
 * param way: int = 1
 * param keep: bool = false
 * reads yuv4*p rgb24
 */
DEVICE pixel tint(pixel p, i32 x, i32 y, i32 amount, i32 way, i32 keep) {
    p.r += scale(WHITE - p.r, amount);
    return p;
}
"""


@pytest.fixture
def file(tmp_path):
    """Write a source into the folder in which commands run."""

    def write(text, name="my.cl"):
        (tmp_path / name).write_text(text)
        return name

    return write


@pytest.fixture
def _opencl():
    found = probe()
    require("opencl", found.available, found.reason)


def test_all_kernels_are_listed_in_groups(invoke):
    result = invoke("kernels")
    lines = result.stdout.splitlines()
    assert sorted(line.split()[0] for line in lines if line.startswith("  ")) == list(names())
    headings = [line for line in lines if not line.startswith("  ")]
    assert headings[:2] == ["[colour]", "[size and place]"]


def test_a_kernel_shows_all_of_itself(invoke):
    output = invoke("kernels", "rgb_to_grayscale").stdout
    assert output.startswith("kernel      rgb_to_grayscale: takes the luma Y' of each pixel")
    assert "\nreads       gray* ya8 " in output
    assert "\nkind        gray\n" in output
    assert "bridges/kernels/families/rgb_to_grayscale.cl:1\n" in output
    assert "\nreference   " in output
    assert output == invoke("kernels", "show", "rgb_to_grayscale").stdout


def test_parameters_are_shown_as_they_are_declared(invoke, file):
    lines = invoke("kernels", file(TINT)).stdout.splitlines()
    assert lines == [
        "kernel      tint: warms the picture.",
        "parameter   amount: float = 0.2 in [0, 1]   how much",
        "parameter   way: int = 1",
        "parameter   keep: bool = false",
        "reads       yuv4*p rgb24",
        "writes      yuv4*p rgb24",
        "kind        point",
        "source      my.cl:1",
    ]
    output = invoke("kernels", "rgb_to_yuv").stdout
    assert "\nparameter   range: str = limited in {limited, full}   of the codes\n" in output


def test_json(invoke, file):
    for args in (("--json", "rgb_to_grayscale"), ("rgb_to_grayscale", "--json")):
        (kernel,) = map(json.loads, invoke("kernels", *args).stdout.splitlines())
        assert kernel["name"] == "rgb_to_grayscale"
        assert "rgb24" in kernel["reads"]
    listed = [json.loads(line)["name"] for line in invoke("kernels", "--json").stdout.splitlines()]
    assert listed == list(names())
    kernel = json.loads(invoke("kernels", file(TINT), "--json").stdout)
    amount, _, keep = kernel["parameters"]
    assert amount["range"] == [0.0, 1.0]
    assert (keep["default"], keep["range"], keep["choices"]) == (False, None, [])
    assert kernel["source"] == "my.cl:1"


def test_one_of_several_kernels_of_a_file(invoke):
    own = SAMPLES / "custom_kernel.cl"
    assert invoke("kernels", f"{own}:grid").stdout.startswith("kernel      grid: draws lines")
    result = invoke("kernels", own)
    assert result.exit_code == 1
    assert result.stderr == f"xtranscode: {own} holds tint, grid; say which: {own}:tint\n"


@pytest.mark.parametrize("command", [("kernels",), ("kernels", "check")])
@pytest.mark.parametrize(
    ("name", "complaint"),
    [
        ("nosuch", "no kernel 'nosuch'; there is "),
        ("nosuch.cl", "nosuch.cl: no such file or directory\n"),
        ("my.cl:none", "my.cl holds no kernel 'none'; it holds tint\n"),
        ("my.cl(amount=2)", "tint: parameter 'amount' lies between 0 and 1, got 2.0\n"),
        ("my.cl(x", "cannot read the kernel call 'my.cl(x'; write name or name(key=value)\n"),
    ],
)
def test_errors_are_one_line(invoke, file, command, name, complaint):
    file(TINT)
    result = invoke(*command, name)
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith(f"xtranscode: {complaint}")
    assert result.stderr.count("\n") == 1


def test_help_names_both_commands(invoke):
    result = invoke("kernels", "--help")
    assert result.exit_code == 0
    assert "kernels check my.cl" in result.stdout
    assert invoke("kernels", "check").exit_code == 2
    assert invoke("kernels", "invert", "gamma").exit_code == 2


@pytest.mark.usefixtures("_opencl")
class TestCheck:
    @pytest.fixture(autouse=True)
    def _quick(self, monkeypatch):
        monkeypatch.setattr(check_module, "FORMATS", ("rgb24",))
        monkeypatch.setattr(check_module, "SIZES", ((5, 3),))

    def test_of_the_package(self, invoke):
        result = invoke("kernels", "check", "invert(amount=0.3)")
        assert result.exit_code == 0, result.output
        first, *others = result.stdout.splitlines()
        assert first.split("   ")[0] == "NumPy reference"
        assert first.endswith("   the others are compared with this   1 pictures of rgb24")
        assert others
        assert all(line.endswith("   equal   2 pictures of rgb24") for line in others)

    def test_of_one_s_own(self, invoke):
        own, reference = SAMPLES / "custom_kernel.cl", SAMPLES / "custom_kernel.py"
        for name in ("tint(amount=0.7)", "grid(step=3, dotted=true)"):
            result = invoke("kernels", "check", f"{own}:{name}", "--reference", reference)
            assert result.exit_code == 0, result.output
            assert result.stdout.splitlines()[-1].startswith("float64 reference ")

    def test_a_difference_is_a_failure(self, invoke, file):
        name = file(TINT.replace("return p;", "p.g = (i32)INDEX(0) * 4000; return p;"))
        result = invoke("kernels", "check", f"{name}(amount=0)")
        assert result.exit_code == 1
        lines = [line for line in result.stdout.splitlines() if "differs: rgb24 5x3" in line]
        assert "plane 0, row 0, column 4, channel 1: 29, not 16" in lines[0]

    def test_a_source_that_does_not_compile(self, invoke, file):
        result = invoke("kernels", "check", file(TINT.replace("p.r +=", "p.q +=")))
        assert result.exit_code == 1
        assert "failed: kernel tint does not compile: my.cl:8: error: " in result.stdout

    def test_json(self, invoke, file):
        (wrong := Path("wrong.py")).write_text(
            "def tint(r, g, b, a, x, y, **given):\n    return g, b, r\n"
        )
        result = invoke("kernels", "check", file(TINT), "--reference", wrong, "--json")
        lines = [json.loads(line) for line in result.stdout.splitlines()]
        assert lines[0]["state"] == "measure"
        assert lines[0]["formats"] == ["rgb24"]
        assert (lines[-1]["name"], lines[-1]["state"]) == ("float64 reference", "differs")
        assert result.exit_code == 1

    def test_one_device_has_nothing_to_compare_with(self, invoke, file, monkeypatch):
        select = devices_module._selectors
        monkeypatch.setattr(devices_module, "_selectors", lambda kind: select(kind)[-1:])
        monkeypatch.setattr(devices_module, "_KINDS", devices_module._KINDS[:1])
        result = invoke("kernels", "check", file(TINT))
        assert result.exit_code == 0
        assert result.stdout.splitlines()[1] == (
            "there was nothing to compare with: one device is there; see xtranscode devices"
        )
        monkeypatch.setattr(devices_module, "_KINDS", ())
        result = invoke("kernels", "check", "my.cl")
        assert result.stdout.startswith("there was nothing to compare with: no device is there")


@pytest.mark.usefixtures("_opencl")
def test_a_clip_goes_through_one_s_own_kernels(tmp_path, clips):
    (tmp_path / "it's (1).cl").write_text((SAMPLES / "custom_kernel.cl").read_text())
    done = call(
        "run",
        clips.path("h264"),
        "out.mp4",
        *("--filter", "it's (1).cl:tint(amount=0.5)", "--filter", "invert"),
        *("--filter", "it's (1).cl:grid(step=8, dotted=true)"),
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    assert probe_clip(tmp_path / "out.mp4").video[0].frames == 12


@pytest.mark.usefixtures("_opencl")
@pytest.mark.parametrize(
    ("old", "new", "call_text", "complaint"),
    [
        ("p.r +=", "p.q +=", "my.cl", "my.cl:8: error: no member named 'q' in 'pixel': 'p.q += "),
        ("", "", "my.cl(amount=3)", "tint: parameter 'amount' lies between 0 and 1, got 3.0"),
        ("", "", "none.cl", "none.cl: no such file or directory"),
        ("amount: float", "amount: flaot", "my.cl", "my.cl:2: kernel tint: cannot read the para"),
    ],
)
def test_errors_of_a_run_are_one_line(tmp_path, clips, file, old, new, call_text, complaint):
    file(TINT.replace(old, new, 1))
    args = ("run", clips.path("h264"), "out.mp4", "--filter", call_text)
    done = call(*args, "--device", "opencl:Intel", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (1, "")
    line = done.stderr.splitlines()[-1]
    assert line.startswith("xtranscode: ")
    assert complaint in line
    assert "Traceback" not in done.stderr
    assert "source saved" not in done.stderr
    assert not (tmp_path / "out.mp4").exists()
