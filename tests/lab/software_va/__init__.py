"""The real libva with a driver of our own that needs no hardware: see ``software_va.h``.

Driver and node are built with gcc and libva's headers into a temporary folder. A machine without
a render node lends ``/dev/null`` for one: what ``render_node.c`` says of it is heard by a libva-drm
that is loaded after it. The process may have loaded libva-drm long ago, so a copy of its file is.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import os
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from unittest import mock

from bridges.backends import vaapi_display
from bridges.backends.vaapi import VAAPIContext
from bridges.native.libva import libva_drm
from tests.helpers.require import require

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["NODE", "Counts", "SoftwareVA", "software_va"]

NODE = "/dev/null"
_HERE = Path(__file__).parent
_DRIVER = ("driver.c", "format.c", "image.c", "surface.c")
_FLAGS = ("-std=gnu11", "-O2", "-Wall", "-Wextra", "-Wno-unused-parameter", "-Werror")


@dataclass(frozen=True)
class Counts:
    """What is alive in the driver, over all displays of this process; and calls so far."""

    surfaces: int
    images: int
    buffers: int
    syncs: int

    @property
    def alive(self) -> int:
        return self.surfaces + self.images + self.buffers


class SoftwareVA:
    """The driver, built and ready to be loaded by libva."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.path = folder / "software_drv_video.so"
        include = ("-I/usr/include/libdrm", "-fvisibility=hidden", "-shared", "-fPIC")
        for name, sources in ((self.path.name, _DRIVER), ("render_node.so", ("render_node.c",))):
            visible = "-fvisibility=default" if name == "render_node.so" else "-pthread"
            files = [str(_HERE / source) for source in sources]
            command = ["gcc", *_FLAGS, *include, visible, "-o", str(folder / name), *files, "-ldl"]
            subprocess.run(command, check=True, capture_output=True, text=True, timeout=60)
        ctypes.CDLL(str(folder / "render_node.so"), mode=ctypes.RTLD_GLOBAL)
        self._library = ctypes.CDLL(str(self.path))
        self._libva_drm = ctypes.CDLL(shutil.copy(_path_of(libva_drm()), folder / "libva-drm.so"))
        prototype = self._libva_drm.vaGetDisplayDRM
        prototype.restype, prototype.argtypes = ctypes.c_void_p, (ctypes.c_int,)

    @contextlib.contextmanager
    def environment(self, **options: str) -> Iterator[None]:
        """Have libva load this driver, with ``SOFTWARE_VA_*`` options, until the block ends."""
        wanted = {"LIBVA_DRIVERS_PATH": str(self.folder), "LIBVA_DRIVER_NAME": "software"}
        wanted |= {f"SOFTWARE_VA_{name}": value for name, value in options.items()}
        before = {name: os.environ.get(name) for name in wanted}
        os.environ.update(wanted)
        try:
            with mock.patch.object(vaapi_display, "libva_drm", return_value=self._libva_drm):
                yield
        finally:
            for name, value in before.items():
                if value is None:
                    del os.environ[name]
                else:
                    os.environ[name] = value

    def open(self, **options: str) -> VAAPIContext:
        """Open the driver's one device."""
        with self.environment(**options):
            return VAAPIContext.create(NODE)

    def counts(self) -> Counts:
        """Return what the driver counts."""
        return Counts(
            *(
                ctypes.c_int.in_dll(self._library, f"software_va_{name}").value
                for name in ("surfaces", "images", "buffers", "syncs")
            )
        )


def _path_of(library: ctypes.CDLL) -> str:
    """Return the file of a library that is loaded."""
    for line in Path("/proc/self/maps").read_text().splitlines():
        path = Path(line.split(maxsplit=5)[-1])
        if path.name.startswith(library._name.partition(".so")[0] + ".so"):
            return str(path)
    raise OSError(f"{library._name} is loaded, yet not mapped into this process")


@functools.cache
def _build() -> SoftwareVA | str:
    """Return the driver, or why there is none."""
    _build.folder = tempfile.TemporaryDirectory(prefix="software_va_")  # lives as long as tests do
    try:
        driver = SoftwareVA(Path(_build.folder.name))
        driver.open().close()
    except FileNotFoundError as error:
        return f"the software driver is built with gcc: {error}; try: apt install gcc libva-dev"
    except subprocess.CalledProcessError as error:
        return f"gcc cannot build the software driver: {error.stderr}; try: apt install libva-dev"
    except (OSError, LookupError) as error:
        return f"libva does not load the software driver: {error}"
    return driver


def software_va() -> SoftwareVA:
    """Return the driver, built once; skip where it cannot be."""
    found = _build()
    require("vaapi", not isinstance(found, str), str(found))
    assert isinstance(found, SoftwareVA)
    return found
