"""The wheel: what is in it, and that it runs with nothing of the checkout in reach."""

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
MODULES = [*(ROOT / "bridges" / "kernels" / "spirv_modules").iterdir()]
PACKAGES = {"bridges", "cli", "transcode", "xma_plugins"}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    # From a copy, because a build leaves folders behind beside pyproject.toml.
    folder = tmp_path_factory.mktemp("dist")
    tree = folder / "tree"
    for package in PACKAGES:
        shutil.copytree(ROOT / package, tree / package)
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, tree)
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", folder, tree]
    built = subprocess.run(command, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stdout + built.stderr
    return next(folder.glob("*.whl"))


@pytest.fixture(scope="module")
def site(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the wheel installed, its dependencies left to the environment."""
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--no-index"]
    subprocess.run([*command, "--target", folder, wheel], check=True, capture_output=True)
    return folder


def test_the_wheel_holds_the_four_packages_and_nothing_else(wheel: Path):
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    tops = {name.split("/")[0] for name in names}
    assert {top for top in tops if not top.endswith(".dist-info")} == PACKAGES
    assert {f"{package}/py.typed" for package in PACKAGES} <= set(names)
    assert "bridges/kernels/families/rgb_to_grayscale.cl" in names
    assert "bridges/kernels/prelude.h" in names
    modules = {f"bridges/kernels/{path.parent.name}/{path.name}" for path in MODULES}
    assert modules
    assert modules <= set(names)


def test_the_wheel_runs_from_an_empty_folder(site: Path, tmp_path: Path, sample: Path):
    environment = {**os.environ, "PYTHONPATH": str(site)}

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-P", str(site / "bin" / "xtranscode"), *arguments],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )

    where = subprocess.run(
        [sys.executable, "-P", "-c", "import bridges, cli, transcode; print(bridges.__file__)"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    assert Path(where.stdout.strip()).is_relative_to(site)
    done = run("run", str(sample), "gray.mp4", "--filter", "rgb_to_grayscale", "--duration", "1")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "gray.mp4").stat().st_size > 10_000
    assert [path.name for path in tmp_path.iterdir()] == ["gray.mp4"]
