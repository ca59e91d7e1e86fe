"""The real libva with a driver of our own that needs no hardware: see ``software_va.h``.

`build` makes its libraries with gcc and the headers of libva and libvpx. Its device is a render
node of the kernel's vgem, whose surfaces are real dma-bufs. A machine without one lends
``/dev/null``: what ``render_node.c`` says of it is heard by a libva-drm that is loaded after it.
The process may have loaded libva-drm long ago, so a copy of its file is.

Another program, such as ffmpeg, is told of both by `SoftwareVA.variables`, and a shell by ``eval
"$(python -m tests.lab.software_va)"``.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import os
import shutil
import subprocess
import tempfile
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING
from unittest import mock

from bridges.backends import vaapi_display
from bridges.backends.vaapi import VAAPIContext
from bridges.native.libva import libva_drm
from tests.helpers.require import require
from tests.lab.software_va.build import DRIVER, PACKAGES, RENDER_NODE, build

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["NODE", "Counts", "SoftwareVA", "software_va"]


def _node() -> str:
    """Return a render node that vgem drives, or what stands in for one."""
    for node in sorted(Path("/sys/class/drm").glob("renderD*")):
        if (node / "device").resolve().name == "vgem":
            return f"/dev/dri/{node.name}"
    return "/dev/null"


NODE = _node()


@dataclass(frozen=True)
class Counts:
    """What is alive in the driver, over all displays of this process; and calls so far."""

    surfaces: int
    images: int
    buffers: int
    configs: int
    contexts: int
    syncs: int

    @property
    def alive(self) -> int:
        return self.surfaces + self.images + self.buffers + self.configs + self.contexts


class SoftwareVA:
    """The driver, built and ready to be loaded by libva."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.path = folder / DRIVER
        self._render_node = folder / RENDER_NODE
        ctypes.CDLL(str(self._render_node), mode=ctypes.RTLD_GLOBAL)
        self._library = ctypes.CDLL(str(self.path))
        self._libva_drm = _load_again(libva_drm())
        prototype = self._libva_drm.vaGetDisplayDRM
        prototype.restype, prototype.argtypes = ctypes.c_void_p, (ctypes.c_int,)

    @property
    def vendor(self) -> str:
        """What the driver calls itself."""
        memory = "memfd" if NODE == "/dev/null" else "dma-buf"
        return f"xtranscode software driver for tests ({memory})"

    def variables(self, **options: str) -> dict[str, str]:
        """Return the environment in which another program finds the driver at `NODE`."""
        preloaded = {"LD_PRELOAD": str(self._render_node)} if NODE == "/dev/null" else {}
        return self._driver_variables(options) | preloaded

    def _driver_variables(self, options: dict[str, str]) -> dict[str, str]:
        found = {"LIBVA_DRIVERS_PATH": str(self.folder), "LIBVA_DRIVER_NAME": "software"}
        return found | {f"SOFTWARE_VA_{name}": value for name, value in options.items()}

    @contextlib.contextmanager
    def environment(self, **options: str) -> Iterator[None]:
        """Have libva load this driver, with ``SOFTWARE_VA_*`` options, until the block ends."""
        wanted = self._driver_variables(options)
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
                for name in (field.name for field in fields(Counts))
            )
        )


def _load_again(library: ctypes.CDLL) -> ctypes.CDLL:
    """Load a library's file once more, as one of its own: a copy is not known to be the same."""
    with tempfile.TemporaryDirectory(prefix="software_va_") as folder:
        return ctypes.CDLL(shutil.copy(_path_of(library), folder))


def _path_of(library: ctypes.CDLL) -> str:
    """Return the file of a library that is loaded."""
    for line in Path("/proc/self/maps").read_text().splitlines():
        path = Path(line.split(maxsplit=5)[-1])
        if path.name.startswith(library._name.partition(".so")[0] + ".so"):
            return str(path)
    raise OSError(f"{library._name} is loaded, yet not mapped into this process")


@functools.cache
def _find() -> SoftwareVA | str:
    """Return the driver, or why there is none."""
    try:
        driver = SoftwareVA(build())
        driver.open().close()
    except FileNotFoundError as error:
        return f"the software driver is built with gcc: {error}; try: {PACKAGES}"
    except subprocess.CalledProcessError as error:
        return f"gcc cannot build the software driver: {error.stderr}; try: {PACKAGES}"
    except (OSError, LookupError) as error:
        return f"libva does not load the software driver: {error}"
    return driver


def software_va() -> SoftwareVA:
    """Return the driver, loaded once; skip where it cannot be."""
    found = _find()
    require("vaapi", not isinstance(found, str), str(found))
    assert isinstance(found, SoftwareVA)
    return found
