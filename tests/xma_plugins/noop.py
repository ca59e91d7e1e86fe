"""Child processes with XRT's device without hardware: what ends them does not end the tests.

XRT reads its environment once a process, and libxma2api can be initialized once.
"""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
import sys
from pathlib import Path

from tests.bridges.memories.xrt import libraries
from tests.helpers.require import require

SOURCES = Path(__file__).parent / "native"
_ROOT = Path(__file__).parents[2]

_LINKS = {
    "libxrt_noop.so.2": "libxrt_noop.so.2",
    "libxma2plugin.so": "libxma2plugin.so.2",
    # libxma2api takes any mode but sw_emu for hw_emu; it is the same library then.
    "libxrt_hwemu.so": "libxrt_noop.so.2",
}


def needs_noop() -> None:
    """Skip where XRT is not installed, or no compiler."""
    require("xrt", libraries() is not None, "XRT is not installed; try: apt install libxrt1")
    require("xrt", compiler() is not None, "there is no C compiler; try: apt install gcc libc6-dev")


@functools.cache
def compiler() -> str | None:
    return shutil.which("gcc") or shutil.which("cc")


def build(source: str, folder: Path, *options: str, name: str = "") -> Path:
    """Compile one of the sources here into a library, and return it."""
    built = folder / f"{name or Path(source).stem}.so"
    command = [compiler(), "-shared", "-fPIC", "-O1", "-Wall", "-Wextra", "-Werror", *options]
    subprocess.run([*command, "-o", built, SOURCES / source], check=True)
    return built


def xrt_home(folder: Path) -> Path:
    """Make a folder that XILINX_XRT can point at, with links to the system's libraries."""
    links = folder / "xrt" / "lib"
    if not links.exists():
        links.mkdir(parents=True)
        for name, target in _LINKS.items():
            (links / name).symlink_to(libraries() / target)
    return links.parent


def run(code: str, folder: Path, *arguments: object, preamble: str = "") -> str:
    """Run code in a child, and return what it printed; its last statement has to print "done"."""
    settings = {
        **os.environ,
        "XILINX_XRT": str(xrt_home(folder)),
        "XCL_EMULATION_MODE": "noop",
        "PYTHONPATH": str(_ROOT),
    }
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", preamble + code, *map(str, arguments)],
        env=settings,
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.endswith("done\n"), done.stdout + done.stderr
    return done.stdout + done.stderr
