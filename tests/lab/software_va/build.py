"""The driver's libraries, built once: they stay in the cache, below a name made of their sources.

A virtual machine without KVM takes half a minute to build what the host builds in a second.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import tempfile
from pathlib import Path

__all__ = ["DRIVER", "PACKAGES", "RENDER_NODE", "build"]

DRIVER = "software_drv_video.so"
RENDER_NODE = "render_node.so"
PACKAGES = "apt install gcc libva-dev libdrm-dev libvpx-dev"
_HERE = Path(__file__).parent
_HEADERS = (Path("/usr/include/va/va_version.h"), Path("/usr/include/vpx/vpx_codec.h"))
_NODE_SOURCE = _HERE / "render_node.c"
_DRIVER_SOURCES = sorted(set(_HERE.glob("*.c")) - {_NODE_SOURCE})
_FLAGS = ("-std=gnu11", "-O2", "-Wall", "-Wextra", "-Wno-unused-parameter", "-Werror")
_FLAGS += ("-I/usr/include/libdrm", "-shared", "-fPIC")
_DRIVER_FLAGS = ("-fvisibility=hidden", "-pthread", "-ldrm", "-lvpx", "-lm")


def build() -> Path:
    """Return the folder that holds `DRIVER` and `RENDER_NODE`.

    Raises
    ------
    FileNotFoundError
        There is no gcc.
    subprocess.CalledProcessError
        gcc fails; what it says is in ``stderr``.
    """
    folder = _cache() / _digest()
    if not folder.exists():
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent) as temporary:
            made = Path(temporary) / "made"
            made.mkdir()
            _compile(made / DRIVER, _DRIVER_SOURCES, _DRIVER_FLAGS)
            _compile(made / RENDER_NODE, [_NODE_SOURCE], ("-ldl",))
            _move(made, folder)
    return folder


def _cache() -> Path:
    home = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser()
    return home / "xtranscode" / "software_va"


def _digest() -> str:
    """Return a name that changes with all that goes into the libraries."""
    found = hashlib.sha256(repr((_FLAGS, _DRIVER_FLAGS)).encode())
    for path in (*sorted(_HERE.glob("*.[ch]")), *filter(Path.exists, _HEADERS)):
        found.update(path.name.encode() + b"\0" + path.read_bytes())
    return found.hexdigest()[:16]


def _compile(target: Path, sources: list[Path], flags: tuple[str, ...]) -> None:
    command = ["gcc", *_FLAGS, "-o", target, *sources, *flags]
    subprocess.run(command, check=True, capture_output=True, text=True, timeout=300)


def _move(made: Path, folder: Path) -> None:
    """Have all files there at once; another process may have been faster."""
    try:
        made.rename(folder)
    except OSError:
        if not folder.exists():
            raise
