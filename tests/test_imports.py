"""What importing costs, and what modules promise to offer."""

from __future__ import annotations

import ast
import importlib
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("bridges", "xma_plugins", "transcode", "cli")
FILES = sorted(path for name in PACKAGES for path in (ROOT / name).rglob("*.py"))

LOOK = """
import sys
from pathlib import Path
import {module}
print("modules", *sorted(sys.modules))
maps = Path("/proc/self/maps").read_text().splitlines()
print("files", *sorted({{Path(line.split()[-1]).name for line in maps if "/" in line}}))
"""
GPU_LIBRARIES = (
    "libOpenCL",
    "libintelocl",
    "libpocl",
    "libcuda",
    "libnvrtc",
    "libnvcuvid",
    "libva",
    "libdrm",
    "libze_loader",
    "libsycl",
    "libxrt",
    "libvulkan",
    "libtbb",
)
GPU_MODULES = ("pyopencl", "dpctl", "cupy", "torch", "pycuda", "openvino", "gi", "cv2", "pyxrt")


def name_of(path):
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def loaded_by(module):
    done = subprocess.run(
        [sys.executable, "-c", LOOK.format(module=module)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    found = {}
    for line in done.stdout.splitlines():
        kind, *names = line.split()
        found[kind] = set(names)
    return found["modules"], found["files"]


@pytest.mark.parametrize("package", [*PACKAGES, "cli.main"])
def test_importing_loads_no_gpu_library(package):
    modules, files = loaded_by(package)
    assert package in modules
    assert not {name.partition(".")[0] for name in modules} & set(GPU_MODULES)
    # PyAV's wheel brings some of these for itself, with a hash in their names.
    assert not [name for name in files if name.startswith(GPU_LIBRARIES) and "-" not in name]


@pytest.mark.parametrize(
    "package", ["bridges", "bridges.formats", "bridges.routes", "xma_plugins", "xma_plugins.status"]
)
def test_importing_the_lower_layers_loads_no_framework(package):
    modules, files = loaded_by(package)
    assert not {"av", "numpy", "click", "rich"} & {name.partition(".")[0] for name in modules}
    assert not [name for name in files if name.startswith(("libav", "libsw", "libx264"))]


def test_what_xma_plugins_offers_late_is_what_its_modules_have():
    package = importlib.import_module("xma_plugins")
    for module, names in package._LATE.items():
        found = importlib.import_module(f"xma_plugins.{module}")
        assert {name for name in names.split() if name not in found.__all__} == set(), module
    eager = [name for name in vars(package) if name in package.__all__]
    late = " ".join(package._LATE.values()).split()
    assert {*eager, *late} == set(package.__all__)


def test_importing_transcode_loads_no_command_line():
    modules, _ = loaded_by("transcode")
    assert "av" in modules
    assert not {"click", "rich", "cli"} & {name.partition(".")[0] for name in modules}


def exported(path):
    """Return what a file lists in ``__all__``, or None."""
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            return ast.literal_eval(node.value)
    return None


def rank(name):
    """Constants first, then classes, then functions: the order of the linter."""
    return (0 if name.isupper() else 1 if name[:1].isupper() else 2), name


LISTING = [path for path in FILES if exported(path) is not None]


def test_there_are_modules_to_look_at():
    assert len(LISTING) > 30


@pytest.mark.parametrize("path", LISTING, ids=name_of)
def test_all_is_sorted(path):
    names = exported(path)
    assert names == sorted(names, key=rank)
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("path", LISTING, ids=name_of)
def test_all_is_true(path):
    try:
        module = importlib.import_module(name_of(path))
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] in PACKAGES:
            raise
        pytest.skip(f"{error.name} is not installed")
    assert [name for name in exported(path) if not hasattr(module, name)] == []


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_takes_from_other_modules_only_what_they_offer(path):
    taken = []
    for node in ast.walk(ast.parse(path.read_text())):
        if not isinstance(node, ast.ImportFrom) or not node.module:
            continue
        base = ROOT.joinpath(*node.module.split("."))
        file = base / "__init__.py" if base.is_dir() else base.with_suffix(".py")
        if node.module.partition(".")[0] not in PACKAGES or not file.is_file():
            continue
        offered = exported(file)
        if offered is None:
            continue
        submodules = {p.stem for p in base.glob("*.py")} | {p.name for p in base.glob("*/")}
        taken += [
            f"{node.module}.{alias.name}"
            for alias in node.names
            if alias.name not in offered and alias.name not in submodules
        ]
    assert taken == []
