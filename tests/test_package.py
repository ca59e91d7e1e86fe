"""The wheel: what is in it, and that it runs with nothing of the checkout in reach."""

import os
import subprocess
import zipfile
from pathlib import Path

ROOT = Path(__file__).parent.parent
MODULES = [*(ROOT / "bridges" / "kernels" / "spirv_modules").iterdir()]
PACKAGES = {"bridges", "cli", "transcode", "xma_plugins"}


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


def test_the_wheel_runs_from_an_empty_folder(venv: Path, tmp_path: Path, sample: Path):
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}

    def run(program: str, *arguments: str) -> str:
        command = [str(venv / "bin" / program), *arguments]
        done = subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    where = run("python", "-c", "import bridges, cli, transcode; print(bridges.__file__)")
    assert Path(where).is_relative_to(venv)
    words = ["gray.mp4", "--filter", "rgb_to_grayscale", "--duration", "1"]
    run("xtranscode", "run", str(sample), *words)
    assert (tmp_path / "gray.mp4").stat().st_size > 10_000
    assert [path.name for path in tmp_path.iterdir()] == ["gray.mp4"]
