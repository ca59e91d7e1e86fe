"""Debian's own kernel for the guest: fetched by apt, which checks signatures; never installed.

An unpacked kernel stays in the cache, in a folder named after its package and version, and is used
from then on. Whoever wants a newer one removes the folder.
"""

from __future__ import annotations

import lzma
import os
import re
import shutil
import struct
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Kernel", "KernelError", "kernel"]

_META_PACKAGE = "linux-image-amd64"
_WANTED = ("virtio_pci", "virtio_console", "9pnet_virtio", "9p", "overlay", "vgem")
"""What the guest's first process needs; everything that these depend on comes with them."""
_XZ = b"\xfd7zXZ\0"


class KernelError(OSError):
    """There is no kernel for the guest."""


@dataclass(frozen=True)
class Kernel:
    """A kernel that is ready to boot.

    Attributes
    ----------
    image : Path
        An uncompressed ELF file, which QEMU starts at its PVH entry: no BIOS runs, and nothing is
        unpacked in the guest.
    modules : tuple of Path
        In the order in which they are loaded.
    """

    image: Path
    modules: tuple[Path, ...]


def kernel() -> Kernel:
    """Return the newest kernel of the cache, or the distribution's current one if there is none.

    Raises
    ------
    KernelError
        There is none, and apt cannot fetch one.
    """
    cache = _cache()
    unpacked = [path for path in cache.glob("linux-image-*") if _is_complete(path)]
    newest = max(unpacked, key=_numbers) if unpacked else _fetch(cache)
    order = (newest / "modules").read_text().split()
    return Kernel(newest / "vmlinux", tuple(newest / name for name in order))


def _cache() -> Path:
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(home) / "xtranscode" / "guest"


def _numbers(folder: Path) -> list[int]:
    return [int(number) for number in re.findall(r"\d+", folder.name)]


def _is_complete(folder: Path) -> bool:
    """Return whether a folder has what this version of the guest needs."""
    return all((folder / f"{name}.ko").exists() for name in _WANTED)


def _fetch(cache: Path) -> Path:
    """Fetch, unpack and keep the current kernel; return its folder."""
    package, version = _current_package()
    folder = cache / f"{package}_{version}"
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache, prefix="new_") as name:
        new = Path(name)
        _run("apt-get", "download", "-q", f"{package}={version}", folder=new)
        (archive,) = new.glob("*.deb")
        _run("dpkg-deb", "--extract", archive.name, "unpacked", folder=new)
        _select(new / "unpacked", new / "kept")
        shutil.rmtree(folder, ignore_errors=True)
        (new / "kept").replace(folder)
    return folder


def _current_package() -> tuple[str, str]:
    """Return the name and the version of the package that the distribution's kernel is in."""
    described = _run("apt-cache", "show", "--no-all-versions", _META_PACKAGE)
    found = re.search(r"^Depends: (linux-image-\S+) \(= (\S+)\)", described, re.MULTILINE)
    if not found:
        raise KernelError(f"{_META_PACKAGE} of this system names no kernel: it is not Debian's")
    return found[1], found[2]


def _run(*command: str, folder: Path | None = None) -> str:
    """Run one of Debian's tools; return what it said."""
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=600)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise KernelError(f"cannot fetch a kernel: {error}") from error
    if done.returncode:
        raise KernelError(f"{' '.join(command)}: {done.stderr.strip()}; try: apt-get update")
    return done.stdout


def _select(unpacked: Path, kept: Path) -> None:
    """Keep the kernel, uncompressed, and the wanted modules of an unpacked package."""
    kept.mkdir()
    (image,) = unpacked.glob("boot/vmlinuz-*")
    (kept / "vmlinux").write_bytes(uncompressed(image.read_bytes()))
    order = _in_order({path.stem: path for path in unpacked.glob("lib/modules/**/*.ko")})
    for path in order:
        shutil.copy(path, kept)
    (kept / "modules").write_text("".join(f"{path.name}\n" for path in order))


def uncompressed(image: bytes) -> bytes:
    """Return the ELF file in a bzImage.

    The header's fields are those of ``Documentation/x86/boot.rst`` of the kernel's sources. The
    compressed data ends with its uncompressed size in 4 bytes, which xz would take for garbage.

    Raises
    ------
    KernelError
        It is not compressed with xz, as Debian's is.
    """
    sectors, signature = image[0x1F1], image[0x202:0x206]
    offset, nbytes = struct.unpack_from("<II", image, 0x248)
    start = (sectors + 1) * 512 + offset
    payload = image[start : start + nbytes - 4]
    if signature != b"HdrS" or not payload.startswith(_XZ):
        raise KernelError("the kernel's image is no bzImage compressed with xz")
    return lzma.decompress(payload, lzma.FORMAT_XZ)


def _in_order(found: dict[str, Path]) -> list[Path]:
    """Return the wanted modules, each after what it depends on.

    depmod lists dependencies (modules.dep) only where a kernel is installed; each module names its
    own, in a section of ``name=value`` strings that end with a zero byte.
    """
    named = {name.replace("-", "_"): path for name, path in found.items()}
    order: list[Path] = []

    def add(name: str) -> None:
        path = named[name]
        if path in order:
            return
        (depends,) = re.findall(rb"\0depends=([^\0]*)\0", path.read_bytes())
        for other in filter(None, depends.decode().split(",")):
            add(other.replace("-", "_"))
        order.append(path)

    for name in _WANTED:
        add(name)
    return order
